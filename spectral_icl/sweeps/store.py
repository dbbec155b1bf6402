"""The Zarr store of a sweep: one chunk per batch of points, and a status that is written last.

A batch counts as finished once its chunk of ``status`` is there. Every chunk is replaced as a whole and ends
in a checksum, and every batch has a seal, so that a process may be killed at any moment, two may write the
same batch, and what is damaged or in another place is found rather than read. All else in a store follows
from its plan, which has a digest: other files are held against the plan, and never believed.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.files import needs
from spectral_icl.io.provenance import environment, installed, source
from spectral_icl.sweeps.plan import Plan, digest
from spectral_icl.sweeps.points import PENDING, Results, Variable

if TYPE_CHECKING:
    import xarray
    import zarr

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = "spectral-icl sweep"
VERSION = 2  # version 1 has no seals, and no checksum of its provenance
READABLE = (1, 2)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DAMAGE = (OSError, ValueError, RuntimeError, MemoryError)  # what files and numcodecs raise for it
_NEW = "a new name, or the store of this plan"
_KEYS = {"format": str, "version": int, "plan": dict, "digest": str, "environment": dict}
_ZSTD = {"name": "zstd", "configuration": {"level": 0, "checksum": False}}
_CRC32C = {"name": "crc32c"}  # the last codec: it covers the bytes as they are on the disk
_SEAL = Variable(("batch",), "int64", 0, "first 64 bits of the SHA-256 of all values of a batch")
_TIME = Variable(("time",), "float64", 0.0, "time of the flow")


@dataclass(frozen=True)
class Store:
    """A sweep on disk.

    Attributes
    ----------
    path : Path
    plan : Plan
    made : mapping
        The attribute ``provenance``: format, plan, its digest, environment and source of what made the store.
    """

    path: Path
    plan: Plan
    made: Mapping[str, Any]

    @classmethod
    def attach(cls, path: Path, plan: Plan) -> Store:
        """The store of this plan at ``path``, made if there is nothing there.

        Raises
        ------
        ProblemError
            There is something else at ``path``, or it cannot be written.
        """
        needs("zarr", "path", str(path), "sweep")
        try:
            if not os.path.lexists(path):
                _create(path, plan)
            store = cls._open(path, _NEW)
            with tempfile.TemporaryFile(dir=path):  # a read-only store is best found out before the work
                pass
        except OSError as error:
            if error.errno in _FULL:
                raise OSError(error.errno, error.strerror, error.filename or str(path)) from None
            reason = (error.strerror or "unknown error").lower()
            raise ProblemError("path", str(path), f"a name that can be written ({reason})") from None
        if store.plan.digest() != plan.digest():  # not the one on record: a law may have been named otherwise
            raise ProblemError("path", str(path), f"{_NEW} (this one is of another plan)")
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """The store at ``path``.

        Raises
        ------
        ProblemError
            There is none, or it is damaged.
        """
        return cls._open(path, "the store of a sweep")

    @classmethod
    def _open(cls, path: Path, wanted: str) -> Store:
        needs("zarr", "path", str(path), "sweep")
        if not os.path.isdir(path):
            found = "this is not a folder" if os.path.exists(path) else "there is nothing"
            raise ProblemError("path", str(path), f"{wanted} ({found})")
        made = _made(path)
        if made is None:
            expected = f"{wanted} (this is something else, or its zarr.json is damaged)"
            raise ProblemError("path", str(path), expected)
        if (wrong := _wrong(made)) is not None:
            raise ProblemError("path", str(path), wrong)
        try:
            return cls(path, Plan.from_dict(made["plan"]), made)
        except ProblemError as error:
            raise ProblemError("path", str(path), f"a whole store (its plan is damaged: {error})") from None

    def __reduce__(self) -> tuple[Callable[[Path], Store], tuple[Path]]:
        return Store.open, (self.path,)

    @cached_property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """The Zarr arrays that batches are written to, by name: ``status`` last, and before it the seals."""
        import zarr  # optional, and slow to import

        if damaged := self.damaged():
            raise _mendable(self.path, damaged[0])
        # chunks of nothing but fill values are written too, so that a missing chunk is a lost one
        with zarr.config.set({"array.write_empty_chunks": True}):
            return {
                name: zarr.open_array(self.path / name, mode="r+", zarr_format=3) for name in self._stored
            }

    @cached_property
    def _stored(self) -> dict[str, Variable]:
        """What a batch has a chunk of, in the order in which they are written."""
        along = variables(self.plan)
        status = along.pop("status")
        return {**along, **({} if self.made["version"] == 1 else {"seal": _SEAL}), "status": status}

    def read(self, batch: int) -> Results:
        """Values of a finished batch.

        Raises
        ------
        ProblemError
            Part of it is missing, altered or of another batch.
        """
        start, stop = self.plan.bounds(batch)
        values = {}
        for name, variable in self._stored.items():
            try:
                values[name] = self._values(variable, self._chunk(name, batch))[: stop - start]
            except _DAMAGE:
                raise _mendable(self.path, f"batch {batch}", name) from None
        if "seal" in values:
            whole = values.pop("seal")[0] == self._seal(batch, values)
        else:
            planned = self.plan.coordinates(start, stop)
            whole = all(np.array_equal(values[name], value) for name, value in planned.items())
        if not whole:
            raise _mendable(self.path, f"batch {batch}")
        return values

    def write(self, batch: int, values: Mapping[str, NDArray[Any]]) -> None:
        """Write the results of a batch, with its coordinates, and after all of them its status."""
        start, stop = self.plan.bounds(batch)
        values = {**self.plan.coordinates(start, stop), **values}
        values["seal"] = np.array([self._seal(batch, values)])
        with _shared_lock(self.path):
            for name, array in self.arrays.items():
                array[batch if name == "seal" else slice(start, stop)] = values[name]

    def _seal(self, batch: int, values: Mapping[str, NDArray[Any]]) -> int:
        """A number that only these values of this batch of this plan have: checksums know no place."""
        seal = hashlib.sha256(f"{self.made['digest']} {batch}".encode())
        for name, variable in self._stored.items():
            if name != "seal":
                seal.update(np.ascontiguousarray(values[name], _little(variable)).tobytes())
        return int.from_bytes(seal.digest()[:8], "little", signed=True)

    def _values(self, variable: Variable, chunk: Path) -> NDArray[Any]:
        """Values of a chunk. It is read without Zarr, which need not see what is damaged."""
        from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]
        from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

        data = Zstd().decode(CRC32C(location="end").decode(chunk.read_bytes()))
        shape = _chunk_shape(variable, self.plan)
        return np.frombuffer(data, _little(variable)).reshape(shape).astype(variable.dtype)

    def damaged(self) -> list[str]:
        """Files that are not what the plan says, of those that are the same whatever the results."""
        files = [
            f"{name}/zarr.json"
            for name, variable in self.declared.items()
            if not _declares(self.path / name / "zarr.json", _document(variable, self.plan))
        ]
        times = self.plan.points.times
        if times is not None:
            chunk = self._chunk("time", 0)
            try:
                whole = np.array_equal(self._values(_TIME, chunk), times)
            except _DAMAGE:
                whole = False
            files += [] if whole else [str(chunk.relative_to(self.path))]
        return files

    def mend(self) -> list[str]:
        """Write what is `damaged` again; returns the names of these files."""
        damaged = self.damaged()
        if damaged:
            with _shared_lock(self.path):
                _declare(self.path, self.plan, self.declared)
        return damaged

    @property
    def declared(self) -> dict[str, Variable]:
        """The arrays that a store has."""
        return {**self._stored, **({} if self.plan.points.times is None else {"time": _TIME})}

    def is_pending(self, batch: int) -> bool:
        """Whether nothing has finished this batch yet."""
        return not self._chunk("status", batch).exists()

    def is_damaged(self, batch: int) -> bool:
        """Whether a chunk of a finished batch is missing, cut short, altered or of another batch."""
        try:
            self.read(batch)
        except ProblemError:
            return True
        return False

    def _chunk(self, name: str, batch: int) -> Path:
        inner = ["0"] * (len(self.declared[name].dims) - 1)
        return self.path.joinpath(name, "c", str(batch), *inner)

    def remove_partial_files(self) -> None:
        """Remove what killed processes left half written, unless a process is writing now."""
        if fcntl is None:
            return
        with _descriptor(self.path) as folder:
            try:
                fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # in use, or a file system without locks
                return
            for partial in self.path.rglob("*.partial"):
                partial.unlink(missing_ok=True)

    def differences(self) -> str:
        """Versions, processor and source that differ from those that made the store, in words; or ""."""
        then, now = _facts(self.made), _facts(_provenance(self.plan))
        return ", ".join(f"{k} {now.get(k)} (was {v})" for k, v in then.items() if now.get(k) != v)


def open_sweep(path: str | Path) -> xarray.Dataset:
    """Read the store of a sweep into memory.

    Parameters
    ----------
    path : str or Path
        What ``spectral-icl sweep --out`` wrote.

    Returns
    -------
    xarray.Dataset
        On the dimensions of the plan instead of ``point``. Dimensions with one path have its values as their
        coordinate; zipped ones are numbered and have their paths as further coordinates. ``status`` is -1
        where a point has not been solved yet.

    Raises
    ------
    ProblemError
        There is no store at ``path``, or a file of it is damaged.
    """
    path = Path(path)
    for package in ("xarray", "zarr"):
        needs(package, "path", str(path), "sweep")
    import xarray  # optional, and slow to import

    store = Store.open(path)
    plan = store.plan
    if damaged := store.damaged():
        raise _mendable(path, damaged[0])
    stored = variables(plan)
    flat = {
        name: np.full([plan.lengths[d] for d in variable.dims], variable.fill, variable.dtype)
        for name, variable in stored.items()
    }
    for batch in range(plan.batches):
        if not store.is_pending(batch):
            for name, values in store.read(batch).items():
                flat[name][slice(*plan.bounds(batch))] = values
    names = tuple(dimension.name for dimension in plan.dims)
    extent = tuple(dimension.size for dimension in plan.dims)
    axes: dict[str, Any] = {}
    for dimension in plan.dims:
        for name, values in dimension.values.items():
            axes[name] = (dimension.name, values, {"long_name": name, "units": "1"})
        axes.setdefault(dimension.name, (dimension.name, range(dimension.size)))
    if plan.points.times is not None:
        axes["time"] = ("time", plan.points.times, _attributes(_TIME))
    found = {
        name: (
            names + stored[name].dims[1:],
            values.reshape(extent + values.shape[1:]),
            _attributes(stored[name]),
        )
        for name, values in flat.items()
        if name not in axes
    }
    provenance = json.dumps(store.made, sort_keys=True)
    return xarray.Dataset(found, axes, {"provenance": provenance}).set_coords(
        [name for name in plan.coordinates(0, 1) if name in found]
    )


def is_sweep(path: Path) -> bool:
    """Whether there is a sweep in a folder, rather than a flow or something else."""
    return _made(path) is not None


def _made(path: Path) -> dict[str, Any] | None:
    """Provenance of the store in a folder; None if the folder is not the store of a sweep."""
    try:
        group = json.loads((path / "zarr.json").read_bytes())
        made: dict[str, Any] = json.loads(group["attributes"]["provenance"])
        ours = (group["zarr_format"], group["node_type"], made["format"]) == (3, "group", FORMAT)
        return made if ours else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def _wrong(made: Mapping[str, Any]) -> str | None:
    """What was expected of a provenance; None if it is as this version or an older one wrote it."""
    version, origin = made.get("version"), made.get("source", "")
    if type(version) is not int or version not in READABLE:
        return (
            f"a store of format version {' or '.join(map(str, READABLE))} (this is version {version!r:.20})"
        )
    missing = [key for key, kind in _KEYS.items() if not isinstance(made.get(key), kind)]
    if origin is not None and not (isinstance(origin, dict) and {"commit", "dirty"} <= set(origin)):
        missing.append("source")
    if version > 1 and "checksum" not in made:
        missing.append("checksum")
    if missing:
        return f"a whole store (its provenance lacks {missing[0]!r}, which no command mends)"
    rest = {key: value for key, value in made.items() if key != "checksum"}
    if made["digest"] != digest(made["plan"]) or (version > 1 and made["checksum"] != _checksum(rest)):
        return "a whole store (its plan or its provenance was altered, which no command mends)"
    return None


def variables(plan: Plan) -> dict[str, Variable]:
    """What is stored along ``point``: coordinates, results and, last, the status."""
    coordinates = {
        name: Variable(
            ("point",),
            str(values.dtype),
            np.nan if values.dtype.kind == "f" else -1,
            f"{name} of the point",
        )
        for name, values in plan.coordinates(0, 1).items()
    }
    status = Variable(("point",), "int8", PENDING, "how the point ended; -1 if it has not been solved yet")
    return {**coordinates, **plan.variables, "status": status}


def _create(path: Path, plan: Plan) -> None:
    """Make an empty store beside ``path`` and move it there: of several processes, one succeeds first."""
    scratch = Path(tempfile.mkdtemp(prefix=".spectral-icl-", dir=path.absolute().parent))
    try:
        part = scratch / path.name
        made = _provenance(plan)
        attributes = {
            "coordinates": " ".join(plan.coordinates(0, 1)),
            "provenance": json.dumps(made, sort_keys=True),
        }
        _put(part / "zarr.json", {"attributes": attributes, "zarr_format": 3, "node_type": "group"})
        _declare(part, plan, Store(part, plan, made).declared)
        with suppress(OSError):  # another process was faster, and its store is the same one
            part.rename(path)
        if not path.exists():
            part.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _declare(path: Path, plan: Plan, arrays: Mapping[str, Variable]) -> None:
    """The metadata of arrays and the times, which do not depend on the number of points."""
    import zarr  # optional, and slow to import

    for name, variable in arrays.items():
        _put(path / name / "zarr.json", _document(variable, plan))
    if plan.points.times is not None:
        zarr.open_array(path / "time", mode="r+", zarr_format=3)[:] = plan.points.times


def _put(file: Path, document: Mapping[str, Any]) -> None:
    """Replace a file of JSON as a whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{uuid.uuid4().hex}.partial")
    part.write_text(json.dumps(document, indent=2), "utf-8")
    part.replace(file)


