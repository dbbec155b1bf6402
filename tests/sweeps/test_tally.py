"""Counts of what became of points."""

import numpy as np

from spectral_icl.multitask.flow.saturation import LIMIT
from spectral_icl.sweeps.multitask.points import FlowPoints
from spectral_icl.sweeps.points import INVALID
from spectral_icl.sweeps.sparse.points import SparsePoints
from spectral_icl.sweeps.tally import Failures, Tally, tally


def test_tallies_add_up() -> None:
    a = Tally(5, {3: Failures(2, 7)}, (1.0, 2.0), Failures(1, 6))
    b = Tally(4, {3: Failures(1, 4), 100: Failures(1, 9)}, (0.5, 1.5), Failures(2, 5))
    both = Tally(9, {3: Failures(3, 4), 100: Failures(1, 9)}, (0.5, 2.0), Failures(3, 5))
    assert a + b == b + a == both
    assert a + Tally() == Tally() + a == a
    assert (a + b).failed == 4
    assert a.failures == {3: Failures(2, 7)}


def test_points_are_counted_by_what_became_of_them() -> None:
    values = {
        "status": np.array([0, INVALID, 1, 3, INVALID, 0]),
        "loss": np.array([2.0, np.nan, 1.0, 9.0, np.nan, 3.0]),
        "saturation": np.array([0.1, np.nan, 2 * LIMIT, 2 * LIMIT, np.nan, 2 * LIMIT]),
    }
    points = FlowPoints()
    failures = {3: Failures(1, 13), INVALID: Failures(2, 11)}
    assert tally(points, values, 10) == Tally(6, failures, (1.0, 3.0), Failures(2, 12))


def test_points_without_a_guard_are_all_trusted() -> None:
    values = {"status": np.zeros(2, int), "p2o": np.array([0.2, 0.1])}
    assert tally(SparsePoints(), values, 0) == Tally(2, {}, (0.1, 0.2))
