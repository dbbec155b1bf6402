"""The registry of methods, and the theory of each at its best."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spectral_icl.sparse.methods import USUAL, best_risks
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.risk.equivalent import Risk
from spectral_icl.sparse.simulation import simulate
from spectral_icl.sparse.tuning import Tuning

PROBLEM = SparseProblem(8, 2, 24, 0.3)


def test_best_of_a_curve() -> None:
    grid = Tuning.of(PROBLEM, [1.0, 2.0, 3.0])
    curve = Risk(np.array([0.3, 0.1, 0.2]), np.array([0.03, 0.01, 0.02]))
    found = best_risks(PROBLEM, grid, curve)
    assert found["p2o"] == (0.1, 0.01, 2.0)
    assert set(found) == set(USUAL)
    for changed, known in (
        ({"support_variance": 0.5}, {"p2o", "ols", "oracle"}),
        ({"correlation": 0.5, "n": 9}, {"p2o", "ols", "oracle"}),
        ({"correlation": 0.5, "n": 7}, {"p2o", "oracle"}),
        ({"correlation": 0.5, "n": 1}, {"p2o"}),
        (
            {"d": 16, "n": 16, "noise": 1e-4},
            {"p2o", "ols", "oracle"},
        ),  # least squares infinite, as for 9 pairs above
    ):
        found = best_risks(replace(PROBLEM, **changed), grid, curve)  # type: ignore[arg-type]
        assert {name for name, best in found.items() if not np.isnan(best.risk)} == known


def test_oracle_and_least_squares_for_any_covariance() -> None:
    """Exact there too: against prompts."""
    for changed in ({"correlation": 0.7}, {"support_variance": 0.3}):
        p = replace(PROBLEM, **changed)  # type: ignore[arg-type]
        sampled = simulate(p, ["ols", "oracle"], 3000, 2)
        known = best_risks(
            p, sampled.tuning, Risk(np.ones(sampled.tuning.p2o.size), np.ones(sampled.tuning.p2o.size))
        )
        for name in ("ols", "oracle"):
            mean, error = sampled.at_best(name)
            assert error < 0.03 * mean
            assert abs(mean - known[name].risk) < 4 * error, (changed, name)
