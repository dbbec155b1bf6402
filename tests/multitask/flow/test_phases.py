"""Measured phases: emergences, plateaus, and what is none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from cases import CASES
from strict import strict

import spectral_icl as si
from spectral_icl.multitask.report import FlowReport


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


@pytest.mark.parametrize(
    ("parametrization", "omega", "mu"),
    [(si.Balanced(), 0.3, 2.0), (si.Factored(1e-3, 1e-2), 0.3, 2.0), (si.Merged(), 0.5, 1.0)],
    ids=["balanced", "factored", "merged"],
)
def test_an_emergence_under_way_at_the_start_is_said_to_be(
    parametrization: si.Balanced | si.Factored | si.Merged, omega: float, mu: float
) -> None:
    """The loss falls fastest at once: a parabola through its first falls has its top before time 0."""
    p = si.Problem.multitask(task_sizes=(4,), signal=1.0, noise=0.1, context_length=100)
    sol = si.gradient_flow(p, [[omega]], [[mu]], parametrization=parametrization, t_end=100.0)
    task = sol.phases.tasks[0]
    losses = sol.task_loss[:, 0]
    falls = -np.diff(losses) / np.diff(sol.t)
    assert losses[0] < p.variance[0]
    assert falls.argmax() == 0
    assert task.under_way
    assert task.time == task.onset == 0.0
    assert task.head == 0
    assert sol.phases.warm_up == (0.0, 0.0)
    assert sol.phases.emergence == (0.0, task.settled)
    many = si.gradient_flow_ensemble(
        p, [[omega]], [[mu]], parametrization=parametrization, t_end=100.0, phases=True
    )
    assert many.emergence is not None
    assert many.onset is not None
    assert many.emergence[0, 0] == many.onset[0, 0] == 0.0
    told = FlowReport(sol, "", {})
    assert "emergence of task 0  0, under way" in told.to_text()
    assert strict(json.dumps(told.to_dict()))["phases"]["tasks"][0]["under_way"] is True


def test_phases_are_in_order_from_any_start() -> None:
    rng = np.random.default_rng(3)
    p = si.Problem.multitask(task_sizes=(4, 8), signal=(1.0, 3.0), noise=0.2, context_length=200)
    weights = (si.Balanced(), si.Factored(1e-3, 1e-2), si.Merged())
    starts = [si.initial.random(p, 2, 10 ** rng.uniform(-1.5, 0.3), k, positive=k % 4 > 0) for k in range(60)]
    many = si.gradient_flow_ensemble(
        p, *zip(*starts, strict=True), parametrization=[weights[k % 3] for k in range(60)], phases=True
    )
    assert many.emergence is not None
    there = np.isfinite(many.emergence)
    onset, time, settled = (
        values[there] for values in (many.onset, many.emergence, many.settled) if values is not None
    )
    assert time.size > 60
    assert ((onset >= 0.0) & (onset <= time) & (time <= settled) & (settled <= 200.0)).all()


def test_an_ordinary_emergence_is_not_under_way(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2), t_end=100.0)
    assert not any(task.under_way for task in sol.phases.tasks)


def test_a_loss_that_falls_without_a_head_is_no_emergence() -> None:
    """A zero omega stays one, so nothing of task 0 is learned; what falls is the noise of other heads."""
    p = si.Problem(
        block_sizes=(5547, 2),
        signal=(
            (0.001337359177191962, 0.0),
            (0.0, 25.09290393854366),
            (0.001337359177191962, 228.43616841640173),
        ),
        noise=(324.32977813111233, 71.31755473341124, 15.793208667379558),
        context_length=254.5687667459364,
        covariance=(0.0012153634850712706, 2.8997388759062397),
    )
    omega = [[0.0, -1.09558651e-05], [0.0, 1.98801822e-06], [0.0, 1.25080349e-06]]
    mu = [
        [1.11023185e-05, 3.10832900e-05, -3.77691698e-05],
        [3.21285044e-05, 0.0, -8.88362995e-06],
        [0.0, -3.74015852e-05, 1.15142639e-05],
    ]
    sol = si.gradient_flow(
        p, omega, mu, t_end=np.inf, stationary=4.734613204068024e-06, rtol=1.0222368660661375e-08
    )
    ensemble = si.gradient_flow_ensemble(
        p,
        [omega],
        [mu],
        t_end=np.inf,
        stationary=4.734613204068024e-06,
        rtol=1.0222368660661375e-08,
        phases=True,
    )
    assert sol.allocation[0] is None
    for task in sol.phases.tasks:
        assert (task.head is None) == np.isnan(task.time)
    np.testing.assert_array_equal(ensemble.allocation < 0, np.isnan(ensemble.emergence))
