"""Sweeps: an experiment file with ``[[axis]]`` tables, read as a numbered list of experiments.

A plan holds the values of its axes and nothing per point, so one of ten million points takes no more memory
than one of ten; a point is made when it is asked for.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from spectral_icl.io.checks import ProblemError, integer, sequence
from spectral_icl.io.toml import SWEEP_KEYS, overridden, parsed
from spectral_icl.multitask.experiment import first_complaint
from spectral_icl.sweeps.axes import Values, axis_values, exact
from spectral_icl.sweeps.points import Kind, Record
from spectral_icl.sweeps.registry import kind_of

# Names that every result has for itself, and a dimension may not take; others are those of the kind.
RESERVED = frozenset({"point", "replicate", "seed", "root_seed", "status"})

_MOST_POINTS = 10**12
_CHECKED = 50  # values of an axis that are tried when the plan is made
_PATH = re.compile(r"(?P<field>(?P<section>[a-z]+)\.(?P<key>\w+))(?P<indices>(\[\d{1,6}\])*)", re.ASCII)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _AxisTable(_Table):
    """``[[axis]]``. What is Any here is checked by `_axis`, which knows what to say about it."""

    path: Any
    values: Any = None
    linear: Any = None
    log: Any = None
    replicates: Any = None
    zip: str | None = None


class _SweepTable(_Table):
    """What a sweep has beside the tables of an experiment."""

    axis: list[_AxisTable]
    record: Any = {}  # the kind of the points knows what it may be
    seed: int = 0
    batch: int | None = None


class _Path(NamedTuple):
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

    def overlaps(self, other: _Path) -> bool:
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
class _Axis:
    """Numbers that get the same values, of one dimension; replicates have no ``values`` but a ``size``."""

    paths: tuple[_Path, ...]
    values: Values | None
    size: int
    name: str  # of the dimension

    def value(self, i: int) -> int | float:
        """Value ``i``, an int if it is whole."""
        assert self.values is not None
        value: int | float = self.values[i].item()
        return exact(value) if isinstance(value, float) else value


@dataclass(frozen=True, eq=False)
class Dimension:
    """One dimension of the grid of points.

    Attributes
    ----------
    name : str
        The path of its axis, the ``zip`` name of several, or "replicate".
    size : int
    values : dict of str to ndarray, (size,)
        Of every path that varies along it; empty for replicates. The root seed is called "root_seed".
    """

    name: str
    size: int
    values: dict[str, Values]


@dataclass(frozen=True, eq=False)
class Plan:
    """The points of a sweep, in C order over `dims` (the first axis is the slowest).

    Made by `from_dict` or `read`, which build the first point, and then every value of every dimension (fifty
    of them, evenly spread, and the extremes). The first point must be a valid experiment. Another value is
    refused if the experiment is invalid with the other dimensions at their first, their least and their
    greatest values alike. One that is valid with some of these (such as four tasks, if a start needs a head
    for each and not all values of heads are enough) is kept; points where it is not are recorded as invalid.

    Attributes
    ----------
    kind : Kind
        What the points are.
    base : dict
        The tables of the first point, defaults filled in.
    seed : int
        Root seed. With replicates, point k has the seed that NumPy's SeedSequence(seed, spawn_key=(k,))
        gives: `point_seed`.
    batch : int
        Points that are solved together.
    record : Record
    axes : tuple
        The checked ``[[axis]]`` tables.
    dims : tuple of Dimension
    """

    kind: Kind[Any, Any]
    base: dict[str, Any]
    seed: int
    batch: int
    record: Record
    axes: tuple[_Axis, ...]
    dims: tuple[Dimension, ...]

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Plan:
        """The plan of a parsed file.

        Raises
        ------
        ProblemError
            Naming the dotted path of the first wrong entry, its value and what was expected.
        """
        kind = kind_of(table)
        base = _base(table, kind)  # first, for a misspelt [[axis]]
        if not table.get("axis"):
            raise ProblemError("axis", table.get("axis"), "at least one [[axis]]")
        try:
            sweep = _SweepTable.model_validate({key: table[key] for key in SWEEP_KEYS if key in table})
        except ValidationError as error:
            raise first_complaint(error) from None
        axes = tuple(_axis(f"axis[{i}]", axis, base, kind) for i, axis in enumerate(sweep.axis))
        dims = _dimensions(axes)
        size = math.prod(dim.size for dim in dims)
        if size > _MOST_POINTS:
            raise ProblemError("axis", f"{size} points", f"at most {_MOST_POINTS}")
        batch = _batch(size, kind.least) if sweep.batch is None else sweep.batch
        plan = cls(
            kind=kind,
            base=base,
            seed=integer("seed", sweep.seed, minimum=0, maximum=2**63 - 1),
            batch=integer("batch", batch, minimum=1, maximum=10**6),
            record=kind.record(sweep.record),
            axes=axes,
            dims=dims,
        )
        plan = replace(plan, base=plan._settled())
        plan._try_values()
        return plan

    @classmethod
    def read(cls, path: Path, overrides: tuple[str, ...] = ()) -> Plan:
        """The plan of a TOML file, with ``section.key=value`` (or ``seed=``, ``batch=``) overrides."""
        table = parsed(path)
        for override in overrides:
            table = overridden(table, override, top=("seed", "batch"))
        plan = cls.from_dict(table)
        varying = {path.field for axis in plan.axes for path in axis.paths}
        for override in overrides:
            field, _, value = override.partition("=")
            if field.strip() in varying:
                raise ProblemError(field.strip(), value, "no override of what an axis varies")
        return plan

    def to_dict(self) -> dict[str, Any]:
        """The plan as a file of plain Python objects, everything written out; `from_dict` is its inverse."""
        record = self.record.to_dict()
        return {
            "seed": self.seed,
            "batch": self.batch,
            **({"record": record} if record else {}),
            **copy.deepcopy(self.base),
            "axis": [self._axis_to_dict(axis) for axis in self.axes],
        }

    def _axis_to_dict(self, axis: _Axis) -> dict[str, Any]:
        paths = [path.text for path in axis.paths]
        entry: dict[str, Any] = {"path": paths[0] if len(paths) == 1 else paths}
        if axis.values is None:
            entry["replicates"] = axis.size
        else:
            entry["values"] = axis.values.tolist()
            if axis.name != axis.paths[0].name:
                entry["zip"] = axis.name
        return entry

    def digest(self) -> str:
        """SHA-256 of `to_dict`, in hexadecimal; neither the order of keys nor 1 for 1.0 changes it."""
        text = json.dumps({"format": 1, **_numbers_alike(self.to_dict())}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(dim.size for dim in self.dims)

    @property
    def batches(self) -> int:
        """Number of batches; the last may be smaller."""
        return -(-self.size // self.batch)

    @property
    def replicated(self) -> bool:
        """Whether every point draws its own seed."""
        return any(axis.values is None for axis in self.axes)

    @property
    def extents(self) -> dict[str, int]:
        """Sizes of the dimensions that results have beside point and time: the largest of any point."""
        largest = {
            path.text: axis.values.max().item()
            for axis in self.axes
            if axis.values is not None
            for path in axis.paths
        }
        return self.kind.extents(self.experiment(0), self.base, largest)

    def _indices(self, k: int) -> tuple[int, ...]:
        """Where along every dimension point ``k`` is."""
        found = []
        for dim in reversed(self.dims):
            k, i = divmod(k, dim.size)
            found.append(i)
        return tuple(reversed(found))

    def coordinates(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """What varies, at points ``start`` to ``stop``: every path of every axis, by name.

        With replicates also "replicate", its number, and "seed", the seed that the point has.
        """
        sizes = [dim.size for dim in self.dims]
        points = self._range(start, stop)
        where = np.unravel_index(np.array(points, dtype=np.int64), sizes)
        at = {dim.name: i for dim, i in zip(self.dims, where, strict=True)}
        found: dict[str, NDArray[Any]] = {}
        for axis in self.axes:
            if axis.values is not None:
                found |= {path.name: axis.values[at[axis.name]] for path in axis.paths}
        if self.replicated:
            roots = found.get("root_seed", np.full(len(points), self.seed))
            seeds = [point_seed(int(root), k) for root, k in zip(roots, points, strict=True)]
            found["replicate"] = at["replicate"].astype(np.int64)
            found["seed"] = np.array(seeds, dtype=np.int64)
        return found

    def table(self, k: int) -> dict[str, Any]:
        """The file of point ``k`` alone."""
        k = integer("k", k, minimum=0, maximum=self.size - 1)
        return copy.deepcopy(self._table(k, self._indices(k)))

    def experiment(self, k: int) -> Any:
        """Point ``k``, as its kind has it.

        Raises
        ------
        ProblemError
            The combination of values is not valid.
        """
        k = integer("k", k, minimum=0, maximum=self.size - 1)
        return self.kind.point(self._table(k, self._indices(k)))

    def experiments(self, start: int, stop: int) -> Iterator[Any]:
        """Points ``start`` to ``stop`` in order, or why one is invalid. Equal parts are one object."""
        section = self.kind.subject
        names = {axis.name for axis in self.axes if any(path.section == section for path in axis.paths)}
        varying = [d for d, dim in enumerate(self.dims) if dim.name in names]
        alike: dict[tuple[int, ...], Any] = {}
        for k in self._range(start, stop):
            indices = self._indices(k)
            key = tuple(indices[d] for d in varying)
            try:
                point = self.kind.point(self._table(k, indices), alike.get(key))
            except ProblemError as error:
                yield error
                continue
            alike.setdefault(key, point)
            yield point

    def _range(self, start: int, stop: int) -> range:
        stop = integer("stop", stop, minimum=0, maximum=self.size)
        return range(integer("start", start, minimum=0, maximum=stop), stop)

    def _table(self, k: int, indices: Sequence[int]) -> dict[str, Any]:
        """The tables at ``indices``, with the seed of point ``k``; unchanged parts are those of the base."""
        table = dict(self.base)
        at = {dim.name: i for dim, i in zip(self.dims, indices, strict=True)}
        root = self.seed
        for axis in self.axes:
            if axis.values is None:
                continue
            value = axis.value(at[axis.name])
            for path in axis.paths:
                if path.section:
                    path.put(table, value)
                else:
                    root = int(value)
        if self.replicated:
            _Path(*self.kind.seed).put(table, point_seed(root, k))
        return table

    def _settled(self) -> dict[str, Any]:
        """The tables of the first point, which must be valid, with the defaults filled in."""
        table = self._table(0, (0,) * len(self.dims))
        try:
            first = self.kind.point(table)
        except ProblemError as error:
            if not any(path.text == error.argument for axis in self.axes for path in axis.paths):
                raise
            expected = f"{error.expected} (the first values of the axes must fit together)"
            raise ProblemError(error.argument, error.value, expected) from None
        base = self.kind.settled(table, first)
        if self.replicated:
            _Path(*self.kind.seed).put(base, 0)  # every point has its own
        return base

    def _try_values(self) -> None:
        """Raise for a value that no point can have; see the class."""
        corners = [[0] * len(self.dims)]
        corners += [[_index(dim, extreme) for dim in self.dims] for extreme in (np.argmin, np.argmax)]
        for d, dim in enumerate(self.dims):
            if not dim.values:
                continue
            spread = np.linspace(0, dim.size - 1, min(dim.size, _CHECKED)).round().astype(int).tolist()
            extremes = [int(where(v)) for v in dim.values.values() for where in (np.argmin, np.argmax)]
            for i in sorted({*spread, *extremes}):
                self._try([[*corner[:d], i, *corner[d + 1 :]] for corner in corners])

    def _try(self, places: list[list[int]]) -> None:
        """Raise the complaint about the first of these places unless one of them is valid."""
        complaint = None
        for indices in places:
            try:
                self.kind.point(self._table(0, indices))
            except ProblemError as error:
                complaint = complaint or error
            else:
                return
        assert complaint is not None
        raise complaint


def point_seed(root: int, k: int) -> int:
    """The seed of point ``k`` among replicates: 63 bits, the same in every range it is solved in."""
    return int(np.random.SeedSequence(root, spawn_key=(k,)).generate_state(1, np.uint64)[0] >> 1)


def _base(table: Mapping[str, Any], kind: Kind[Any, Any]) -> dict[str, Any]:
    """The tables of a point, as plain objects of their own."""
    base: dict[str, Any] = {name: {} for name in kind.sections}
    for name, section in table.items():
        if name in SWEEP_KEYS:
            continue
        if name not in kind.sections:
            raise ProblemError(str(name), section, "a known key (is it a typing error?)")
        if not isinstance(section, Mapping):
            raise ProblemError(name, section, f"a table [{name}]")
        base[name] = _plain(section)
    return base


def _batch(size: int, least: int) -> int:
    """Points per batch: enough batches to share and to resume, few enough files where points are millions."""
    return min(16384, max(least, min(1024, -(-size // 64)), -(-size // 1024)))


def _axis(where: str, table: _AxisTable, base: Mapping[str, Any], kind: Kind[Any, Any]) -> _Axis:
    """A checked axis; its dimension is named after its path or its ``zip``."""
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
        seed = _Path(*kind.seed)
        if table.path != seed.text or seed.key not in kind.fields(seed.section, base):
            raise ProblemError(f"{where}.path", table.path, f"{kind.replicated}, for replicates")
        if table.zip is not None:
            raise ProblemError(f"{where}.zip", table.zip, "nothing beside replicates")
        size = integer(f"{where}.replicates", table.replicates, minimum=1, maximum=_MOST_POINTS)
        return _Axis((seed,), None, size, "replicate")
    paths = tuple(
        _path(f"{where}.path[{i}]" if many else f"{where}.path", text, base, kind)
        for i, text in enumerate(texts)
    )
    ((way, given),) = ways.items()
    values = axis_values(f"{where}.{way}", way, given)
    if np.unique(values).size < values.size and table.zip is None:
        raise ProblemError(f"{where}.{way}", given, "values that differ from each other")
    if any(not path.section for path in paths) and (values.dtype != np.int64 or values.min() < 0):
        raise ProblemError(f"{where}.{way}", given, "whole numbers >= 0 for the root seed")
    if table.zip is not None and (not table.zip.isidentifier() or table.zip in RESERVED | kind.reserved):
        raise ProblemError(f"{where}.zip", table.zip, "a name that no result has")
    return _Axis(paths, values, values.size, table.zip or paths[0].name)


def _path(where: str, text: object, base: Mapping[str, Any], kind: Kind[Any, Any]) -> _Path:
    """A path to a number that the file has, or could have."""
    if text == "seed":
        return _Path("", "seed")
    refused = ProblemError(where, text, "a numeric field of the file")
    match = _PATH.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["key"] not in kind.fields(match["section"], base):
        raise refused
    indices = tuple(int(i) for i in re.findall(r"\d+", match["indices"]))
    inner = base[match["section"]].get(match["key"])
    for i in indices:
        if not isinstance(inner, list) or i >= len(inner):
            raise refused
        inner = inner[i]
    if indices and isinstance(inner, list):
        raise refused
    return _Path(match["section"], match["key"], indices)


def _dimensions(axes: tuple[_Axis, ...]) -> tuple[Dimension, ...]:
    """The dimensions, in the order in which the axes begin them."""
    taken: list[_Path] = []
    sizes: dict[str, int] = {}
    values: dict[str, dict[str, Values]] = {}
    for i, axis in enumerate(axes):
        for path in axis.paths:
            if any(path.overlaps(other) for other in taken):
                raise ProblemError(f"axis[{i}].path", path.text, "a field that is not set by an axis already")
            taken.append(path)
        if sizes.setdefault(axis.name, axis.size) != axis.size:
            expected = f"{sizes[axis.name]} values, as the others of zip = {axis.name!r} have"
            raise ProblemError(f"axis[{i}]", f"{axis.size} values", expected)
        if axis.values is None:
            values[axis.name] = {}
        else:
            values.setdefault(axis.name, {}).update({path.name: axis.values for path in axis.paths})
    if any(not path.section for path in taken) and "replicate" not in sizes:
        raise ProblemError(
            "axis", "path = 'seed'", "an axis of replicates too: nothing else uses the root seed"
        )
    return tuple(Dimension(name, size, values[name]) for name, size in sizes.items())


def _index(dim: Dimension, extreme: Any) -> int:
    """Where the least or greatest value along a dimension is (of its first path)."""
    return int(extreme(next(iter(dim.values.values())))) if dim.values else 0


def _plain(value: Any) -> Any:
    """Tables and arrays as dicts and lists; anything else as it is."""
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value


def _numbers_alike(value: Any) -> Any:
    """A copy in which 1 and 1.0 are the same."""
    if isinstance(value, dict):
        return {key: _numbers_alike(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_numbers_alike(entry) for entry in value]
    return exact(value) if isinstance(value, float) else value
