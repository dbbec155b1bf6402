"""Results in words and as plain objects: what every report is made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, overload

import numpy as np

NEVER = "-"  # in the place of a time that does not come


class Report(Protocol):
    """A result that a command prints."""

    def to_text(self) -> str:
        """Lines for people, without a newline at the end."""

    def to_dict(self) -> Mapping[str, object]:
        """Plain objects for JSON, without NaN or infinity (null instead)."""


def table(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Lines of a table with columns of even width, indented."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    return [
        ("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip()
        for row in rows
    ]  # fmt: skip


@overload
def plain(value: Mapping[str, object]) -> dict[str, object]: ...


@overload
def plain(value: object) -> object: ...


def plain(value: Any) -> object:
    """The value made of JSON's types: arrays as lists, null for what is not finite."""
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, np.ndarray)):
        return [plain(entry) for entry in value]
    if isinstance(value, (bool, np.bool_)) or value is None or isinstance(value, str):
        return bool(value) if isinstance(value, np.bool_) else value
    if isinstance(value, (int, np.integer)):
        return int(value)
    return float(value) if math.isfinite(value) else None


MANY = 12  # things of a kind that are listed one by one
_ENDS = 3  # entries that are shown before what is left out
_AFTER = 2  # rows that are shown after what is left out

T = TypeVar("T")


def shortened(rows: Sequence[T], gap: T) -> list[T]:
    """The rows if there are up to `MANY`, and else the first and the last few with ``gap`` in between."""
    return list(rows) if len(rows) <= MANY else [*rows[:_ENDS], gap, *rows[-_AFTER:]]


def listed(values: Sequence[object]) -> str:
    """The values with commas; of many the first and the last few."""
    return ", ".join(shortened([str(value) for value in values], "..."))


def abbreviated(values: Sequence[Any], shown: Callable[[Any], str] = repr) -> str:
    """A tuple as Python has it, cut short if it is long: ``(10,) * 1000`` or ``(1, 2, 3, ..., 9)``."""
    many = len(values)
    if many > 1 and isinstance(values, tuple) and values.count(values[0]) == many:
        return f"({shown(values[0])},) * {many}"
    if many <= 2 * _ENDS:
        return f"({', '.join(map(shown, values))}{',' if many == 1 else ''})"
    return f"({', '.join(map(shown, values[:_ENDS]))}, ..., {shown(values[-1])})"