def _document(variable: Variable, plan: Plan) -> dict[str, Any]:
    """The metadata of an array, as Zarr has it."""
    lengths = {**plan.lengths, "batch": plan.batches}
    endian = {"configuration": {"endian": "little"}} if np.dtype(variable.dtype).itemsize > 1 else {}
    return {
        "shape": [lengths[d] for d in variable.dims],
        "data_type": variable.dtype,
        "chunk_grid": {
            "name": "regular",
            "configuration": {"chunk_shape": list(_chunk_shape(variable, plan))},
        },
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": "NaN" if np.isnan(variable.fill) else variable.fill,
        "codecs": [{"name": "bytes", **endian}, _ZSTD, _CRC32C],
        "attributes": _attributes(variable),
        "dimension_names": list(variable.dims),
        "zarr_format": 3,
        "node_type": "array",
        "storage_transformers": [],
    }


def _declares(file: Path, document: dict[str, Any]) -> bool:
    """Whether a file has the metadata of this array; its attributes are for people."""
    try:
        found = json.loads(file.read_bytes())
        return isinstance(found["attributes"], dict) and found | {"attributes": {}} == document | {
            "attributes": {}
        }
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return False


def _chunk_shape(variable: Variable, plan: Plan) -> tuple[int, ...]:
    lengths = {**plan.lengths, "point": plan.batch, "batch": 1}
    return tuple(lengths[d] for d in variable.dims)


