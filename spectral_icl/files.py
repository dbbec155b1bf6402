"""NetCDF and Zarr files, written beside their final name and moved there once whole."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_icl.validation import ProblemError

if TYPE_CHECKING:
    import xarray

SUFFIXES = (".nc", ".zarr")
FIGURES = (".pdf", ".png", ".svg")


def check_target(argument: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise now, before the work, what writing ``path`` would raise after it."""
    if path.suffix not in suffixes:
        raise ProblemError(argument, str(path), f"a name ending in {' or '.join(suffixes)}")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise ProblemError(argument, str(path), "a name in a folder that exists")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise ProblemError(argument, str(path), "a name in a folder that can be written")
    if path.is_dir() and path.suffix != ".zarr":
        raise ProblemError(argument, str(path), "a file, not a folder")


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A scratch name beside ``path`` to write to; it becomes ``path`` if the block succeeds."""
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    try:
        part = scratch / path.name
        yield part
        if path.is_dir():
            path.rename(scratch / "replaced")
        part.replace(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(data: xarray.Dataset, path: Path) -> None:
    """Write a dataset; an existing file of that name is replaced, and never left half written."""
    check_target("path", path, SUFFIXES)
    with replacing(path) as part:
        if path.suffix == ".nc":
            data.to_netcdf(part, engine="h5netcdf")
        else:
            data.to_zarr(part, consolidated=False)


def read(path: Path) -> xarray.Dataset:
    """Read a dataset that `write` wrote, into memory."""
    import xarray  # optional, and slow to import

    if path.suffix not in SUFFIXES:
        raise ProblemError("path", str(path), f"a name ending in {' or '.join(SUFFIXES)}")
    if not path.exists():
        raise ProblemError("path", str(path), "an existing file")
    try:
        if path.suffix == ".nc":
            data = xarray.open_dataset(path, engine="h5netcdf")
        else:
            data = xarray.open_zarr(path, consolidated=False)
        with data:
            return data.load()
    except (OSError, ValueError, KeyError) as error:
        raise ProblemError("path", str(path), f"a readable flow file ({error})") from None
