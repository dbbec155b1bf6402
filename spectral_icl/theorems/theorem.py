"""A theorem's page of evidence: where its claim holds about a base, by how much, and where it stops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from spectral_icl.io.checks import ProblemError, choice, integer
from spectral_icl.io.text import plain, table
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.claim import Claim, Verdict, verdicts_of
from spectral_icl.theorems.margins import Ground, Line, Part, Plane, Point
from spectral_icl.theorems.multitask import check as multitask
from spectral_icl.theorems.multitask import ranges
from spectral_icl.theorems.multitask.claims.registry import CLAIMS
from spectral_icl.theorems.multitask.setting import Setting
from spectral_icl.theorems.sparse import check as sparse
from spectral_icl.theorems.sparse import ranges as sparse_ranges
from spectral_icl.theorems.sparse.claims import CLAIMS as SPARSE_CLAIMS
from spectral_icl.theorems.suite import suite

MARKS = {Verdict.HOLDS: "holds", Verdict.FAILS: "FAILS", Verdict.NOT_APPLICABLE: "n/a"}
_REASONS = 3  # hypotheses of a range that a table names


@dataclass(frozen=True)
class Theorem:
    """A claim, a base, and what is to be looked at about it.

    Attributes
    ----------
    claim : Claim
    title, about : str
        Of the base.
    ground : Ground
    """

    claim: Claim[Any, Any]
    title: str
    about: str
    ground: Ground[Any]

    @property
    def problem(self) -> dict[str, Any]:
        """The problem of the base as plain objects, and of a flow its start."""
        base = self.ground.base
        if isinstance(base, Setting):
            start = {"initial": base.start.to_dict(), "heads": base.heads}
            weights = type(base.parametrization).name
            found = {**base.problem.to_dict(), **start, "parametrization": weights, "kernel": base.kernel}
        else:
            found = base.to_dict()
        return {key: plain(value) for key, value in found.items()}

    @property
    def heading(self) -> str:
        """What the claim says, where it is from, and about which base it is looked at."""
        described = self.ground.base.problem if isinstance(self.ground.base, Setting) else self.ground.base
        return "\n".join(
            [
                f"{self.claim.name}: {self.claim.statement} [{self.claim.reference}]",
                f"{self.title}: {self.about}",
                f"  {described}",
            ]
        )


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
    def hypotheses(self) -> tuple[str, ...]:
        """The hypotheses that some point does not meet, in the order in which they were found."""
        missed = [text for point in self.points for part in point.parts for text in part.missing]
        return tuple(dict.fromkeys(missed))

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
            "hypotheses not met somewhere": list(self.hypotheses),
            "variables": [_plain_line(line) for line in self.lines],
            "plane": None if self.plane is None else _plain_plane(self.plane),
        }


def theorem_of(
    name: str,
    table_: Experiment | SparseProblem | None = None,
    title: str = "",
    prompts: int | None = None,
    seed: int = 0,
    points: int | None = None,
) -> Theorem:
    """What to look at of a theorem.

    Parameters
    ----------
    name : str
        Of a claim, about softmax attention or about sparse regression.
    table_ : Experiment or SparseProblem, optional
        The base; by default the case of the suite that the claim is about, or the first one where it applies,
        and of sparse regression one of the places that document it.
    title : str
        Where the base is from.
    prompts : int, optional
        To sample at every point, >= 100; 1000 of softmax attention, 100 of sparse regression, and more where
        they do not decide.
    seed : int
        Of the sampled prompts and numerical searches.
    points : int, optional
        Values of every variable, >= 2; as many as the claim affords by default.

    Raises
    ------
    ProblemError
        There is no such claim, it is not about such a base, or an argument is malformed.
    """
    choice("--theorem", name, names())
    seed = integer("seed", seed, minimum=0, maximum=2**62)
    about_sparse = name in SPARSE_CLAIMS and not isinstance(table_, Experiment)
    if prompts is None:
        prompts = sparse_ranges.SAMPLED_PROMPTS if about_sparse else ranges.SAMPLED_PROMPTS
    prompts = integer("prompts", prompts, minimum=100, maximum=10**5 if about_sparse else 10**9)
    if points is not None:
        points = integer("points", points, minimum=2, maximum=1000)
    if about_sparse:
        base = sparse_ranges.base_of(name) if table_ is None else table_
        assert isinstance(base, SparseProblem)
        about = "a place that documents the claim" if table_ is None else "the problem given"
        found = sparse_ranges.ground(name, base, prompts, seed, points)
        return Theorem(SPARSE_CLAIMS[name], title or "sparse regression", about, found)
    if name not in CLAIMS or isinstance(table_, SparseProblem):
        of = "sparse regression" if name in SPARSE_CLAIMS else "softmax attention"
        raise ProblemError("--theorem", name, f"a claim about the problem given; this one is about {of}")
    if table_ is None:
        title, about, setting = _documented(name, prompts, seed)
    else:
        about, setting = "the problem and start given", Setting.of(table_)
    return Theorem(CLAIMS[name], title, about, ranges.ground(name, setting, prompts, seed, points))


def names() -> list[str]:
    """Names of the claims about softmax attention, and then of those about sparse regression."""
    return [*multitask.names(), *sparse.names()]


def _documented(name: str, prompts: int, seed: int) -> tuple[str, str, Setting]:
    """The case of the suite that a claim is about: the one that was chosen, or the first where it applies."""
    cases = suite()
    chosen = ranges.choice_of(name).base
    weigh = ranges.weigher(name, prompts, seed)
    for case in cases:
        at = Setting.of(case.experiment)
        if chosen == case.name:
            return case.name, case.about, at
        if not chosen and any(one.check.verdict is not Verdict.NOT_APPLICABLE for one in weigh(at)):
            return case.name, case.about, at
    first = cases[0]
    return first.name, first.about, Setting.of(first.experiment)


def line_text(line: Line) -> str:
    """The ranges of one variable: where the claim holds, fails, or is not applicable, and why."""
    variable = line.variable
    rows = [("from", "to", "verdict", "least margin", "at", "hypotheses not met, or why it was not measured")]
    for one in line.ranges:
        why = "; ".join(one.why[:_REASONS]) + ("; ..." if len(one.why) > _REASONS else "")
        outright = one.margin is not None and one.margin == -float("inf")
        margin = "" if one.margin is None else "refuted" if outright else f"{one.margin:.3g}"
        at = "" if one.at is None else _written(one.at)
        rows.append((_written(one.first), _written(one.last), MARKS[one.verdict], margin, at, why))
    heading = f"{variable.label} {variable.symbol}, {_written(variable.base)} at the base"
    return "\n".join([heading, *table(rows)])


def lines_of(theorem: Theorem) -> Iterator[Line]:
    """The claim along one variable after the other."""
    return theorem.ground.lines()


def _written(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 1e5 and value != round(value) else f"{value:.6g}"


def _plain_part(part: Part) -> dict[str, Any]:
    found = {**part._asdict(), "verdict": part.verdict.value, "missing": list(part.missing)}
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
