"""A sweep as it was planned: its results on a grid with one dimension per axis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from spectral_icl.io.checks import ProblemError

if TYPE_CHECKING:
    import xarray


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
    from spectral_icl.sweeps.store import Store, needs  # pydantic behind it is slow to import

    for package in ("xarray", "zarr"):
        needs(package, Path(path))
    import xarray  # optional, and slow to import
    import zarr

    store = Store.open(Path(path))
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
    if plan.record.times is not None:
        axes["time"] = ("time", plan.record.times, dict(group["time"].attrs))
    found = {}
    for name, array in store.arrays.items():
        if name not in axes:
            values = array[:]
            inner = array.metadata.dimension_names[1:]
            found[name] = (names + inner, values.reshape(extent + values.shape[1:]), dict(array.attrs))
    return xarray.Dataset(found, axes, {"provenance": group.attrs["provenance"]}).set_coords(
        [name for name in plan.coordinates(0, 1) if name in found]
    )
