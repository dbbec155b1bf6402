"""What is said of a comparison."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from spectral_icl.sparse.comparison import Comparison, compare
from spectral_icl.sparse.experiment import Study
from spectral_icl.sparse.methods import COMPARED, METHODS
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.report import ComparisonReport

PROBLEM = SparseProblem(8, 2, 48, 0.3)


@pytest.fixture(scope="module")
def usual() -> Comparison:
    return compare(Study(PROBLEM, prompts=60, seed=4, draws=32))


def test_text(usual: Comparison) -> None:
    lines = ComparisonReport(usual, "A title").to_text().splitlines()
    assert lines[0] == "A title"
    assert "d = 8, s = 2, n = 48, noise 0.3, signal 1" in lines[1]
    for name in COMPARED:
        rows = [line for line in lines if line.strip().startswith(METHODS[name].name)]
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
    text = ComparisonReport(compare(Study(p, prompts=0, draws=16)), "t").to_text()
    assert "Gaussian weights, variance 0.2 on the support" in text
    shown = "prompts that show the support, n >= 16 s (1 + noise/signal)/variance"
    assert f"not met are: sparse weights, d >= 4 s; {shown}; variance on the support from 0.3" in text


def test_json(usual: Comparison) -> None:
    made = ComparisonReport(usual, "t").to_dict()
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
    assert len(made["curve"]["time"]) == len(made["curve"]["theory"]) == len(usual.tuning.p2o)
