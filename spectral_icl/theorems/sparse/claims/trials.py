"""Trials of sampled numbers: below a bound, above one, or between two."""

from __future__ import annotations

import math

from spectral_icl.sparse.simulation import Estimate
from spectral_icl.theorems.claim import Finding, Hypotheses, Trial


def below(
    place: str, found: Estimate, most: float, supposes: Hypotheses, what: str, without: str = ""
) -> Trial:
    """A trial of a number below a bound."""
    return Trial.of(Finding.below(found.mean, most, f"{place}: {what}", found.se), supposes, without)


def above(
    place: str, found: Estimate, least: float, supposes: Hypotheses, what: str, without: str = ""
) -> Trial:
    """A trial of a number above a bound."""
    return Trial.of(Finding.above(found.mean, least, f"{place}: {what}", found.se), supposes, without)


def between(place: str, found: Estimate, least: float, most: float, supposes: Hypotheses, what: str) -> Trial:
    """A trial of a number in an interval."""
    return Trial.of(Finding.between(found.mean, least, most, f"{place}: {what}", found.se), supposes)


def over(found: Estimate, scale: float) -> Estimate:
    """An estimate in parts of a positive scale; NaN in parts of 0."""
    if not scale > 0.0:
        return Estimate(float("nan"), float("nan"))
    return Estimate(found.mean / scale, found.se / scale)


def quotient(top: Estimate, bottom: Estimate) -> Estimate:
    """One estimate over another of different prompts; NaN over one that is not positive."""
    found = over(top, bottom.mean)
    if not bottom.mean > 0.0:
        return found
    return Estimate(found.mean, math.hypot(found.se, found.mean * bottom.se / bottom.mean))
