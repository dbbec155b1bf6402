"""Which dimensions of a sweep a panel shows, and how: along an axis, as lines, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, choice
from spectral_icl.sweeps.quantities import REPLICATE, Quantity, Sweep

_MOST_LINES = 8  # values of a dimension that become lines; more become the other side of a heat map


@dataclass(frozen=True, eq=False)
class View:
    """Which dimensions a panel shows and how.

    Attributes
    ----------
    sweep : Sweep
    x, y, lines : str, or None
        Dimensions along the axes, and the one with a line for each value.
    paths : dict of str to str
        The path whose values a dimension has; its own name if it has none.
    fixed : dict of str to int
        All other dimensions, and where along them the panel is.
    """

    sweep: Sweep
    x: str
    y: str | None
    lines: str | None
    paths: dict[str, str]
    fixed: dict[str, int]

    @property
    def rows(self) -> str | None:
        """The dimension that is shown beside x, if there is one."""
        return self.y or self.lines

    def values(self, dim: str) -> Floats:
        """Values along a dimension, (n,); numbers from 0 if there are none that tell its points apart."""
        return _values(self.sweep, dim, self.paths[dim])

    def label(self, dim: str) -> str:
        """The label of the axis along a dimension."""
        path = self.paths[dim]
        together = [path for d in self.sweep.plan.dims if d.name == dim for path in d.values]
        named = dim if path in self.sweep.data.coords and dim.isidentifier() else ""
        return self.sweep.plan.points.label(path, named, together)

    def place(self, dim: str, value: float) -> str:
        """A place along a dimension in words, as in H = 2 or task 0."""
        if dim in self.sweep.entries:
            return list(self.sweep.entries[dim])[int(value)]
        return self.sweep.plan.points.place(self.paths[dim], value)

    def title(self) -> str:
        """Where the panel is along the dimensions that it does not show."""
        places = {dim: i for dim, i in self.fixed.items() if self.sweep.data.sizes[dim] > 1}
        return ", ".join(self.place(dim, self.values(dim)[i].item()) for dim, i in places.items())


def choose(sweep: Sweep, quantity: Quantity, x: str | None, y: str | None, at: Mapping[str, float]) -> View:
    """The view with the dimensions that are asked for, and for the rest with what suits their sizes.

    Raises
    ------
    ProblemError
        There is no such dimension or value, or one is asked for twice.
    """
    sizes = {str(d): n for d, n in quantity.values.sizes.items() if d != REPLICATE}
    paths = {name: _path(sweep, name) for name in sizes}
    owners = {path: dim.name for dim in sweep.plan.dims for path in dim.values} | {d: d for d in sizes}

    def resolved(argument: str, given: str) -> str:
        options = [name for name, dim in owners.items() if dim in sizes]
        dim = owners[choice(argument, given, sorted(options))]
        if given != dim:
            paths[dim] = given
        return dim

    wanted = None if x is None else resolved("x", x)
    up = None if y is None else resolved("y", y)
    if up is not None and up == wanted:
        raise ProblemError("y", y, f"another dimension than x = {x!r}")
    placed = {}
    for name, value in at.items():
        dim = resolved("at", name)
        if dim in (wanted, up):
            raise ProblemError("at", name, "a dimension that is not shown")
        placed[dim] = _index(_values(sweep, dim, paths[dim]), name, value)
    free = {dim: n for dim, n in sizes.items() if dim not in (wanted, up, *placed)}
    if wanted is None and not free:
        raise ProblemError("x", x, "a dimension: none is left")
    placeable = {dim: n for dim, n in free.items() if dim not in sweep.entries} or free
    across = wanted or _longest({dim: n for dim, n in placeable.items() if dim == "time"} or placeable)
    free.pop(across, None)
    lines = None
    if up is None:
        many = [dim for dim, n in free.items() if n > _MOST_LINES and dim in sweep.dims]
        few = [dim for dim, n in free.items() if 1 < n <= _MOST_LINES]
        few = [dim for dim in few if dim in sweep.entries] or few
        up, lines = (many[0], None) if many else (None, few[0] if few else None)
    fixed = {dim: 0 for dim in free if dim not in (up, lines)} | placed
    return View(sweep, across, up, lines, paths, fixed)


def _longest(sizes: Mapping[str, int]) -> str:
    """The first dimension with more values than lines can show, or else the longest."""
    many = [dim for dim, n in sizes.items() if n > _MOST_LINES]
    return many[0] if many else max(sizes, key=lambda dim: sizes[dim])


def _path(sweep: Sweep, name: str) -> str:
    """The path whose values stand for a dimension: the first that tells its points apart."""
    found = [dim.values for dim in sweep.plan.dims if dim.name == name]
    for path, values in found[0].items() if found else ():
        if _tells_apart(values):
            return path
    return name


def _values(sweep: Sweep, dim: str, path: str) -> Floats:
    """Values of a path along a dimension, or numbers from 0."""
    if path in sweep.data.coords:
        values = np.asarray(sweep.data[path].values, dtype=np.float64)
        if _tells_apart(values):
            return values
    return np.arange(sweep.data.sizes[dim], dtype=np.float64)


def _tells_apart(values: Floats) -> bool:
    return np.unique(values).size == values.size and bool(np.isfinite(values).all())


def _index(values: Floats, given: str, value: float) -> int:
    """Where in ``values`` a value is that was given for the path ``given``."""
    place = int(np.abs(values - value).argmin())
    if not np.isclose(values[place], value, rtol=1e-6, atol=0.0):
        raise ProblemError(f"at {given}", value, f"a value of the sweep, such as {values[place]:.12g}")
    return place
