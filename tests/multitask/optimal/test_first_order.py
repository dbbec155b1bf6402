"""The best attention under the first-order law: against closed forms, quadrature, and any weights."""

from __future__ import annotations

import exact_law
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems
from weights import slow

import spectral_icl as si
from theory.multitask import first_order_single_head, small_heads
from theory.symbols import L

KERNEL = "first-order"


def one_task(
    size: int, length: float, noise: float = 0.5, power: float = 1.0, kappa: float = 1.0
) -> si.Problem:
    return si.Problem(
        block_sizes=(size,), signal=((power,),), noise=noise, context_length=length, covariance=kappa
    )


def excess(p: si.Problem, benchmark: si.optimal.Benchmark) -> float:
    return si.optimal.excess(p, benchmark.loss)


@pytest.mark.parametrize("size", [1, 2, 5, 30, 1000])
def test_single_head_is_the_derived_one_in_long_prompts(size: int) -> None:
    """omega and X to leading order in 1/L, above e d at any size."""
    p = one_task(size, 1e8, kappa=1.7)
    found = si.optimal.single_head(p, KERNEL)
    phi = 1.5
    u = float(first_order_single_head.best_value(size, phi))
    assert found.weights is not None
    assert (1.7 * found.weights.omega[0, 0]) ** 2 == pytest.approx(u, rel=1e-4)
    X = float(first_order_single_head.dimension(u, size, phi))
    assert si.optimal.effective_dimension(p, found)[0] == pytest.approx(X, rel=1e-4)
    assert np.e * size < X


