"""The ``[[axis]]`` tables of a file: which of its entries vary, and the values that they take."""

from __future__ import annotations

import copy
import math
import re
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import ProblemError, integer, number, sequence
from spectral_icl.io.toml import Tables, read_table
from spectral_icl.sweeps.points import Points

Values = NDArray[Any]  # int64 if they are whole, else float64

# Names that every result has for itself, and a dimension may not take; others are those of the points.
RESERVED = frozenset({"point", "replicate", "seed", "root_seed", "status"})
MOST_POINTS = 10**12

_MOST_VALUES = 10**5  # of one axis, which are written out in every store; replicates are not
_WHOLE = 2.0**53  # floats beyond this are no longer whole numbers for certain
_PATH = re.compile(r"(?P<field>(?P<section>[a-z]+)\.(?P<key>\w+))(?P<indices>(\[\d{1,6}\])*)", re.ASCII)


@dataclass(frozen=True)
class _AxisTable:
    """The keys of an ``[[axis]]`` table; `read_axis` knows what to say about those that are objects here."""

    path: object
    values: object = None
    linear: object = None
    log: object = None
    replicates: object = None
    zip: str | None = None


class FieldPath(NamedTuple):
    """A number in the file: ``section.key`` and indices into it. The root seed has no section."""

    section: str
    key: str
    indices: tuple[int, ...] = ()

    @property
    def field(self) -> str:
        """The path without its indices."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def text(self) -> str:
        """The path as it is written."""
        return self.field + "".join(f"[{i}]" for i in self.indices)

    @property
    def name(self) -> str:
        """The path as results have it: a point's own seed is their "seed", and this one "root_seed"."""
        return self.text if self.section else "root_seed"

    def overlaps(self, other: FieldPath) -> bool:
        """Whether the two mean the same number, or one is a part of the other."""
        common = min(len(self.indices), len(other.indices))
        return self[:2] == other[:2] and self.indices[:common] == other.indices[:common]

    def put(self, table: dict[str, Any], value: int | float) -> None:
        """Set the number; what it is a part of is copied, and the rest of the table shared."""
        *outer, last = (self.section, self.key, *self.indices)
        inner: Any = table
        for key in outer:
            inner[key] = copy.copy(inner[key])
            inner = inner[key]
        inner[last] = value


@dataclass(frozen=True, eq=False)
class Axis:
    """One ``[[axis]]`` table: the entries of the file that take the same values along one dimension.

    Attributes
    ----------
    paths : tuple of FieldPath
    values : ndarray, (size,), or None
        None for replicates, of which each point draws its own seed.
    size : int
    name : str
        The dimension of the grid.
    """

    paths: tuple[FieldPath, ...]
    values: Values | None
    size: int
    name: str

    def __post_init__(self) -> None:
        if self.values is not None:
            self.values.setflags(write=False)

    def __reduce__(self) -> tuple[type[Axis], tuple[object, ...]]:
        """Pickle through the constructor, which makes the values read-only again."""
        return Axis, (self.paths, self.values, self.size, self.name)

    def value(self, i: int) -> int | float:
        """Value ``i``, an int if it is whole."""
        assert self.values is not None
        value: int | float = self.values[i].item()
        return exact(value) if isinstance(value, float) else value

    def to_dict(self) -> dict[str, Any]:
        """The table, its values written out; `read_axis` reads it."""
        paths = [path.text for path in self.paths]
        entry: dict[str, Any] = {"path": paths[0] if len(paths) == 1 else paths}
        if self.values is None:
            entry["replicates"] = self.size
        else:
            entry["values"] = self.values.tolist()
            if self.name != self.paths[0].name:
                entry["zip"] = self.name
        return entry


