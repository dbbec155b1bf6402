"""The width of the emergence, against flows from small starts."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.flow.width import emergence_widths
from spectral_icl.multitask.loss import losses_at


def seen(p: si.Problem, scale: float, key_scale: float, least: float, most: float) -> list[float]:
    """Widths of the emergence of lone heads from a small start, by the loss on a fine grid."""
    found = []
    start = scale * np.ones((p.tasks, p.tasks)) * np.eye(p.tasks)
    flow = si.gradient_flow(
        p, start, start, parametrization=si.Balanced(key_scale), t_end=1e14, stationary=1e-10, rtol=1e-10
    )
    limit = si.optimal.head_per_task(p).task_loss
    for i, task in enumerate(flow.phases.tasks):
        reach = task.settled - task.onset
        times = np.linspace(max(0.0, task.onset - reach), task.settled + reach, 20_001)
        losses = losses_at(p, flow(times), "asymptotic")[:, i]
        share = (p.variance[i] - losses) / (p.variance[i] - limit[i])
        found.append(float(np.interp(most, share, times) - np.interp(least, share, times)))
    return found


@pytest.mark.parametrize(
    ("length", "key_scale"), [(100, 0.2), (3, 0.2), (1e5, 0.2), (100, 20.0), (100, 1e-2)]
)
def test_small_starts_have_this_width(length: float, key_scale: float) -> None:
    """Two tasks that differ in everything, and other shares; the error falls with the start."""
    p = si.Problem.multitask(
        task_sizes=(6, 12), signal=(2.0, 0.5), noise=(0.1, 0.4), context_length=length, covariance=(0.5, 2.0)
    )
    for shares in ((0.05, 0.95), (0.3, 0.6)):
        predicted = emergence_widths(p, key_scale, *shares)
        coarse, fine = (seen(p, scale, key_scale, *shares) for scale in (1e-4, 1e-5))
        np.testing.assert_allclose(fine, predicted, rtol=2e-4)
        assert np.abs(fine / predicted - 1.0).max() < max(np.abs(coarse / predicted - 1.0).max(), 3e-6)


def test_power_is_a_clock(two_tasks: si.Problem) -> None:
    doubled = si.Problem.multitask(task_sizes=(10, 10), signal=20.0, noise=0.18, context_length=100)
    np.testing.assert_allclose(
        emergence_widths(doubled, 0.2), 0.5 * emergence_widths(two_tasks, 0.2), rtol=1e-8
    )


@pytest.mark.parametrize(
    ("least", "most", "named"), [(0.0, 0.9, "least"), (0.5, 0.5, "most"), (0.1, 1.0, "most")]
)
def test_shares_are_checked(two_tasks: si.Problem, least: float, most: float, named: str) -> None:
    with pytest.raises(si.ProblemError, match=named):
        emergence_widths(two_tasks, 0.2, least, most)


def test_overlapping_tasks_have_no_width() -> None:
    p = si.Problem(block_sizes=(8, 8), signal=((1.0, 1.0), (0.0, 1.0)), noise=0.1, context_length=200)
    with pytest.raises(si.ProblemError, match="disjoint tasks, one block each"):
        emergence_widths(p, 0.2)
