"""Merged weights leave the limit of a head per task, with two tasks or more."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check
from spectral_icl.theorems.multitask.claims import merged


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
    assert one.measured == pytest.approx(1.0, abs=merged.GAP)


def test_one_task_stays_at_the_limit() -> None:
    """Two heads of one task grow together to one KQ value, and rest there: no sign changes."""
    p = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.09, context_length=100)
    (one,) = check(p, *si.initial.dominant(p, 2), claims=["merged"], parametrization=si.Merged())
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "two tasks or more" in one.reason
    assert one.measured == pytest.approx(0.0, abs=1e-6)
    assert one.predicted == 1.0


def test_balanced_weights_are_not_its_subject(two_tasks: si.Problem) -> None:
    (one,) = check(two_tasks, *si.initial.dominant(two_tasks, 2), claims=["merged"])
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "W and U are trained directly" in one.reason


def test_long_prompts_take_longer(two_tasks: si.Problem) -> None:
    """What is left of the way falls as a power of time, for two heads as t^(-2/3)."""
    start = si.initial.dominant(two_tasks, 2)
    left = []
    for t_end in (1e3, 1e5):
        options = {"parametrization": si.Merged(), "t_end": t_end}
        (one,) = check(two_tasks, *start, claims=["merged"], **options)
        assert one.measured is not None
        left.append(1.0 - one.measured)
    assert left[0] / left[1] == pytest.approx(100.0 ** (2 / 3), rel=0.1)
    longer = si.Problem.multitask(task_sizes=(10, 10), signal=0.1, noise=0.09, context_length=1e5)
    (one,) = check(longer, *start, claims=["merged"], parametrization=si.Merged())
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "the flow lasts for 100 L / s" in one.reason
