"""Files, written beside their final name and moved there once whole, over nothing but their like."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.zarr_metadata import METADATA, read_metadata, zarr_defaults

if TYPE_CHECKING:
    import xarray

SUFFIXES = (".nc", ".zarr")
FIGURES = (".pdf", ".png", ".svg")
PAGES = (".html",)

FLOW = "spectral-icl flow 1"  # the format of a saved flow, in its provenance
MADE_BY = "spectral-icl"  # in the metadata of pictures and pages, which replace only what says so too

_FIGURE = (("matplotlib", "plot"),)
_NEEDED = {
    ".nc": (("xarray", "data"), ("h5netcdf", "data"), ("h5py", "data")),
    ".zarr": (("xarray", "data"), ("zarr", "data")),
    **dict.fromkeys(FIGURES, _FIGURE),
    ".html": (*_FIGURE, ("jinja2", "plot")),
}
_OURS = {
    ".nc": "a saved flow",
    ".zarr": "a saved flow in a folder of its own",
    **dict.fromkeys(FIGURES, "a figure of this package"),
    ".html": "a page of this package",
}
_MAGIC = {".pdf": b"%PDF", ".png": b"\x89PNG", ".svg": b"<?xml", ".html": b"<!DOCTYPE html>"}
_FULL = (errno.ENOSPC, errno.EDQUOT)

# HDF5 may crash or hang over damaged bytes, so that a file ends in a digest of what comes before.
_SEAL = b"\nspectral-icl sha256 "


def needs(package: str, argument: str, value: object, extra: str) -> None:
    """Raise if an optional package is not installed, or fails when it is imported.

    Parameters
    ----------
    package : str
    argument, value
        What needs it.
    extra : str
        The extra of this package that has it.
    """
    try:
        import_module(package)
        if package == "xarray" and find_spec("dask"):  # which it imports in the middle of the work
            import_module("dask")
    except ImportError:
        needed = f"the package {package!r} (pip install 'spectral-icl[{extra}]')"
        raise ProblemError(argument, value, needed) from None
    except Exception as error:  # of anything that a package reads then, such as the configuration of dask
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        needed = f"the package {package!r} to be usable ({reason})"
        raise ProblemError(argument, value, needed) from None


def check_targets(
    targets: Mapping[str, tuple[Path | None, tuple[str, ...]]], source: Path | None, name: str = "FILE"
) -> None:
    """`check_target` for all files that a command writes, none of which may be another of them or its input.

    Parameters
    ----------
    targets : mapping
        By argument, the file (None if it is not asked for) and the suffixes that it may have.
    source : Path or None
        What the command reads.
    name : str
        The argument that names it.
    """
    taken = {} if source is None else {name: source}
    for argument, (path, suffixes) in targets.items():
        if path is None:
            continue
        for other, at in taken.items():
            if _overlap(path, at):
                raise ProblemError(argument, str(path), f"a file apart from {other}")
        check_target(argument, path, suffixes)
        taken[argument] = path


def _overlap(path: Path, other: Path) -> bool:
    """Whether two names, links followed, are of one file, or of a folder and something in it."""
    a, b = Path(os.path.realpath(path)), Path(os.path.realpath(other))
    try:
        same = a.samefile(b)  # by another hard link, or on a disk that takes A for a
    except OSError:
        same = False
    return same or a == b or a in b.parents or b in a.parents


def check_target(argument: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise now, before the work, what writing ``path`` would raise after it, or destroy."""
    if path.suffix not in suffixes:
        raise ProblemError(argument, str(path), f"a name ending in {' or '.join(suffixes)}")
    for package, extra in _NEEDED[path.suffix]:
        needs(package, argument, str(path), extra)
    is_store = path.suffix == ".zarr"
    try:
        if path.is_symlink() and not path.exists():
            raise ProblemError(argument, str(path), "a name, or a link to something that exists")
        target = Path(os.path.realpath(path))
        if not target.parent.is_dir():
            raise ProblemError(argument, str(path), "a name in a folder that exists")
        if target.exists():
            if not (target.is_dir() if is_store else target.is_file()):
                kind = "a folder, not a file" if is_store else "a file, not a folder"
                raise ProblemError(argument, str(path), kind)
            if not _is_replaceable(target, path.suffix):
                expected = f"a new name, or that of {_OURS[path.suffix]} (this is something else)"
                raise ProblemError(argument, str(path), expected)
        with replacing(path, keep=True):
            pass
    except OSError as error:
        if error.errno in _FULL:
            raise
        reason = (error.strerror or "unknown error").lower()
        raise ProblemError(argument, str(path), f"a name that can be written ({reason})") from None


def _is_replaceable(path: Path, suffix: str) -> bool:
    """Whether what is at a name holds nothing, or what this package wrote in the format of the suffix."""
    if suffix == ".zarr":
        return not any(path.iterdir()) or _is_flow_folder(path)
    content = path.read_bytes()
    if suffix == ".nc":
        return not content or _is_flow_file(content)
    return not content or (content.startswith(_MAGIC[suffix]) and MADE_BY.encode() in content)


