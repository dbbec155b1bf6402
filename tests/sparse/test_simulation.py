"""Simulated risks of sparse regression, held against estimates made one prompt at a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spectral_icl as si
from spectral_icl.sparse import predictors, simulation
from spectral_icl.sparse.methods import METHODS, USUAL
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import Prompts, draw, excess_risk
from spectral_icl.sparse.risk.isotropic import gd_risk, ols_risk, ridge_opt_risk
from spectral_icl.sparse.simulation import Simulation, mc_risk, risks_on, simulate
from spectral_icl.sparse.tuning import Tuning

Array = NDArray[np.float64]

PROBLEM = SparseProblem(8, 2, 20, 0.3)
FAST = tuple(name for name in METHODS if name != "lasso")


def one_by_one(p: SparseProblem, grid: Tuning, name: str, count: int, seed: int) -> Array:
    """Risks of a method, (count, J), by the predictors on one prompt after another."""
    sample = draw(p, count, seed)
    full = np.eye(p.d) if p.Sigma is None else np.diag(p.Sigma) if p.Sigma.ndim == 1 else p.Sigma
    found = []
    for w, X, y, _ in zip(*sample, strict=True):
        r = X.T @ y / p.n
        if name == "p2o":
            many = predictors.p2o(X, y, times=grid.p2o)
        elif name == "gd":
            many = predictors.gd(X, y, times=grid.gd)
        elif name == "ridge":
            many = predictors.ridge(X, y, grid.ridge)
        elif name == "ols":
            many = predictors.ols(X, y)[None]
        elif name == "oracle":
            many = predictors.oracle(X, y, np.flatnonzero(w))[None]
        elif name == "lasso":
            many = predictors.lasso(X, y, grid.lasso)
        else:
            method, metric = (predictors.p2o, r) if name == "p2o_steps" else (predictors.gd, np.ones(p.d))
            eta = 1 / np.linalg.eigvalsh((X * metric).T @ (X * metric) / p.n)[-1]
            many = method(X, y, eta, int(grid.steps.max()))[grid.steps]
        found.append([(beta - w) @ full @ (beta - w) for beta in many])
    return np.array(found)


@pytest.mark.parametrize("name", ["p2o", "gd", "ridge", "ols", "oracle", "p2o_steps", "gd_steps", "lasso"])
@pytest.mark.parametrize(
    "changed",
    [{}, {"n": 5}, {"support_variance": 0.4}, {"correlation": 0.6, "weights": "gauss"}],
    ids=["plain", "few pairs", "support variance", "correlated"],
)
def test_risks_are_those_of_the_predictors(name: str, changed: dict[str, Any]) -> None:
    if name == "lasso":
        pytest.importorskip("sklearn")
    p = replace(PROBLEM, **changed)
    full = Tuning.of(p)
    grid = replace(
        full, p2o=full.p2o[8:48:8], gd=full.gd[:40:8], ridge=full.ridge[::6], lasso=full.lasso[6::6]
    )
    found = simulate(p, [name], 6, 3, grid).risks[name]
    np.testing.assert_allclose(found, one_by_one(p, grid, name, 6, 3), rtol=1e-7, atol=1e-11)


def test_parts_of_the_risk() -> None:
    """With weight and without it, which together is all where features are not correlated."""
    for p in (PROBLEM, replace(PROBLEM, support_variance=0.3)):
        found = simulate(p, ["p2o", "p2o_support", "p2o_off"], 30, 1)
        np.testing.assert_allclose(
            found.risks["p2o_support"] + found.risks["p2o_off"], found.risks["p2o"], rtol=1e-12
        )
        w, X, y, _ = draw(p, 30, 1)
        beta = predictors.p2o(X, y, times=found.tuning.p2o)
        np.testing.assert_allclose(found.risks["p2o_off"], ((w == 0)[:, None] * beta**2).sum(axis=2))
    p = replace(PROBLEM, correlation=0.7)
    found = simulate(p, ["p2o", "p2o_support", "p2o_off"], 30, 1)
    parts = found.risks["p2o_support"] + found.risks["p2o_off"]
    assert np.abs(parts / found.risks["p2o"] - 1).max() > 0.1


def test_a_seed_reproduces() -> None:
    one, same, other = (simulate(PROBLEM, FAST, 12, seed) for seed in (5, 5, 6))
    for name in FAST:
        np.testing.assert_array_equal(one.risks[name], same.risks[name])
        assert (one.mean(name) != other.mean(name)).any()


def test_methods_do_not_disturb_each_other() -> None:
    """The prompts are the same whatever is asked for, and in whatever order."""
    together = simulate(PROBLEM, FAST, 12, 5)
    assert list(together.risks) == list(FAST)
    for name in FAST:
        alone = simulate(PROBLEM, [name], 12, 5)
        assert list(alone.risks) == [name]
        np.testing.assert_array_equal(alone.risks[name], together.risks[name])
    reverse = simulate(PROBLEM, FAST[::-1], 12, 5)
    np.testing.assert_array_equal(reverse.risks["ridge"], together.risks["ridge"])


def test_risks_on_prompts_in_batches() -> None:
    """Every prompt is by itself: cutting a batch in two changes nothing."""
    sample = draw(PROBLEM, 9, 2)
    grid = Tuning.of(PROBLEM)
    whole = risks_on(sample, None, 0.3, grid, FAST)
    parts = [
        risks_on(type(sample)(*(x[cut] for x in sample)), None, 0.3, grid, FAST)
        for cut in (slice(0, 4), slice(4, 9))
    ]
    for name in FAST:
        together = np.concatenate([part[name] for part in parts])
        np.testing.assert_allclose(together, whole[name], rtol=1e-9, atol=1e-12)


def test_batches_are_of_one_law(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut into many batches: as many prompts, none of them twice, and the same mean."""
    whole = simulate(PROBLEM, ["p2o", "ridge"], 600, 1)
    told: list[int] = []
    monkeypatch.setattr(simulation, "_BATCH", 7 * 8 * 20)
    cut = simulate(PROBLEM, ["p2o", "ridge"], 600, 1, advance=told.append)
    assert told == [7] * 85 + [5]
    assert len(np.unique(cut.risks["ridge"][:, 0])) == 600
    for name in ("p2o", "ridge"):
        error = np.hypot(whole.se(name), cut.se(name))
        assert (np.abs(whole.mean(name) - cut.mean(name)) <= 4.5 * error).all()


