"""Heads at equal angles: their share in closed form against the profile of attention, and the best."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask.optimal import equiangular
from theory.multitask import equiangular as derived


def equal(tasks: int) -> si.Problem:
    """Equal tasks whose covariates differ."""
    covariance = [0.5 + 0.3 * k for k in range(tasks)]
    return si.Problem.multitask(
        task_sizes=(7,) * tasks, signal=1.2, noise=0.3, context_length=90, covariance=covariance
    )


@given(st.integers(2, 6), st.floats(-1.0, 1.0), st.floats(0.05, 1.5))
@settings(max_examples=60)
def test_share_is_that_of_the_weights_and_the_derived_one(tasks: int, alpha: float, beta: float) -> None:
    p = equal(tasks)
    at = equiangular.weights(p, alpha, beta)
    losses = si.task_loss(p, *at) - 0.3
    share = 7 * 1.5 * (1.2 - losses) / (90 * 1.2 * losses)
    expected = equiangular.share(tasks, alpha, beta)
    np.testing.assert_allclose(share, expected, rtol=1e-6)
    assert 0.0 < expected <= 1.0 - 1.0 / tasks
    u, v = beta**2, (tasks * alpha + beta) ** 2 / tasks
    assert expected == pytest.approx(float(derived.share(sp.Float(u), sp.Float(v), sp.Integer(tasks))))
    simplex = equiangular.share(tasks, -beta / tasks, beta)
    assert expected <= simplex * (1 + 1e-12)
    values = at.omega * np.array(p.covariance) * np.sqrt(7.0)
    np.testing.assert_allclose(values, alpha + beta * np.eye(tasks), atol=1e-12)


def test_the_least_is_the_head_budget() -> None:
    for tasks in (2, 4):
        p = equal(tasks)
        assert equiangular.share(tasks, 0.0, 1e-4) == pytest.approx(1.0 - 1.0 / tasks, rel=1e-7)
        best = si.optimal.head_budget(p, tasks).loss - 0.3 * tasks
        assert equiangular.searched(p) == pytest.approx(best, rel=1e-7)
    assert equiangular.share(3, 0.1, 0.0) < 2 / 3  # all heads the same


@pytest.mark.filterwarnings("error")
def test_far_heads_share_next_to_nothing() -> None:
    """Where e^u would overflow, by the derived share in many digits."""
    for tasks, alpha, beta in ((2, -13.5, 27.0), (3, -9.0, 27.5), (40, -0.7, 30.0)):
        u, v = beta**2, (tasks * alpha + beta) ** 2 / tasks
        expected = derived.share(sp.Rational(u), sp.Rational(v), sp.Integer(tasks)).evalf(30)
        assert equiangular.share(tasks, alpha, beta) == pytest.approx(float(expected), rel=1e-11, abs=0.0)
    assert equiangular.share(2, 30.0, 30.0) == 0.0


def test_bad_arguments_are_named() -> None:
    for tasks in (1, 2.5, True):
        with pytest.raises(si.ProblemError, match="tasks: expected a whole number >= 2"):
            equiangular.share(tasks, 0.1, 0.1)  # type: ignore[arg-type]
    with pytest.raises(si.ProblemError, match="alpha: expected a number"):
        equiangular.share(2, np.inf, 0.1)


def test_equal_tasks_are_recognised() -> None:
    assert equiangular.alike(equal(3))
    for change in ({"task_sizes": (7, 8)}, {"signal": (1.0, 1.1)}, {"noise": (0.3, 0.31)}):
        facts = {"task_sizes": (7, 7), "signal": 1.0, "noise": 0.3, "context_length": 9} | change
        assert not equiangular.alike(si.Problem.multitask(**facts))  # type: ignore[arg-type]
    overlapping = si.Problem(block_sizes=(4,), signal=((1.0,), (1.0,)), noise=0.1, context_length=5)
    assert not equiangular.alike(overlapping)
    with pytest.raises(si.ProblemError, match="problem: expected disjoint tasks"):
        equiangular.weights(overlapping, 0.1, 0.1)
    with pytest.raises(si.ProblemError, match="beta: expected"):
        equiangular.weights(equal(2), 0.1, 40.0)
