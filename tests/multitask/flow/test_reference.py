"""The solver against the reference trajectories."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, Case


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


def test_losing_heads_are_followed_below_1e_300() -> None:
    """mu of a losing head is right to many digits long after an absolute tolerance would have lost it."""
    case = CASES["paper_two_tasks_balanced"]
    sol = case.solve(rtol=1e-10)
    losing, expected = sol.mu[:, 0, 1], case.mu[:, 0, 1]
    assert expected[8] < 1e-79
    np.testing.assert_allclose(losing[:9], expected[:9], rtol=1e-5)
    assert losing[-1] == 0.0  # below what a float holds, but with its sign
    assert not np.signbit(losing[-1])


def test_a_stiff_solver_needs_few_steps() -> None:
    """To t = 2e5 an explicit method needs tens of thousands of steps."""
    case = CASES["three_tasks_four_heads"]
    for rtol, most in ((1e-4, 100), (1e-6, 220), (1e-8, 520)):
        assert case.solve(rtol=rtol).stats.steps < most
