"""What was found of a theorem in words and as plain objects: ranges of every variable, and a plane of two."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from spectral_icl.io.text import plain, table
from spectral_icl.theorems.claim import Verdict, verdicts_of
from spectral_icl.theorems.margins import Line, Part, Plane, Point, Range
from spectral_icl.theorems.theorem import Theorem

_MARKS = {Verdict.HOLDS: "holds", Verdict.FAILS: "FAILS", Verdict.NOT_APPLICABLE: "n/a"}
_REASONS = 3  # hypotheses of a range that a table names


@dataclass(frozen=True)
class TheoremReport:
    """What was found of a theorem.

    Attributes
    ----------
    theorem : Theorem
    lines : tuple of Line
    plane : Plane or None
    """

    theorem: Theorem
    lines: tuple[Line, ...]
    plane: Plane | None

    @property
    def points(self) -> list[Point]:
        """All points, of the lines and then of the plane."""
        rows = self.plane.points if self.plane else ()
        return [point for line in self.lines for point in line.points] + [p for row in rows for p in row]

    @property
    def verdicts(self) -> dict[str, int]:
        """Numbers of points by verdict."""
        return verdicts_of(point.verdict for point in self.points)

    @property
    def success(self) -> bool:
        """Whether the claim fails nowhere where its hypotheses are met."""
        return all(point.verdict is not Verdict.FAILS for point in self.points)

    @property
    def supposed(self) -> list[tuple[str, bool, int]]:
        """Every hypothesis of the claim, whether the base meets it, and at how many points it is not met."""
        missed = Counter(text for p in self.points for text in {t for part in p.parts for t in part.missing})
        at_base = self.lines[0].points[self.lines[0].values.index(self.lines[0].variable.base)]
        known = {text: bool(met) for part in at_base.parts for text, met in part.hypotheses}
        # one whose words have numbers of the problem is another elsewhere
        return [(text, known.get(text, True), missed[text]) for text in {**known, **missed}]

    def to_text(self) -> str:
        """The plane in a line, and the number of points by verdict; `line_text` has the lines."""
        counts = ", ".join(f"{number} {verdict}" for verdict, number in self.verdicts.items())
        if not self.plane:
            return f"{len(self.points)} points: {counts}"
        found = [point.verdict for row in self.plane.points for point in row]
        parts = ", ".join(f"{number} {verdict}" for verdict, number in verdicts_of(found).items())
        across = f"{self.plane.x.label} and {self.plane.y.label}"
        return f"over {across}: {parts}\n{len(self.points)} points: {counts}"

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain objects, without NaN or infinity (null instead)."""
        claim = self.theorem.claim
        return {
            "success": self.success,
            "claim": claim.name,
            "statement": claim.statement,
            "reference": claim.reference,
            "base": {
                "name": self.theorem.title,
                "about": self.theorem.about,
                "problem": self.theorem.problem,
            },
            "verdicts": self.verdicts,
            "hypotheses": [
                {"text": text, "met at the base": met, "points that do not meet it": count}
                for text, met, count in self.supposed
            ],
            "variables": [_plain_line(line) for line in self.lines],
            "plane": None if self.plane is None else _plain_plane(self.plane),
        }


def line_text(line: Line) -> str:
    """The ranges of one variable: where the claim holds, fails, or is not applicable, and why."""
    variable = line.variable
    rows = [("from", "to", "verdict", "least margin", "at", "hypotheses not met, or why it was not measured")]
    for one in line.ranges:
        why = "; ".join(one.why[:_REASONS]) + ("; ..." if len(one.why) > _REASONS else "")
        at = "" if one.at is None else written(one.at)
        rows.append((written(one.first), written(one.last), mark(one), one.margin_text, at, why))
    heading = f"{variable.label} {variable.symbol}, {written(variable.base)} at the base"
    return "\n".join([heading, *table(rows)])


def mark(one: Range) -> str:
    """The verdict of a range; where hypotheses are not met also whether the claim fails without them."""
    fails = one.verdict is Verdict.NOT_APPLICABLE and one.margin is not None and one.margin <= 0.0
    return f"{_MARKS[one.verdict]}, fails" if fails else _MARKS[one.verdict]


def written(value: float) -> str:
    """A value of a variable as a table has it."""
    return f"{value:.4g}" if abs(value) < 1e5 and value != round(value) else f"{value:.6g}"


def _plain_part(part: Part) -> dict[str, Any]:
    found = {**part._asdict(), "verdict": part.verdict.value, "missing": list(part.missing)}
    del found["hypotheses"]  # of each the page says once where it is met
    return {key: plain(value) for key, value in found.items()}


def _plain_point(point: Point) -> dict[str, Any]:
    return {
        "verdict": point.verdict.value,
        "margin": plain(point.margin),
        "trials": [_plain_part(part) for part in point.parts],
    }


def _plain_line(line: Line) -> dict[str, Any]:
    variable = line.variable
    return {
        "name": variable.name,
        "label": variable.label,
        "symbol": variable.symbol,
        "base": variable.base,
        "ranges": [
            {**one._asdict(), "verdict": one.verdict.value, "margin": plain(one.margin), "why": list(one.why)}
            for one in line.ranges
        ],
        "borders": [list(pair) for pair in line.borders],
        "values": list(line.values),
        "points": [_plain_point(point) for point in line.points],
    }


def _plain_plane(plane: Plane) -> dict[str, Any]:
    return {
        "x": {"name": plane.x.name, "values": list(plane.x.values)},
        "y": {"name": plane.y.name, "values": list(plane.y.values)},
        "verdicts": [[point.verdict.value for point in row] for row in plane.points],
        "margins": [[plain(point.margin) for point in row] for row in plane.points],
    }