def test_means_and_ratios_by_hand() -> None:
    grid = Tuning.of(PROBLEM)
    a = np.array([[3.0, 1.0, 5.0], [2.0, 1.5, 0.0], [4.0, 0.2, 3.1], [1.0, 2.1, 2.0]])
    b = np.array([[2.0], [4.0], [1.0], [3.0]])
    found = Simulation({"p2o": a, "ols": b}, grid)
    np.testing.assert_allclose(found.mean("p2o"), [2.5, 1.2, 2.525])
    expected = [np.sqrt(sum((x - np.mean(column)) ** 2 for x in column) / 3 / 4) for column in a.T]
    np.testing.assert_allclose(found.se("p2o"), expected)
    assert found.best("p2o") == 1
    assert found.at_best("p2o") == pytest.approx((1.2, expected[1]))
    ratio = found.ratio("p2o", "ols")
    assert ratio.mean == pytest.approx(4.8 / 10.0)
    linear = [(x - 0.48 * z) / 2.5 for x, z in zip(a[:, 1], b[:, 0], strict=True)]
    assert ratio.se == pytest.approx(np.std(linear, ddof=1) / 2.0)
    assert found.ratio("p2o", "ols", at=0).mean == pytest.approx(1.0)
    assert found.ratio("ols", "p2o", below=2).mean == pytest.approx(10.0 / 10.1)
    assert found.ratio("p2o", "p2o") == (1.0, 0.0)


def test_error_of_a_ratio_is_honest() -> None:
    runs = [simulate(PROBLEM, ["p2o", "ridge"], 60, seed) for seed in range(60)]
    ratios = np.array([run.ratio("p2o", "ridge", at=20, below=12) for run in runs])
    honest = np.sqrt((ratios[:, 1] ** 2).mean()) / ratios[:, 0].std(ddof=1)
    assert 0.75 < honest < 1.35
    single = np.mean([(run.at_best("p2o").se / run.at_best("p2o").mean) ** 2 for run in runs]) ** 0.5
    assert (ratios[:, 1] / ratios[:, 0]).mean() < single  # pairing pays


def test_standard_errors_are_honest() -> None:
    runs = [simulate(PROBLEM, ["ridge", "oracle"], 50, seed) for seed in range(80)]
    for name in ("ridge", "oracle"):
        means, errors = np.array([r.mean(name) for r in runs]), np.array([r.se(name) for r in runs])
        honest = np.sqrt((errors**2).mean(axis=0)) / means.std(axis=0, ddof=1)
        assert (np.abs(np.log(honest)) < 0.3).all()


