"""Arguments by the names they had: each works, warns, and means what its new name does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spectral_icl import sparse
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.tuning import Tuning

X = np.random.default_rng(0).normal(size=(9, 4))
Y = X[:, 0] + 0.1 * X[:, 3] ** 2
W = np.array([1.0, 0.0, 0.0, 0.0])
R = X.T @ Y / 9
P = SparseProblem(8, 2, 20, 0.3)
SIZES = {"d": 8, "n": 20}

# function, arguments of names that stay, and the others by old name, new name and value
CASES: list[tuple[Callable[..., Any], dict[str, Any], list[tuple[str, str, Any]]]] = [
    *(
        (function, {"X": X, "y": Y, **more}, [("T", "times", [1.0, 2.0])])
        for function, more in (
            (sparse.p2o, {}),
            (sparse.gd, {}),
            (sparse.partial_p2o, {"J": [1], "alpha": 0.5}),
            (sparse.group_p2o, {"groups": [[0, 2], [1, 3]]}),
        )
    ),
    *(
        (function, {**SIZES, **more}, [("v", "signal", 1.5), ("s2", "noise", 0.3)])
        for function, more in (
            (sparse.ridge_risk, {"lam": 0.2}),
            (sparse.ridge_opt_risk, {}),
            (sparse.ols_risk, {}),
            (sparse.one_step_risk, {}),
            (sparse.spectral_lower_bound, {}),
            (sparse.group_heads_risk, {"s": 2, "H": 4}),
        )
    ),
    (sparse.gd_risk, SIZES, [("v", "signal", 1.5), ("s2", "noise", 0.3), ("T", "times", [1.0, 4.0])]),
    *(
        (function, {**SIZES, "s": 2}, [("v", "signal", 1.5), ("s2", "noise", 0.3), ("T", "times", [1.0])])
        for function in (sparse.p2o_risk_gh, sparse.p2o_offsupport_leading)
    ),
    (sparse.oracle_risk, {"s": 2, "n": 20}, [("s2", "noise", 0.3)]),
    (
        sparse.sample_prompts,
        {**SIZES, "s": 2, "rng": 1},
        [("B", "prompts", 3), ("sigma2", "noise", 0.3), ("v", "signal", 1.5)],
    ),
    (
        sparse.sample_r,
        {"w": W, "Sigma": None, "n": 9, "rng": 1},
        [("s2", "noise", 0.3), ("size", "prompts", 2)],
    ),
    (
        sparse.p2o_risk_given,
        {"r": R, "y2": Y @ Y, "w": W, "Sigma": None, "n": 9, "filters": [1.0]},
        [("s2", "noise", 0.3)],
    ),
    (
        sparse.p2o_risk,
        {"w": W, "Sigma": None, "n": 9, "filters": [1.0], "draws": 16, "rng": 1},
        [("s2", "noise", 0.3)],
    ),
    (
        sparse.mc_risk,
        {**SIZES, "s": 2, "methods": ["p2o"]},
        [
            ("v", "signal", 1.5),
            ("s2", "noise", 0.3),
            ("Ts", "times", [4.0]),
            ("trials", "prompts", 5),
            ("seed", "rng", 2),
        ],
    ),
    (
        lambda **options: sparse.simulate(P, ["p2o", "ols"], 5, **options).risks,
        {},
        [("seed", "rng", 2)],
    ),
    (
        sparse.scaling_exponent,
        {"axis": "n", "values": [20, 40], "problem": P, "prompts": 5},
        [("seed", "rng", 2)],
    ),
    (sparse.head_mismatch, {"H": 1, "d": 2, "restarts": 1}, [("seed", "rng", 2)]),
    (sparse.check_construction, {**SIZES, "s": 2, "t": 2}, [("seed", "rng", 2), ("sigma2", "noise", 0.5)]),
    (
        lambda **options: sparse.LinTF(4, 5, [2, 1], 3, **options).embedding,
        {},
        [("seed", "rng", 2)],
    ),
    (lambda **options: sparse.Flow(**options).times, {}, [("T", "times", [1.0, 2.0])]),
]


@pytest.mark.parametrize("case", range(len(CASES)))
def test_old_names_mean_the_new_ones(case: int) -> None:
    function, stay, changed = CASES[case]
    expected = function(**stay, **{new: value for _, new, value in changed})
    with pytest.warns(DeprecationWarning, match="is called") as seen:
        found = function(**stay, **{old: value for old, _, value in changed})
    said = [str(one.message) for one in seen]
    assert len(said) == len(changed)
    for text, (old, new, _) in zip(sorted(said), sorted(changed), strict=True):
        assert f"argument '{old}' is called '{new}' now" in text
    np.testing.assert_equal(found, expected)


def test_the_times_of_a_flow_were_its_T() -> None:
    with pytest.warns(DeprecationWarning, match=r"Flow\.T is called Flow\.times now"):
        assert sparse.Flow([1.0, 2.0]).T.tolist() == [1.0, 2.0]


def test_the_tuning_of_a_simulation_was_its_grid() -> None:
    simulate: Any = sparse.simulate
    with pytest.warns(DeprecationWarning, match="'grid' is called 'tuning'"):
        found = simulate(P, ["p2o"], 5, grid=Tuning.of(P, [2.0]))
    assert found.tuning.p2o.tolist() == [2.0]
    with pytest.warns(DeprecationWarning, match=r"Simulation\.grid is called Simulation\.tuning now"):
        assert found.grid is found.tuning
    compared = sparse.compare(sparse.Study(P, prompts=0, draws=16))
    with pytest.warns(DeprecationWarning, match=r"Comparison\.grid is called Comparison\.tuning now"):
        assert compared.grid is compared.tuning


def test_a_generator_is_a_seed_everywhere() -> None:
    """Functions that draw go on with a generator, and repeat with an equal one."""
    drawing: list[Callable[[Any], Any]] = [
        lambda rng: sparse.sample_prompts(3, 8, 2, 20, 0.3, rng=rng).X,
        lambda rng: sparse.sample_r(W, None, 0.3, 9, rng).r,
        lambda rng: sparse.p2o_risk(W, None, 0.3, 9, [1.0], 16, rng).mean,
        lambda rng: sparse.simulate(P, ["ols"], 5, rng).risks["ols"],
        lambda rng: sparse.mc_risk(["ols"], 8, 2, 20, 1.0, 0.3, None, 5, rng)["ols"]["mean"],
        lambda rng: sparse.scaling_exponent("n", [20, 40], P, "p2o", prompts=5, rng=rng),
        lambda rng: sparse.LinTF(4, 5, [2, 1], 3, rng).embedding,
    ]
    for call in drawing:
        rng = np.random.default_rng(7)
        first, second = call(rng), call(rng)
        np.testing.assert_equal(call(np.random.default_rng(7)), first)
        assert (np.asarray(first) != np.asarray(second)).any()
