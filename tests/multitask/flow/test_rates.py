"""Rates at the limit are those derived, and those of tasks with another covariance."""

from __future__ import annotations

import numpy as np
import pytest
from expressions import compiled

import spectral_icl as si
from spectral_icl.multitask.flow.rates import losing_rates, stray_coefficients, winner_rates
from theory.multitask import head_per_task
from theory.symbols import L

SCALE = 0.3


@pytest.fixture
def uneven() -> si.Problem:
    """Two tasks that differ in everything."""
    return si.Problem.multitask(
        task_sizes=(4, 9), signal=(1.0, 0.5), noise=(0.1, 0.4), context_length=70, covariance=(0.5, 2.0)
    )


def each(p: si.Problem) -> list[tuple[float, float, int, float]]:
    """Power, ratio, size and eigenvalue of every task."""
    ratios = p.variance / p.power
    return list(zip(p.power, ratios, p.block_sizes, p.covariance, strict=True))


def test_rates_are_those_derived(uneven: si.Problem) -> None:
    found = winner_rates(uneven, SCALE)
    derived = compiled(head_per_task.winner_rates, 4, L)
    stray = compiled(head_per_task.stray_coefficient, 4, L)
    losing = compiled(head_per_task.losing_rate, 4, L)
    z = np.array([[0.0, 0.3], [1.0, -0.5]])
    rates, coefficients = losing_rates(uneven, z), stray_coefficients(uneven, SCALE)
    for i, (power, ratio, size, kappa) in enumerate(each(uneven)):
        fast, slow = derived(power, ratio, size, SCALE * kappa, 70.0)
        np.testing.assert_allclose((-found.fast[i], -found.slow[i]), (fast, slow), rtol=1e-12)
        for head in range(2):
            expected = losing(z[head, i], power, ratio, size, 70.0)
            assert rates[head, i] == pytest.approx(expected, rel=1e-12, abs=1e-15)
        for block, eigenvalue in enumerate(uneven.covariance):
            # w = kappa omega has the key scale kappa c, and w' = -k w^2 is omega' = -k kappa omega^2
            expected = stray(power, ratio, size, SCALE * eigenvalue, 70.0) * eigenvalue
            assert coefficients[i, block] == pytest.approx(expected, rel=1e-12)


def test_rates_are_those_of_the_field(uneven: si.Problem) -> None:
    """Logarithmic rates of a loser and of a stray, from the gradient at the limit with an eigenvalue."""
    limit = si.optimal.head_per_task(uneven).weights
    assert limit is not None
    omega, mu = limit.omega.copy(), limit.mu.copy()
    omega[0, 1] = 1e-5
    slope = si.gradient(uneven, omega, mu).omega[0, 1] / uneven.block_sizes[1]
    coefficient = stray_coefficients(uneven, SCALE)[0, 1]
    assert 2.0 * SCALE * slope == pytest.approx(coefficient * 1e-5, rel=1e-5)
    z = np.array([[1.0, 0.4], [0.0, 1.0]])
    omega = z / (np.asarray(uneven.covariance) * np.sqrt(uneven.block_sizes))
    omega[0, 1] = 0.4 / (uneven.covariance[1] * uneven.block_sizes[1] ** 0.5)
    # the loser of task 1 alone beside its winner: the own task of the loser is not there
    lone = np.zeros_like(limit.mu)
    lone[1, 1] = limit.mu[1, 1]
    omega[0, 0] = 0.0
    assert 2.0 * si.gradient(uneven, omega, lone).mu[0, 1] == pytest.approx(losing_rates(uneven, z)[0, 1])


def test_overlapping_tasks_have_no_such_rates() -> None:
    p = si.Problem(block_sizes=(8, 8), signal=((1.0, 1.0), (0.0, 1.0)), noise=0.1, context_length=200)
    for rates in (
        lambda: winner_rates(p, 1.0),
        lambda: losing_rates(p, np.zeros(2)),
        lambda: stray_coefficients(p, 1.0),
    ):
        with pytest.raises(si.ProblemError, match="disjoint tasks, one block each"):
            rates()


def test_bad_arguments_are_named(uneven: si.Problem) -> None:
    for scale in (0.0, -1.0, np.nan):
        with pytest.raises(si.ProblemError, match="key_scale: expected a number > 0"):
            winner_rates(uneven, scale)
        with pytest.raises(si.ProblemError, match="key_scale: expected a number > 0"):
            stray_coefficients(uneven, scale)
    for reading in (np.zeros(3), np.zeros((2, 1)), 0.5):
        with pytest.raises(si.ProblemError, match="reading: expected an array"):
            losing_rates(uneven, reading)  # type: ignore[arg-type]
    with pytest.raises(si.ProblemError, match=r"reading\[1\]: expected a finite number"):
        losing_rates(uneven, np.array([0.0, np.nan]))


@pytest.mark.filterwarnings("error")
def test_far_readings_decay_at_once(uneven: si.Problem) -> None:
    assert losing_rates(uneven, np.array([800.0, 800.0])).tolist() == [np.inf, np.inf]
    near = losing_rates(uneven, np.array([0.3, 0.3]))
    np.testing.assert_array_equal(losing_rates(uneven, [[[0.3, 0.3]]] * 4), np.tile(near, (4, 1, 1)))
