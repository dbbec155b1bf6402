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
from spectral_icl.io.zarr_metadata import zarr_defaults
from spectral_icl.sweeps.arrays import (
    SEAL,
    TIME,
    attributes,
    chunk_shape,
    declares,
    document,
    little_endian,
    variables,
)
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import Results, Variable
from spectral_icl.sweeps.provenance import facts, made_by, provenance, wrong_with

if TYPE_CHECKING:
    import xarray
    import zarr

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DAMAGE = (OSError, ValueError, RuntimeError, MemoryError)  # what files and numcodecs raise for it
_NEW = "a new name, or the store of this plan"


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
        made = made_by(path)
        if made is None:
            expected = f"{wanted} (this is something else, or its zarr.json is damaged)"
            raise ProblemError("path", str(path), expected)
        if (wrong := wrong_with(made)) is not None:
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
        with zarr_defaults(), zarr.config.set({"array.write_empty_chunks": True}):
            return {
                name: zarr.open_array(self.path / name, mode="r+", zarr_format=3) for name in self._stored
            }

    @cached_property
    def _stored(self) -> dict[str, Variable]:
        """What a batch has a chunk of, in the order in which they are written."""
        along = variables(self.plan)
        status = along.pop("status")
        return {**along, **({} if self.made["version"] == 1 else {"seal": SEAL}), "status": status}

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
        arrays = self.arrays
        with _shared_lock(self.path), zarr_defaults():
            for name, array in arrays.items():
                array[batch if name == "seal" else slice(start, stop)] = values[name]

    def _seal(self, batch: int, values: Mapping[str, NDArray[Any]]) -> int:
        """A number that only these values of this batch of this plan have: checksums know no place."""
        seal = hashlib.sha256(f"{self.made['digest']} {batch}".encode())
        for name, variable in self._stored.items():
            if name != "seal":
                seal.update(np.ascontiguousarray(values[name], little_endian(variable)).tobytes())
        return int.from_bytes(seal.digest()[:8], "little", signed=True)

    def _values(self, variable: Variable, chunk: Path) -> NDArray[Any]:
        """Values of a chunk. It is read without Zarr, which need not see what is damaged."""
        from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]
        from numcodecs.zstd import Zstd  # type: ignore[import-untyped]

        data = Zstd().decode(CRC32C(location="end").decode(chunk.read_bytes()))
        shape = chunk_shape(variable, self.plan)
        return np.frombuffer(data, little_endian(variable)).reshape(shape).astype(variable.dtype)

    def damaged(self) -> list[str]:
        """Files that are not what the plan says, of those that are the same whatever the results."""
        files = [
            f"{name}/zarr.json"
            for name, variable in self.declared.items()
            if not declares(self.path / name / "zarr.json", document(variable, self.plan))
        ]
        times = self.plan.points.times
        if times is not None:
            chunk = self._chunk("time", 0)
            try:
                whole = np.array_equal(self._values(TIME, chunk), times)
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
        return {**self._stored, **({} if self.plan.points.times is None else {"time": TIME})}

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
        then, now = facts(self.made), facts(provenance(self.plan))
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
        axes["time"] = ("time", plan.points.times, attributes(TIME))
    found = {
        name: (
            names + stored[name].dims[1:],
            values.reshape(extent + values.shape[1:]),
            attributes(stored[name]),
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
    return made_by(path) is not None


def _create(path: Path, plan: Plan) -> None:
    """Make an empty store beside ``path`` and move it there: of several processes, one succeeds first."""
    scratch = Path(tempfile.mkdtemp(prefix=".spectral-icl-", dir=path.absolute().parent))
    try:
        part = scratch / path.name
        made = provenance(plan)
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
        _put(path / name / "zarr.json", document(variable, plan))
    if plan.points.times is not None:
        with zarr_defaults():
            zarr.open_array(path / "time", mode="r+", zarr_format=3)[:] = plan.points.times


def _put(file: Path, document: Mapping[str, Any]) -> None:
    """Replace a file of JSON as a whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{uuid.uuid4().hex}.partial")
    part.write_text(json.dumps(document, indent=2), "utf-8")
    part.replace(file)


def _mendable(path: Path, part: str, name: str | None = None) -> ProblemError:
    """The error about a part of a store that the same command makes again."""
    array = "" if name is None else f" ({name!r})"
    expected = f"a whole store: {part} is damaged{array}, and the command that made it makes it again"
    return ProblemError("path", str(path), expected)


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
