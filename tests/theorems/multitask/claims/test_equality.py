"""Entries of a block become equal under a head of its own, and not where heads share a task."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tried import tried

import spectral_icl as si
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check
from spectral_icl.theorems.multitask.claims import equality

NAME = "equality-within-blocks"
P = si.Problem.multitask(
    task_sizes=(8, 12), signal=(3.0, 6.0), noise=0.1, context_length=150.0, covariance=(1.3, 0.7)
)


@pytest.mark.parametrize("seed", range(3))
def test_it_holds_under_heads_of_their_own(seed: int) -> None:
    found = tried(NAME, P, si.initial.dominant(P, 3, 0.003, 2.0, seed))
    assert found.verdict is Verdict.HOLDS
    assert found.finding.measured > np.log(50.0)


def test_heads_that_share_a_task_need_not_make_its_entries_equal() -> None:
    found = tried(NAME, P, si.initial.random(P, 3, 0.1, 0, positive=True))
    assert found.verdict is Verdict.NOT_APPLICABLE
    assert "every task has its own dominant head" in found.reason
    assert not found.finding.holds


def test_a_flow_that_overflows_with_scattered_entries_is_not_measured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(equality, "SCATTER", 8.0)
    (found,) = check(P, *si.initial.dominant(P, 2, 0.003, 2.0), claims=[NAME])
    assert found.verdict is Verdict.NOT_APPLICABLE
    assert "could not be followed to its end" in found.reason


def test_another_rate_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    right = equality.equalities

    def wrong(*args: object) -> object:
        return tuple(
            replace(one, predicted_folds=1.05 * one.predicted_folds)
            for one in right(*args)  # type: ignore[arg-type]
        )

    monkeypatch.setattr(equality, "equalities", wrong)
    assert tried(NAME, P, si.initial.dominant(P, 2, 0.003, 2.0)).verdict is Verdict.FAILS
