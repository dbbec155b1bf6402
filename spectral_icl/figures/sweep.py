"""Figures of a sweep: any quantity over one axis as lines, over two as a heat map, with the theory beside it.

A point that was not solved, or whose softmax saturated, is never drawn as if it were good: it is
marked where it would be, and counted in the legend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure

from spectral_icl.figures import sweep_lines, sweep_map
from spectral_icl.figures.style import WIDTH, styled
from spectral_icl.figures.sweep_view import choose
from spectral_icl.io.checks import ProblemError
from spectral_icl.sweeps.plan import sweep_of
from spectral_icl.sweeps.quantities import Sweep

if TYPE_CHECKING:
    import xarray

_ALONE = 4.6  # inches: width of a single panel
_HEIGHT = 2.9  # of a row of panels
_LETTER, _HANDLE, _ENTRY = 0.058, 0.4, 0.15  # of the legend: width of a letter and a handle, height of a row
_MOST_PANELS = 6


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
    views = [choose(sweep, quantity, x, y, at or {}) for quantity in shown]
    with styled():
        columns = min(len(shown), 2)
        rows = -(-len(shown) // columns)
        figure = Figure(figsize=(WIDTH if columns > 1 else _ALONE, _HEIGHT * rows))
        panels = figure.subplots(rows, columns, squeeze=False).flat
        handles: dict[str, Any] = {}
        for quantity, view, axes in zip(shown, views, panels, strict=False):
            found = (sweep_map if view.y else sweep_lines).draw(quantity, view, axes)
            handles |= {name: handle for name, handle in found.items() if name not in handles}
            axes.set_title(view.title())
        for axes in list(panels):
            axes.set_visible(False)
        if handles:
            _legend(figure, handles)
        return figure


def _legend(figure: Figure, handles: Mapping[str, Any]) -> None:
    """A legend below the panels, in as many columns as its widest entry allows, in room of its own."""
    width = max(map(len, handles)) * _LETTER + _HANDLE
    columns = max(1, min(4, int(figure.get_figwidth() / width)))
    figure.set_figheight(figure.get_figheight() + _ENTRY * -(-len(handles) // columns))
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=columns)


def summary(data: xarray.Dataset | Sweep) -> dict[str, int]:
    """Points of a sweep that figures leave out, by reason."""
    sweep = sweep_of(data)
    trouble = sweep.trouble().values
    return {text: int(n) for code, text in sweep.reasons.items() if (n := (trouble == code).sum())}
