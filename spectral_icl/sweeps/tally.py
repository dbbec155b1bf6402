"""What became of points: how many were solved, how the others failed, and the range of their headline."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from spectral_icl.sweeps.points import SOLVED, Points, Results


class Failures(NamedTuple):
    """Points of one outcome: how many, and the first of them."""

    number: int
    first: int

    def joined(self, other: Failures | None) -> Failures:
        """The number of these points and others together, and the first of all."""
        if other is None:
            return self
        return Failures(self.number + other.number, min(self.first, other.first))


@dataclass(frozen=True)
class Tally:
    """What became of some points.

    Attributes
    ----------
    points : int
        How many they are.
    failures : dict of int to Failures
        Those that were not solved, by status.
    extent : tuple of float, or None
        Smallest and largest value of their headline, of those that were.
    untrusted : Failures, or None
        Those that were solved but that their guard does not trust.
    """

    points: int = 0
    failures: dict[int, Failures] = field(default_factory=dict)
    extent: tuple[float, float] | None = None
    untrusted: Failures | None = None

    @property
    def failed(self) -> int:
        """How many points were not solved."""
        return sum(entry.number for entry in self.failures.values())

    def __add__(self, other: Tally) -> Tally:
        failures = dict(self.failures)
        for status, more in other.failures.items():
            failures[status] = more.joined(failures.get(status))
        ranges = [entry for entry in (self.extent, other.extent) if entry is not None]
        extent = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
        untrusted = self.untrusted.joined(other.untrusted) if self.untrusted else other.untrusted
        return Tally(self.points + other.points, failures, extent, untrusted)


def tally(points: Points[Any], values: Results, start: int) -> Tally:
    """What became of consecutive points.

    Parameters
    ----------
    points : Points
    values : dict of str to ndarray
        Their results, at least the status, the headline and what the guard looks at.
    start : int
        Number of the first point.
    """
    status = values["status"]
    solved = np.isin(status, SOLVED)
    failures = {
        int(code): Failures(int((status == code).sum()), start + int((status == code).argmax()))
        for code in np.unique(status[~solved])
    }
    shown = values[points.headline][solved]
    extent = (float(shown.min()), float(shown.max())) if shown.size else None
    beyond = np.zeros_like(solved)
    if points.guard is not None:
        beyond = solved & (values[points.guard.name] > points.guard.most)
    untrusted = Failures(int(beyond.sum()), start + int(beyond.argmax())) if beyond.any() else None
    return Tally(len(status), failures, extent, untrusted)
