"""Sweeps: an experiment file with ``[[axis]]`` tables, read as a numbered list of experiments.

A plan holds the values of its axes and nothing per point, so one of ten million points takes no more memory
than one of ten; a point is made when it is asked for.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import ProblemError, integer
from spectral_icl.io.toml import SWEEP_KEYS, UNKNOWN, Tables, overridden, parsed, plain
from spectral_icl.sweeps import kinds
from spectral_icl.sweeps.axes import MOST_POINTS, Axis, FieldPath, Values, exact, read_axis
from spectral_icl.sweeps.points import INVALID, Points, Results, Variable
from spectral_icl.sweeps.quantities import Sweep

if TYPE_CHECKING:
    import xarray

_CHECKED = 50  # values of an axis that are tried when the plan is made


class Valid(NamedTuple):
    """A point whose values fit together."""

    point: Any  # its type is known to `Points` alone


class Invalid(NamedTuple):
    """A point whose values do not fit together, and why."""

    error: ProblemError


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
    points : Points
        What the points are, and what is recorded of them.
    base : dict
        The tables of the first point, defaults filled in.
    seed : int
        Root seed. With replicates, point k has the seed that NumPy's SeedSequence(seed, spawn_key=(k,))
        gives: `point_seed`.
    batch : int
        Points that are solved together.
    axes : tuple
        The checked ``[[axis]]`` tables.
    dims : tuple of Dimension
    """

    points: Points[Any]
    base: dict[str, Any]
    seed: int
    batch: int
    axes: tuple[Axis, ...]
    dims: tuple[Dimension, ...]

    @classmethod
    def from_dict(cls, table: Tables) -> Plan:
        """The plan of a parsed file.

        Raises
        ------
        ProblemError
            Naming the dotted path of the first wrong entry, its value and what was expected.
        """
        kind = kind_of(table)
        base = _base(table, kind)  # first, for a misspelt [[axis]]
        given = table.get("axis")
        if not given or not isinstance(given, (list, tuple)):
            raise ProblemError("axis", given, "at least one [[axis]]")
        points = kind.recording(table.get("record", {}))
        axes = tuple(read_axis(f"axis[{i}]", axis, base, points) for i, axis in enumerate(given))
        dims = _dimensions(axes)
        size = math.prod(dim.size for dim in dims)
        if size > MOST_POINTS:
            raise ProblemError("axis", f"{size} points", f"at most {MOST_POINTS}")
        batch = table.get("batch")
        if batch is None:
            batch = _batch(size, points.least_batch)
        plan = cls(
            points=points,
            base=base,
            seed=integer("seed", table.get("seed", 0), minimum=0, maximum=2**63 - 1),
            batch=integer("batch", batch, minimum=1, maximum=10**6),
            axes=axes,
            dims=dims,
        )
        plan = replace(plan, base=plan._settled())
        plan._try_values()
        return plan

    @classmethod
    def read(cls, file: Path, overrides: tuple[str, ...] = ()) -> Plan:
        """The plan of a TOML file, with ``section.key=value`` (or ``seed=``, ``batch=``) overrides."""
        table = parsed(file)
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
        record = self.points.record()
        return {
            "seed": self.seed,
            "batch": self.batch,
            **({"record": record} if record else {}),
            **copy.deepcopy(self.base),
            "axis": [axis.to_dict() for axis in self.axes],
        }

    def digest(self) -> str:
        """SHA-256 of `to_dict`, in hexadecimal; neither the order of keys nor 1 for 1.0 changes it."""
        return digest(self.to_dict())

    @property
    def size(self) -> int:
        """Number of points."""
        return math.prod(dim.size for dim in self.dims)

    @property
    def batches(self) -> int:
        """Number of batches; the last may be smaller."""
        return -(-self.size // self.batch)

    def bounds(self, batch: int) -> tuple[int, int]:
        """First point of a batch, and the first after it."""
        return batch * self.batch, min((batch + 1) * self.batch, self.size)

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
        return self.points.extents(self.experiment(0), self.base, largest)

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
        """Point ``k``: an object of the kind that `points` are.

        Raises
        ------
        ProblemError
            The combination of values is not valid.
        """
        k = integer("k", k, minimum=0, maximum=self.size - 1)
        return self.points.point(self._table(k, self._indices(k)))

    def experiments(self, start: int, stop: int) -> Iterator[Valid | Invalid]:
        """Points ``start`` to ``stop`` in order. Parts of them that are equal are one object."""
        section = self.points.shared_section
        names = {axis.name for axis in self.axes if any(path.section == section for path in axis.paths)}
        varying = [d for d, dim in enumerate(self.dims) if dim.name in names]
        alike: dict[tuple[int, ...], Any] = {}
        for k in self._range(start, stop):
            indices = self._indices(k)
            key = tuple(indices[d] for d in varying)
            try:
                point = self.points.point(self._table(k, indices), alike.get(key))
            except ProblemError as error:
                yield Invalid(error)
                continue
            alike.setdefault(key, point)
            yield Valid(point)

    @cached_property
    def lengths(self) -> dict[str, int]:
        """Sizes of all dimensions that results of the whole plan have: point, `extents` and time."""
        times = self.points.times
        return {"point": self.size, **self.extents, **({} if times is None else {"time": times.size})}

    @property
    def variables(self) -> dict[str, Variable]:
        """What `solve` finds for every point, without its status."""
        return self.points.variables(self.base)

    def solve(self, start: int, stop: int, threads: int | None = 1) -> Results:
        """Results of the points ``start`` to ``stop`` by name: of a point the same whatever range it is in.

        Parameters
        ----------
        start, stop : int
            0 <= start <= stop <= size.
        threads : int, optional
            To solve them with; all cores if None.

        Returns
        -------
        dict of str to ndarray
            ``status`` (int8) and every one of `variables`, padded to `extents`. A point whose status is not
            0 or 1 failed: its numbers are those that it reached, or none at all if it is `INVALID`.
        """
        points = self._range(start, stop)
        lengths = {**self.lengths, "point": len(points)}
        found = {
            name: np.full([lengths[dim] for dim in variable.dims], variable.fill, variable.dtype)
            for name, variable in self.variables.items()
        }
        found["status"] = np.full(len(points), INVALID, np.int8)
        members = [
            (row, member.point)
            for row, member in enumerate(self.experiments(start, stop))
            if isinstance(member, Valid)
        ]
        self.points.solve(found, members, threads)
        return found

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
            FieldPath(*self.points.seed).put(table, point_seed(root, k))
        return table

    def _settled(self) -> dict[str, Any]:
        """The tables of the first point, which must be valid, with the defaults filled in."""
        table = self._table(0, (0,) * len(self.dims))
        try:
            first = self.points.point(table)
        except ProblemError as error:
            if not any(path.text == error.argument for axis in self.axes for path in axis.paths):
                raise
            expected = f"{error.expected} (the first values of the axes must fit together)"
            raise ProblemError(error.argument, error.value, expected) from None
        base = self.points.settled(table, first)
        if self.replicated:
            FieldPath(*self.points.seed).put(base, 0)  # every point has its own
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
                self.points.point(self._table(0, indices))
            except ProblemError as error:
                complaint = complaint or error
            else:
                return
        assert complaint is not None
        raise complaint


def point_seed(root: int, k: int) -> int:
    """The seed of point ``k`` among replicates: 63 bits, the same in every range it is solved in."""
    return int(np.random.SeedSequence(root, spawn_key=(k,)).generate_state(1, np.uint64)[0] >> 1)


def kind_of(table: Tables) -> type[Points[Any]]:
    """The kind of points that a file has: that of its tables, or the first kind.

    Raises
    ------
    ProblemError
        It has tables of two kinds.
    """
    named = {kind: [name for name in kind.sections if name in table] for kind in kinds()}
    found = [kind for kind in named if named[kind]]
    if len(found) > 1:
        own, other = named[found[1]][0], named[found[0]][0]
        expected = f"nothing beside [{own}]: a file has {found[0].name} or {found[1].name}"
        raise ProblemError(other, table[other], expected)
    return found[0] if found else kinds()[0]


def digest(table: Tables) -> str:
    """SHA-256 of a written-out plan, in hexadecimal."""
    text = json.dumps({"format": 1, **_numbers_alike(table)}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def plan_of(data: xarray.Dataset) -> Plan:
    """The plan that a dataset was made by."""
    try:
        table = json.loads(data.attrs["provenance"])["plan"]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ProblemError("data", type(data).__name__, "a dataset that open_sweep has read") from None
    return Plan.from_dict(table)


def sweep_of(data: xarray.Dataset | Sweep) -> Sweep:
    """The results of a sweep with what they can show.

    Parameters
    ----------
    data : xarray.Dataset or Sweep
        A sweep is itself: to read its plan takes a while.
    """
    if isinstance(data, Sweep):
        return data
    plan = plan_of(data)
    return plan.points.sweep(data, plan)


def _base(table: Tables, kind: type[Points[Any]]) -> dict[str, Any]:
    """The tables of a point, as plain objects of their own."""
    base: dict[str, Any] = {name: {} for name in kind.sections}
    for name, section in table.items():
        if name in SWEEP_KEYS:
            continue
        if name not in kind.sections:
            raise ProblemError(str(name), section, UNKNOWN)
        if not isinstance(section, Mapping):
            raise ProblemError(name, section, f"a table [{name}]")
        base[name] = plain(section)
    return base


def _batch(size: int, least: int) -> int:
    """Points per batch: enough batches to share and to resume, few enough files where points are millions."""
    return min(16384, max(least, min(1024, -(-size // 64)), -(-size // 1024)))


def _dimensions(axes: tuple[Axis, ...]) -> tuple[Dimension, ...]:
    """The dimensions, in the order in which the axes begin them."""
    taken: list[FieldPath] = []
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


def _index(dim: Dimension, extreme: Callable[[Values], np.intp]) -> int:
    """Where the least or greatest value along a dimension is (of its first path)."""
    return int(extreme(next(iter(dim.values.values())))) if dim.values else 0


def _numbers_alike(value: Any) -> Any:
    """A copy in which 1 and 1.0 are the same."""
    if isinstance(value, dict):
        return {key: _numbers_alike(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [_numbers_alike(entry) for entry in value]
    return exact(value) if isinstance(value, float) else value
