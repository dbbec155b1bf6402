"""Figures of a sweep: any quantity over one axis as lines, over two as a heat map, with the theory beside it.

A point that was not solved, or that left the range of the kernel, is never drawn as if it were good: it is
marked where it would be, and counted in the legend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PolyCollection
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter
from numpy.typing import NDArray

from spectral_icl.figures.flow import STYLE
from spectral_icl.io.checks import Floats, ProblemError, choice
from spectral_icl.sweeps.plan import sweep_of
from spectral_icl.sweeps.quantities import (
    FAILED,
    GOOD,
    MISSING,
    REPLICATE,
    UNFIT,
    UNTRUSTED,
    Quantity,
    Sweep,
)

if TYPE_CHECKING:
    import xarray

_WIDTH = 6.75  # inches: a page's text width
_ALONE = 4.6  # of a single panel
_HEIGHT = 2.9  # of a row of panels
_LETTER, _HANDLE, _ENTRY = 0.058, 0.4, 0.15  # of the legend: width of a letter and a handle, height of a row
_MOST_PANELS = 6
_MOST_LINES = 8  # values of a dimension that become lines; more become the other side of a heat map
_QUORUM = 0.5  # share of the replicates of a point that must be good: fewer are a biased sample
_WIDE = 10.0  # ratio of the largest to the smallest value from which a scale may be logarithmic
_SHORT = 300.0  # the same, below which powers of ten alone are too few ticks
_CROWDED = 40  # points of a line beyond which they have no markers

_AWAITED = "not before the end"
_HATCHES = {MISSING: "....", UNFIT: "xxxx", FAILED: "\\\\\\\\", UNTRUSTED: "////"}
_MARKERS = {MISSING: ".", UNFIT: "+", FAILED: "*", UNTRUSTED: "x"}
_THEORY: tuple[Any, ...] = ("--", (0, (1, 1)), "-.")
_NOT_THERE = "#f7e3e3"  # background of a heat map where something has not happened


@dataclass(frozen=True)
class _View:
    """Which dimensions a panel shows and how.

    Attributes
    ----------
    x, y, lines : str, or None
        Dimensions along the axes, and the one with a line for each value.
    paths : dict of str to str
        The path whose values a dimension has; its own name if it has none.
    fixed : dict of str to int
        All other dimensions, and where along them the panel is.
    """

    x: str
    y: str | None
    lines: str | None
    paths: dict[str, str]
    fixed: dict[str, int]


def sweep_figure(
    data: xarray.Dataset | Sweep,
    quantities: Sequence[str] = (),
    *,
    x: str | None = None,
    y: str | None = None,
    task: int | None = None,
    at: Mapping[str, float] | None = None,
) -> Figure:
    """Panels of one or more quantities of a sweep.

    Replicates become their median, with a band between the quartiles in line plots; allocations become the
    share of runs. A point counts if at least half of its replicates are good.

    Parameters
    ----------
    data : xarray.Dataset or Sweep
        As `spectral_icl.open_sweep` reads it.
    quantities : sequence of str
        A panel for each; what suits the sweep if empty.
    x, y : str, optional
        Dimensions, or paths along them. With ``y`` panels are heat maps. Without, x is the longest dimension
        and the others are lines if they have few values, and else the other side of a heat map.
    task : int, optional
        One task; see `spectral_icl.sweeps.quantities.Sweep.quantity` for all.
    at : mapping of str to float, optional
        Values of dimensions that are not shown; others are at their first.

    Raises
    ------
    ProblemError
        There is no such quantity, dimension, task or value.
    """
    sweep = sweep_of(data)
    names = list(quantities) or sweep.suitable(task)
    if len(names) > _MOST_PANELS:
        raise ProblemError("quantity", names, f"at most {_MOST_PANELS} quantities")
    shown = [sweep.quantity(name, task) for name in names]
    views = [_view(sweep, quantity, x, y, at or {}) for quantity in shown]
    with style.context(STYLE):
        columns = min(len(shown), 2)
        rows = -(-len(shown) // columns)
        figure = Figure(figsize=(_WIDTH if columns > 1 else _ALONE, _HEIGHT * rows))
        panels = figure.subplots(rows, columns, squeeze=False).flat
        handles: dict[str, Any] = {}
        for quantity, view, axes in zip(shown, views, panels, strict=False):
            found = _heat_map(sweep, quantity, view, axes) if view.y else _lines(sweep, quantity, view, axes)
            handles |= {name: handle for name, handle in found.items() if name not in handles}
            axes.set_title(_fixed(sweep, view))
        for axes in list(panels):
            axes.set_visible(False)
        if handles:
            width = max(map(len, handles)) * _LETTER + _HANDLE
            ncols = max(1, min(4, int(figure.get_figwidth() / width)))
            figure.set_figheight(figure.get_figheight() + _ENTRY * -(-len(handles) // ncols))
            figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=ncols)
        return figure


def summary(data: xarray.Dataset | Sweep) -> dict[str, int]:
    """Points of a sweep that figures leave out, by reason."""
    sweep = sweep_of(data)
    trouble = sweep.trouble().values
    return {text: int(n) for code, text in sweep.reasons.items() if (n := (trouble == code).sum())}


def _view(sweep: Sweep, quantity: Quantity, x: str | None, y: str | None, at: Mapping[str, float]) -> _View:
    """Dimensions that were asked for, and for the rest what suits their sizes."""
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
        placed[dim] = _place(sweep, paths, dim, name, value)
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
    return _View(across, up, lines, paths, fixed)


def _longest(sizes: Mapping[str, int]) -> str:
    """The first of the dimensions that are shown along an axis: those with many values, or the longest."""
    many = [dim for dim, n in sizes.items() if n > _MOST_LINES]
    return many[0] if many else max(sizes, key=lambda dim: sizes[dim])


def _path(sweep: Sweep, name: str) -> str:
    """The path whose values stand for a dimension: the first that tells its points apart."""
    found = [dim.values for dim in sweep.plan.dims if dim.name == name]
    for path, values in found[0].items() if found else ():
        if np.unique(values).size == values.size and np.isfinite(values).all():
            return path
    return name


def _place(sweep: Sweep, paths: Mapping[str, str], dim: str, given: str, value: float) -> int:
    """Where along a dimension a value is."""
    values = _values(sweep, dim, paths[dim])
    place = int(np.abs(values - value).argmin())
    if not np.isclose(values[place], value, rtol=1e-6, atol=0.0):
        raise ProblemError(f"at {given}", value, f"a value of the sweep, such as {values[place]:.12g}")
    return place


def _values(sweep: Sweep, dim: str, path: str) -> Floats:
    """Values along a dimension; numbers from 0 if there are none that tell its points apart."""
    if path in sweep.data.coords:
        values = np.asarray(sweep.data[path].values, dtype=np.float64)
        if np.isfinite(values).all() and np.unique(values).size == values.size:
            return values
    return np.arange(sweep.data.sizes[dim], dtype=np.float64)


def _axis_label(sweep: Sweep, view: _View, dim: str) -> str:
    path = view.paths[dim]
    together = [path for d in sweep.plan.dims if d.name == dim for path in d.values]
    named = dim if path in sweep.data.coords and dim.isidentifier() else ""
    return sweep.plan.points.label(path, named, together)


def _fixed(sweep: Sweep, view: _View) -> str:
    """Where a panel is along the dimensions that it does not show."""
    places = {dim: i for dim, i in view.fixed.items() if sweep.data.sizes[dim] > 1}
    return ", ".join(
        _at(sweep, view, dim, _values(sweep, dim, view.paths[dim])[i].item()) for dim, i in places.items()
    )


def _at(sweep: Sweep, view: _View, dim: str, value: float) -> str:
    """A place along a dimension, as in H = 2 or task 0."""
    if dim in sweep.entries:
        return list(sweep.entries[dim])[int(value)]
    return sweep.plan.points.place(view.paths[dim], value)


@dataclass(frozen=True, eq=False)
class _Grid:
    """A quantity in the order of a panel: along the lines or y, x and the replicates, sorted by x and y."""

    x: Floats
    rows: Floats
    values: Floats  # (rows, x, replicates)
    trouble: NDArray[np.int64]  # the same shape
    points: NDArray[np.int64]  # the same of every point once, should a row be more of the same points
    theory: dict[str, Floats]  # (rows, x)
    error: Floats | None  # (rows, x), if the points are no replicates, which tell by themselves


def _grid(sweep: Sweep, quantity: Quantity, view: _View) -> _Grid:
    """A panel's numbers, dimensions that a result does not depend on written out."""
    row = view.y or view.lines
    order: dict[str, NDArray[np.int64]] = {}
    along: dict[str, Floats] = {}
    for dim in (view.x, row):
        if dim is not None:
            values = _values(sweep, dim, view.paths[dim])
            order[dim] = np.argsort(values, kind="stable")
            along[dim] = values[order[dim]]
    replicates = sweep.data.sizes.get(REPLICATE, 1)

    def laid(found: xarray.DataArray) -> NDArray[Any]:
        found = found.isel({d: i for d, i in view.fixed.items() if d in found.dims})
        shape = {dim: along[dim].size for dim in order} | {REPLICATE: replicates}
        missing = {dim: n for dim, n in shape.items() if dim not in found.dims}
        found = found.drop_vars(list(found.coords)).expand_dims(missing)
        found = found.isel({dim: index for dim, index in order.items() if dim not in missing})
        dims = ((row,) if row else ()) + (view.x, REPLICATE)
        laid_out = np.asarray(found.transpose(*dims).values)
        return laid_out if row else laid_out[None]

    trouble = laid(quantity.trouble)
    theory = {name: _quantile(laid(curve).astype(np.float64), 0.5) for name, curve in quantity.theory.items()}
    return _Grid(
        x=along[view.x],
        rows=along[row] if row else np.zeros(1),
        values=laid(quantity.values).astype(np.float64),
        trouble=trouble,
        points=trouble if row in quantity.trouble.dims else trouble[:1],
        theory={name: values for name, values in theory.items() if np.isfinite(values).any()},
        error=None if quantity.error is None or replicates > 1 else laid(quantity.error)[..., 0],
    )