def _is_flow_folder(path: Path) -> bool:
    """Whether a folder is a saved flow, and holds nothing besides."""
    try:
        arrays = read_metadata(path)
    except ProblemError:
        return False
    metadata = {path / name / METADATA for name in arrays}
    chunks = {path / name / "c" for name in arrays if name}
    alone = all(
        entry.is_dir() or entry in metadata or (entry.name.isdecimal() and chunks & set(entry.parents))
        for entry in path.rglob("*")
    )
    return alone and _format(arrays[""].get("attributes")) == FLOW


def _is_flow_file(content: bytes) -> bool:
    """Whether the bytes of a NetCDF file are a saved flow."""
    import h5py  # optional, and slow to import

    try:
        with h5py.File(BytesIO(_unsealed(content)), "r") as file:
            return _format(dict(file.attrs)) == FLOW
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        return False


def _format(attributes: object) -> object:
    """The format that the provenance among the attributes of a file names; None if it names none."""
    try:
        return json.loads(attributes["provenance"])["format"]  # type: ignore[index]
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


@contextmanager
def replacing(path: Path, keep: bool = False) -> Iterator[Path]:
    """A scratch name beside ``path`` to write to; it becomes ``path`` if the block succeeds.

    A link stays, and what it leads to is replaced. With ``keep`` nothing is replaced: a rehearsal.
    """
    target = Path(os.path.realpath(path))
    scratch = Path(tempfile.mkdtemp(prefix=".spectral-icl-", dir=target.parent))
    part, old = scratch / target.name, scratch / "replaced"
    try:
        yield part
        if keep:
            return
        _flush(part)
        if target.is_dir():
            target.rename(old)
        part.replace(target)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None  # not the scratch's name
    finally:
        if old.exists() and not target.exists():
            old.rename(target)
        shutil.rmtree(scratch, ignore_errors=True)


def _flush(part: Path) -> None:
    """Wait until the disk has what was written; a full one may refuse no earlier."""
    for file in (part, *part.rglob("*")):
        if file.is_file():
            with file.open("rb+") as stream:
                os.fsync(stream.fileno())


def put(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as part:
        part.write_bytes(content)


def write(data: xarray.Dataset, path: Path) -> None:
    """Write a flow; an older one of that name is replaced, and never left half written."""
    check_target("path", path, SUFFIXES)
    if path.suffix == ".nc":
        # made in memory: on a full disk HDF5 crashes, then or when the process ends
        put(path, _sealed(bytes(data.to_netcdf(engine="h5netcdf"))))
        return
    with replacing(path) as part, zarr_defaults():
        data.to_zarr(part, consolidated=False)


def read(path: Path) -> xarray.Dataset:
    """Read a dataset that `write` wrote, into memory."""
    if path.suffix not in SUFFIXES:
        raise ProblemError("path", str(path), f"a name ending in {' or '.join(SUFFIXES)}")
    is_there, kind = (path.is_dir(), "folder") if path.suffix == ".zarr" else (path.is_file(), "file")
    if not is_there:
        raise ProblemError("path", str(path), f"an existing {kind}")
    for package, extra in _NEEDED[path.suffix]:
        needs(package, "path", str(path), extra)
    try:
        return _read_netcdf(path.read_bytes()) if path.suffix == ".nc" else _read_zarr(path)
    except ProblemError:
        raise
    except Exception as error:  # three libraries raise what they like over damaged bytes
        reason = " ".join(str(error).split())[:100] or type(error).__name__
        raise ProblemError("path", str(path), f"a readable flow file ({reason})") from None


def _read_netcdf(content: bytes) -> xarray.Dataset:
    """The dataset in the bytes of a file."""
    import h5py  # optional, and slow to import
    import xarray

    whole = BytesIO(_unsealed(content))
    with h5py.File(whole, "r"):  # h5netcdf leaves an open file behind where there is none
        pass
    with xarray.open_dataset(whole, engine="h5netcdf") as data:
        loaded: xarray.Dataset = data.load()
        return loaded


def _read_zarr(path: Path) -> xarray.Dataset:
    """The dataset in a folder that would do no harm."""
    import xarray  # optional, and slow to import

    read_metadata(path)
    with zarr_defaults():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of notes that lie in the folder, too
            data = xarray.open_zarr(path, consolidated=False, zarr_format=3)
        with data:
            loaded: xarray.Dataset = data.load()
            return loaded


def _sealed(content: bytes) -> bytes:
    """The bytes, and after them their digest, which readers of HDF5 do not look at."""
    return content + _SEAL + sha256(content).hexdigest().encode() + b"\n"


def _unsealed(content: bytes) -> bytes:
    """The bytes before the digest, if they end in one, which must be theirs; ValueError otherwise."""
    inner, seal, _ = content.rpartition(_SEAL)
    if seal and _sealed(inner) != content:
        raise ValueError("the bytes are others than those that were written")
    return inner if seal else content
