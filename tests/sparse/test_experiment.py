"""Sparse problems, study files, the hypotheses, and the comparison of all methods on one problem."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.sparse import comparison
from spectral_icl.sparse.comparison import LABELS, as_json, as_text, compare
from spectral_icl.sparse.experiment import Study
from spectral_icl.sparse.hypotheses import advantage
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.risk import best as theory
from spectral_icl.sparse.risk.equivalent import Risk
from spectral_icl.sparse.risk.isotropic import gd_risk, ols_risk, oracle_risk, ridge_opt_risk
from spectral_icl.sparse.simulation import Grid, simulate

PROBLEM = SparseProblem(8, 2, 24, 0.3)


@st.composite
def problems(draw: st.DrawFn) -> SparseProblem:
    d = draw(st.integers(1, 50))
    kind = draw(st.sampled_from(["isotropic", "correlated", "support variance"]))
    return SparseProblem(
        d,
        draw(st.integers(1, d)),
        draw(st.integers(1, 500)),
        draw(st.floats(0.0, 1e3)),
        draw(st.floats(1e-3, 1e3)),
        draw(st.sampled_from(["pm", "gauss"])),
        draw(st.floats(-0.99, 0.99)) if kind == "correlated" else 0.0,
        draw(st.floats(0.01, 10.0)) if kind == "support variance" else 1.0,
    )


@given(problems())
def test_tables_of_a_problem_round_trip(p: SparseProblem) -> None:
    table = json.loads(json.dumps(p.to_dict()))
    assert SparseProblem.from_dict(table) == p
    assert list(table) == ["d", "s", "n", "noise", "signal", "weights", "correlation", "support_variance"]


@given(problems())
def test_signal_is_what_labels_have(p: SparseProblem) -> None:
    """The sum of Sigma_jj w_j^2, for weights of one absolute value on the first s features."""
    variances = np.ones(p.d) if p.Sigma is None else np.diag(p.Sigma) if p.Sigma.ndim == 2 else p.Sigma
    assert p.signal == pytest.approx(p.s * variances[0] * p.v / p.s)
    assert p.isotropic == (p.Sigma is None)
    if p.Sigma is not None and p.Sigma.ndim == 2:
        assert np.linalg.eigvalsh(p.Sigma)[0] > 0.0
        assert (np.diag(p.Sigma) == 1.0).all()
        if p.d > 2:
            assert p.Sigma[0, 2] == pytest.approx(p.correlation**2)
    elif p.Sigma is not None:
        assert (p.Sigma[p.s :] == 1.0).all()


def test_signal_to_noise_stands_for_noise() -> None:
    table = {"d": 8, "s": 2, "n": 20}
    assert SparseProblem.from_dict({**table, "snr": 4.0}).noise == 0.25
    assert SparseProblem.from_dict({**table, "snr": 4, "signal": 2.0}).noise == 0.5
    assert SparseProblem.from_dict({**table, "noise": 0}).noise == 0.0


def test_whole_floats_are_numbers() -> None:
    p = SparseProblem(8.0, 2.0, 20.0, 1)  # type: ignore[arg-type]
    assert (p.d, p.s, p.n, p.noise) == (8, 2, 20, 1.0)
    assert [type(x) for x in (p.d, p.s, p.n, p.noise)] == [int, int, int, float]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "s above d": ({"s": 9}, "s: expected a whole number >= 1 and <= 8"),
    "no s": ({"s": 0}, "s: expected"),
    "no d": ({"d": 0}, "d: expected a whole number >= 1"),
    "d is half": ({"d": 8.5}, "d: expected a whole number"),
    "d is text": ({"d": "8"}, "d: expected a whole number"),
    "d is true": ({"d": True}, "d: expected a whole number"),
    "no n": ({"n": 0}, "n: expected a whole number >= 1"),
    "n is too large": ({"n": 10**9}, "n: expected a whole number >= 1 and <= 10000000"),
    "negative noise": ({"noise": -0.1}, "noise: expected a number >= 0"),
    "endless noise": ({"noise": float("inf")}, "noise: expected"),
    "no signal": ({"signal": 0.0}, "signal: expected a number >= 1e-06"),
    "unknown weights": ({"weights": "cauchy"}, "weights: expected one of 'pm', 'gauss'"),
    "correlation of 1": ({"correlation": 1.0}, "correlation: expected"),
    "no variance": ({"support_variance": 0.0}, "support_variance: expected a number >= 1e-06"),
    "both designs": (
        {"correlation": 0.5, "support_variance": 0.5},
        "correlation: expected 0 with a support_variance",
    ),
}
MORE: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"nois": 0.1}, r"nois: expected a known key \(is it a typing error\?\)"),
    "snr beside noise": ({"snr": 1.0}, "snr: expected nothing beside noise"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_problems(case: str) -> None:
    changed, message = BAD[case]
    with pytest.raises(si.ProblemError, match=message) as caught:
        SparseProblem(**({"d": 8, "s": 2, "n": 20, "noise": 0.1} | changed))
    assert caught.value.argument in changed


@pytest.mark.parametrize("case", [*BAD, *MORE])
def test_bad_tables_name_the_dotted_path(case: str) -> None:
    changed, message = (BAD | MORE)[case]
    table = {"d": 8, "s": 2, "n": 20, "noise": 0.1} | changed
    with pytest.raises(si.ProblemError, match=f"^{message}"):
        SparseProblem.from_dict(table)
    with pytest.raises(si.ProblemError, match=rf"^sparse\.{message}") as caught:
        Study.from_dict({"sparse": table})
    assert caught.value.argument.removeprefix("sparse.") in changed
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["d", "s", "n", "noise"])
def test_missing_entries(name: str) -> None:
    table = {"d": 8, "s": 2, "n": 20, "noise": 0.1}
    del table[name]
    with pytest.raises(si.ProblemError, match=rf"^sparse\.{name}: expected a value"):
        Study.from_dict({"sparse": table})


def test_bad_signal_to_noise() -> None:
    for snr in (0.0, -1.0, "high", float("nan")):
        with pytest.raises(si.ProblemError, match=r"^sparse\.snr: expected a number > 0"):
            Study.from_dict({"sparse": {"d": 8, "s": 2, "n": 20, "snr": snr}})


# studies


@given(problems(), st.integers(20, 10**6), st.integers(0, 2**62), st.integers(16, 10**6), st.booleans())
def test_tables_of_a_study_round_trip(
    p: SparseProblem, prompts: int, seed: int, draws: int, lasso: bool
) -> None:
    study = Study(p, prompts, seed, draws, lasso)
    table = json.loads(json.dumps(study.to_dict()))
    assert Study.from_dict(table) == study
    assert list(table) == ["sparse", "study"]


def test_studies_of_files(tmp_path: Path) -> None:
    file = tmp_path / "study.toml"
    file.write_text('[sparse]\nd = 16\ns = 2\nn = 40\nsnr = 2\nweights = "gauss"\n[study]\nprompts = 0\n')
    expected = Study(SparseProblem(16, 2, 40, 0.5, weights="gauss"), prompts=0)
    assert Study.read(file) == expected
    changed = Study.read(file, ("sparse.n=50", "study.seed=3"))
    assert changed == Study(replace(expected.problem, n=50), prompts=0, seed=3)
    assert Study.read(None) == Study(SparseProblem(64, 4, 128, 0.25))


TABLE = {"d": 8, "s": 2, "n": 20, "noise": 0.1}
BAD_STUDIES: dict[str, tuple[dict[str, Any], str]] = {
    "one prompt": ({"prompts": 1}, r"study\.prompts: expected 0, or at least 20"),
    "negative prompts": ({"prompts": -2}, r"study\.prompts: expected"),
    "negative seed": ({"seed": -1}, r"study\.seed: expected"),
    "few draws": ({"draws": 15}, r"study\.draws: expected a whole number >= 16"),
    "lasso is text": ({"lasso": "yes"}, r"study\.lasso: expected true or false"),
    "lasso without prompts": ({"lasso": True, "prompts": 0}, r"study\.lasso: expected prompts to simulate"),
    "unknown key": ({"promts": 3}, r"study\.promts: expected a known key"),
    "another problem": ({"problem": TABLE}, r"study\.problem: expected a known key"),
}


@pytest.mark.parametrize("case", BAD_STUDIES)
def test_bad_studies(case: str) -> None:
    options, message = BAD_STUDIES[case]
    with pytest.raises(si.ProblemError, match=f"^{message}"):
        Study.from_dict({"sparse": TABLE, "study": options})


@pytest.mark.parametrize(
    "case", [case for case in BAD_STUDIES if "key" not in case and "another" not in case]
)
def test_bad_arguments_have_their_own_names(case: str) -> None:
    """The section is that of a file, which a study of Python does not have."""
    options, message = BAD_STUDIES[case]
    with pytest.raises(si.ProblemError, match="^" + message.removeprefix(r"study\.")):
        Study(PROBLEM, **options)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"sparse": TABLE, "flow": {}}, r"flow: expected one of the tables \[sparse\] and \[study\]"),
        ({"sparse": TABLE, "axis": []}, "axis: expected no axis: a study is one point"),
        ({"sparse": 3}, r"sparse: expected a table \[sparse\]"),
        ({"sparse": TABLE, "study": [1]}, r"study: expected a table \[study\]"),
        ({}, r"sparse: expected a table \[sparse\] with d, s, n and noise"),
    ],
)
def test_bad_sections(table: dict[str, Any], message: str) -> None:
    with pytest.raises(si.ProblemError, match=f"^{message}"):
        Study.from_dict(table)


def test_a_whole_float_is_a_seed() -> None:
    """Whatever a study accepts it can be compared with."""
    study = Study(PROBLEM, prompts=20.0, seed=3.0, draws=16.0)  # type: ignore[arg-type]
    same = Study(PROBLEM, prompts=20, seed=3, draws=16)
    assert compare(study).methods["p2o"] == compare(same).methods["p2o"]


# hypotheses

LIMITS: dict[str, tuple[str, list[tuple[float, bool]]]] = {
    "sparse": ("d", [(7, False), (8, True)]),
    "long": ("n", [(23, False), (24, True)]),
    "signal": ("noise", [(4.0, True), (4.01, False), (0.01, True), (0.009, False)]),
    "correlation": ("correlation", [(0.6, True), (-0.6, True), (0.61, False), (-0.61, False)]),
    "variance": ("support_variance", [(0.3, True), (0.29, False), (1.1, False)]),
}


@pytest.mark.parametrize("case", LIMITS)
def test_hypotheses_at_their_limits(case: str) -> None:
    """Each by itself: the others are met."""
    name, values = LIMITS[case]
    at = list(LIMITS).index(case)
    for value, met in values:
        found = advantage(replace(PROBLEM, **{name: value}))  # type: ignore[arg-type]
        assert [is_met for _, is_met in found] == [met if k == at else True for k in range(5)]


# comparisons


@pytest.fixture(scope="module")
def usual() -> comparison.Comparison:
    return compare(Study(PROBLEM, prompts=60, seed=4, draws=32))


def test_comparison_is_theory_beside_simulation(usual: comparison.Comparison) -> None:
    grid = Grid.of(PROBLEM)
    assert list(usual.methods) == ["p2o", "gd", "ridge", "ols", "oracle"]
    flow = gd_risk(8, 24, 1.0, 0.3, T=grid.gd)
    ridge = ridge_opt_risk(8, 24, 1.0, 0.3)
    found = usual.methods
    assert (found["gd"].theory, found["gd"].tuned) == (flow.min(), grid.gd[flow.argmin()])
    assert (found["ridge"].theory, found["ridge"].tuned) == (ridge.risk, ridge.lam)
    assert found["ols"].theory == ols_risk(8, 24, 1.0, 0.3)
    assert found["oracle"].theory == oracle_risk(2, 24, 0.3)
    k = int(usual.curve.mean.argmin())
    expected = (usual.curve.mean[k], usual.curve.se[k], grid.p2o[k])
    assert (found["p2o"].theory, found["p2o"].theory_error, found["p2o"].tuned) == expected
    assert usual.simulation is not None
    for name, method in found.items():
        assert (method.simulated, method.se) == usual.simulation.at_best(name)
        if name != "p2o":
            assert method.theory_error == 0.0
    assert np.isnan(found["ols"].tuned)
    ratio = usual.advantage
    assert ratio.mean == pytest.approx(found["p2o"].theory / ridge.risk)
    assert ratio.se == pytest.approx(found["p2o"].theory_error / ridge.risk)
    assert usual.simulated_advantage == usual.simulation.ratio("p2o", "ridge")


def test_theory_and_simulation_are_of_one_problem() -> None:
    """Every method within error bars; with a signal and noise that are not 1."""
    p = SparseProblem(12, 2, 40, 0.8, signal=3.0)
    found = compare(Study(p, prompts=1200, seed=1, draws=256))
    for name, method in found.methods.items():
        error = np.hypot(method.se, method.theory_error)
        bias = 0.03 if name == "p2o" else 0.003
        assert error < 0.05 * method.theory
        assert abs(method.simulated - method.theory) < 3.5 * error + bias * method.theory, name


def test_a_seed_reproduces(usual: comparison.Comparison) -> None:
    again = compare(usual.study)
    assert as_json(again) == as_json(usual)
    other = compare(replace(usual.study, seed=5))
    assert other.methods["p2o"].theory != usual.methods["p2o"].theory
    assert other.methods["ols"].simulated != usual.methods["ols"].simulated


def test_progress_is_told() -> None:
    told: list[int] = []
    compare(Study(PROBLEM, prompts=30, draws=16), told.append)
    assert sum(told) == 30


def test_text(usual: comparison.Comparison) -> None:
    lines = as_text(usual, "A title").splitlines()
    assert lines[0] == "A title"
    assert "d = 8, s = 2, n = 24, noise 0.3, signal 1" in lines[1]
    for name, label in LABELS.items():
        rows = [line for line in lines if line.strip().startswith(label)]
        assert len(rows) == (name != "lasso")
        if rows:
            assert f"{usual.methods[name].theory:.4g}" in rows[0]
            assert f"{usual.methods[name].simulated:.4g} +- {usual.methods[name].se:.1g}" in rows[0]
    ols = usual.methods["ols"]  # its theory has no error
    row = next(line for line in lines if "least squares " in line)
    assert f"{ols.simulated / ols.theory:.3f} +- {ols.se / ols.theory:.1g}" in row
    assert f"P2O / ridge = {usual.simulated_advantage.mean:.3f} +-" in lines[-2]
    assert lines[-1].strip() == "the hypotheses under which P2O beats ridge are met"
    p = replace(PROBLEM, d=8, s=8, weights="gauss", support_variance=0.2)
    text = as_text(compare(Study(p, prompts=0, draws=16)), "t")
    assert "Gaussian weights, variance 0.2 on the support" in text
    assert "not met are: sparse weights, d >= 4 s; prompts that show the support, n >= 12 s; variance" in text


def test_json(usual: comparison.Comparison) -> None:
    made = as_json(usual)
    text = json.dumps(made, allow_nan=False)
    assert json.loads(text) == made
    assert set(made) == {
        *("methods", "advantage", "simulated_advantage", "hypotheses", "curve", "sparse", "study")
    }
    assert Study.from_dict({"sparse": made["sparse"], "study": made["study"]}) == usual.study
    assert made["methods"]["ols"]["tuned"] is None
    assert made["methods"]["p2o"]["theory"] == usual.methods["p2o"].theory
    assert usual.simulation is not None
    assert made["curve"]["simulated"] == usual.simulation.mean("p2o").tolist()
    assert len(made["curve"]["time"]) == len(made["curve"]["theory"]) == len(usual.grid.p2o)


def test_what_has_no_theory_is_nan() -> None:
    found = compare(Study(replace(PROBLEM, correlation=0.5, n=6), prompts=20, draws=16))
    for name in ("gd", "ridge", "ols"):  # least squares is exact for any covariance if n > d + 1
        assert np.isnan(found.methods[name].theory)
        assert np.isfinite(found.methods[name].simulated)
    assert np.isfinite([found.methods[name].theory for name in ("p2o", "oracle")]).all()
    assert np.isfinite(found.methods["ridge"].tuned)  # on the grid
    assert np.isnan(found.advantage.mean)
    assert np.isfinite(found.simulated_advantage.mean)
    row = next(line for line in as_text(found, "t").splitlines() if "gradient flow" in line)
    assert row.split()[2] == "-"
    assert as_json(found)["methods"]["ridge"]["theory"] is None
    longer = compare(Study(replace(PROBLEM, correlation=0.5), prompts=0, draws=16))
    assert longer.methods["ols"].theory == ols_risk(8, 24, 1.0, 0.3)


def test_without_prompts_nothing_is_simulated() -> None:
    found = compare(Study(PROBLEM, prompts=0, draws=16))
    assert found.simulation is None
    assert all(np.isnan([m.simulated, m.se]).all() for m in found.methods.values())
    assert np.isnan(found.simulated_advantage).all()
    text = as_text(found, "t")
    assert f"P2O / ridge = {found.advantage.mean:.3f}" in text
    assert "by theory" in text
    assert as_json(found)["curve"]["simulated"] is None


def test_infinite_risks() -> None:
    found = compare(Study(replace(PROBLEM, n=8), prompts=0, draws=16))
    assert found.methods["ols"].theory == np.inf
    assert "infinite" in as_text(found, "t")
    json.dumps(as_json(found), allow_nan=False)


@pytest.mark.parametrize("prompts", [0, 20])
def test_without_noise(prompts: int) -> None:
    """Where ridge is right there is no advantage over it, and no error."""
    found = compare(Study(replace(PROBLEM, noise=0.0), prompts=prompts, draws=16))
    assert found.methods["ridge"].theory == found.methods["oracle"].theory == 0.0
    assert not np.isfinite(found.advantage.se)
    as_text(found, "t")
    json.dumps(as_json(found), allow_nan=False)


def test_the_lasso_is_simulated_if_asked_for() -> None:
    pytest.importorskip("sklearn")
    found = compare(Study(PROBLEM, prompts=20, draws=16, lasso=True)).methods["lasso"]
    assert np.isnan(found.theory)
    assert found.simulated > 0.0
    assert found.tuned in Grid.of(PROBLEM).lasso
    assert LABELS["lasso"] in as_text(compare(Study(PROBLEM, prompts=20, draws=16, lasso=True)), "t")


def test_best_of_a_curve() -> None:
    grid = Grid.of(PROBLEM, [1.0, 2.0, 3.0])
    curve = Risk(np.array([0.3, 0.1, 0.2]), np.array([0.03, 0.01, 0.02]))
    found = theory.best(PROBLEM, grid, curve)
    assert found["p2o"] == (0.1, 0.01, 2.0)
    assert set(found) == set(theory.METHODS)
    for changed, known in (
        ({"support_variance": 0.5}, {"p2o", "ols", "oracle"}),
        ({"correlation": 0.5, "n": 9}, {"p2o", "oracle"}),
        (
            {"d": 16, "n": 16, "noise": 1e-4},
            {"p2o", "ols", "oracle"},
        ),  # the second one infinite
    ):
        found = theory.best(replace(PROBLEM, **changed), grid, curve)  # type: ignore[arg-type]
        assert {name for name, best in found.items() if not np.isnan(best.risk)} == known


def test_oracle_and_least_squares_for_any_covariance() -> None:
    """Exact there too: against prompts."""
    for changed in ({"correlation": 0.7}, {"support_variance": 0.3}):
        p = replace(PROBLEM, **changed)  # type: ignore[arg-type]
        sampled = simulate(p, ["ols", "oracle"], 3000, 2)
        known = theory.best(
            p, sampled.grid, Risk(np.ones(sampled.grid.p2o.size), np.ones(sampled.grid.p2o.size))
        )
        for name in ("ols", "oracle"):
            mean, error = sampled.at_best(name)
            assert error < 0.03 * mean
            assert abs(mean - known[name].risk) < 4 * error, (changed, name)


BROKEN: dict[str, Callable[[Any], Any]] = {
    "twice the signal": lambda p: replace(p, signal=2 * p.signal),
    "four pairs less": lambda p: replace(p, n=p.n - 4),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_theory_of_another_problem_is_noticed(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = theory.best
    monkeypatch.setattr(theory, "best", lambda p, *rest: sound(BROKEN[case](p), *rest))
    with pytest.raises(AssertionError):
        test_theory_and_simulation_are_of_one_problem()
