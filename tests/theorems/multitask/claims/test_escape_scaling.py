"""Exponents of the escape's time, measured and predicted."""

from __future__ import annotations

import pytest

import spectral_icl as si
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check
from spectral_icl.theorems.multitask.claims import escape_scaling

CLAIM = ["escape-scaling"]
WEIGHTS = si.Factored(1e-8, 1e-8)


@pytest.mark.parametrize("heads", [2, 3])
def test_it_holds(two_tasks: si.Problem, heads: int) -> None:
    start = si.initial.dominant(two_tasks, heads, 1e-3, 2.0)
    (one,) = check(two_tasks, *start, claims=CLAIM, parametrization=WEIGHTS)
    assert one.verdict is Verdict.HOLDS, one
    assert one.margin > 0.5


def test_balanced_weights_do_not_escape(two_tasks: si.Problem) -> None:
    (one,) = check(two_tasks, *si.initial.dominant(two_tasks, 2), claims=CLAIM)
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "the imbalance is positive" in one.reason


def test_it_supposes_what_the_escape_does(two_tasks: si.Problem) -> None:
    """With five heads nothing is predicted, and no exponent is claimed."""
    start = si.initial.dominant(two_tasks, 5)
    (one,) = check(two_tasks, *start, claims=CLAIM, parametrization=WEIGHTS)
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "escape-rate applies to it" in one.reason


def test_a_wrong_exponent_would_be_seen(two_tasks: si.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """A prediction that is 10 % too long after one of the changes, and no other, fails."""
    right = escape_scaling._case

    def wrong(name: str, e: object) -> object:
        found = right(name, e)
        return replace_time(found, 1.1) if name == "the noise" else found

    def replace_time(found: object, factor: float) -> object:
        return found._replace(predicted=factor * found.predicted)  # type: ignore[attr-defined]

    monkeypatch.setattr(escape_scaling, "_case", wrong)
    start = si.initial.dominant(two_tasks, 2, 1e-3, 2.0)
    (one,) = check(two_tasks, *start, claims=CLAIM, parametrization=WEIGHTS)
    assert one.verdict is Verdict.FAILS
    assert "the noise" in one.reason