def _little(variable: Variable) -> np.dtype[Any]:
    return np.dtype(variable.dtype).newbyteorder("<")


def _attributes(variable: Variable) -> dict[str, str]:
    return {"long_name": variable.long_name, "units": "1"}


def _mendable(path: Path, part: str, name: str | None = None) -> ProblemError:
    """The error about a part of a store that the same command makes again."""
    array = "" if name is None else f" ({name!r})"
    expected = f"a whole store: {part} is damaged{array}, and the command that made it makes it again"
    return ProblemError("path", str(path), expected)


def _provenance(plan: Plan) -> dict[str, Any]:
    made = {
        "format": FORMAT,
        "version": VERSION,
        "plan": plan.to_dict(),
        "digest": plan.digest(),
        "environment": {**environment(), **{name: installed(name) for name in ("zarr", "xarray")}},
        "source": source(),
    }
    return {**made, "checksum": _checksum(made)}


def _checksum(made: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()


def _facts(made: Mapping[str, Any]) -> dict[str, str]:
    """Versions, processor and source, by name: equal for all processes that may write to a store."""
    facts = {name: str(value) for name, value in made["environment"].items() if name != "created"}
    tree = made["source"]
    changed = tree and ("with changes" if tree["dirty"] else "unchanged")
    return {**facts, "source": f"{tree['commit']} {changed}" if tree else "installed"}


@contextmanager
def _shared_lock(folder: Path) -> Iterator[None]:
    """Keep `Store.remove_partial_files` of other processes away."""
    if fcntl is None:
        yield
        return
    with _descriptor(folder) as descriptor:
        with suppress(OSError):  # a file system without locks: nothing is removed there either
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield


@contextmanager
def _descriptor(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
