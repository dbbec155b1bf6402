"""Files, written beside their final name and moved there once whole."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from spectral_icl.io.checks import ProblemError

if TYPE_CHECKING:
    import xarray

SUFFIXES = (".nc", ".zarr")
FIGURES = (".pdf", ".png", ".svg")
PAGES = (".html",)

_FIGURE = (("matplotlib", "plot"),)
_NEEDED = {
    ".nc": (("xarray", "data"), ("h5netcdf", "data")),
    ".zarr": (("xarray", "data"), ("zarr", "data")),
    **dict.fromkeys(FIGURES, _FIGURE),
    ".html": (*_FIGURE, ("jinja2", "plot")),
}


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


def check_target(argument: str, path: Path, suffixes: tuple[str, ...]) -> None:
    """Raise now, before the work, what writing ``path`` would raise after it."""
    if path.suffix not in suffixes:
        raise ProblemError(argument, str(path), f"a name ending in {' or '.join(suffixes)}")
    for package, extra in _NEEDED[path.suffix]:
        needs(package, argument, str(path), extra)
    is_store = path.suffix == ".zarr"
    try:
        if not path.absolute().parent.is_dir():
            raise ProblemError(argument, str(path), "a name in a folder that exists")
        if path.exists() and path.is_dir() != is_store:
            kind = "a folder, not a file" if is_store else "a file, not a folder"
            raise ProblemError(argument, str(path), kind)
        with replacing(path, keep=True):
            pass
    except OSError as error:
        reason = (error.strerror or "unknown error").lower()
        raise ProblemError(argument, str(path), f"a name that can be written ({reason})") from None


@contextmanager
def replacing(path: Path, keep: bool = False) -> Iterator[Path]:
    """A scratch name beside ``path`` to write to; it becomes ``path`` if the block succeeds.

    With ``keep`` nothing is replaced: a rehearsal.
    """
    scratch = Path(tempfile.mkdtemp(prefix=".spectral-icl-", dir=path.absolute().parent))
    try:
        part = scratch / path.name
        yield part
        if keep:
            return
        old = scratch / "replaced"
        if path.is_dir():
            path.rename(old)
        try:
            part.replace(path)
        except OSError:
            if old.exists():
                old.rename(path)
            raise
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
    if path.suffix not in SUFFIXES:
        raise ProblemError("path", str(path), f"a name ending in {' or '.join(SUFFIXES)}")
    if not path.exists():
        raise ProblemError("path", str(path), "an existing file")
    for package, extra in _NEEDED[path.suffix]:
        needs(package, "path", str(path), extra)
    import xarray  # optional, and slow to import

    try:
        if path.suffix == ".nc":
            data = xarray.open_dataset(path, engine="h5netcdf")
        else:
            data = xarray.open_zarr(path, consolidated=False)
        with data:
            return data.load()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProblemError("path", str(path), f"a readable flow file ({type(error).__name__})") from None
