"""Softmax attention at rest is a kernel smoother of each task's block, and what else there is interferes."""

from __future__ import annotations

import numpy as np
import pytest
from tried import tried

import spectral_icl as si
from spectral_icl.multitask import softmax
from spectral_icl.theorems.claim import Verdict


@pytest.mark.parametrize("kernel", ["asymptotic", "first-order"])
def test_at_rest_nothing_interferes(two_tasks: si.Problem, kernel: str) -> None:
    found = tried("kernel-smoother", two_tasks, si.initial.dominant(two_tasks, 3), kernel=kernel)
    assert found.verdict is Verdict.HOLDS
    assert found.finding.measured < 1e-4


def test_before_rest_other_weights_do(two_tasks: si.Problem) -> None:
    """The interference falls along the flow, and at t = 60 it is not gone."""
    start = si.initial.dominant(two_tasks, 2)
    early, later = (tried("kernel-smoother", two_tasks, start, t_end=t) for t in (60.0, 6000.0))
    assert early.fails_outside
    assert "rest" in early.reason
    assert early.finding.measured > 10.0 * later.finding.measured > 0.0


def test_one_head_for_two_tasks_smooths_over_both_blocks(two_tasks: si.Problem) -> None:
    found = tried("kernel-smoother", two_tasks, (np.full((2, 2), 0.01), np.full((2, 2), 0.01)))
    assert found.fails_outside
    assert found.finding.measured > 0.3


def test_multiples_of_a_smoother() -> None:
    p = si.Problem.multitask(task_sizes=(3, 2), signal=1.0, noise=0.2, context_length=12)
    kernel, scale = np.array([0.4, 0.3]), np.array([1.2, 0.7])
    for factor, left in ((0.0, 1.0), (1.0, 0.0), (1.5, 0.25)):
        at = si.State(np.diag(kernel), factor * np.diag(scale))
        found = softmax.interference(p, at, kernel, scale, 50, 3)
        np.testing.assert_allclose(found.mean, left, atol=1e-12)


def test_interference_against_labels_that_are_drawn() -> None:
    """Two heads on both blocks of anisotropic tasks, by answers to 20,000 prompts with their labels."""
    p = si.Problem.multitask(
        task_sizes=(3, 2), signal=(1.0, 0.5), noise=0.2, context_length=12, covariance=(1.0, 2.0)
    )
    kernel, scale = np.array([0.4, 0.3]), np.array([1.2, 0.7])
    at = si.State(np.array([[0.5, 0.1], [-0.1, 0.3]]), np.array([[1.0, 0.2], [0.3, 0.8]]))
    found = softmax.interference(p, at, kernel, scale, 20_000, 3)
    rng, count = np.random.default_rng(8), 20_000
    root = np.sqrt([1.0, 1.0, 1.0, 2.0, 2.0])
    x, q = (rng.normal(size=(count, *shape)) * root for shape in ((12, 5), (5,)))
    for task, block in enumerate((slice(0, 3), slice(3, 5))):
        g = rng.normal(size=(count, 5)) * np.sqrt((1.0 / 3.0, 0.5 / (2 * 2.0))[task])
        y = np.einsum("nlj,nj->nl", x[:, :, block], g[:, block])
        y += rng.normal(size=y.shape) * 0.2**0.5
        answer = np.zeros(count)
        for head in range(2):
            logits = np.einsum("nlj,nj->nl", x, q * np.repeat(at.omega[head], (3, 2)))
            bumps = np.exp(logits)
            answer += at.mu[head, task] * (bumps * y).sum(axis=1) / bumps.sum(axis=1)
        bumps = np.exp(kernel[task] * np.einsum("nlj,nj->nl", x[:, :, block], q[:, block]))
        smooth = scale[task] * (bumps * y).sum(axis=1) / bumps.sum(axis=1)
        distance = (answer - smooth) ** 2
        ratio = distance.mean() / (smooth**2).mean()
        error = (distance - ratio * smooth**2).std() / count**0.5 / (smooth**2).mean()
        assert abs(found.mean[task] - ratio) < 4.0 * np.hypot(error, found.error[task])
        assert error < 0.05 * ratio
