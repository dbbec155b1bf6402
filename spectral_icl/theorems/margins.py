"""The margin of a claim along the variables of a problem, and the borders where it stops."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.examine import Weighed

B = TypeVar("B")  # bases: problems, with their starts where there are any

_ROUNDING = 1e-9  # relative difference of values of a variable that are one
_MOST_BORDERS = 4  # of a line, that are narrowed down
_ORDER = (Verdict.FAILS, Verdict.HOLDS, Verdict.NOT_APPLICABLE)  # of what decides about a point


def _silent(points: int) -> None:
    """What counts points where nobody asks how many there are."""


@dataclass(frozen=True)
class Variable(Generic[B]):
    """What is varied about a base.

    Attributes
    ----------
    name, label : str
        In JSON, and for a reader.
    symbol : str
        As formulas have it.
    base : float
        Its value at the base.
    values : tuple of float
        Sorted values at which the claim is tested, that of the base among them.
    at : callable
        The base with another value; a `ProblemError` where there is none.
    whole : bool
        Whether only whole numbers are values.
    """

    name: str
    label: str
    symbol: str
    base: float
    values: tuple[float, ...]
    at: Callable[[B, float], B]
    whole: bool = False

    def between(self, low: float, high: float) -> float | None:
        """A value in the middle of two, on the scale on which they are spread; None if none is in between."""
        middle = float(np.sqrt(low * high)) if low > 0.0 else 0.5 * (low + high)
        if self.whole:
            middle = float(round(middle))
            if not low < middle < high:  # the roots of products of small numbers lean to the lower one
                middle = low + 1.0
        return middle if low < middle < high else None


def with_base(values: Iterable[float], base: float) -> tuple[float, ...]:
    """Sorted distinct values, the base among them in the place of any that rounding sets apart from it."""
    apart = {float(value) for value in values if abs(value - base) > _ROUNDING * abs(base)}
    return tuple(sorted({*apart, base}))


class Part(NamedTuple):
    """One trial of the claim at a point: its verdict, and the numbers whatever that is."""

    verdict: Verdict
    margin: float | None
    measured: float | None
    predicted: float | None
    reason: str
    missing: tuple[str, ...]
    hypotheses: tuple[Hypothesis, ...] = ()
    claimed: bool = True


@dataclass(frozen=True)
class Point:
    """A claim at one value of a variable, or at one of each of two.

    Attributes
    ----------
    parts : tuple of Part
        Its trials there.
    """

    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        """Fails if a trial fails, else holds if one holds."""
        return self.worst.verdict

    @property
    def worst(self) -> Part:
        """The trial that decides: of those with the verdict, the one with the least margin.

        A trial without a part of the claim never decides where there are others.
        """

        def rank(part: Part) -> tuple[int, bool, bool, float]:
            return _ORDER.index(part.verdict), not part.claimed, part.margin is None, part.margin or 0.0

        return min(self.parts, key=rank)

    @property
    def margin(self) -> float | None:
        """The least margin of the trials that decide, met or not met their hypotheses."""
        return self.worst.margin

    @property
    def missing(self) -> tuple[str, ...]:
        """The hypotheses that are not met where the claim is not applicable, or why it is not measured."""
        if self.verdict is not Verdict.NOT_APPLICABLE:
            return ()
        return self.worst.missing or (self.worst.reason,)


class Range(NamedTuple):
    """Neighbouring values of a variable with one verdict.

    Attributes
    ----------
    first, last : float
        The least and the largest of them.
    verdict : Verdict
    margin, at : float or None
        The least margin, and the value where it is.
    why : tuple of str
        Hypotheses that are not met at one of them or more, the most frequent first.
    """

    first: float
    last: float
    verdict: Verdict
    margin: float | None
    at: float | None
    why: tuple[str, ...]

    @property
    def margin_text(self) -> str:
        """The least margin in words: nothing if none was measured, "refuted" if no number says how large."""
        if self.margin is None:
            return ""
        return "refuted" if self.margin == -np.inf else f"{self.margin:.3g}"


@dataclass(frozen=True)
class Line:
    """A claim along one variable.

    Attributes
    ----------
    variable : Variable
    values : tuple of float
        Sorted: the variable's own, and those by which its borders were narrowed down.
    points : tuple of Point
        There.
    """

    variable: Variable[Any]
    values: tuple[float, ...]
    points: tuple[Point, ...]

    @property
    def ranges(self) -> list[Range]:
        """The ranges in which the claim holds, fails, or is not applicable, in their order."""
        found = []
        pairs = zip(self.values, self.points, strict=True)
        for verdict, group in groupby(pairs, key=lambda pair: pair[1].verdict):
            places = list(group)
            known = [(point.margin, value) for value, point in places if point.margin is not None]
            margin, at = min(known, default=(None, None))
            reasons = [text for _, point in places for text in point.missing]
            found.append(Range(places[0][0], places[-1][0], verdict, margin, at, _frequent(reasons)))
        return found

    @property
    def borders(self) -> list[tuple[float, float]]:
        """Pairs of neighbouring values between which the verdict changes."""
        return [(a.last, b.first) for a, b in pairwise(self.ranges)]


@dataclass(frozen=True)
class Plane:
    """A claim over two variables.

    Attributes
    ----------
    x, y : Variable
    points : tuple of tuple of Point
        A row for each value of ``y``, in it one for each of ``x``.
    """

    x: Variable[Any]
    y: Variable[Any]
    points: tuple[tuple[Point, ...], ...]


@dataclass(frozen=True)
class Ground(Generic[B]):
    """What a claim is tested on: a base, what is varied about it, and how to weigh the claim there.

    Attributes
    ----------
    base : B
    weigh : callable
        The checks of the claim on a base.
    variables : tuple of Variable
    plane : tuple of str
        Names of the two that span the plane, or none.
    coarse : int
        Every how many values of these are in the plane.
    halvings : int
        Of the interval in which a border is.
    """

    base: B
    weigh: Callable[[B], Sequence[Weighed]]
    variables: tuple[Variable[B], ...]
    plane: tuple[str, ...] = ()
    coarse: int = 1
    halvings: int = 6

    @property
    def points(self) -> int:
        """Points of the lines and of the plane, without those by which borders are narrowed down."""
        spanned = self._spanned()
        plane = len(spanned[0].values) * len(spanned[1].values) if spanned else 0
        return sum(len(variable.values) for variable in self.variables) + plane

    def lines(self, progress: Callable[[int], None] = _silent) -> Iterator[Line]:
        """The claim along every variable, with its borders narrowed down; ``progress`` counts `points`."""
        return (self.line(variable, progress) for variable in self.variables)

    def line(self, variable: Variable[B], progress: Callable[[int], None] = _silent) -> Line:
        """The claim along one variable."""
        found = {}
        for value in variable.values:
            found[value] = self._point((variable, value))
            progress(1)
        edges = [(a, b) for a, b in pairwise(variable.values) if found[a].verdict is not found[b].verdict]
        for low, high in edges[:_MOST_BORDERS]:
            for _ in range(self.halvings):
                middle = variable.between(low, high)
                if middle is None:
                    break
                found[middle] = self._point((variable, middle))
                below = found[middle].verdict is found[low].verdict
                low, high = (middle, high) if below else (low, middle)
        values = tuple(sorted(found))
        return Line(variable, values, tuple(found[value] for value in values))

    def over_plane(self, progress: Callable[[int], None] = _silent) -> Plane | None:
        """The claim over the plane of two variables, if there are two."""
        spanned = self._spanned()
        if spanned is None:
            return None
        x, y = spanned
        rows = []
        for b in y.values:
            row = []
            for a in x.values:
                row.append(self._point((x, a), (y, b)))
                progress(1)
            rows.append(tuple(row))
        return Plane(x, y, tuple(rows))

    def _spanned(self) -> tuple[Variable[B], Variable[B]] | None:
        """The two variables of the plane, with the values that are in it."""
        named = {variable.name: variable for variable in self.variables}
        if len(self.plane) != 2 or not set(self.plane) <= set(named):
            return None
        x, y = (named[name] for name in self.plane)
        return replace(x, values=x.values[:: self.coarse]), replace(y, values=y.values[:: self.coarse])

    def _point(self, *settings: tuple[Variable[B], float]) -> Point:
        """The claim where variables have values; not applicable where there is no such problem."""
        try:
            at = self.base
            for variable, value in settings:
                at = variable.at(at, value)
            return Point(tuple(_part(one) for one in self.weigh(at)))
        except ProblemError as error:
            why = f"there is no such problem: {error.argument} has to be {error.expected}"
            return Point((Part(Verdict.NOT_APPLICABLE, None, None, None, why, ()),))


def _frequent(reasons: Sequence[str]) -> tuple[str, ...]:
    """Each reason once, the most frequent first; of those that differ in their numbers only the first."""
    alike = [re.sub(r"[\d.e+-]*\d", "#", text) for text in reasons]
    first = {kind: text for kind, text in reversed(list(zip(alike, reasons, strict=True)))}
    return tuple(first[kind] for kind, _ in Counter(alike).most_common())


def _part(one: Weighed) -> Part:
    check, finding = one.check, one.finding
    margin = None
    if finding is not None and np.isfinite(finding.measured) and not np.isnan(finding.margin):
        margin = float(finding.margin)
    return Part(
        verdict=check.verdict,
        margin=margin,
        measured=check.measured,
        predicted=check.predicted,
        reason=check.reason,
        missing=one.missing,
        hypotheses=check.hypotheses,
        claimed=one.claimed,
    )
