"""The comparison of all methods on one problem."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spectral_icl.sparse import comparison
from spectral_icl.sparse.comparison import Comparison, compare
from spectral_icl.sparse.experiment import Study
from spectral_icl.sparse.methods import METHODS, best_risks
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.report import ComparisonReport
from spectral_icl.sparse.risk.isotropic import gd_risk, ols_risk, oracle_risk, ridge_opt_risk
from spectral_icl.sparse.tuning import Tuning

PROBLEM = SparseProblem(8, 2, 24, 0.3)


@pytest.fixture(scope="module")
def usual() -> Comparison:
    return compare(Study(PROBLEM, prompts=60, seed=4, draws=32))


def test_comparison_is_theory_beside_simulation(usual: Comparison) -> None:
    grid = Tuning.of(PROBLEM)
    assert list(usual.methods) == ["p2o", "gd", "ridge", "ols", "oracle"]
    flow = gd_risk(8, 24, 1.0, 0.3, times=grid.gd)
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


def test_a_seed_reproduces(usual: Comparison) -> None:
    again = compare(usual.study)
    assert ComparisonReport(again, "t").to_dict() == ComparisonReport(usual, "t").to_dict()
    other = compare(replace(usual.study, seed=5))
    assert other.methods["p2o"].theory != usual.methods["p2o"].theory
    assert other.methods["ols"].simulated != usual.methods["ols"].simulated


def test_progress_is_told() -> None:
    told: list[int] = []
    compare(Study(PROBLEM, prompts=30, draws=16), told.append)
    assert sum(told) == 30


def test_what_has_no_theory_is_nan() -> None:
    found = compare(Study(replace(PROBLEM, correlation=0.5, n=6), prompts=20, draws=16))
    for name in ("gd", "ridge", "ols"):  # least squares is exact for any covariance if n > d + 1
        assert np.isnan(found.methods[name].theory)
        assert np.isfinite(found.methods[name].simulated)
    assert np.isfinite([found.methods[name].theory for name in ("p2o", "oracle")]).all()
    assert np.isfinite(found.methods["ridge"].tuned)  # on the grid
    assert np.isnan(found.advantage.mean)
    assert np.isfinite(found.simulated_advantage.mean)
    row = next(
        line for line in ComparisonReport(found, "t").to_text().splitlines() if "gradient flow" in line
    )
    assert row.split()[2] == "-"
    assert ComparisonReport(found, "t").to_dict()["methods"]["ridge"]["theory"] is None
    longer = compare(Study(replace(PROBLEM, correlation=0.5), prompts=0, draws=16))
    assert longer.methods["ols"].theory == ols_risk(8, 24, 1.0, 0.3)


def test_without_prompts_nothing_is_simulated() -> None:
    found = compare(Study(PROBLEM, prompts=0, draws=16))
    assert found.simulation is None
    assert all(np.isnan([m.simulated, m.se]).all() for m in found.methods.values())
    assert np.isnan(found.simulated_advantage).all()
    text = ComparisonReport(found, "t").to_text()
    assert f"P2O / ridge = {found.advantage.mean:.3f}" in text
    assert "by theory" in text
    assert ComparisonReport(found, "t").to_dict()["curve"]["simulated"] is None


def test_infinite_risks() -> None:
    found = compare(Study(replace(PROBLEM, n=8), prompts=0, draws=16))
    assert found.methods["ols"].theory == np.inf
    assert "infinite" in ComparisonReport(found, "t").to_text()
    json.dumps(ComparisonReport(found, "t").to_dict(), allow_nan=False)


@pytest.mark.parametrize("prompts", [0, 20])
def test_without_noise(prompts: int) -> None:
    """Where ridge is right there is no advantage over it, and no error."""
    found = compare(Study(replace(PROBLEM, noise=0.0), prompts=prompts, draws=16))
    assert found.methods["ridge"].theory == found.methods["oracle"].theory == 0.0
    assert not np.isfinite(found.advantage.se)
    ComparisonReport(found, "t").to_text()
    json.dumps(ComparisonReport(found, "t").to_dict(), allow_nan=False)


def test_the_lasso_is_simulated_if_asked_for() -> None:
    pytest.importorskip("sklearn")
    found = compare(Study(PROBLEM, prompts=20, draws=16, lasso=True)).methods["lasso"]
    assert np.isnan(found.theory)
    assert found.simulated > 0.0
    assert found.tuned in Tuning.of(PROBLEM).lasso
    report = ComparisonReport(compare(Study(PROBLEM, prompts=20, draws=16, lasso=True)), "t")
    assert METHODS["lasso"].name in report.to_text()


BROKEN: dict[str, Callable[[Any], Any]] = {
    "twice the signal": lambda p: replace(p, signal=2 * p.signal),
    "four pairs less": lambda p: replace(p, n=p.n - 4),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_theory_of_another_problem_is_noticed(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "best_risks", lambda p, *rest: best_risks(BROKEN[case](p), *rest))
    with pytest.raises(AssertionError):
        test_theory_and_simulation_are_of_one_problem()
