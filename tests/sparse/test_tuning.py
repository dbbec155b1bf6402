"""What the methods are tuned over is long and fine enough."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spectral_icl.sparse.methods import METHODS
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.simulation import simulate
from spectral_icl.sparse.tuning import Tuning

PROBLEM = SparseProblem(8, 2, 20, 0.3)


GRIDS = {
    "usual": PROBLEM,
    "long prompts": SparseProblem(16, 4, 256, 0.25),
    "few pairs": SparseProblem(32, 4, 16, 0.25),
    "little noise": SparseProblem(16, 4, 160, 0.01),
    "Gaussian weights": SparseProblem(16, 4, 100, 0.25, weights="gauss"),
    "large signal": SparseProblem(16, 4, 100, 25.0, signal=100.0),
    "much noise": SparseProblem(16, 2, 40, 16.0),
    "hardly noise, few pairs": SparseProblem(16, 4, 20, 1e-4),
}


@pytest.mark.parametrize("case", GRIDS)
def test_best_on_the_grid_is_nearly_the_best(case: str) -> None:
    """A hundred times longer and shorter times, and ten times as many: a percent lower at most."""
    p = GRIDS[case]
    grid = Tuning.of(p)
    wide = replace(grid, p2o=p.s / p.v * np.geomspace(5e-3, 1e4, 150), gd=np.geomspace(5e-4, 4e4, 150))
    ours, finest = (simulate(p, ["p2o", "gd"], 200, 0, g) for g in (grid, wide))
    for name in ("p2o", "gd"):
        assert ours.at_best(name).mean <= 1.01 * finest.at_best(name).mean, name


def test_grid_of_given_times() -> None:
    assert Tuning.of(PROBLEM, [1.0, 2.0]).p2o.tolist() == [1.0, 2.0]
    assert Tuning.of(PROBLEM, 3.0).p2o.tolist() == [3.0]
    grid = Tuning.of(PROBLEM)
    for name, axis in (
        ("p2o", grid.p2o),
        ("p2o_off", grid.p2o),
        ("p2o_equivalent", grid.p2o),
        ("p2o_steps", grid.steps),
        ("gd_steps", grid.steps),
        ("gd", grid.gd),
        ("lasso", grid.lasso),
    ):
        assert METHODS[name].values(grid) is axis
    assert METHODS["ols"].values(grid) is None
    assert METHODS["oracle"].values(grid) is None
