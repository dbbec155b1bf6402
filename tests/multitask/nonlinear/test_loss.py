"""The loss of single-index tasks: that of linear ones, of softmax attention, and its gradient."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask.nonlinear.laws import LAWS
from spectral_icl.multitask.nonlinear.loss import gradient, loss, task_loss
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.state import State

KERNELS = sorted(LAWS)


def heads(rng: np.random.Generator, count: int, tasks: int) -> State:
    return State(rng.uniform(-0.3, 0.3, (count, tasks)), rng.normal(size=(count, tasks)))


def drawn(rng: np.random.Generator, tasks: int, degree: int) -> SingleIndex:
    return SingleIndex(
        task_sizes=rng.integers(1, 20, tasks).tolist(),
        coefficients=rng.normal(size=(tasks, degree + 1)).tolist(),
        noise=rng.uniform(0.0, 1.0, tasks).tolist(),
        context_length=float(rng.integers(10, 1000)),
    )


@pytest.mark.parametrize("kernel", KERNELS)
@given(seed=st.integers(0, 2**32 - 1), tasks=st.integers(1, 3), count=st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_linear_tasks_are_those_of_the_package(kernel: str, seed: int, tasks: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    power, like = rng.uniform(0.1, 3.0, tasks), drawn(rng, tasks, 1)
    rows = [(0.0, np.sqrt(a)) for a in power]
    p = SingleIndex(**like.to_dict() | {"coefficients": rows})
    q = si.Problem.multitask(
        task_sizes=p.task_sizes, signal=power, noise=p.noise, context_length=p.context_length
    )
    at = heads(rng, count, tasks)
    np.testing.assert_allclose(task_loss(p, *at, kernel), si.task_loss(q, *at, kernel=kernel), rtol=1e-12)
    mine, theirs = gradient(p, *at, kernel), si.gradient(q, *at, kernel=kernel)
    scale = max(np.abs(theirs.omega).max(), np.abs(theirs.mu).max())
    np.testing.assert_allclose(mine.omega, theirs.omega, rtol=1e-11, atol=1e-12 * scale)
    np.testing.assert_allclose(mine.mu, theirs.mu, rtol=1e-11, atol=1e-12 * scale)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("degree", [1, 2, 4])
def test_gradient_is_the_slope_of_the_loss(kernel: str, degree: int) -> None:
    rng = np.random.default_rng(degree)
    p, at = drawn(rng, 2, degree), heads(rng, 3, 2)
    along = heads(rng, 3, 2)

    def up(step: float) -> float:
        return loss(p, at.omega + step * along.omega, at.mu + step * along.mu, kernel)

    h = 1e-3  # fourth-order differences
    slope = (8.0 * (up(h) - up(-h)) - (up(2 * h) - up(-2 * h))) / (12.0 * h)
    found = gradient(p, *at, kernel)
    assert (found.omega * along.omega).sum() + (found.mu * along.mu).sum() == pytest.approx(slope, rel=1e-7)


def test_large_blocks_have_the_asymptotic_loss() -> None:
    """The gap between the laws falls as one over the size of the block, the length growing in proportion.

    Of an intercept too, which makes no noise; of an odd function, or degrees would mix in slower powers.
    """
    gaps = []
    for size in (1e3, 1e4, 1e5):
        p = SingleIndex(task_sizes=(int(size),), coefficients=(3.0, 1.0), noise=0.1, context_length=3 * size)
        at = State(np.array([[0.9], [-0.7]]) / size**0.5, np.array([[0.8], [-0.8]]) * size**0.5)
        first, large = (task_loss(p, *at, kernel)[0] for kernel in ("first-order", "asymptotic"))
        gaps.append(first / large - 1.0)
    np.testing.assert_allclose(np.divide(gaps[1:], gaps[:-1]), 0.1, rtol=0.02)


@pytest.mark.parametrize("kernel", KERNELS)
def test_noise_of_an_intercept_alone_is_that_of_labels(kernel: str) -> None:
    """Heads that read nothing off a constant but itself: what they add is the average of label noise."""
    p = SingleIndex(task_sizes=(4,), coefficients=(2.0,), noise=0.3, context_length=50)
    omega, mu = np.zeros((2, 1)), np.array([[0.4], [0.6]])
    assert loss(p, omega, mu, kernel) == pytest.approx(0.3 + 0.3 / 50, rel=1e-14)


def test_past_its_range_the_first_order_law_is_nan() -> None:
    p = SingleIndex(task_sizes=(4,), coefficients=(0.0, 1.0, 1.0), noise=0.3, context_length=50)
    assert np.isnan(loss(p, [[0.71]], [[1.0]], "first-order"))
    assert np.isfinite(loss(p, [[0.70]], [[1.0]], "first-order"))
    assert loss(p, [[100.0]], [[1.0]], "asymptotic") == np.inf


def test_bad_input_is_refused() -> None:
    p = SingleIndex(task_sizes=(4,), coefficients=(0.0, 1.0), noise=0.3, context_length=50)
    with pytest.raises(
        si.ProblemError, match="kernel: expected one of 'asymptotic', 'first-order', got 'exact'"
    ):
        loss(p, [[0.1]], [[1.0]], "exact")
    with pytest.raises(si.ProblemError, match="omega: expected an array of finite numbers of shape"):
        loss(p, [[0.1, 0.2]], [[1.0]])
    assert loss(p, [[0.1]], [[1.0]], "large-L") == loss(p, [[0.1]], [[1.0]])
