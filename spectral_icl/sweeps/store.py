"""The Zarr store of a sweep: one chunk per batch of points, and a status that is written last.

A batch counts as finished once its chunk of ``status`` is there. Every chunk is replaced as a whole and ends
in a checksum, so that a process may be killed at any moment, two may write the same batch, and a damaged
chunk is found rather than read.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
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
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import PENDING, Results, Variable

if TYPE_CHECKING:
    import xarray
    import zarr

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

FORMAT = "spectral-icl sweep"
VERSION = 1

_FULL = (errno.ENOSPC, errno.EDQUOT)
_OTHERS = "a new name, or the store of this plan"


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
            store = cls.open(path)
            with tempfile.TemporaryFile(dir=path):  # a read-only store is best found out before the work
                pass
        except OSError as error:
            if error.errno in _FULL:
                raise
            reason = (error.strerror or "unknown error").lower()
            raise ProblemError("path", str(path), f"a name that can be written ({reason})") from None
        if store.plan.digest() != plan.digest():  # not the one on record: a law may have been named otherwise
            raise ProblemError("path", str(path), f"{_OTHERS} (this one is of another plan)")
        return store

    @classmethod
    def open(cls, path: Path) -> Store:
        """The store at ``path``.

        Raises
        ------
        ProblemError
            There is none, or it is damaged.
        """
        needs("zarr", "path", str(path), "sweep")
        if not path.is_dir():
            raise ProblemError("path", str(path), f"{_OTHERS} (this is not a folder)")
        made = _made(path)
        if made is None:
            raise ProblemError("path", str(path), f"{_OTHERS} (this is something else)")
        if made["version"] != VERSION:
            expected = f"a store of format version {VERSION} (this is version {made['version']})"
            raise ProblemError("path", str(path), expected)
        try:
            return cls(path, Plan.from_dict(made["plan"]), made)
        except ProblemError as error:
            raise ProblemError("path", str(path), f"a whole store (its plan is damaged: {error})") from None

    def __reduce__(self) -> tuple[Callable[[Path], Store], tuple[Path]]:
        return Store.open, (self.path,)

    @cached_property
    def arrays(self) -> dict[str, zarr.Array[Any]]:
        """The Zarr arrays along ``point`` by name, ``status`` last."""
        import zarr

        extent, found = self.plan.lengths, {}
        group = zarr.open_group(self.path, mode="r+")
        for name, variable in variables(self.plan).items():
            try:
                # chunks of nothing but fill values are written too, so that a missing chunk is a lost one
                with zarr.config.set({"array.write_empty_chunks": True}):
                    array = group[name]
            except (KeyError, ValueError, TypeError):
                array = None
            shape = tuple(extent[d] for d in variable.dims)
            if not isinstance(array, zarr.Array) or (array.shape, str(array.dtype)) != (
                shape,
                variable.dtype,
            ):
                raise ProblemError("path", str(self.path), f"a whole store ({name!r} is missing or damaged)")
            found[name] = array
        return found

    def bounds(self, batch: int) -> tuple[int, int]:
        """First point of a batch, and the first after it."""
        return batch * self.plan.batch, min((batch + 1) * self.plan.batch, self.plan.size)

    def read(self, batch: int, names: Iterable[str] | None = None) -> Results:
        """Values of a batch: all of them, or those named."""
        start, stop = self.bounds(batch)
        names = self.arrays if names is None else names
        return {name: np.asarray(self.arrays[name][start:stop]) for name in names}

    def write(self, batch: int, values: Mapping[str, NDArray[Any]]) -> None:
        """Write the results of a batch, with its coordinates, and after all of them its status."""
        start, stop = self.bounds(batch)
        values = {**self.plan.coordinates(start, stop), **values}
        with _shared_lock(self.path):
            for name, array in self.arrays.items():
                array[start:stop] = values[name]

    def is_pending(self, batch: int) -> bool:
        """Whether nothing has finished this batch yet."""
        return not self._chunk("status", batch).exists()

    def is_damaged(self, batch: int) -> bool:
        """Whether a chunk of a finished batch is missing, cut short or altered."""
        return not all(_intact(self._chunk(name, batch)) for name in self.arrays)

    def _chunk(self, name: str, batch: int) -> Path:
        inner = ["0"] * (len(self.arrays[name].shape) - 1)
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
        There is no store at ``path``, or a chunk of it is damaged.
    """
    path = Path(path)
    for package in ("xarray", "zarr"):
        needs(package, "path", str(path), "sweep")
    import xarray  # optional, and slow to import
    import zarr

    store = Store.open(path)
    plan = store.plan
    damaged = [b for b in range(plan.batches) if not store.is_pending(b) and store.is_damaged(b)]
    if damaged:
        expected = (
            f"a whole store: batch {damaged[0]} is damaged, and the command that made it solves it again"
        )
        raise ProblemError("path", str(path), expected)
    names = tuple(dimension.name for dimension in plan.dims)
    extent = tuple(dimension.size for dimension in plan.dims)
    axes: dict[str, Any] = {}
    for dimension in plan.dims:
        for name, values in dimension.values.items():
            axes[name] = (dimension.name, values, {"long_name": name, "units": "1"})
        axes.setdefault(dimension.name, (dimension.name, range(dimension.size)))
    group = zarr.open_group(path, mode="r")
    if plan.points.times is not None:
        axes["time"] = ("time", plan.points.times, dict(group["time"].attrs))
    found, stored = {}, variables(plan)
    for name, array in store.arrays.items():
        if name not in axes:
            values = np.asarray(array[:])
            inner = stored[name].dims[1:]
            found[name] = (names + inner, values.reshape(extent + values.shape[1:]), dict(array.attrs))
    return xarray.Dataset(found, axes, {"provenance": group.attrs["provenance"]}).set_coords(
        [name for name in plan.coordinates(0, 1) if name in found]
    )


