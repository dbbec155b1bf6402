"""The first-order law against softmax attention on drawn prompts, intercepts and higher degrees included.

Means are held to four standard errors, in four comparisons: with seeds drawn afresh one run in 4000 would
fail, if means were Gaussian. The seed is fixed; with those from 0 to 9 no mean is off by over 2.1 errors.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError
from spectral_icl.multitask.nonlinear.loss import task_loss
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.nonlinear.sampled import Losses, losses

PROMPTS, ERRORS = 1500, 4.0
P = SingleIndex(
    task_sizes=(12, 10), coefficients=[(0.3, 1.0, 0.5, 0.4), (2.0, 0.7)], noise=(0.1, 0.3), context_length=500
)
OMEGA = np.array([[0.15, 0.05], [-0.1, 0.12]])
MU = np.array([[1.6, 0.9], [-1.9, 2.0]])


@cache
def sampled(seed: int = 0) -> Losses:
    return losses(P, OMEGA, MU, PROMPTS, seed)


def law(kernel: str, problem: SingleIndex = P) -> np.ndarray:
    return task_loss(problem, OMEGA, MU, kernel)


def beyond(kernel: str) -> np.ndarray:
    """What a law adds to the loss of prompts of infinite length."""
    endless = SingleIndex(**P.to_dict() | {"context_length": 1e12})
    return law(kernel) - law("asymptotic", endless)


def test_losses_are_those_of_the_law() -> None:
    found = sampled().task
    assert (np.abs(found.mean - law("first-order")) < ERRORS * found.error).all()


def test_what_prompts_of_finite_length_add_is_that_of_the_law() -> None:
    found = sampled().beyond
    assert (np.abs(found.mean - beyond("first-order")) < ERRORS * found.error).all()
    # it could have been told from much else, such as the asymptotic law of the task of degree three
    assert (found.error < 0.1 * found.mean).all()
    assert found.mean[0] - beyond("asymptotic")[0] > ERRORS * found.error[0]


def test_a_constant_passes_as_it_is() -> None:
    """Of an intercept alone the error is known for every prompt, but for label noise."""
    p = SingleIndex(task_sizes=(4,), coefficients=(2.0,), noise=0.0, context_length=9)
    found = losses(p, [[0.5], [-0.3]], [[1.0], [0.5]], 10, 0)
    np.testing.assert_allclose(found.task.mean, (1.5 * 2.0 - 2.0) ** 2, rtol=1e-12)
    np.testing.assert_allclose(found.task.error, 0.0, atol=1e-12)


def test_a_sample_depends_on_its_seed_alone() -> None:
    small = SingleIndex(**P.to_dict() | {"context_length": 20})
    first, again, other = (losses(small, OMEGA, MU, 10, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.task.mean, again.task.mean)
    assert (first.task.mean != other.task.mean).all()


def test_prompts_that_are_too_long_are_refused() -> None:
    long = SingleIndex(**P.to_dict() | {"context_length": 1e6})
    with pytest.raises(ProblemError, match="context_length: expected L d <= 400000, to sample prompts"):
        losses(long, OMEGA, MU, 10, 0)
    with pytest.raises(ProblemError, match="prompts: expected a whole number >= 2"):
        losses(P, OMEGA, MU, 1, 0)