def _verdict(trouble: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of every place: good if enough of its replicates are, else the most frequent reason why not."""
    counts = np.stack([(trouble == code).sum(axis=-1) for code in range(UNTRUSTED + 1)])
    worst = 1 + counts[1:].argmax(axis=0)
    return np.where(counts[GOOD] >= _QUORUM * trouble.shape[-1], GOOD, worst)


def _middle(grid: _Grid, quantity: Quantity, q: float = 0.5) -> tuple[Floats, NDArray[np.int64]]:
    """A quantile over the good replicates (or the mean of shares), NaN where there is none; the verdict."""
    verdict, good = _verdict(grid.trouble), grid.trouble == GOOD
    if quantity.shown_as == "shares":
        known = good & ~np.isnan(grid.values)
        count = known.sum(axis=-1)
        middle = np.where(known, grid.values, 0.0).sum(axis=-1) / np.where(count, count, np.nan)
    elif quantity.shown_as == "times":
        middle = _later(grid.values, good, q)
    else:
        middle = _quantile(grid.values, q, good)
    return np.where(verdict == GOOD, middle, np.nan), verdict


def _quantile(values: Floats, q: float, good: NDArray[np.bool_] | None = None) -> Floats:
    """A quantile over the last axis of what is there and good, between values as NumPy has it."""
    known = ~np.isnan(values) if good is None else good & ~np.isnan(values)
    ordered = np.sort(np.where(known, values, np.nan), axis=-1)  # NaN last
    place = q * np.maximum(known.sum(axis=-1) - 1, 0)
    low = np.floor(place).astype(np.int64)
    lower, upper = (_at_place(ordered, at) for at in (low, np.ceil(place).astype(np.int64)))
    return np.asarray(lower + (place - low) * (upper - lower))


def _later(values: Floats, good: NDArray[np.bool_], q: float) -> Floats:
    """A quantile of times, where one that has not come yet (NaN) is later than all others: one of them."""
    ordered = np.sort(np.where(good, values, np.nan), axis=-1)
    return _at_place(ordered, np.maximum(np.ceil(q * good.sum(axis=-1)).astype(np.int64) - 1, 0))


def _at_place(ordered: Floats, place: NDArray[np.int64]) -> Floats:
    return np.asarray(np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0])


def _counted(sweep: Sweep, grid: _Grid) -> dict[int, str]:
    """Legend entries for what is left out: how many points, and why."""
    total = grid.points.size
    kind = " runs" if grid.points.shape[-1] > 1 else ""
    counts = {code: int((grid.points == code).sum()) for code in sweep.reasons}
    return {code: f"{sweep.reasons[code]}: {n} of {total}{kind}" for code, n in counts.items() if n}


# ---------------------------------------------------------------------------------------------- lines


def _lines(sweep: Sweep, quantity: Quantity, view: _View, axes: Axes) -> dict[str, Any]:
    """A quantity along one dimension; returns the handles of a legend by their text."""
    if quantity.classes and sweep.plan.replicated and view.lines is None:
        return _shares(sweep, quantity, view, axes)
    if quantity.classes and sweep.plan.replicated:
        quantity = _one_share(sweep, quantity)
    grid = _grid(sweep, quantity, view)
    middle, verdict = _middle(grid, quantity)
    handles: dict[str, Any] = {}
    bands: dict[str, Any] = {}
    colors = _line_colors(sweep, view, len(grid.rows))
    for i, color in enumerate(colors):
        name = _at(sweep, view, view.lines, grid.rows[i].item()) if view.lines else ""
        if quantity.classes:  # side by side, since classes are often the same
            beside = 0.5 * (i - (len(colors) - 1) / 2.0) / len(colors)
            axes.plot(grid.x, middle[i] + beside, color=color, ls="none", marker="o", ms=3)
        elif grid.error is not None:
            _samples(axes, grid.x, middle[i], grid.error[i], color)
        else:
            _curve(axes, grid.x, middle[i], color)
        if name:
            look: dict[str, Any] = {"ls": "none", "marker": "o"}
            look = look if quantity.classes else {"marker": _point(grid.x.size)}
            handles[name] = Line2D([], [], color=color, ms=4, **look)
        if grid.values.shape[-1] > 1 and quantity.shown_as not in ("shares", "classes"):
            low, high = (_middle(grid, quantity, q)[0][i] for q in (0.25, 0.75))
            axes.fill_between(grid.x, low, high, color=color, alpha=0.2, lw=0)
            bands["quartiles"] = Patch(color="0.5", alpha=0.3, lw=0)
        _mark(axes, grid.x, verdict[i], color)
        if quantity.shown_as == "times":
            gone = (verdict[i] == GOOD) & np.isnan(middle[i])
            _marks_at(axes, grid.x[gone], 0.97, "^", color)
    handles |= bands | _theory(axes, grid, colors)
    if quantity.break_even is not None:
        look = {"color": "0.6", "lw": 0.8, "zorder": 1.0}
        axes.axhline(quantity.break_even, **look)
        handles[quantity.break_even_text] = Line2D([], [], **look)
    if quantity.classes:
        codes = sorted(quantity.classes)
        axes.set_yticks(codes, [quantity.classes[code].text for code in codes])
        axes.set_ylim(min(codes) - 0.5, max(codes) + 0.5)
    elif quantity.shown_as == "shares":
        axes.set_ylim(-0.03, 1.03)
    elif _wide([middle, *grid.theory.values()]):
        axes.set_yscale("log")
        _plain_ticks(axes.yaxis, *axes.get_ylim())
    axes.set_ylabel(quantity.label if not quantity.classes else "")
    if quantity.shown_as == "times" and (n := int(((verdict == GOOD) & np.isnan(middle)).sum())):
        handles[f"{_AWAITED}: {n}"] = Line2D([], [], ls="none", marker="^", color="0.5", ms=4)
    for code, text in _counted(sweep, grid).items():
        handles[text] = Line2D([], [], ls="none", marker=_MARKERS[code], color="0.5", ms=4)
    name = "median" if sweep.plan.replicated and quantity.shown_as != "shares" else quantity.measured
    if grid.error is not None:
        sample = Line2D([], [], color="black" if view.lines is None else "0.35", ls="none", marker="o", ms=3)
        handles = {**handles, name: sample} if view.lines else {name: sample, **handles}
    elif view.lines is None and handles and not quantity.classes:
        handles = {name: Line2D([], [], color="black", marker=_point(grid.x.size), ms=4), **handles}
    _scale(sweep, view, view.x, grid.x, axes.xaxis, axes.set_xscale)
    return handles


def _theory(axes: Axes, grid: _Grid, colors: list[Any]) -> dict[str, Any]:
    """The theory's curves: once if all lines share one, else only the first, in their colours.

    They are dashed, except beside samples, which are not lines.
    """
    handles: dict[str, Any] = {}
    for k, (name, values) in enumerate(grid.theory.items()):
        dashed = _THEORY[k % len(_THEORY)] if grid.error is None else "-"
        look: dict[str, Any] = {"ls": dashed, "lw": 1.0, "zorder": 3.5 if grid.error is None else 2.5}
        color = "C1" if k == 0 and grid.error is None else "0.35"
        if _equal(values):
            axes.plot(grid.x, values[0], color=color, **look)
        elif k == 0:
            color = "0.35"
            for row, own in zip(values, colors, strict=True):
                axes.plot(grid.x, row, color=own, **look)
        else:
            continue
        handles[name] = Line2D([], [], color=color, **look)
    return handles


def _curve(axes: Axes, x: Floats, y: Floats, color: Any) -> None:
    """A line with gaps; points without a neighbour have a marker, for a line would not show them."""
    there = np.isfinite(y)
    alone = there & ~np.r_[False, there[:-1]] & ~np.r_[there[1:], False]
    marked = there if x.size <= _CROWDED else alone
    (line,) = axes.plot(x, y, color=color, marker=".", ms=4, zorder=3)
    line.set_markevery(np.flatnonzero(marked).tolist())


def _samples(axes: Axes, x: Floats, y: Floats, error: Floats, color: Any) -> None:
    """Points with their standard errors."""
    there = np.isfinite(y)
    axes.errorbar(
        x[there], y[there], error[there], color=color, ls="none", marker="o", ms=3, elinewidth=1.0, zorder=3
    )


def _point(points: int) -> str:
    return "." if points <= _CROWDED else ""


def _mark(axes: Axes, x: Floats, verdict: NDArray[np.int64], color: Any) -> None:
    """Marks at the foot of the panel where a line has no points."""
    for code in _MARKERS:
        _marks_at(axes, x[verdict == code], 0.03, _MARKERS[code], "0.5")


def _marks_at(axes: Axes, x: Floats, height: float, marker: str, color: Any) -> None:
    if x.size:
        axes.plot(
            x,
            np.full(x.size, height),
            ls="none",
            marker=marker,
            ms=4,
            color=color,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            zorder=4,
        )


def _shares(sweep: Sweep, quantity: Quantity, view: _View, axes: Axes) -> dict[str, Any]:
    """The share of runs with each class, stacked."""
    grid = _grid(sweep, quantity, view)
    verdict = _verdict(grid.trouble)[0]
    good = grid.trouble[0] == GOOD
    runs = np.where(verdict == GOOD, good.sum(axis=-1), np.nan)
    codes = sorted(quantity.classes)
    colors = _class_colors(quantity)
    below = np.zeros(grid.x.size)
    handles: dict[str, Any] = {}
    for code in reversed(codes):
        share = ((grid.values[0] == code) & good).sum(axis=-1) / runs
        look = {"color": colors[codes.index(code)], "lw": 0}
        axes.fill_between(grid.x, below, below + share, **look)
        below = below + share
        handles[quantity.classes[code].text] = Patch(**look)
    _mark(axes, grid.x, verdict, "0.5")
    axes.set_ylim(0.0, 1.0)
    axes.set_ylabel("share of runs")
    for code, text in _counted(sweep, grid).items():
        handles[text] = Line2D([], [], ls="none", marker=_MARKERS[code], color="0.5", ms=4)
    _scale(sweep, view, view.x, grid.x, axes.xaxis, axes.set_xscale)
    return handles


def _one_share(sweep: Sweep, quantity: Quantity) -> Quantity:
    """The share that stands for the classes of several runs."""
    if not quantity.as_share:
        raise ProblemError("task", "one task", "no task: the heads of several runs have no middle")
    return sweep.quantity(quantity.as_share)


def _line_colors(sweep: Sweep, view: _View, count: int) -> list[Any]:
    """A colour for each line of a panel."""
    if view.lines is None:
        return ["black"]
    return list(sweep.entries.get(view.lines, {}).values()) or _colors(count)


def _colors(count: int) -> list[Any]:
    """A colour for each of several values, in their order."""
    map_ = matplotlib.colormaps["viridis"]
    return [map_(0.87 * i / max(count - 1, 1)) for i in range(count)]


def _equal(rows: Floats) -> bool:
    """Whether a curve is the same for every line (benchmarks are, if only the start is varied)."""
    first = rows[0]
    return all(np.allclose(row, first, rtol=1e-9, equal_nan=True) for row in rows)


# ------------------------------------------------------------------------------------------- heat map


def _heat_map(sweep: Sweep, quantity: Quantity, view: _View, axes: Axes) -> dict[str, Any]:
    """A quantity over two dimensions; returns the handles of a legend by their text."""
    if quantity.classes and sweep.plan.replicated:
        quantity = _one_share(sweep, quantity)
    assert view.y is not None
    grid = _grid(sweep, quantity, view)
    _scale(sweep, view, view.x, grid.x, axes.xaxis, axes.set_xscale)
    _scale(sweep, view, view.y, grid.rows, axes.yaxis, axes.set_yscale)
    middle, verdict = _middle(grid, quantity)
    handles: dict[str, Any] = {}
    across, up = _edges(grid.x), _edges(grid.rows)
    shown = np.ma.masked_invalid(middle)
    if quantity.classes:
        handles |= _classes(quantity, axes, across, up, shown)
    else:
        norm = _norm(quantity, middle)
        cmap = "viridis" if quantity.break_even is None else "RdBu_r"
        mesh = axes.pcolormesh(across, up, shown, norm=norm, cmap=cmap, rasterized=True)
        over = norm.vmax is not None and bool((shown > norm.vmax).any())
        bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, extend="max" if over else "neither")
        bar.set_label(quantity.label)
        if isinstance(norm, LogNorm):
            _plain_ticks(bar.ax.yaxis, *mesh.get_clim())
        handles |= (
            _border(axes, grid, quantity, middle)
            if quantity.break_even is not None
            else _contours(axes, grid, norm)
        )
    gone = (verdict == GOOD) & np.isnan(middle)
    if gone.any():
        _blank(axes, across, up, gone, _NOT_THERE, "")
        text = _AWAITED if quantity.shown_as == "times" else "no value"
        handles[f"{text}: {int(gone.sum())} of {gone.size} places"] = Patch(fc=_NOT_THERE, ec="0.5", lw=0.5)
    counted = _counted(sweep, grid)
    for code, text in counted.items():
        _blank(axes, across, up, verdict == code, "0.92", _HATCHES[code])
        handles[text] = Patch(fc="0.92", ec="0.5", hatch=_HATCHES[code], lw=0.5)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    return handles


def _norm(quantity: Quantity, values: Floats) -> Normalize:
    if quantity.shown_as == "shares":
        return Normalize(0.0, 1.0)
    if quantity.break_even is not None:  # in the middle, and one colour means the same in all figures
        return Normalize(0.0, 2.0 * quantity.break_even)
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return Normalize(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    return LogNorm(low, high) if low > 0.0 and high >= _WIDE * low else Normalize(low, high)


def _contours(axes: Axes, grid: _Grid, norm: Normalize) -> dict[str, Any]:
    """Lines of the prediction at the levels of the colour bar, so that they can be compared with it."""
    if not grid.theory or min(grid.x.size, grid.rows.size) < 2:
        return {}
    name, values = next(iter(grid.theory.items()))
    assert norm.vmin is not None
    assert norm.vmax is not None
    locator = LogLocator(subs=(1.0, 2.0, 5.0)) if isinstance(norm, LogNorm) else MaxNLocator(5)
    ticks = np.asarray(locator.tick_values(norm.vmin, norm.vmax))
    low, high = (float(extreme(values)) for extreme in (np.nanmin, np.nanmax))
    levels = ticks[(ticks > low) & (ticks < high)]
    if levels.size == 0:
        return {}
    lines = axes.contour(
        grid.x, grid.rows, np.ma.masked_invalid(values), levels=levels, colors="white", linewidths=0.9
    )
    outline = [withStroke(linewidth=2.0, foreground="0.15")]
    lines.set(path_effects=outline)
    for text in axes.clabel(lines, fmt="%g", fontsize=6):
        text.set(path_effects=outline)
    return {f"{name} (contours)": Line2D([], [], color="white", lw=0.9, path_effects=outline)}


def _border(axes: Axes, grid: _Grid, quantity: Quantity, middle: Floats) -> dict[str, Any]:
    """The line where the quantity has the value of its border: by theory if there is one."""
    even = quantity.break_even
    assert even is not None
    name, values = next(iter(grid.theory.items()), (quantity.measured, middle))
    known = values[np.isfinite(values)]
    crossed = known.size > 0 and known.min() < even < known.max()
    if not crossed or min(grid.x.size, grid.rows.size) < 2:
        return {}
    shown = np.ma.masked_invalid(values)
    axes.contour(grid.x, grid.rows, shown, levels=[even], colors="black", linewidths=1.0)
    return {f"{quantity.break_even_text} ({name})": Line2D([], [], color="black", lw=1.0)}


def _classes(
    quantity: Quantity, axes: Axes, across: Floats, up: Floats, shown: NDArray[Any]
) -> dict[str, Any]:
    codes = sorted(quantity.classes)
    colors = _class_colors(quantity)
    norm = BoundaryNorm(np.arange(codes[0] - 0.5, codes[-1] + 1.0), len(codes))
    axes.pcolormesh(across, up, shown, norm=norm, cmap=ListedColormap(colors), rasterized=True)
    axes.set_title(quantity.label)
    there = set(np.unique(shown[~np.ma.getmaskarray(shown)]).astype(int).tolist())
    return {
        quantity.classes[code].text: Patch(fc=color, ec="0.5", lw=0.3)
        for code, color in zip(codes, colors, strict=True)
        if code in there
    }


def _class_colors(quantity: Quantity) -> list[Any]:
    """A colour for each class in the order of their keys: its own, or one of the style's cycle."""
    own = [quantity.classes[code].color for code in sorted(quantity.classes)]
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    free = own.count(None)
    others = iter(cycle if free <= len(cycle) else _colors(free))
    return [next(others) if color is None else color for color in own]


def _blank(axes: Axes, across: Floats, up: Floats, where: NDArray[np.bool_], color: str, hatch: str) -> None:
    """Cover places of a heat map, a rectangle for each run along a row."""
    steps = np.diff(np.pad(where, ((0, 0), (1, 1))).astype(int), axis=1)
    (rows, starts), (_, stops) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    left, right, low, high = across[starts], across[stops], up[rows], up[rows + 1]
    corners = np.stack([[left, low], [right, low], [right, high], [left, high]]).transpose(2, 0, 1)
    if rows.size:
        axes.add_collection(
            PolyCollection(list(corners), fc=color, ec="0.5", hatch=hatch or None, lw=0.0), False
        )


# --------------------------------------------------------------------------------------------- scales


def _scale(sweep: Sweep, view: _View, dim: str, values: Floats, axis: Axis, scale: Any) -> None:
    """Scale, ticks and label of the axis along a dimension."""
    if _logarithmic(values):
        scale("log")
        _plain_ticks(axis, values[0].item(), values[-1].item())
    elif _whole(values):
        axis.set_major_locator(MaxNLocator(8, integer=True))
    axis.set_label_text(_axis_label(sweep, view, dim))


def _plain_ticks(axis: Axis, low: float, high: float) -> None:
    """1, 2, 5, 10, ... on a logarithmic axis that is too short for powers of ten."""
    if high < _SHORT * low:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axis.set_minor_formatter(NullFormatter())


def _logarithmic(values: Floats) -> bool:
    """Whether values are spread evenly on a logarithmic scale rather than on a linear one."""
    if values.size < 3 or values[0] <= 0.0 or values[-1] < _WIDE * values[0]:
        return False
    uneven = [float(np.std(steps) / np.mean(steps)) for steps in (np.diff(np.log(values)), np.diff(values))]
    return uneven[0] < uneven[1]


def _wide(curves: list[Floats]) -> bool:
    """Whether values need a logarithmic scale."""
    shown = np.concatenate([np.ravel(curve) for curve in curves])
    shown = shown[np.isfinite(shown)]
    return bool(shown.size and shown.min() > 0.0 and shown.max() > _WIDE * shown.min())


def _whole(values: Floats) -> bool:
    return bool((values == np.round(values)).all())


def _edges(centres: Floats) -> Floats:
    """Edges of the cells around values, half way between them on the scale of their axis."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    on = np.log(centres) if _logarithmic(centres) else centres
    half = np.diff(on) / 2.0
    edges = np.r_[on[0] - half[0], on[:-1] + half, on[-1] + half[-1]]
    edges = np.exp(edges) if _logarithmic(centres) else edges
    return np.asarray(edges)