def read_axis(where: str, given: object, base: Tables, points: Points[Any]) -> Axis:
    """The axis that an ``[[axis]]`` table describes; its dimension is named after its path or its ``zip``.

    Parameters
    ----------
    where : str
        What error lines call the table: "axis[0]".
    given : object
        The table.
    base : mapping
        The tables of a point.
    points : Points
    """
    table = read_table(_AxisTable, where, given)
    ways = {
        key: value
        for key in ("values", "linear", "log", "replicates")
        if (value := getattr(table, key)) is not None
    }
    if len(ways) != 1:
        raise ProblemError(where, sorted(ways), "exactly one of values, linear, log and replicates")
    texts = (
        [table.path]
        if isinstance(table.path, str)
        else sequence(f"{where}.path", table.path, "a path or paths")
    )
    many = not isinstance(table.path, str)
    if "replicates" in ways:
        seed = FieldPath(*points.seed)
        if table.path != seed.text or seed.key not in points.numeric_keys(seed.section, base):
            raise ProblemError(f"{where}.path", table.path, f"{points.replicated}, for replicates")
        if table.zip is not None:
            raise ProblemError(f"{where}.zip", table.zip, "nothing beside replicates")
        size = integer(f"{where}.replicates", table.replicates, minimum=1, maximum=MOST_POINTS)
        return Axis((seed,), None, size, "replicate")
    paths = tuple(
        _path(f"{where}.path[{i}]" if many else f"{where}.path", text, base, points)
        for i, text in enumerate(texts)
    )
    ((way, given),) = ways.items()
    values = axis_values(f"{where}.{way}", way, given)
    if np.unique(values).size < values.size and table.zip is None:
        raise ProblemError(f"{where}.{way}", given, "values that differ from each other")
    if any(not path.section for path in paths) and (values.dtype != np.int64 or values.min() < 0):
        raise ProblemError(f"{where}.{way}", given, "whole numbers >= 0 for the root seed")
    if table.zip is not None and (not table.zip.isidentifier() or table.zip in RESERVED | points.reserved()):
        raise ProblemError(f"{where}.zip", table.zip, "a name that no result has")
    return Axis(paths, values, values.size, table.zip or paths[0].name)


def _path(where: str, text: object, base: Tables, points: Points[Any]) -> FieldPath:
    """A path to a number that the file has, or could have."""
    if text == "seed":
        return FieldPath("", "seed")
    refused = ProblemError(where, text, "a numeric field of the file")
    match = _PATH.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["key"] not in points.numeric_keys(match["section"], base):
        raise refused
    indices = tuple(int(i) for i in re.findall(r"\d+", match["indices"]))
    inner = base[match["section"]].get(match["key"])
    for i in indices:
        if not isinstance(inner, list) or i >= len(inner):
            raise refused
        inner = inner[i]
    if indices and isinstance(inner, list):
        raise refused
    return FieldPath(match["section"], match["key"], indices)


def axis_values(name: str, way: str, given: object) -> Values:
    """The numbers that ``given`` stands for, by one of the ways "values", "linear" and "log"."""
    if way == "values":
        listed = [_entry(f"{name}[{i}]", x) for i, x in enumerate(sequence(name, given, "numbers"))]
        whole = all(isinstance(x, int) for x in listed)
        return _typed(np.array(listed, dtype=np.int64 if whole else np.float64))
    ends = sequence(name, given, "[start, stop, n]")
    if len(ends) != 3:
        raise ProblemError(name, given, "[start, stop, n]")
    positive = way == "log"
    start, stop = (
        number(f"{name}[{i}]", ends[i], minimum=0.0 if positive else -1e100, maximum=1e100, above=positive)
        for i in range(2)
    )
    count = integer(f"{name}[2]", ends[2], minimum=1, maximum=_MOST_VALUES)
    if way == "linear":
        return _typed(np.linspace(start, stop, count))
    # twelve digits: round numbers look round, and every machine's logarithm gives the same plan
    inner = [float(f"{x:.12g}") for x in np.geomspace(start, stop, count)[1:-1].tolist()]
    return _typed(np.array([start, *inner, stop][:count]))


def exact(value: float) -> int | float:
    """A whole number as an int, since heads, sizes and seeds must be ints."""
    return int(value) if value.is_integer() and abs(value) <= _WHOLE else value


def _entry(name: str, value: object) -> int | float:
    """A number, an int if it is whole; infinity, which t_end may be, included."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return integer(name, value, minimum=-(2**63), maximum=2**63 - 1)
    return exact(number(name, value, minimum=-1e100, maximum=math.inf))


def _typed(values: Values) -> Values:
    """Values, as int64 if all of them are whole."""
    if values.dtype != np.int64 and (np.abs(values) <= _WHOLE).all() and (values == np.round(values)).all():
        return values.astype(np.int64)
    return values
