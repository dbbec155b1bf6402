"""Merged weights leave the limit of a head per task, with two tasks or more."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check


@pytest.mark.parametrize("seed", range(4))
def test_the_infimum_is_come_near(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tasks = int(rng.integers(2, 4))
    p = si.Problem.multitask(
        task_sizes=rng.integers(4, 20, tasks).tolist(),
        signal=rng.lognormal(0.0, 0.5, tasks).tolist(),
        noise=0.2,
        context_length=300,
    )
    start = si.initial.dominant(p, tasks + seed % 2, 1e-3, 1.0, seed)
    (one,) = check(p, *start, claims=["merged"], parametrization=si.Merged())
    assert one.verdict is Verdict.HOLDS, one
    assert one.measured is not None
    assert one.measured < 0.99 * (si.optimal.head_per_task(p).loss - sum(p.noise))


def test_one_task_stays_at_the_limit() -> None:
    """Two heads of one task grow together to one KQ value, and rest there: no sign changes."""
    p = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.09, context_length=100)
    (one,) = check(p, *si.initial.dominant(p, 2), claims=["merged"], parametrization=si.Merged())
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "two tasks or more" in one.reason
    assert one.measured == pytest.approx(si.optimal.head_per_task(p).loss - 0.09, rel=1e-6)
    assert one.predicted == pytest.approx(si.optimal.lower_bound(p).loss - 0.09)


def test_balanced_weights_are_not_its_subject(two_tasks: si.Problem) -> None:
    (one,) = check(two_tasks, *si.initial.dominant(two_tasks, 2), claims=["merged"])
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "W and U are trained directly" in one.reason
