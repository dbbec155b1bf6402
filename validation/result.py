"""What a check found: rows with error bars, p-values and verdicts, and the curves behind its figure.

A stochastic claim fails if its p-value, the probability that chance alone makes as much of a difference, is
at most its level. A command has 1e-3 for all of its checks, of which each has the same share, split over its
claims by Holm's method: so right software fails once in a thousand commands, whatever the seed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from spectral_icl.io.text import NEVER, plain, table
from spectral_icl.theorems.claim import Verdict
from validation import NAMES
from validation.statistics import Estimate, apart, beyond, holm

BUDGET = 1e-3  # probability that a command fails by chance
LEVEL = BUDGET / len(NAMES)  # of a check

_DIGITS = 6  # of the curves that are saved


@dataclass(frozen=True)
class Row:
    """A line of a check's table: a measured number beside the expected one.

    Attributes
    ----------
    quantity : str
    measured : float
    error : float or None
        Standard error of ``measured``; None if it is not sampled, or not known.
    expected : float or None
        What the theory, or the run compared with, says.
    claim : str
        What is claimed of the two; empty if nothing is.
    p : float or None
        Probability of chance making as much of a difference if the claim is right; None if chance plays no
        part in it.
    rival : float or None
        Probability of this much under a wrong hypothesis that the claim says is refuted: it must be small.
    uniform : bool
        Whether ``p`` is uniform if the claim is right, and not larger: its hypothesis is one, and no range.
    holds : bool or None
        Of a claim without chance.
    """

    quantity: str
    measured: float
    error: float | None
    expected: float | None
    claim: str
    p: float | None = None
    rival: float | None = None
    uniform: bool = False
    holds: bool | None = None

    def verdict(self, level: float | None) -> Verdict | None:
        """Whether the claim holds, its p-value judged at a level; None if nothing is claimed."""
        holds = self.holds
        if level is not None and self.p is not None:
            holds = self.p > level and (self.rival is None or self.rival <= level)  # not so of NaN
        return None if holds is None else Verdict.HOLDS if holds else Verdict.FAILS


def consistent(quantity: str, measured: Estimate, expected: float, fixed: bool = False) -> Row:
    """``measured`` is claimed to be ``expected``, up to chance; ``fixed`` if it is of no seed's data."""
    p = apart((measured.value - expected) / measured.error, measured.freedom)
    claim = "equal" + _student(measured)
    return Row(quantity, measured.value, measured.error, expected, claim, p, uniform=not fixed)


def not_above(quantity: str, measured: Estimate, most: float) -> Row:
    """The number that ``measured`` is an estimate of is claimed to be no more."""
    p = beyond((measured.value - most) / measured.error, measured.freedom)
    return Row(quantity, measured.value, measured.error, None, f"<= {most:g}" + _student(measured), p)


def not_below(quantity: str, measured: Estimate, least: float) -> Row:
    """The number that ``measured`` is an estimate of is claimed to be no less."""
    p = beyond((least - measured.value) / measured.error, measured.freedom)
    return Row(quantity, measured.value, measured.error, None, f">= {least:g}" + _student(measured), p)


def plausible(
    quantity: str, measured: float, p: float, expected: float | None = None, bound: bool = False
) -> Row:
    """A statistic is claimed to be by chance what it is: with probability ``p``, or less, it is further out.

    ``bound`` if it may be less.
    """
    return Row(quantity, float(measured), None, expected, "by chance", p, uniform=not bound)


def told_apart(quantity: str, share: Estimate) -> Row:
    """Of two hypotheses the right one is claimed to be true, and the wrong one refuted.

    ``share`` is how much of the way from the wrong one to the right one was measured: 1 or 0.
    """
    p, rival = apart((share.value - 1.0) / share.error, share.freedom), _refuted(share)
    return Row(
        quantity, share.value, share.error, 1.0, "1, and not 0" + _student(share), p, rival, uniform=True
    )


def nearer(quantity: str, share: Estimate) -> Row:
    """Of two hypotheses, neither of them exact, one is claimed to be the nearer, and the other refuted."""
    p, rival = beyond((0.5 - share.value) / share.error, share.freedom), _refuted(share)
    return Row(quantity, share.value, share.error, 1.0, "nearer 1 than 0" + _student(share), p, rival)


def at_least(quantity: str, measured: float, least: float, error: float | None = None) -> Row:
    """``measured`` is claimed to be no less, without regard to chance."""
    return Row(quantity, float(measured), error, None, f">= {least:g}", holds=bool(measured >= least))


