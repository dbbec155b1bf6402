"""The shape of a theorem check: hypotheses, measurement, margin and verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import numpy as np


class Verdict(Enum):
    """What a check found."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_APPLICABLE = "not applicable"


class UnmeasurableError(Exception):
    """A claim that could not be measured on this problem, for a reason that is no hypothesis of it."""


@dataclass(frozen=True)
class Measured:
    """What was measured for a claim, beside what the theory says.

    Attributes
    ----------
    measured, predicted : float
    margin : float
        Room left before the claim fails, positive where it holds. Of an agreement within a tolerance: 1
        minus the error over the tolerance. Of an inequality: the distance from its edge over the range that
        it allows. Of a count: 1, or minus the number of exceptions.
    error : float
        Standard error of ``measured`` if it was sampled, else 0.
    detail : str
        What the numbers are.
    """

    measured: float
    predicted: float
    margin: float
    error: float = 0.0
    detail: str = ""


@dataclass(frozen=True)
class Check:
    """One claim of the theory, tested on one problem and start.

    Attributes
    ----------
    claim : str
        Its name.
    statement : str
        What it says.
    reference : str
        Where it is from.
    verdict : Verdict
        Not applicable if a hypothesis is not met, whatever was measured.
    reason : str
        The hypotheses that are not met, or why nothing could be measured; else what the numbers are.
    measured, predicted, margin, error : float or None
        See `Measured`; None if nothing was measured.
    hypotheses : tuple of (str, bool)
        All that the claim supposes, and whether it is so.
    """

    claim: str
    statement: str
    reference: str
    verdict: Verdict
    reason: str
    measured: float | None
    predicted: float | None
    margin: float | None
    error: float | None
    hypotheses: tuple[tuple[str, bool], ...]


Hypotheses = list[tuple[str, bool]]


@dataclass(frozen=True)
class Trial:
    """A claim put to the test: what it needs to be measured at all, what it supposes, and the measurement.

    A hypothesis in ``supposes`` may be broken and the claim still measured, to see what happens then;
    without one in ``needs`` there is nothing to measure.
    """

    needs: Hypotheses
    supposes: Hypotheses
    measure: Callable[[], Measured]


def tally(checks: Iterable[Check]) -> dict[str, int]:
    """How many checks ended with each verdict."""
    verdicts = [check.verdict for check in checks]
    return {verdict.value: verdicts.count(verdict) for verdict in Verdict}


def agreement(measured: float, predicted: float, tolerance: float) -> float:
    """Margin of a claim that two numbers agree within a relative tolerance."""
    off = abs(measured - predicted) / abs(predicted) if predicted else abs(measured)
    return 1.0 - off / tolerance if np.isfinite(off) else -np.inf
