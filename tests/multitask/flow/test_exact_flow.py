"""Flows under the exact law: they end at minima of the quadrature, and find the table that they need."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from weights import slow

import spectral_icl as si
from spectral_icl.multitask import context
from spectral_icl.multitask.context import pack, wider
from spectral_icl.multitask.exact.evaluate import enough, evaluate, quadrature
from spectral_icl.multitask.exact.overlaps import MEDIUM
from spectral_icl.multitask.exact.table import REACHES
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.loss import losses_at

SHORT = si.Problem(block_sizes=[5], signal=[[1.0]], noise=0.1, context_length=40)


@pytest.fixture(scope="module")
def two() -> si.Solution:
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    start = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    return si.gradient_flow(p, *start, t_end=1e4, stationary=1e-9, kernel="exact")


def test_a_flow_rests_where_the_quadrature_does(two: si.Solution) -> None:
    """And closer than the solution says, which no law in 1/L would: they rest 0.8 and 1.0 of it away."""
    there = evaluate(two.problem, two.final, 1)
    excess = there.loss - sum(two.problem.noise)
    assert abs(two.final_loss - there.loss) < two.saturation.final_error * excess + there.error
    assert two.saturation.final_error < 1e-4
    # of omega that decay, and would for ever, the gradient does not vanish
    winners = abs(two.final.omega) > 0.1
    assert abs(there.gradient.omega[winners]).max() < 2e-4 * abs(two.final.omega).max()
    assert abs(there.gradient.mu[abs(two.final.mu) > 0.1]).max() < 1e-5


ONE_HEAD, TWO_HEADS = ([[0.1]], [[0.1]]), ([[0.1], [-0.08]], [[0.1], [-0.05]])


@pytest.mark.parametrize(
    ("start", "t_end"), [(([[0.1]], [[0.6]]), 4.0), slow(ONE_HEAD, 30.0), slow(TWO_HEADS, 100.0)]
)
def test_a_flow_is_that_of_the_quadrature_all_the_way(start: tuple[Any, Any], t_end: float) -> None:
    """No table, another integrator, and a finer rule for the query: omega and mu to 1e-5."""
    omega, mu = (np.array(values) for values in start)
    heads, size = len(omega), SHORT.block_sizes[0]

    def field(_: float, x: np.ndarray) -> np.ndarray:
        at = si.State(x[:heads, None], x[heads:, None])
        slope = quadrature(SHORT, at, 1, enough(SHORT, at.omega) + 1, MEDIUM)[1]
        assert slope is not None
        return -np.concatenate([slope.omega.ravel() / size, slope.mu.ravel()])

    moments = np.linspace(0.0, t_end, 7)
    x = np.concatenate([omega.ravel(), mu.ravel()])
    told = solve_ivp(field, (0.0, t_end), x, method="LSODA", t_eval=moments, rtol=1e-7, atol=1e-9)
    flow = si.gradient_flow(
        SHORT, omega, mu, t_end=t_end, kernel="exact", parametrization=si.Merged(), rtol=1e-7
    )
    found = flow(moments)
    apart = np.ptp(told.y, axis=1).max()
    assert apart > 0.2  # they go somewhere
    assert np.abs(np.concatenate([found.omega[:, :, 0].T, found.mu[:, :, 0].T]) - told.y).max() < 1e-5


def test_phases_and_words(two: si.Solution) -> None:
    assert two.allocation == (0, 1)
    assert [task.time for task in two.phases.tasks] == pytest.approx([21.88, 21.88], abs=0.01)
    assert two.saturation.level == "accurate"
    assert two.saturation.law == "exact"
    assert "table and query rule leave" in str(two.saturation)
    assert max(map(len, two.saturation.lines)) < 110
    assert all(task.time is None for task in two.forecast)


def test_ensembles_agree_and_depend_on_no_company(two: si.Solution) -> None:
    p = two.problem
    starts = [si.initial.random(p, 2, seed=seed, positive=True) for seed in range(3)]
    omega, mu = (np.array(values) for values in zip(*starts, strict=True))
    omega[1] *= 4.0  # which needs a wider table than the others do
    many = si.gradient_flow_ensemble(p, omega, mu, t_end=40.0, kernel="exact", t_eval=[0.0, 30.0])
    for k in range(3):
        one = si.gradient_flow(p, omega[k], mu[k], t_end=40.0, kernel="exact")
        assert many.omega[k] == pytest.approx(one.final.omega, rel=1e-6)
        assert many.mu[k] == pytest.approx(one.final.mu, rel=1e-6)
        alone = si.gradient_flow_ensemble(p, omega[k], mu[k], t_end=40.0, kernel="exact", t_eval=[0.0, 30.0])
        assert (alone.omega[0] == many.omega[k]).all()
        assert (alone.loss_curve[0] == many.loss_curve[k]).all()
    assert many.valid.all()


def test_a_flow_that_leaves_its_table_is_followed_with_a_wider_one(
    two: si.Solution, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the start again, so that it is that of one table; in an ensemble too."""
    monkeypatch.setattr(context, "usual_reach", lambda _: REACHES[0])
    p, start = replace(two.problem), two(0.0)  # a problem that keeps no models yet
    assert pack(p, "exact", start.omega).reach == REACHES[0]
    assert wider(pack(p, "exact"), p).reach == REACHES[1]
    flow = si.gradient_flow(p, *start, t_end=100.0, kernel="exact")
    assert REACHES[1] < flow.trajectory.model.reach <= two.trajectory.model.reach
    assert flow.final.omega == pytest.approx(two(100.0).omega, rel=1e-5)
    assert flow.final.mu[0, 0] == pytest.approx(two(100.0).mu[0, 0], rel=1e-5)
    many = si.gradient_flow_ensemble(p, *start, t_end=100.0, kernel="exact", phases=True)
    assert many.omega[0] == pytest.approx(flow.final.omega, rel=1e-6)
    assert many.emergence[0] == pytest.approx(two.phases.tasks[0].time, rel=1e-4)


