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
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from spectral_icl.experiment import (
    SWEEP_KEYS,
    DominantStart,
    Experiment,
    ExplicitStart,
    FlowTable,
    ModelTable,
    PaperStart,
    RandomStart,
    first_complaint,
    overridden,
    parsed,
)
from spectral_icl.problem import Problem
from spectral_icl.validation import Floats, ProblemError, integer, number, sequence

Values = NDArray[Any]  # of an axis: int64 if they are whole, else float64

# Names that a result has for itself, and a dimension may not take.
RESERVED = frozenset(
    {
        *("point", "task", "head", "block", "time", "replicate", "seed", "root_seed", "status"),
        *("t", "loss", "saturation", "steps", "task_loss", "omega", "mu", "loss_curve"),
        *("emergence", "settled", "allocation", "escape"),
        *("lower_bound", "head_per_task", "single_head", "gradient_step"),
        *("emergence_predicted", "allocation_predicted", "escape_predicted"),
    }
)

_MOST_POINTS = 10**12
_MOST_VALUES = 10**5  # of one axis, which are written out in every store; replicates are not
_WHOLE = 2.0**53  # floats beyond this are no longer whole numbers for certain
_CHECKED = 50  # values of an axis that are tried when the plan is made
_SECTIONS = ("problem", "model", "initial", "flow")
_STARTS: dict[str, type[BaseModel]] = {
    "paper": PaperStart,
    "dominant": DominantStart,
    "random": RandomStart,
    "explicit": ExplicitStart,
}
_PROBLEM = (
    *("task_sizes", "tasks", "block_sizes", "signal", "noise", "snr"),
    *("context_length", "covariance"),
)
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


class _RecordTable(_Table):
    """``[record]``."""

    state: bool = True
    phases: bool = True
    benchmarks: bool = True
    forecast: bool = False
    times: Any = None


