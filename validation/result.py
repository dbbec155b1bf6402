"""What a check found: rows with error bars and verdicts, and the curves behind its figure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from spectral_icl.io.text import NEVER, plain, table
from spectral_icl.theorems.claim import Verdict

SIGMAS = 4.0  # standard errors within which a sampled number agrees with a prediction
LEAST_P = 1e-3  # p-value below which a distribution is not the one supposed

_DIGITS = 6  # of the curves that are saved


@dataclass(frozen=True)
class Row:
    """A line of a check's table: a measured number beside the expected one.

    Attributes
    ----------
    quantity : str
    measured : float
    error : float or None
        Standard error of ``measured``; None if it is not sampled, or is a whole training run.
    expected : float or None
        What the theory, or the run compared with, says.
    claim : str
        What is claimed of the two; empty if nothing is.
    verdict : Verdict or None
        None if nothing is claimed.
    """

    quantity: str
    measured: float
    error: float | None
    expected: float | None
    claim: str
    verdict: Verdict | None


def within(quantity: str, measured: float, error: float | None, expected: float, tolerance: float) -> Row:
    """``measured`` is claimed to be ``expected`` up to a relative tolerance."""
    holds = abs(measured - expected) <= tolerance * abs(expected)
    return _row(quantity, measured, error, expected, f"within {100 * tolerance:g} %", holds)


def consistent(quantity: str, measured: float, error: float, expected: float) -> Row:
    """``measured`` is claimed to be ``expected`` up to its own standard error."""
    holds = abs(measured - expected) <= SIGMAS * error
    return _row(quantity, measured, error, expected, f"within {SIGMAS:g} errors", holds)


def plausible(quantity: str, p: float) -> Row:
    """A p-value is claimed not to be small."""
    return _row(quantity, p, None, None, f"p >= {LEAST_P:g}", p >= LEAST_P)


def rejected(quantity: str, p: float) -> Row:
    """A p-value is claimed to be small: the hypothesis is wrong and the test sees it."""
    return _row(quantity, p, None, None, f"p < {LEAST_P:g}", p < LEAST_P)


def at_least(quantity: str, measured: float, least: float, error: float | None = None) -> Row:
    """``measured`` is claimed to be no less."""
    return _row(quantity, measured, error, None, f">= {least:g}", measured >= least)


def at_most(quantity: str, measured: float, most: float, error: float | None = None) -> Row:
    """``measured`` is claimed to be no more."""
    return _row(quantity, measured, error, None, f"<= {most:g}", measured <= most)


def same(quantity: str, measured: float, expected: float) -> Row:
    """Two counts or indices are claimed to be equal."""
    return _row(quantity, measured, None, expected, "equal", measured == expected)


def noted(quantity: str, measured: float, error: float | None = None, expected: float | None = None) -> Row:
    """A number of which nothing is claimed."""
    return Row(quantity, float(measured), error, expected, "", None)


def _row(
    quantity: str, measured: float, error: float | None, expected: float | None, claim: str, holds: bool
) -> Row:
    verdict = Verdict.HOLDS if holds else Verdict.FAILS
    return Row(quantity, float(measured), error, expected, claim, verdict)


@dataclass
class Result:
    """A check's table, its curves, and what to know when reading them."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    curves: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, rows: Row | Iterable[Row]) -> None:
        """Append rows."""
        self.rows.extend([rows] if isinstance(rows, Row) else rows)

    @property
    def failures(self) -> int:
        """Number of claims that fail."""
        return sum(row.verdict is Verdict.FAILS for row in self.rows)

    def to_text(self) -> str:
        """The table as lines of text, with the notes below."""
        head = ("quantity", "measured", "+-", "expected", "claimed", "verdict")
        lines = [self.title, *table([head, *(_cells(row) for row in self.rows)])]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])

    def to_dict(self, **about: Any) -> dict[str, Any]:
        """Rows, curves and whatever else is to be known ``about`` the run, in JSON's types."""
        rows = [asdict(row) | {"verdict": row.verdict and row.verdict.value} for row in self.rows]
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


def _cells(row: Row) -> tuple[str, ...]:
    verdict = row.verdict.value if row.verdict else ""
    return (
        row.quantity,
        _number(row.measured),
        NEVER if row.error is None else f"{row.error:.1g}",
        "" if row.expected is None else _number(row.expected),
        row.claim,
        verdict,
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
