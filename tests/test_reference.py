"""The solver against the reference trajectories."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import CASES, Case


@pytest.mark.parametrize("rtol", [1e-9, 1e-10, 1e-11])
def test_every_reference_time_within_1e7(case: Case, rtol: float) -> None:
    sol = case.solve(rtol=rtol)
    assert case.error(sol) <= 1e-7
    np.testing.assert_allclose(sol.loss, case.loss, rtol=1e-6)


def test_error_follows_rtol_over_four_decades(case: Case) -> None:
    errors = [case.error(case.solve(rtol=10.0**-k)) for k in range(5, 10)]
    assert errors == sorted(errors, reverse=True)
    # four decades of tolerance buy at least three of accuracy
    assert errors[-1] <= 1e-3 * errors[0]


def test_default_tolerance_is_honest(case: Case) -> None:
    assert case.error(case.solve()) <= 2e-7


def test_the_flow_ends_where_naive_integrators_do_not() -> None:
    """In the primal variables integration errors flip signs and end at 0.447, not at 0.666221."""
    case = CASES["three_tasks_four_heads"]
    for rtol in (1e-3, 1e-5, 1e-8):
        sol = case.solve(rtol=rtol)
        assert sol.loss[-1] == pytest.approx(0.666221, abs=2e-6)
        assert (np.sign(sol.mu) * np.sign(case.mu0) >= 0).all()


def test_escape_of_the_imbalanced_flow_is_followed() -> None:
    case = CASES["paper_two_tasks_imbalance_1e-6"]
    sol = case.solve(rtol=1e-9)
    assert case.mu[-1].min() < -10.0  # the reference has escaped
    assert sol.mu[-1].min() == pytest.approx(case.mu[-1].min(), rel=1e-8)