def test_a_flow_that_creeps_to_the_end_of_a_table_goes_on_with_the_next() -> None:
    """It comes there so slowly that its steps never shrink to the rounding of the time."""
    p = si.Problem.multitask(task_sizes=(20,), signal=1.0, noise=0.1, context_length=100)
    start = si.initial.dominant(p, 1)
    rest: dict[str, Any] = {"t_end": np.inf, "stationary": 1e-8, "kernel": "exact"}
    flow = si.gradient_flow(p, *start, **rest)
    assert flow.outcome is Outcome.STATIONARY
    assert flow.stats.steps < 1000
    assert flow.trajectory.model.reach > pack(p, "exact", start.omega).reach
    many = si.gradient_flow_ensemble(p, *start, **rest)
    assert many.outcome.tolist() == [Outcome.STATIONARY]
    assert many.omega[0] == pytest.approx(flow.final.omega, rel=1e-6)


def test_past_the_last_table_a_flow_says_so() -> None:
    far = np.array([[6.0]])
    with pytest.raises(si.IntegrationError, match="tables of the exact law") as failed:
        si.gradient_flow(SHORT, far, [[0.1]], kernel="exact")
    assert failed.value.solution.outcome is Outcome.LEFT_RANGE
    with pytest.raises(si.ProblemError, match="omega: expected at most 100, to integrate, got 'a logit"):
        si.loss(SHORT, far, [[0.1]], kernel="exact")
    many = si.gradient_flow_ensemble(SHORT, far, [[0.1]], kernel="exact")
    assert many.outcome.tolist() == [Outcome.LEFT_RANGE]


@pytest.mark.slow
def test_a_saturated_start_recovers() -> None:
    """From twice log L, past the other laws: back in their range at t = 35, then to the best head."""
    with pytest.raises(si.IntegrationError):
        si.gradient_flow(SHORT, [[1.2]], [[0.6]], kernel="first-order", parametrization=si.Merged())
    flow = si.gradient_flow(
        SHORT, [[1.2]], [[0.6]], t_end=1e3, kernel="exact", parametrization=si.Merged(), rtol=1e-7
    )
    variance = 5.0 * flow.omega[:, 0, 0] ** 2
    back = flow.t[np.flatnonzero(variance < 0.5 * np.log(40))[0]]
    assert 30.0 < back < 40.0
    assert flow.final.omega[0, 0] == pytest.approx(0.517905, abs=1e-4)
    assert flow.final.mu[0, 0] == pytest.approx(1.497087, abs=3e-4)
    assert "the softmax saturates from t = 0 on" in str(flow.saturation)
    for at in (0.0, 20.0, 100.0):
        assert float(evaluate(SHORT, flow(at)).loss) == pytest.approx(
            float(losses_at(SHORT, flow(at), "exact").sum()), rel=3e-3
        )