def test_simulation_agrees_with_theory() -> None:
    """At every point of the grids, not the best one alone."""
    p = SparseProblem(16, 3, 40, 0.5, signal=2.0)
    found = simulate(p, ("gd", "ridge", "ols", "gd_steps"), 1500, 0)
    for name, theory in (
        ("gd", gd_risk(16, 40, 2.0, 0.5, times=found.tuning.gd)[:35]),
        ("ridge", si.sparse.ridge_risk(16, 40, 2.0, 0.5, found.tuning.ridge)),
        ("ols", ols_risk(16, 40, 2.0, 0.5)),
    ):
        off = np.abs(found.mean(name)[:35] - theory)
        assert (off < 4 * found.se(name)[:35] + 1e-12).all()
    assert found.best("ridge") == pytest.approx(12, abs=2)  # the middle one is the best
    assert found.tuning.ridge[12] == pytest.approx(ridge_opt_risk(16, 40, 2.0, 0.5).lam, rel=1e-9)


def test_mc_risk_is_a_table() -> None:
    T = [4.0, 8.0, 20.0]
    found = mc_risk(["p2o", "oracle", "p2o_off"], 8, 2, 20, 1.5, 0.3, T, 40, 9)
    assert list(found) == ["p2o", "oracle", "p2o_off"]
    p = SparseProblem(8, 2, 20, 0.3, signal=1.5)
    expected = simulate(p, ["p2o", "oracle", "p2o_off"], 40, 9, Tuning.of(p, T))
    for name, table in found.items():
        assert set(table) == {"mean", "se"}
        np.testing.assert_array_equal(table["mean"], expected.mean(name))
        np.testing.assert_array_equal(table["se"], expected.se(name))
    assert found["p2o"]["mean"].shape == (3,)
    assert found["oracle"]["mean"].shape == (1,)


def test_mc_risk_paired() -> None:
    """The equivalent on the same r: closer than two averages over different ones would be."""
    T = [2.0, 8.0, 40.0]
    found = mc_risk(["p2o"], 32, 4, 64, 1.0, 0.25, T, 500, 3, paired=True)
    assert list(found) == ["p2o", "p2o_equivalent"]
    sampled, theory = found["p2o"], found["p2o_equivalent"]
    np.testing.assert_allclose(theory["mean"], sampled["mean"], rtol=0.05)
    p = SparseProblem(32, 4, 64, 0.25)
    both = simulate(p, ["p2o", "p2o_equivalent"], 500, 3, Tuning.of(p, T))
    off = both.risks["p2o_equivalent"] - both.risks["p2o"]
    error = off.std(axis=0, ddof=1) / np.sqrt(500)
    assert (np.abs(off.mean(axis=0)) < 0.03 * sampled["mean"] + 3 * error).all()
    assert (error < 0.7 * sampled["se"]).all()
    again = mc_risk(["p2o_equivalent"], 32, 4, 64, 1.0, 0.25, T, 500, 3, paired=True)
    assert list(again) == ["p2o_equivalent"]
    np.testing.assert_array_equal(again["p2o_equivalent"]["mean"], theory["mean"])


def test_least_squares_leaves_out_what_is_not_shown() -> None:
    """Directions without data, at and below n = d: the least norm."""
    for n in (3, 8):
        p = replace(PROBLEM, n=n, noise=0.0)
        w, X, y, _ = draw(p, 5, 1)
        expected = [excess_risk(np.linalg.lstsq(a, c)[0], b) for a, b, c in zip(X, w, y, strict=True)]
        found = simulate(p, ["ols"], 5, 1).risks["ols"][:, 0]
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_least_squares_with_a_feature_twice() -> None:
    """A direction that only rounding shows is none."""
    w, X, y, xq = draw(PROBLEM, 5, 1)
    X[..., 7] = X[..., 0]
    found = risks_on(Prompts(w, X, y, xq), None, 0.3, Tuning.of(PROBLEM), ["ols"])["ols"][:, 0]
    expected = [excess_risk(np.linalg.lstsq(a, c)[0], b) for a, b, c in zip(X, w, y, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-7)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown method": (lambda: simulate(PROBLEM, ["p2o", "magic"]), r"methods\[1\]: expected one of"),
    "one prompt": (lambda: simulate(PROBLEM, USUAL, 1), "prompts: expected a whole number >= 2"),
    "negative seed": (lambda: simulate(PROBLEM, USUAL, 5, -1), "rng: expected"),
    "negative time": (lambda: mc_risk(["p2o"], 8, 2, 20, 1.0, 0.3, [-1.0]), "times: expected times >= 0"),
    "more weights than features": (lambda: mc_risk(["p2o"], 8, 9, 20, 1.0, 0.3), "s: expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(si.ProblemError, match=message):
        call()


def test_wrong_simulations_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Labels with a little more noise than they should have."""
    sound = simulation.draw

    def noisier(p: SparseProblem, *rest: Any) -> Any:
        return sound(replace(p, noise=1.1 * p.noise), *rest)

    with monkeypatch.context() as patch:
        patch.setattr(simulation, "draw", noisier)
        with pytest.raises(AssertionError):
            test_simulation_agrees_with_theory()