def at_most(quantity: str, measured: float, most: float, error: float | None = None) -> Row:
    """``measured`` is claimed to be no more, without regard to chance."""
    return Row(quantity, float(measured), error, None, f"<= {most:g}", holds=bool(measured <= most))


def same(quantity: str, measured: float, expected: float) -> Row:
    """Two counts or indices are claimed to be equal."""
    return Row(quantity, float(measured), None, expected, "equal", holds=bool(measured == expected))


def noted(
    quantity: str, measured: float | Estimate, error: float | None = None, expected: float | None = None
) -> Row:
    """A number of which nothing is claimed."""
    if isinstance(measured, Estimate):
        return Row(quantity, measured.value, measured.error, expected, "")
    return Row(quantity, float(measured), error, expected, "")


def _refuted(share: Estimate) -> float:
    return beyond(share.value / share.error, share.freedom)


def _student(measured: Estimate) -> str:
    return "" if math.isinf(measured.freedom) else f", t of {measured.freedom:.3g}"


class Judged(NamedTuple):
    """A row, the level at which its p-value is judged, and the verdict."""

    row: Row
    level: float | None
    verdict: Verdict | None


@dataclass
class Result:
    """A check's table, its curves, what to know when reading them, and how rarely it may fail by chance."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    level: float = LEVEL

    def add(self, rows: Row | Iterable[Row]) -> None:
        """Append rows."""
        self.rows.extend([rows] if isinstance(rows, Row) else rows)

    def judged(self) -> list[Judged]:
        """All rows with their verdicts, which depend on how many claims there are."""
        chance = [row for row in self.rows if row.p is not None]
        # what could not be measured is no chance: it comes first, and fails
        known = [-1.0 if math.isnan(row.p or 0.0) else row.p or 0.0 for row in chance]
        levels = iter(holm(known, self.level))
        pairs = [(row, None if row.p is None else next(levels)) for row in self.rows]
        return [Judged(row, level, row.verdict(level)) for row, level in pairs]

    @property
    def failures(self) -> int:
        """Number of claims that fail."""
        return sum(one.verdict is Verdict.FAILS for one in self.judged())

    def to_text(self, **about: Any) -> str:
        """The table as lines of text, under a title with what is ``about`` the run, and the notes below."""
        head = ("quantity", "measured", "+-", "expected", "claimed", "p", "level", "verdict")
        told = ", ".join(f"{key} {value}" for key, value in about.items())
        lines = [
            self.title + (f" ({told})" if told else ""),
            *table([head, *(_cells(one) for one in self.judged())]),
        ]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def to_dict(self, **about: Any) -> dict[str, Any]:
        """Rows, curves and whatever else is to be known ``about`` the run, in JSON's types."""
        rows = [
            {key: value for key, value in asdict(row).items() if key not in ("holds", "uniform")}
            | {"level": level, "verdict": verdict and verdict.value}
            for row, level, verdict in self.judged()
        ]
        table: dict[str, Any] = plain(
            {
                "name": self.name,
                "title": self.title,
                **about,
                "rows": rows,
                "notes": self.notes,
                "curves": _rounded(self.curves),
            }
        )
        return table

    def to_json(self, **about: Any) -> str:
        """`to_dict` as a file's text: one line per row, per curve and per entry."""
        lines = []
        for key, value in self.to_dict(**about).items():
            if isinstance(value, list):
                inner = ",\n  ".join(json.dumps(entry, allow_nan=False) for entry in value)
                lines.append(f"{json.dumps(key)}: [\n  {inner}\n ]")
            elif isinstance(value, dict):
                inner = ",\n  ".join(
                    f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in value.items()
                )
                lines.append(f"{json.dumps(key)}: {{\n  {inner}\n }}")
            else:
                lines.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
        return "{\n " + ",\n ".join(lines) + "\n}\n"


def _cells(judged: Judged) -> tuple[str, ...]:
    row, level, verdict = judged
    return (
        row.quantity,
        _number(row.measured),
        NEVER if row.error is None else f"{row.error:.1g}",
        "" if row.expected is None else _number(row.expected),
        row.claim,
        "" if row.p is None else f"{row.p:.2g}",
        "" if level is None else f"{level:.1g}",
        verdict.value if verdict else "",
    )


def _number(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else NEVER


def _rounded(value: Any) -> Any:
    """Curves with as many digits as a figure could show."""
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [_rounded(entry) for entry in value]
    if isinstance(value, (float, np.floating)) and math.isfinite(value):
        return float(f"{value:.{_DIGITS}g}")
    return value
