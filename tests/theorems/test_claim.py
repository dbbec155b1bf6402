"""Margins as each kind of finding counts them, and the verdict on a trial."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.theorems.claim import (
    Check,
    Claim,
    Claims,
    Finding,
    Trial,
    UnmeasurableError,
    Verdict,
    decide,
    unmeasured,
    verdicts,
)

MET, UNMET = Hypothesis("it is so", True), Hypothesis("it could be so", False)
FREE: Claim[None, str] = Claim("free", "It is.", "here", lambda _: [])
PLACED: Claim[None, str] = Claim("placed", "It is.", "here", lambda _: [], ("a place",))


@pytest.mark.parametrize(
    ("least", "most", "measured", "margin"),
    [(-np.inf, 2.0, 0.5, 0.75), (2.0, np.inf, 3.0, 0.5), (1.0, 3.0, 2.5, 0.5), (1.0, 3.0, 3.5, -0.5)],
)
def test_margins_of_bounds(least: float, most: float, measured: float, margin: float) -> None:
    if least == -np.inf:
        found = Finding.below(measured, most, "")
    elif most == np.inf:
        found = Finding.above(measured, least, "")
    else:
        found = Finding.between(measured, least, most, "")
    assert found.margin == pytest.approx(margin)
    assert found.holds == (least < measured < most)
    assert found.predicted in (least, most)
    assert found.predicted == min((least, most), key=lambda bound: abs(measured - bound))


@pytest.mark.parametrize(
    ("found", "margin"),
    [
        (Finding.agreement(1.05, 1.0, 0.1, ""), 0.5),
        (Finding.agreement(1.2, 1.0, 0.1, ""), -1.0),
        (Finding.agreement(0.05, 0.0, 0.1, ""), 0.5),  # of 0, absolute
        (Finding.agreement(np.nan, 1.0, 0.1, ""), -np.inf),
        (Finding.sampled(2.0, 0.1, 1.9, 0.1, ""), 0.5),  # in parts of what was sampled
        (Finding.zero(0.5, 2.0, ""), 0.75),
        (Finding.count(3, 3, ""), 1.0),
        (Finding.count(1, 3, ""), -2.0),
        (Finding.count(4, 0, ""), -4.0),
        (Finding.inside(np.array([1.5, 2.0]), 1, 1.8, 1.0, 3.0, ""), 0.25),
        (Finding.inside(np.array([0.5, 2.0]), 1, 1.8, 1.0, 3.0, ""), -0.25),
        (Finding.positive(6.0, 1.0, 5.0, ""), 0.5),
        (Finding.positive(-1.0, 1.0, 5.0, ""), -np.inf),
        (Finding.count(3, 3, "").refuted("too late"), -np.inf),
    ],
)
def test_margins(found: Finding, margin: float) -> None:
    assert found.margin == pytest.approx(margin)
    assert found.holds == (margin > 0.0)


def test_a_finding_is_decided_three_errors_from_its_bound() -> None:
    assert Finding.below(0.5, 1.0, "", 0.16).decided
    assert not Finding.below(0.5, 1.0, "", 0.17).decided
    assert not Finding.below(np.nan, 1.0, "", 0.0).decided


def test_a_hypothesis_is_a_pair_and_a_truth() -> None:
    text, met = UNMET
    assert (text, met) == UNMET == ("it could be so", False)
    assert MET
    assert not UNMET
    assert json.dumps([UNMET]) == '[["it could be so", false]]'


@pytest.mark.parametrize("claim", [FREE, PLACED])
def test_what_holds_holds_and_what_fails_fails(claim: Claim[None, str]) -> None:
    for measured, verdict in ((0.5, Verdict.HOLDS), (1.5, Verdict.FAILS)):
        found = Finding.below(measured, 1.0, "a number", 0.1)
        check = decide(claim, Trial.of(found, [MET]), found)
        assert (check.verdict, check.reason, check.hypotheses) == (verdict, "a number", (MET,))
        assert (check.measured, check.predicted, check.error) == (measured, 1.0, 0.1)
        assert check.margin == 1.0 - measured


def test_a_claim_without_a_hypothesis_is_never_passed() -> None:
    """Where places document a claim, checks beyond its hypotheses say what happens there."""
    found = Finding.below(1.5, 1.0, "a number")
    check = decide(FREE, Trial.of(found, [MET, UNMET]), found)
    assert (check.verdict, check.margin) == (Verdict.NOT_APPLICABLE, None)
    assert check.reason == "hypotheses not met: it could be so"
    assert check.measured == 1.5
    there = decide(PLACED, Trial.of(found, [MET, UNMET]), found)
    assert (there.verdict, there.margin) == (Verdict.NOT_APPLICABLE, -0.5)
    assert there.reason == "a number; FAILS without: it could be so"


def test_what_a_trial_leaves_out_is_shown_and_not_claimed() -> None:
    found = Finding.below(0.5, 1.0, "a number")
    trial = Trial.of(found, [MET], without="a square")
    check = decide(PLACED, trial, found)
    assert check.verdict is Verdict.NOT_APPLICABLE
    assert check.reason == "a number; holds without: a square"
    assert check.hypotheses == (MET, ("a square", False))
    assert trial.supposes == [MET]


def test_without_what_it_needs_nothing_is_measured() -> None:
    def measure() -> Finding:
        raise AssertionError

    trial = Trial(measure, needs=[UNMET], supposes=[Hypothesis("too", False)])
    assert not trial.measurable
    check = decide(FREE, trial, None)
    assert check.reason == "hypotheses not met: it could be so"
    assert check.hypotheses == (UNMET, ("too", False))
    assert check.measured is check.predicted is check.margin is check.error is None


def test_what_is_no_number_is_not_measured() -> None:
    overflow = Finding.below(math.inf, 1.0, "a number")
    assert decide(FREE, Trial.of(overflow), overflow).reason == "not measured: the numbers overflow"
    check = decide(PLACED, Trial.of(overflow, [MET]), overflow)
    assert check == unmeasured(PLACED, "a number is no number")
    trouble = decide(FREE, Trial.of(overflow, [MET]), UnmeasurableError("too stiff"))
    assert (trouble.reason, trouble.hypotheses) == ("not measured: too stiff", (MET,))


def test_a_registry_keeps_the_order_and_hands_back_the_function() -> None:
    claims: Claims[None, str] = Claims()

    @claims.claim("b", "B.", "there", "a place", anywhere=False)
    def b(_: None) -> list[Trial]:  # type: ignore[misc]
        return []

    claims.claim("a", "A.", "there")(b)
    assert list(claims) == ["b", "a"]
    assert claims["b"] == Claim("b", "B.", "there", b, ("a place",), False)


def test_verdicts_are_counted() -> None:
    holds = Check("", "", "", Verdict.HOLDS, "")
    assert verdicts([holds, unmeasured(FREE, ""), holds]) == {"holds": 2, "fails": 0, "not applicable": 1}