class _SweepTable(_Table):
    """What a sweep has beside the tables of an experiment."""

    axis: list[_AxisTable]
    record: _RecordTable = _RecordTable()
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
        return _exact(value) if isinstance(value, float) else value


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
class Record:
    """What is stored of every point beside its loss: the ``[record]`` table, with ``times`` written out."""

    state: bool
    phases: bool
    benchmarks: bool
    forecast: bool
    times: Floats | None


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
        base = _base(table)  # first, for a misspelt [[axis]]
        if not table.get("axis"):
            raise ProblemError("axis", table.get("axis"), "at least one [[axis]]")
        try:
            sweep = _SweepTable.model_validate({key: table[key] for key in SWEEP_KEYS if key in table})
        except ValidationError as error:
            raise first_complaint(error) from None
        axes = tuple(_axis(f"axis[{i}]", axis, base) for i, axis in enumerate(sweep.axis))
        dims = _dimensions(axes)
        size = math.prod(dim.size for dim in dims)
        if size > _MOST_POINTS:
            raise ProblemError("axis", f"{size} points", f"at most {_MOST_POINTS}")
        batch = _batch(size) if sweep.batch is None else sweep.batch
        plan = cls(
            base=base,
            seed=integer("seed", sweep.seed, minimum=0, maximum=2**63 - 1),
            batch=integer("batch", batch, minimum=1, maximum=10**6),
            record=_record(sweep.record),
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
        times = self.record.times
        record = {
            "state": self.record.state,
            "phases": self.record.phases,
            "benchmarks": self.record.benchmarks,
            "forecast": self.record.forecast,
        }
        return {
            "seed": self.seed,
            "batch": self.batch,
            "record": record if times is None else {**record, "times": times.tolist()},
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
    def shape(self) -> tuple[int, int, int]:
        """The largest (H, B, I) of any point."""
        first = self.experiment(0)
        heads, blocks = first.start.omega.shape
        tasks = first.problem.tasks
        for axis in self.axes:
            if axis.values is not None and _Path("problem", "tasks") in axis.paths:
                blocks = tasks = int(axis.values.max())
        counts = [a.values for a in self.axes if a.values is not None and _Path("model", "heads") in a.paths]
        if counts:
            heads = int(counts[0].max())
        elif "heads" not in self.base["model"] and not isinstance(first.initial, ExplicitStart):
            heads = tasks
        return heads, blocks, tasks

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
        """The experiment file of point ``k``."""
        k = integer("k", k, minimum=0, maximum=self.size - 1)
        return copy.deepcopy(self._table(k, self._indices(k)))

    def experiment(self, k: int) -> Experiment:
        """Point ``k``.

        Raises
        ------
        ProblemError
            The combination of values is not a valid experiment.
        """
        k = integer("k", k, minimum=0, maximum=self.size - 1)
        return Experiment.from_dict(self._table(k, self._indices(k)))

    def experiments(self, start: int, stop: int) -> Iterator[Experiment | ProblemError]:
        """Points ``start`` to ``stop`` in order, or why one is invalid. Equal problems are one object."""
        names = {axis.name for axis in self.axes if any(path.section == "problem" for path in axis.paths)}
        varying = [d for d, dim in enumerate(self.dims) if dim.name in names]
        problems: dict[tuple[int, ...], Problem] = {}
        for k in self._range(start, stop):
            indices = self._indices(k)
            key = tuple(indices[d] for d in varying)
            try:
                point = Experiment.from_dict(self._table(k, indices), problems.get(key))
            except ProblemError as error:
                yield error
                continue
            problems[key] = point.problem
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
            table["initial"] = {**table["initial"], "seed": point_seed(root, k)}
        return table

    def _settled(self) -> dict[str, Any]:
        """The tables of the first point, which must be valid, with the defaults filled in."""
        table = self._table(0, (0,) * len(self.dims))
        try:
            first = Experiment.from_dict(table)
        except ProblemError as error:
            if not any(path.text == error.argument for axis in self.axes for path in axis.paths):
                raise
            expected = f"{error.expected} (the first values of the axes must fit together)"
            raise ProblemError(error.argument, error.value, expected) from None
        if first.flow.t_eval is not None:
            expected = "nothing in a sweep: the times of its loss curves are record.times"
            raise ProblemError("flow.t_eval", first.flow.t_eval, expected)
        parts = {"model": first.model, "initial": first.initial, "flow": first.flow}
        base = {name: part.model_dump(exclude_none=True) for name, part in parts.items()}
        if self.replicated:
            base["initial"]["seed"] = 0  # every point has its own
        return {"problem": table["problem"], **base}

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
                Experiment.from_dict(self._table(0, indices))
            except ProblemError as error:
                complaint = complaint or error
            else:
                return
        assert complaint is not None
        raise complaint


def point_seed(root: int, k: int) -> int:
    """The seed of point ``k`` among replicates: 63 bits, the same in every range it is solved in."""
    return int(np.random.SeedSequence(root, spawn_key=(k,)).generate_state(1, np.uint64)[0] >> 1)


def _base(table: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of an experiment, as plain objects of their own."""
    base: dict[str, Any] = {name: {} for name in _SECTIONS}
    for name, section in table.items():
        if name in SWEEP_KEYS:
            continue
        if name not in _SECTIONS:
            raise ProblemError(str(name), section, "a known key (is it a typing error?)")
        if not isinstance(section, Mapping):
            raise ProblemError(name, section, f"a table [{name}]")
        base[name] = _plain(section)
    return base


def _batch(size: int) -> int:
    """Points per batch: enough batches to share and to resume, few enough files where points are millions."""
    return min(16384, max(32, min(1024, -(-size // 64)), -(-size // 1024)))


def _axis(where: str, table: _AxisTable, base: Mapping[str, Any]) -> _Axis:
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
        if table.path != "initial.seed" or "seed" not in _start_fields(base):
            raise ProblemError(
                f"{where}.path", table.path, "initial.seed of a random or dominant start, for replicates"
            )
        if table.zip is not None:
            raise ProblemError(f"{where}.zip", table.zip, "nothing beside replicates")
        size = integer(f"{where}.replicates", table.replicates, minimum=1, maximum=_MOST_POINTS)
        return _Axis((_Path("initial", "seed"),), None, size, "replicate")
    paths = tuple(
        _path(f"{where}.path[{i}]" if many else f"{where}.path", text, base) for i, text in enumerate(texts)
    )
    ((way, given),) = ways.items()
    values = _grid(f"{where}.{way}", way, given)
    if np.unique(values).size < values.size and table.zip is None:
        raise ProblemError(f"{where}.{way}", given, "values that differ from each other")
    if any(not path.section for path in paths) and (values.dtype != np.int64 or values.min() < 0):
        raise ProblemError(f"{where}.{way}", given, "whole numbers >= 0 for the root seed")
    if table.zip is not None and (not table.zip.isidentifier() or table.zip in RESERVED):
        raise ProblemError(f"{where}.zip", table.zip, "a name that no result has")
    return _Axis(paths, values, values.size, table.zip or paths[0].name)


def _path(where: str, text: object, base: Mapping[str, Any]) -> _Path:
    """A path to a number that the file has, or could have."""
    if text == "seed":
        return _Path("", "seed")
    refused = ProblemError(where, text, "a numeric field of the file")
    match = _PATH.fullmatch(text) if isinstance(text, str) else None
    if match is None or match["key"] not in _fields(match["section"], base):
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


def _fields(section: str, base: Mapping[str, Any]) -> set[str]:
    """The keys of a section that are numbers, or lists of them."""
    if section == "problem":
        return set(_PROBLEM)
    if section == "model":
        return _numeric(ModelTable)
    if section == "initial":
        return _start_fields(base)
    return _numeric(FlowTable) - {"t_eval"} if section == "flow" else set()


def _start_fields(base: Mapping[str, Any]) -> set[str]:
    table = base["initial"]
    explicit = "kind" not in table and ("omega" in table or "mu" in table)
    kind = table.get("kind", "explicit" if explicit else "paper")
    start = _STARTS.get(kind) if isinstance(kind, str) else None
    if start is None:
        raise ProblemError("initial.kind", kind, f"one of {sorted(_STARTS)}")
    return _numeric(start)


def _numeric(model: type[BaseModel]) -> set[str]:
    """The fields of a table that may be numbers, or lists of lists of them."""
    numeric = {int, float, list[list[float]]}
    found = {
        name: {field.annotation, *get_args(field.annotation)} for name, field in model.model_fields.items()
    }
    return {name for name, kinds in found.items() if kinds & numeric}


def _grid(name: str, way: str, given: object) -> Values:
    """The numbers of a list, of ``linear = [start, stop, n]`` or of ``log = [start, stop, n]``."""
    if way == "values":
        listed = [_entry(f"{name}[{i}]", x) for i, x in enumerate(sequence(name, given, "numbers"))]
        whole = all(isinstance(x, int) for x in listed)
        return _fixed(np.array(listed, dtype=np.int64 if whole else np.float64))
    ends = sequence(name, given, "[start, stop, n]")
    if len(ends) != 3:
        raise ProblemError(name, given, "[start, stop, n]")
    low = {"minimum": 0.0, "above": True} if way == "log" else {"minimum": -1e100}
    start, stop = (number(f"{name}[{i}]", ends[i], maximum=1e100, **low) for i in range(2))  # type: ignore[arg-type]
    count = integer(f"{name}[2]", ends[2], minimum=1, maximum=_MOST_VALUES)
    if way == "linear":
        return _fixed(np.linspace(start, stop, count))
    # twelve digits: round numbers look round, and every machine's logarithm gives the same plan
    inner = [float(f"{x:.12g}") for x in np.geomspace(start, stop, count)[1:-1].tolist()]
    return _fixed(np.array([start, *inner, stop][:count]))


def _entry(name: str, value: object) -> int | float:
    """A number, an int if it is whole; infinity, which t_end may be, included."""
    real = number(name, value, minimum=-1e100, maximum=math.inf)
    if isinstance(value, Integral):
        return integer(name, value, minimum=-(2**63), maximum=2**63 - 1)
    return _exact(real)


def _exact(value: float) -> int | float:
    """A whole number as an int, since heads, sizes and seeds must be ints."""
    return int(value) if value.is_integer() and abs(value) <= _WHOLE else value


def _fixed(values: Values) -> Values:
    """Read-only values, as int64 if all of them are whole."""
    if values.dtype != np.int64 and (np.abs(values) <= _WHOLE).all() and (values == np.round(values)).all():
        values = values.astype(np.int64)
    values.setflags(write=False)
    return values


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


def _record(table: _RecordTable) -> Record:
    times = table.times
    if times is not None:
        name, way, given = "record.times", "values", times
        if isinstance(times, Mapping):
            if len(times) != 1 or not set(times) <= {"linear", "log"}:
                raise ProblemError(name, times, "a list of times, {linear = [...]} or {log = [...]}")
            ((way, given),) = times.items()
            name = f"{name}.{way}"
        times = _grid(name, way, given).astype(np.float64)
        if times[0] < 0.0 or not np.isfinite(times).all() or (np.diff(times) <= 0.0).any():
            raise ProblemError(name, given, "increasing times >= 0")
    return Record(table.state, table.phases, table.benchmarks, table.forecast, times)


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
    return _exact(value) if isinstance(value, float) else value
