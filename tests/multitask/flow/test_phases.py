"""Measured phases: emergences, plateaus, and what is none."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES

import spectral_icl as si


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


def test_weak_tasks_emerge_too() -> None:
    """What counts is the fall against what attention can reach, not against the signal."""
    p = si.Problem.multitask(task_sizes=(100,), signal=10.0, noise=70.0, context_length=100)
    sol = si.gradient_flow(p, *si.initial.dominant(p, heads=2), t_end=1e5)
    assert sol.final_loss == pytest.approx(si.optimal.head_per_task(p).loss, rel=1e-6)
    assert sol.allocation == (0,)


def test_a_flow_that_ends_in_its_emergence_tells_the_onset(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2), t_end=22.0)
    assert sol.allocation == (None, None)
    assert sol.phases.warm_up[1] == pytest.approx(20.5, abs=0.2)
    assert np.isnan(sol.phases.emergence[1])


def test_the_fall_of_a_large_start_is_no_emergence(two_tasks: si.Problem) -> None:
    omega, mu = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    sol = si.gradient_flow(two_tasks, omega, 1000.0 * mu, t_end=100.0)
    for task in sol.phases.tasks:
        assert task.onset <= task.time <= task.settled
        assert "not small" in task.remark


def test_no_emergence_is_said_not_guessed(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2), t_end=5.0)
    assert sol.allocation == (None, None)
    assert np.isnan(sol.phases.tasks[0].time)
    assert sol.phases.warm_up == (0.0, 5.0)
    assert "not emerged" in repr(sol)


def test_a_plateau_left_early_is_still_an_emergence(two_tasks: si.Problem) -> None:
    """With a large imbalance the escape begins before the plateau is reached to 0.1 %."""
    sol = si.gradient_flow(
        two_tasks,
        *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2),
        parametrization=si.Factored(1e-2, 1e-2),
        t_end=300.0,
    )
    assert sol.allocation == (0, 1)
    assert all(np.isfinite(escape.time) for escape in sol.phases.escapes)


def test_one_head_serves_every_task(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 1, 0.1, 0.1, 0.2), t_end=1e4)
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
