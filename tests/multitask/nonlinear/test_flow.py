"""Flows on single-index tasks: of linear ones those of the package, descent, and the end of a law."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.nonlinear.flow import SingleIndexFlow, UnfinishedFlow, gradient_flow
from spectral_icl.multitask.nonlinear.loss import gradient, loss
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.parametrization import Parametrization

WEIGHTS = [si.Balanced(), si.Factored(0.01, 0.02), si.Merged()]
POWERS = (0.9, 1.4)
P = SingleIndex(
    task_sizes=(6, 9), coefficients=[(0.0, a**0.5) for a in POWERS], noise=0.1, context_length=300
)
Q = si.Problem.multitask(task_sizes=(6, 9), signal=POWERS, noise=0.1, context_length=300)
MIXED = SingleIndex(task_sizes=(20,), coefficients=(0.3, 1.0, 0.5), noise=0.1, context_length=2000)
START = (np.array([[0.03], [0.02]]), np.array([[0.03], [0.05]]))


@pytest.mark.parametrize("kernel", ["asymptotic", "first-order"])
@pytest.mark.parametrize("weights", WEIGHTS, ids=lambda weights: weights.name)
def test_linear_tasks_have_the_flow_of_the_package(kernel: str, weights: Parametrization) -> None:
    start = si.initial.random(Q, 2, scale=0.1, seed=1)  # of both signs
    options: dict[str, Any] = {"parametrization": weights, "t_end": 100.0, "kernel": kernel, "rtol": 1e-10}
    mine, theirs = gradient_flow(P, *start, **options), si.gradient_flow(Q, *start, **options)
    t = np.linspace(0.0, 100.0, 60)
    for one, other in zip(mine(t), theirs(t), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(mine.final_task_loss, theirs.final_task_loss, rtol=1e-8)


@pytest.fixture(scope="module")
def solved() -> SingleIndexFlow:
    return gradient_flow(
        MIXED, *START, parametrization=si.Factored(0.01, 0.01), t_end=100.0, kernel="first-order"
    )


def test_a_flow_descends_and_ends_where_it_should(solved: SingleIndexFlow) -> None:
    assert solved.success
    assert "reached the end (at t = 100)" in solved.message
    assert (np.diff(solved.loss) < 1e-9).all()
    assert solved.loss[-1] == pytest.approx(loss(MIXED, *solved.final, kernel="first-order"), rel=1e-12)
    np.testing.assert_allclose(solved(0.0).omega, START[0], rtol=1e-12)


def test_its_slope_is_that_of_the_factors(solved: SingleIndexFlow) -> None:
    """omega' = -c (c^2 D^2 + 4 omega^2)^(1/2) G and mu' = -(D^2 + 4 mu^2)^(1/2) dloss/dmu."""
    c, h = si.Balanced().scale(MIXED.frame), 0.01
    for t in (5.0, 20.0, 60.0):
        at, slope = solved(t), gradient(MIXED, *solved(t), kernel="first-order")
        rise = [(b - a) / (2 * h) for a, b in zip(solved(t - h), solved(t + h), strict=True)]
        wanted = -c * np.sqrt((c * 0.01) ** 2 + 4 * at.omega**2) * slope.omega / 20
        np.testing.assert_allclose(rise[0], wanted, rtol=1e-3, atol=1e-6)
        wanted = -np.sqrt(0.01**2 + 4 * at.mu**2) * slope.mu
        np.testing.assert_allclose(rise[1], wanted, rtol=1e-3, atol=1e-5)


def test_times_that_are_asked_for(solved: SingleIndexFlow) -> None:
    flow = gradient_flow(MIXED, *START, t_end=10.0, t_eval=[0.0, 2.5, 10.0])
    assert flow.t.tolist() == [0.0, 2.5, 10.0]
    assert flow.omega.shape == flow.mu.shape == (3, 2, 1)
    np.testing.assert_array_equal(flow(2.5).mu, flow.mu[1])
    assert solved(np.ones((2, 3))).omega.shape == (2, 3, 2, 1)
    with pytest.raises(si.ProblemError, match="t: expected times >= 0 and <= 10"):
        flow(11.0)


def test_balanced_heads_keep_their_signs() -> None:
    flow = gradient_flow(MIXED, *START, t_end=300.0)
    assert (flow.omega > 0.0).all()
    assert (flow.mu > 0.0).all()
    assert flow(300.0).mu.sum() > 1.5  # an intercept is amplified: signs that are kept cannot undo it


def test_a_flow_that_leaves_the_range_of_its_law_says_when() -> None:
    """Short prompts of a small block: past its range that law is bounded by nothing."""
    p = SingleIndex(task_sizes=(2,), coefficients=(0.0, 1.0), noise=0.0, context_length=10)
    with pytest.raises(UnfinishedFlow, match=r"left the range of the first-order law.*at t = ") as error:
        gradient_flow(p, [[0.6]], [[6.0]], parametrization=si.Merged(), kernel="first-order")
    flow = error.value.flow
    assert flow is not None
    assert flow.outcome is Outcome.LEFT_RANGE
    assert 0.0 < flow.end < 200.0
    assert 2.0 * flow.final.omega[0, 0] ** 2 == pytest.approx(0.999, rel=1e-4)
    assert flow.omega.shape[0] == flow.t.size > 1
    assert pickle.loads(pickle.dumps(error.value)).flow.end == flow.end


def test_a_flow_that_runs_out_of_steps_keeps_what_it_has(solved: SingleIndexFlow) -> None:
    with pytest.raises(UnfinishedFlow, match="ran out of steps") as error:
        gradient_flow(MIXED, *START, kernel="first-order", max_steps=10)
    flow = error.value.flow
    assert flow is not None
    assert (flow.outcome, flow.t.size) == (Outcome.STEP_LIMIT, 11)
    assert flow.t[-1] == flow.end < 200.0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"omega0": [[0.1, 0.1]]}, "omega0: expected an array of finite numbers of shape (any, 1)"),
        ({"mu0": [[0.1]]}, "mu0: expected as many heads as omega, which has 2, and >= 1, got '1 heads'"),
        (
            {"omega0": [[0.8], [0.1]]},
            "omega0: expected heads in the range of the first-order law, 2 omega^2 < 0.999",
        ),
        ({"t_end": 0.0}, "t_end: expected a number > 0"),
        ({"t_eval": [1.0, 0.5]}, "t_eval: expected times that do not decrease"),
        ({"t_eval": [300.0]}, "t_eval: expected times that do not decrease"),
        ({"max_steps": 0}, "max_steps: expected a whole number >= 1"),
        ({"rtol": 1.0}, "rtol: expected a number >= 1e-13 and <= 0.1"),
        ({"kernel": "exact"}, "kernel: expected one of 'asymptotic', 'first-order', got 'exact'"),
        ({"parametrization": "balanced"}, "parametrization: expected Balanced, Factored or Merged"),
    ],
)
def test_bad_input_is_one_line(change: dict[str, Any], line: str) -> None:
    arguments: dict[str, Any] = {"omega0": START[0], "mu0": START[1], "kernel": "first-order"} | change
    with pytest.raises(si.ProblemError) as error:
        gradient_flow(MIXED, **arguments)
    assert str(error.value).startswith(line)


def test_many_heads_are_refused() -> None:
    many = np.full((200, 1), 0.01)
    with pytest.raises(si.ProblemError, match="omega0: expected 2 H I <= 256, got '200 heads'"):
        gradient_flow(MIXED, many, many)
