"""The closed form of a lone head: its integral, its limits, and where it does not apply."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES
from scipy.integrate import quad

import spectral_icl as si
from spectral_icl.multitask.flow.emergence import predicted_emergence


@pytest.mark.parametrize("context_length", [30.0, 100.0, 1e4])
@pytest.mark.parametrize("ratio", [0.3, 1.0, 4.0])
def test_emergence_formula_is_its_integral(context_length: float, ratio: float) -> None:
    """The closed form against quadrature of dt = domega / (c1 omega mu(omega)), and of the warm-up ODE."""
    p = si.Problem(
        block_sizes=(12,), signal=((3.0,),), noise=0.5, context_length=context_length, covariance=0.8
    )
    c, omega0 = 0.25, 0.003
    c1, c2 = 4 * c * 0.8 * 3.0 / 12, 4 * 0.8 * 3.0
    n = 4 * 3.5 / context_length
    slope = c2 / (c1 + n)
    mu0 = ratio * slope * omega0
    start = si.State(np.array([[omega0]]), np.array([[mu0]]))
    predicted = predicted_emergence(p, start, c, 0)

    def integrand(s: float) -> float:
        omega = omega0 / s
        mu = slope * omega + (mu0 - slope * omega0) * s ** (n / c1)
        return 1.0 / (c1 * mu) / s

    expected = quad(integrand, 0.0, 1.0, epsabs=0.0, epsrel=1e-11)[0]
    assert (predicted.head, predicted.remark) == (0, "")
    assert predicted.time == pytest.approx(expected, rel=1e-9)


def test_emergence_without_the_noise_term_is_a_logarithm() -> None:
    p = si.Problem(block_sizes=(10,), signal=((10.0,),), noise=0.0, context_length=1e12)
    c, omega0, mu0 = 0.2, 0.002, 0.04
    c1, c2 = 4 * c * 10.0 / 10, 4 * 10.0
    gap = c2 * omega0 - c1 * mu0
    predicted = predicted_emergence(p, si.State(np.array([[omega0]]), np.array([[mu0]])), c, 0).time
    assert predicted == pytest.approx(np.log(c2 * omega0 / (c1 * mu0)) / gap, rel=1e-8)


@pytest.mark.parametrize("scale", [1e-3, 1e-2])
@pytest.mark.parametrize("seed", range(5))
def test_winner_and_time_from_dominant_starts(scale: float, seed: int) -> None:
    p = si.Problem.multitask(task_sizes=(8, 12, 20), signal=(1.0, 2.0, 1.5), noise=0.1, context_length=2000)
    start = si.initial.dominant(p, heads=4, scale=scale, margin=3.0, seed=seed)
    sol = si.gradient_flow(p, *start, t_end=1e5)
    leaders = tuple(int(h) for h in start.mu.argmax(axis=0))
    assert sol.allocation == leaders
    for task in sol.phases.tasks:
        assert task.predicted_head == task.head
        assert task.time == pytest.approx(task.predicted_time, rel=0.15)
    assert sol.loss[-1] == pytest.approx(si.optimal.head_per_task(p).loss, rel=1e-4)


def test_emergence_formula_where_the_function_is_singular() -> None:
    """mu0 far below A omega0, against a quadrature in logarithmic time; the head that wins has it so."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    omega = np.array([[0.05, 1e-4], [1e-3, 0.05]])
    mu = np.array([[1e-14, 1e-3], [1e-6, 1e-3]])
    sol = si.gradient_flow(p, omega, mu, parametrization=si.Balanced(0.3), t_end=100.0)
    task = sol.phases.tasks[0]
    assert task.predicted_head == task.head == 0
    c1, c2, n = 4 * 0.3, 40.0, 4 * 10.09 / 100
    slope = c2 / (c1 + n)

    def integrand(log_ratio: float) -> float:  # omega = omega0 (1 + e^y), so that the start is resolved
        grown = np.exp(log_ratio)
        ratio = 1.0 + grown
        power = -np.expm1(-(1.0 + n / c1) * np.log1p(grown)) + 1e-14 / (slope * 0.05) * ratio ** (-1 - n / c1)
        return grown / (c1 * slope * 0.05 * ratio**2 * power)

    expected = quad(integrand, -60.0, 60.0, epsrel=1e-11, limit=500)[0]
    assert task.predicted_time == pytest.approx(expected, rel=1e-8)
    assert task.time == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("imbalance", [0.1, 1.0])
def test_no_prediction_outside_its_hypotheses(two_tasks: si.Problem, imbalance: float) -> None:
    sol = si.gradient_flow(
        two_tasks,
        *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2),
        parametrization=si.Factored(imbalance, imbalance),
    )
    for task in sol.phases.tasks:
        assert task.predicted_time is None
        assert "imbalance" in task.remark


def test_reasons_for_no_prediction(two_tasks: si.Problem) -> None:
    tied = si.gradient_flow(two_tasks, np.full((2, 2), 0.01), np.full((2, 2), 0.01))
    assert "tied" in tied.phases.tasks[0].remark
    large = si.gradient_flow(two_tasks, *si.initial.dominant(two_tasks, 2, scale=0.5), t_end=50.0)
    assert "not small" in large.phases.tasks[0].remark
    opposed = si.gradient_flow(two_tasks, np.full((1, 2), 0.01), np.full((1, 2), -0.01), t_end=50.0)
    assert "omega mu > 0" in opposed.phases.tasks[0].remark
    merged = CASES["superposition_overlap_merged"].solve(t_eval=None)
    assert "merged" in merged.phases.tasks[0].remark
