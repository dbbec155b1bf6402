"""Measured phases beside the theory's predictions."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES
from scipy.integrate import quad

import spectral_icl as si
from spectral_icl.multitask.flow.emergence import predicted_emergence


def test_the_papers_two_tasks() -> None:
    sol = CASES["paper_two_tasks_balanced"].solve(t_eval=None)
    phases = sol.phases
    assert sol.allocation == (0, 1)
    times = np.linspace(20.0, 24.0, 8001)
    falls = -np.diff(si.task_loss(sol.problem, *sol(times))[:, 0])
    steepest = times[falls.argmax()]
    for task in phases.tasks:
        assert task.time == pytest.approx(steepest, abs=0.01)
        assert task.predicted_time == pytest.approx(21.2, abs=0.05)
        assert task.predicted_head == task.head
        assert task.onset < task.time < task.settled
        assert task.plateau == pytest.approx(2.242398, rel=0.005)
    assert phases.warm_up == (0.0, min(task.onset for task in phases.tasks))
    assert phases.emergence[1] == phases.convergence[0]
    assert phases.convergence[1] == 20000.0
    assert phases.escapes == ()


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


@pytest.mark.parametrize("imbalance", [1e-10, 1e-8, 1e-6, 1e-4])
def test_escape_time(two_tasks: si.Problem, imbalance: float) -> None:
    sol = si.gradient_flow(
        two_tasks,
        *si.initial.paper(two_tasks, heads=2),
        parametrization=si.Factored(imbalance, imbalance),
        t_end=400.0,
    )
    assert len(sol.phases.escapes) == 2
    plateau = si.optimal.head_per_task(two_tasks).loss
    for escape in sol.phases.escapes:
        assert escape.head == 1 - escape.task
        assert escape.time == pytest.approx(escape.predicted_time, rel=0.05)
        assert sol.phases.convergence[1] <= escape.time
        assert si.loss(two_tasks, *sol(escape.time)) < 0.95 * plateau
    assert sol.loss[-1] < 0.85 * plateau


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
        *si.initial.paper(two_tasks, heads=2),
        parametrization=si.Factored(imbalance, imbalance),
    )
    for task in sol.phases.tasks:
        assert task.predicted_time is None
        assert "imbalance" in task.remark


def test_escape_through_a_rival_that_starts_on_the_other_side(two_tasks: si.Problem) -> None:
    omega, mu = si.initial.paper(two_tasks, heads=2)
    mu[[0, 1], [1, 0]] *= -1.0
    sol = si.gradient_flow(two_tasks, omega, mu, parametrization=si.Factored(1e-6, 1e-6), t_end=1e3)
    assert [escape.head for escape in sol.phases.escapes] == [1, 0]
    for escape, task in zip(sol.phases.escapes, sol.phases.tasks, strict=True):
        assert task.time < escape.time < 40.0  # sooner than the 49 of a rival that must first change sign


def test_weak_tasks_emerge_too() -> None:
    """What counts is the fall against what attention can reach, not against the signal."""
    p = si.Problem.multitask(task_sizes=(100,), signal=10.0, noise=70.0, context_length=100)
    sol = si.gradient_flow(p, *si.initial.dominant(p, heads=2), t_end=1e5)
    assert sol.final_loss == pytest.approx(si.optimal.head_per_task(p).loss, rel=1e-6)
    assert sol.allocation == (0,)


def test_a_flow_that_ends_in_its_emergence_tells_the_onset(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, heads=2), t_end=22.0)
    assert sol.allocation == (None, None)
    assert sol.phases.warm_up[1] == pytest.approx(20.5, abs=0.2)
    assert np.isnan(sol.phases.emergence[1])


def test_the_fall_of_a_large_start_is_no_emergence(two_tasks: si.Problem) -> None:
    omega, mu = si.initial.paper(two_tasks, heads=2)
    sol = si.gradient_flow(two_tasks, omega, 1000.0 * mu, t_end=100.0)
    for task in sol.phases.tasks:
        assert task.onset <= task.time <= task.settled
        assert "not small" in task.remark


def test_no_emergence_is_said_not_guessed(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, heads=2), t_end=5.0)
    assert sol.allocation == (None, None)
    assert np.isnan(sol.phases.tasks[0].time)
    assert sol.phases.warm_up == (0.0, 5.0)
    assert "not emerged" in repr(sol)


def test_a_plateau_left_early_is_still_an_emergence(two_tasks: si.Problem) -> None:
    """With a large imbalance the escape begins before the plateau is reached to 0.1 %."""
    sol = si.gradient_flow(
        two_tasks,
        *si.initial.paper(two_tasks, heads=2),
        parametrization=si.Factored(1e-2, 1e-2),
        t_end=300.0,
    )
    assert sol.allocation == (0, 1)
    assert all(np.isfinite(escape.time) for escape in sol.phases.escapes)


def test_reasons_for_no_prediction(two_tasks: si.Problem) -> None:
    tied = si.gradient_flow(two_tasks, np.full((2, 2), 0.01), np.full((2, 2), 0.01))
    assert "tied" in tied.phases.tasks[0].remark
    large = si.gradient_flow(two_tasks, *si.initial.dominant(two_tasks, 2, scale=0.5), t_end=50.0)
    assert "not small" in large.phases.tasks[0].remark
    opposed = si.gradient_flow(two_tasks, np.full((1, 2), 0.01), np.full((1, 2), -0.01), t_end=50.0)
    assert "omega mu > 0" in opposed.phases.tasks[0].remark
    merged = CASES["superposition_overlap_merged"].solve(t_eval=None)
    assert "merged" in merged.phases.tasks[0].remark


def test_one_head_serves_every_task(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, heads=1), t_end=1e4)
    assert sol.allocation == (0, 0)
    np.testing.assert_allclose(sol.shares, 1.0)
    assert sol.loss[-1] == pytest.approx(si.optimal.single_head(two_tasks).loss, rel=1e-6)


def test_a_task_that_only_falls_to_the_loss_of_zero_weights_has_not_emerged() -> None:
    """From weights of the wrong sign the loss falls from above it, and nothing is learned."""
    p = si.Problem.multitask(task_sizes=(5, 10, 15), signal=(3.0, 5.0, 8.0), noise=0.3, context_length=200)
    omega = np.full((2, 3), 0.05)
    mu = np.repeat([[-1.0], [-0.9]], 3, axis=1)
    for t_end in (5.0, 50.0, 500.0):
        sol = si.gradient_flow(p, omega, mu, t_end=t_end)
        assert (sol.task_loss[-1] > 0.99 * p.variance).all()
        assert sol.allocation == (None, None, None)