def is_sweep(path: Path) -> bool:
    """Whether there is a sweep in a folder, rather than a flow or something else."""
    if not path.is_dir():
        return False
    for package in ("zarr", "xarray"):
        needs(package, "path", str(path), "data")  # which is enough to read either
    return _made(path) is not None


def _made(path: Path) -> dict[str, Any] | None:
    """Provenance of the store in a folder; None if the folder is not the store of a sweep."""
    import zarr  # optional, and slow to import

    try:
        made: dict[str, Any] = json.loads(str(zarr.open_group(path, mode="r").attrs["provenance"]))
        return made if made["format"] == FORMAT else None
    except (OSError, ValueError, KeyError, TypeError):
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
        _declare(part, plan)
        with suppress(OSError):  # another process was faster, and its store is the same one
            part.rename(path)
        if not path.exists():
            part.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _declare(path: Path, plan: Plan) -> None:
    """The metadata of a store; its size does not depend on the number of points."""
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    extent = plan.lengths
    coordinates = " ".join(plan.coordinates(0, 1))
    attributes = {"coordinates": coordinates, "provenance": json.dumps(_provenance(plan), sort_keys=True)}
    group = zarr.create_group(path, zarr_format=3, attributes=attributes)
    # the checksum is the last codec: it covers the bytes as they are on the disk
    codecs = (ZstdCodec(), Crc32cCodec())
    for name, variable in variables(plan).items():
        group.create_array(
            name,
            shape=tuple(extent[d] for d in variable.dims),
            chunks=tuple(plan.batch if d == "point" else extent[d] for d in variable.dims),
            dtype=variable.dtype,
            fill_value=variable.fill,
            dimension_names=variable.dims,
            attributes={"long_name": variable.long_name, "units": "1"},
            compressors=codecs,
        )
    if plan.points.times is not None:
        times = np.asarray(plan.points.times, dtype=np.float64)
        time = group.create_array(
            "time",
            shape=times.shape,
            chunks=times.shape,
            dtype="float64",
            dimension_names=("time",),
            attributes={"long_name": "time of the flow", "units": "1"},
            compressors=codecs,
        )
        time[:] = times


def _provenance(plan: Plan) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": VERSION,
        "plan": plan.to_dict(),
        "digest": plan.digest(),
        "environment": {**environment(), **{name: installed(name) for name in ("zarr", "xarray")}},
        "source": source(),
    }


def _facts(made: Mapping[str, Any]) -> dict[str, str]:
    """Versions, processor and source, by name: equal for all processes that may write to a store."""
    facts = {name: str(value) for name, value in made["environment"].items() if name != "created"}
    tree = made["source"]
    changed = tree and ("with changes" if tree["dirty"] else "unchanged")
    return {**facts, "source": f"{tree['commit']} {changed}" if tree else "installed"}


def _intact(chunk: Path) -> bool:
    """Whether a chunk is there and its bytes have the checksum that follows them."""
    from numcodecs.checksum32 import CRC32C  # type: ignore[import-untyped]

    try:
        return len(CRC32C(location="end").decode(chunk.read_bytes())) > 0
    except (OSError, ValueError, RuntimeError):
        return False


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
