"""The engine of checks: how much evidence it asks for, and what becomes of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.theorems.claim import Claim, Finding, Trial, UnmeasurableError, Verdict
from spectral_icl.theorems.examine import chosen, examine


def named(test: Callable[[float], Iterable[Trial]]) -> Claim[float, str]:
    """A claim with a given test; its evidence is a standard error."""
    return Claim("name", "It is.", "here", test, ("a place",))


def test_more_evidence_is_made_only_until_the_claim_is_decided() -> None:
    made = []

    def evidence() -> Iterator[float]:
        for error in (0.4, 0.2, 0.1, 0.05):
            made.append(error)
            yield error

    def test(error: float) -> list[Trial]:
        undecided = Trial.of(Finding.below(1.0, 1.0, "", error), [Hypothesis("not met", False)])
        return [Trial.of(Finding.below(0.5, 1.0, "", error)), undecided]

    first, second = examine(named(test), evidence())
    assert made == [0.4, 0.2, 0.1]  # the second does not apply, and asks for nothing
    assert first.error == second.error == 0.1
    assert (first.verdict, second.verdict) == (Verdict.HOLDS, Verdict.NOT_APPLICABLE)


def test_the_last_evidence_decides() -> None:
    (check,) = examine(named(lambda error: [Trial.of(Finding.below(0.99, 1.0, "", error))]), [0.4, 0.3])
    assert (check.verdict, check.error) == (Verdict.HOLDS, 0.3)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnmeasurableError("too stiff"), "too stiff"),
        (ProblemError("mu", np.inf, "a finite number"), "it needs a finite number"),
    ],
)
def test_errors_become_checks(error: Exception, reason: str) -> None:
    """They are results: nobody gave the argument that a number of the flow is."""

    def fails(*_: float) -> Finding:
        raise error

    met = Hypothesis("it is so", True)
    (within,) = examine(named(lambda _: [Trial(fails, supposes=[met])]), [0.1])
    (before,) = examine(named(lambda x: [Trial.of(fails(x))]), [0.1])
    assert within.reason == before.reason == f"not measured: {reason}"
    assert (within.hypotheses, before.hypotheses) == ((met,), ())


def test_overflow_is_no_warning() -> None:
    def test(error: float) -> list[Trial]:
        return [Trial.of(Finding.below(float(np.float64(1e308) * 10.0), 1.0, "a number", error))]

    (check,) = examine(named(test), [0.1])
    assert check.reason == "not measured: a number is no number"


def test_names_are_chosen_once_each_in_the_order_given() -> None:
    known = {name: named(lambda _: []) for name in "abc"}
    assert chosen(["c", "a", "c"], known) == [known["c"], known["a"]]
    assert chosen(None, known) == list(known.values())
    with pytest.raises(ProblemError, match=r"claims\[1\]: expected one of 'a', 'b', 'c', got 'x'"):
        chosen(["a", "x"], known)
    with pytest.raises(ProblemError, match="claims: expected claim names"):
        chosen([], known)
