"""A claim put to the test: what it supposes, what was found, and the verdict on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Generic, TypeVar

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.io.hypothesis import Hypothesis

SIGMAS = 3.0  # standard errors that a sampled number must be away from where its verdict would change

Hypotheses = Sequence[Hypothesis]
E = TypeVar("E")  # evidence that a claim is tested on
P = TypeVar("P")  # places where it is tested


class Verdict(Enum):
    """Whether a claim held where it was put to the test."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_APPLICABLE = "not applicable"


class UnmeasurableError(Exception):
    """A claim that could not be measured, for a reason that is no hypothesis of it."""


@dataclass(frozen=True)
class Finding:
    """A measured number beside the one that bounds or predicts it.

    Made by the constructors below, each of which says how it counts the margin.

    Attributes
    ----------
    measured : float
    predicted : float
        The prediction, or the nearest bound.
    margin : float
        Room left before the claim fails, in parts of what is allowed: positive where the claim holds.
    what : str
        What the numbers are.
    error : float
        Standard error of ``measured`` if it was sampled, else 0.
    """

    measured: float
    predicted: float
    margin: float
    what: str
    error: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether there is room left."""
        return bool(self.margin > 0.0)

    @property
    def decided(self) -> bool:
        """Whether the nearest bound is more than three standard errors away."""
        return bool(abs(self.measured - self.predicted) > SIGMAS * self.error)

    @classmethod
    def agreement(cls, measured: float, predicted: float, tolerance: float, what: str) -> Finding:
        """Two numbers that agree within a relative tolerance: 1 minus their distance over the tolerance."""
        off = abs(measured - predicted) / abs(predicted) if predicted else abs(measured)
        return cls(measured, predicted, 1.0 - off / tolerance if np.isfinite(off) else -np.inf, what)

    @classmethod
    def near(cls, measured: float, predicted: float, tolerance: float, what: str) -> Finding:
        """Two numbers that agree within an absolute tolerance: 1 minus their distance over the tolerance."""
        off = abs(measured - predicted)
        return cls(measured, predicted, 1.0 - off / tolerance if np.isfinite(off) else -np.inf, what)

    @classmethod
    def sampled(cls, measured: float, error: float, predicted: float, tolerance: float, what: str) -> Finding:
        """A sampled number that predicts within a tolerance: as of `agreement`, in parts of ``measured``."""
        off = float(np.divide(abs(predicted - measured), measured))
        return cls(measured, predicted, 1.0 - off / tolerance, what, error)

    @classmethod
    def zero(cls, measured: float, tolerance: float, what: str) -> Finding:
        """A number >= 0 that is 0 within a tolerance: 1 minus the number over the tolerance."""
        return cls(measured, 0.0, 1.0 - measured / tolerance, what)

    @classmethod
    def count(cls, measured: int, predicted: int, what: str) -> Finding:
        """A whole number that is as predicted: 1, or minus the number of exceptions."""
        exceptions = abs(predicted - measured)
        return cls(measured, predicted, 1.0 if exceptions == 0 else -exceptions, what)

    @classmethod
    def below(cls, measured: float, bound: float, what: str, error: float = 0.0) -> Finding:
        """A number below a positive bound: the distance from the bound over the bound."""
        return cls(measured, bound, 1.0 - float(np.divide(measured, bound)), what, error)

    @classmethod
    def above(cls, measured: float, bound: float, what: str, error: float = 0.0) -> Finding:
        """A number above a positive bound: the distance from the bound over the bound."""
        return cls(measured, bound, float(np.divide(measured, bound)) - 1.0, what, error)

    @classmethod
    def between(cls, measured: float, least: float, most: float, what: str, error: float = 0.0) -> Finding:
        """A number in an open interval: the distance from the nearer end over half the interval."""
        half = 0.5 * (most - least)
        nearest = most if abs(measured - most) <= abs(measured - least) else least
        return cls(measured, nearest, 1.0 - abs(measured - least - half) / half, what, error)

    @classmethod
    def inside(
        cls, numbers: Floats, shown: int, predicted: float, least: float, most: float, what: str
    ) -> Finding:
        """Numbers all in an open interval: the distance of any from the nearer end over the interval.

        The one that is ``shown`` has a prediction too, which does not decide.
        """
        margin = float(min(numbers.min() - least, most - numbers.max())) / (most - least)
        return cls(float(numbers[shown]), predicted, margin, what)

    @classmethod
    def positive(cls, measured: float, error: float, predicted: float, what: str) -> Finding:
        """A sampled number above 0 by more than three standard errors: 1 minus these over the number.

        The prediction of its size does not decide.
        """
        margin = 1.0 - SIGMAS * error / measured if measured > 0.0 else -np.inf
        return cls(measured, predicted, margin, what, error)

    def refuted(self, why: str) -> Finding:
        """The numbers of a claim that fails for another reason: a margin of minus infinity."""
        return replace(self, margin=-np.inf, what=why)


@dataclass(frozen=True)
class Trial:
    """One test of a claim: what it needs to be measured at all, what it supposes, and the measurement.

    Attributes
    ----------
    measure : callable
        Returns the finding, or raises `UnmeasurableError`.
    needs : sequence of Hypothesis
        Hypotheses without which there is nothing to measure.
    supposes : sequence of Hypothesis
        Hypotheses that may be broken and the claim still measured, to see what happens then.
    without : str
        A part of the claim that this trial leaves out. What is found is then shown and never claimed.
    """

    measure: Callable[[], Finding]
    needs: Hypotheses = ()
    supposes: Hypotheses = ()
    without: str = ""

    @classmethod
    def of(cls, finding: Finding, supposes: Hypotheses = (), without: str = "") -> Trial:
        """A trial whose finding is known already."""
        return cls(lambda: finding, (), supposes, without)

    @property
    def measurable(self) -> bool:
        """Whether everything that the measurement needs is there."""
        return all(self.needs)

    @property
    def hypotheses(self) -> tuple[Hypothesis, ...]:
        """Everything that the claim supposes; a part that is left out counts as not met."""
        left_out = [Hypothesis(self.without, False)] if self.without else []
        return (*self.needs, *self.supposes, *left_out)

    @property
    def missing(self) -> list[str]:
        """The hypotheses that are not met; of a trial that cannot be measured, those that it needs."""
        of = self.hypotheses if self.measurable else self.needs
        return [hypothesis.text for hypothesis in of if not hypothesis]


Trials = Iterator[Trial]


@dataclass(frozen=True)
class Claim(Generic[E, P]):
    """A claim of a theory and how it is put to the test.

    Attributes
    ----------
    name, statement, reference : str
        What it is called, what it says, and where it is from.
    test : callable
        Its trials on some evidence.
    places : tuple
        Problems that document it, some of them beyond its hypotheses on purpose: its checks say whether it
        holds there too, and by how much. Empty if it is tested on problems that others choose.
    anywhere : bool
        Whether it can be tested on any one problem.
    """

    name: str
    statement: str
    reference: str
    test: Callable[[E], Iterable[Trial]]
    places: tuple[P, ...] = ()
    anywhere: bool = True


class Claims(dict[str, Claim[E, P]]):
    """The claims of a subject by name, in the order of its theory."""

    def claim(
        self, name: str, statement: str, reference: str, *places: P, anywhere: bool = True
    ) -> Callable[[Callable[[E], Trials]], Callable[[E], Trials]]:
        """Decorator that makes a claim of a function from evidence to trials; see `Claim`."""

        def register(test: Callable[[E], Trials]) -> Callable[[E], Trials]:
            self[name] = Claim(name, statement, reference, test, places, anywhere)
            return test

        return register


@dataclass(frozen=True)
class Check:
    """A claim of the theory, tested on one problem and start, or at one place.

    Attributes
    ----------
    claim, statement, reference : str
        What it is called, what it says, and where it is from.
    verdict : Verdict
        Not applicable if a hypothesis is not met, whatever was measured.
    reason : str
        The hypotheses that are not met, or why nothing could be measured; else what the numbers are.
    measured, predicted, margin, error : float or None
        See `Finding`; None if nothing was measured.
    hypotheses : tuple of Hypothesis
        All that the claim supposes, each a pair of its text and whether it is met.
    """

    claim: str
    statement: str
    reference: str
    verdict: Verdict
    reason: str
    measured: float | None = None
    predicted: float | None = None
    margin: float | None = None
    error: float | None = None
    hypotheses: tuple[Hypothesis, ...] = ()


def decide(claim: Claim[E, P], trial: Trial, found: Finding | UnmeasurableError | None) -> Check:
    """The check of one trial: whether the claim applies to it, and holds there.

    Parameters
    ----------
    claim : Claim
    trial : Trial
    found : Finding, UnmeasurableError or None
        What was measured, or why nothing could be; None of a trial that is not measurable.
    """
    finding = found if isinstance(found, Finding) else None
    beyond = bool(claim.places)  # whether to say if it holds without its hypotheses
    if finding and beyond and not np.isfinite(finding.measured):
        return unmeasured(claim, f"{finding.what} is no number")
    verdict, margin = Verdict.NOT_APPLICABLE, None
    if trial.missing and finding and beyond:
        reason = (
            f"{finding.what}; {'holds' if finding.holds else 'FAILS'} without: {', '.join(trial.missing)}"
        )
        margin = float(finding.margin)
    elif trial.missing:
        reason = f"hypotheses not met: {'; '.join(trial.missing)}"
    elif finding is None:
        reason = f"not measured: {found}"
    elif not np.isfinite([finding.measured, finding.predicted]).all():
        reason = "not measured: the numbers overflow"
    else:
        verdict, reason = Verdict.HOLDS if finding.holds else Verdict.FAILS, finding.what
        margin = float(finding.margin)
    return Check(
        claim=claim.name,
        statement=claim.statement,
        reference=claim.reference,
        verdict=verdict,
        reason=reason,
        measured=None if finding is None else float(finding.measured),
        predicted=None if finding is None else float(finding.predicted),
        margin=margin,
        error=None if finding is None else float(finding.error),
        hypotheses=tuple(Hypothesis(text, bool(met)) for text, met in trial.hypotheses),
    )


def unmeasured(claim: Claim[E, P], why: str) -> Check:
    """The check of a claim of which nothing could be measured, not even its hypotheses."""
    reason = f"not measured: {why}"
    return Check(claim.name, claim.statement, claim.reference, Verdict.NOT_APPLICABLE, reason)


def verdicts(checks: Iterable[Check]) -> dict[str, int]:
    """Numbers of checks by verdict."""
    return verdicts_of(check.verdict for check in checks)


def verdicts_of(verdicts: Iterable[Verdict]) -> dict[str, int]:
    """Numbers of each verdict."""
    found = list(verdicts)
    return {verdict.value: found.count(verdict) for verdict in Verdict}