@given(problems(disjoint=True), st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_no_head_does_better_than_the_best(p: si.Problem, seed: int) -> None:
    """By any omega in the range where the law is trusted, with any mu."""
    try:
        best = si.optimal.single_head(p, KERNEL)
    except si.ProblemError:
        assert p.context_length < 30.0  # prompts too short for this law
        return
    assert best.weights is not None
    rng = np.random.default_rng(seed)
    slope = si.gradient(p, *best.weights, kernel=KERNEL)
    scale = abs(best.loss)
    assert abs(slope.mu * best.weights.mu).max() < 1e-6 * scale
    assert abs(slope.omega * best.weights.omega).max() < 1e-4 * scale
    for size in (0.01, 0.1, 0.3):
        omega = best.weights.omega * (1.0 + size * rng.normal(size=best.weights.omega.shape))
        mu = best.weights.mu * (1.0 + size * rng.normal(size=best.weights.mu.shape))
        near = si.loss(p, omega, mu, KERNEL)
        if size < 0.05:
            assert near >= best.loss - 1e-9 * scale


@pytest.mark.parametrize(("size", "length"), [(10, 1e4), (5, 1e4), (20, 300.0)])
def test_single_head_is_softmax_attentions(size: int, length: float) -> None:
    """Exact loss of the best head: as close to the law's as is told, and 2.96 steps at d = 10."""
    p = one_task(size, length, noise=0.09, power=10.0)
    found = si.optimal.single_head(p, KERNEL)
    exact = exact_law.task_losses(p, *found.weights)[0] - 0.09
    told = si.gradient_flow(p, *found.weights, t_end=1e-9, kernel=KERNEL).saturation
    assert abs(excess(p, found) / exact - 1.0) <= told.excess_error
    if (size, length) == (10, 1e4):
        step = excess(p, si.optimal.gradient_step(p))
        assert exact / step == pytest.approx(2.963, abs=2e-3)
        assert exact / step > np.e  # the constant of the asymptotic law bounds nothing here


@given(problems())
@settings(max_examples=30, deadline=None)
def test_lower_bound_is_one_gradient_step(p: si.Problem) -> None:
    step = si.optimal.gradient_step(p)
    bound = si.optimal.lower_bound(p, KERNEL)
    np.testing.assert_array_equal(bound.task_loss, step.task_loss)
    assert bound.law == KERNEL
    assert step.law == "exact"
    assert bound.loss >= si.optimal.lower_bound(p).loss * (1.0 - 1e-12)


@pytest.mark.parametrize("length", [2.0, 3.0, 10.0, 1000.0])
@pytest.mark.parametrize("blocks", [1, 2])
def test_small_heads_are_softmax_attentions_own(length: float, blocks: int) -> None:
    """The closed form against exact quadrature of a pair of small heads, with eigenvalues."""
    p = si.Problem(
        block_sizes=(4, 7)[:blocks],
        signal=((1.0, 0.6)[:blocks],),
        noise=0.3,
        context_length=length,
        covariance=(0.8, 1.3)[:blocks],
    )
    small = 2e-3
    targets = [
        1.0 / (1.0 + p.variance[0] * d / (length * a))
        for d, a in zip(p.block_sizes, p.signal[0], strict=True)
    ]
    omega = small * np.array(targets) / np.array(p.covariance)
    weights = np.array([omega, -omega]), np.array([[0.5], [-0.5]]) / small
    exact = exact_law.task_losses(p, *weights).sum()
    assert exact == pytest.approx(si.optimal.small_heads(p).loss, rel=3e-5)


def test_small_heads_are_the_derived_ones() -> None:
    """a B / (a + B), and a step on one pair less."""
    p = one_task(10, 100.0, noise=0.09, power=10.0)
    found = excess(p, si.optimal.small_heads(p))
    B = (10.0 * 11.0 + 0.09 * 10.0) / 99.0
    assert found == pytest.approx(10.0 * B / (10.0 + B), rel=1e-12)
    assert found == pytest.approx(1.0073576, abs=1e-7)
    assert excess(p, si.optimal.gradient_step(p)) == pytest.approx(0.9982897, abs=1e-7)
    shorter = one_task(10, 99.0, noise=0.09, power=10.0)
    assert found == pytest.approx(excess(p, si.optimal.gradient_step(shorter)), rel=1e-12)
    assert found == pytest.approx(float(small_heads.excess(10, 10.09, 10).subs(L, 100)), rel=1e-9)


def test_few_small_heads_cost_more() -> None:
    """Under every law, in the order of what they can read off; any number is enough from I + 1 on."""
    p = si.Problem.multitask(task_sizes=(8, 10, 12), signal=(1.0, 1.2, 0.9), noise=0.2, context_length=300)
    for of in (
        si.optimal.small_heads,
        si.optimal.head_budget,
        lambda p, h: si.optimal.head_budget(p, h, KERNEL),
    ):
        losses = [of(p, heads).loss for heads in (2, 3, 4, 5)]
        assert losses[0] > losses[1] > losses[2] == losses[3]
    assert si.optimal.small_heads(p, 4).loss == si.optimal.small_heads(p).loss


@pytest.mark.parametrize("heads", [2, 3, slow(4)])
def test_best_heads_have_their_loss_and_stay_above_the_bound(two_tasks: si.Problem, heads: int) -> None:
    best = si.optimal.minimise(two_tasks, heads, kernel=KERNEL)
    assert best.weights is not None
    assert best.loss == pytest.approx(si.loss(two_tasks, *best.weights, KERNEL), rel=1e-12)
    assert best.infimum <= si.optimal.head_budget(two_tasks, heads, KERNEL).loss * (1.0 + 1e-12)
    assert best.infimum > si.optimal.lower_bound(two_tasks, KERNEL).loss
    assert best.loss == pytest.approx(best.infimum, rel=1e-4)


def test_more_heads_than_tasks_do_not_beat_one_gradient_step(two_tasks: si.Problem) -> None:
    """Three heads for two tasks: below the step under the asymptotic law alone, above it in truth."""
    step = si.optimal.gradient_step(two_tasks).loss
    paper = si.optimal.minimise(two_tasks, 3)
    assert paper.infimum < step < si.optimal.minimise(two_tasks, 3, kernel=KERNEL).infimum
    assert step < si.optimal.small_heads(two_tasks).loss
    assert si.loss(two_tasks, *paper.weights, KERNEL) > step
    alone = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.09, context_length=100)
    weights = paper.weights.omega[:, :1], paper.weights.mu[:, :1]
    coefficients = paper.weights.omega[:, 1]
    assert (
        abs(coefficients).max() < 0.02
    )  # the other block is small too: its part of the logits hardly counts
    assert exact_law.task_losses(alone, *weights)[0] - 0.09 > excess(alone, si.optimal.gradient_step(alone))


def test_prompts_too_short_are_one_line() -> None:
    with pytest.raises(si.ProblemError, match="context_length: expected longer prompts"):
        si.optimal.single_head(one_task(10, 1.2), KERNEL)
