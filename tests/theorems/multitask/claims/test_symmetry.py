"""Weights at equal angles are no worse for equal tasks, and are worse for unequal ones."""

from __future__ import annotations

import pytest
from tried import tried

import spectral_icl as si
from spectral_icl.theorems.claim import Verdict


@pytest.mark.parametrize("tasks", [2, 3, 5])
def test_equal_tasks(tasks: int) -> None:
    p = si.Problem.multitask(
        task_sizes=(6,) * tasks,
        signal=1.5,
        noise=0.2,
        context_length=80,
        covariance=[0.4 + k for k in range(tasks)],
    )
    found = tried("equiangular-heads", p, si.initial.dominant(p, tasks, 1e-3))
    assert found.verdict is Verdict.HOLDS
    gain = 80 / (1.7 / 1.5 * 6)
    assert found.finding.measured == pytest.approx(tasks * 1.5 / (1 + gain * (1 - 1 / tasks)), rel=1e-5)
    if tasks == 2:  # a search over all weights, which goes no lower
        assert si.optimal.minimise(p, tasks).infimum - 0.2 * tasks == pytest.approx(
            found.finding.measured, rel=1e-6
        )


def test_unequal_tasks_want_unequal_angles() -> None:
    p = si.Problem.multitask(task_sizes=(6, 6), signal=(3.0, 0.3), noise=0.2, context_length=80)
    found = tried("equiangular-heads", p, si.initial.dominant(p, 2))
    assert found.fails_outside
    assert "tasks are equal" in found.reason
    assert found.finding.measured > 1.02 * found.finding.predicted


def test_more_heads_than_tasks_are_not_spoken_of(two_tasks: si.Problem) -> None:
    from spectral_icl.theorems.multitask.check import check

    (found,) = check(two_tasks, *si.initial.dominant(two_tasks, 3), claims=["equiangular-heads"])
    assert found.verdict is Verdict.NOT_APPLICABLE
    assert "as many heads as tasks" in found.reason
