"""A quantity over two dimensions of a sweep, as a heat map with contours of the theory."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import BoundaryNorm, ListedColormap, LogNorm, Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from spectral_icl.figures import scales
from spectral_icl.figures.sweep_panel import AWAITED, Panel, as_share
from spectral_icl.figures.sweep_view import View
from spectral_icl.io.checks import Floats
from spectral_icl.sweeps.quantities import FAILED, MISSING, UNFIT, UNTRUSTED, Quantity

_HATCHES = {MISSING: "....", UNFIT: "xxxx", FAILED: "\\\\\\\\", UNTRUSTED: "////"}
_LEFT_OUT = "0.92"  # background of places that are hatched
_NOT_THERE = "#f7e3e3"  # background of places where something has not happened


def draw(quantity: Quantity, view: View, axes: Axes) -> dict[str, Any]:
    """Draw a heat map; returns the handles of a legend by their text."""
    if quantity.classes and view.sweep.plan.replicated:
        quantity = as_share(view.sweep, quantity)
    assert view.y is not None
    panel = Panel.of(quantity, view)
    scales.fit(axes, "x", panel.x, view.label(view.x))
    scales.fit(axes, "y", panel.rows, view.label(view.y))
    across, up = scales.edges(panel.x), scales.edges(panel.rows)
    handles = _classes(panel, axes, across, up) if quantity.classes else _numbers(panel, axes, across, up)
    if panel.absent.any():
        _cover(axes, across, up, panel.absent, _NOT_THERE, "")
        text = AWAITED if quantity.shown_as == "times" else "no value"
        text += f": {int(panel.absent.sum())} of {panel.absent.size} places"
        handles[text] = Patch(fc=_NOT_THERE, ec="0.5", lw=0.5)
    for code, text in panel.left_out().items():
        _cover(axes, across, up, panel.verdict == code, _LEFT_OUT, _HATCHES[code])
        handles[text] = Patch(fc=_LEFT_OUT, ec="0.5", hatch=_HATCHES[code], lw=0.5)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    return handles


def _numbers(panel: Panel, axes: Axes, across: Floats, up: Floats) -> dict[str, Any]:
    """Cells in colours of a bar, with the theory as contours or the line where the comparison tips."""
    quantity = panel.quantity
    shown = np.ma.masked_invalid(panel.middle)
    norm = _norm(panel)
    cmap = "viridis" if quantity.break_even is None else "RdBu_r"
    mesh = axes.pcolormesh(across, up, shown, norm=norm, cmap=cmap, rasterized=True)
    over = norm.vmax is not None and bool((shown > norm.vmax).any())
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, extend="max" if over else "neither")
    bar.set_label(quantity.label)
    if isinstance(norm, LogNorm):
        scales.fit_ticks(bar.ax.yaxis, *mesh.get_clim())
    if min(panel.x.size, panel.rows.size) < 2:
        return {}
    if quantity.break_even is None:
        return _contours(axes, panel, norm)
    return _break_even(axes, panel, quantity.break_even)


def _norm(panel: Panel) -> Normalize:
    if panel.quantity.shown_as == "shares":
        return Normalize(0.0, 1.0)
    if panel.quantity.break_even is not None:  # in the middle, and one colour means the same in all figures
        return Normalize(0.0, 2.0 * panel.quantity.break_even)
    return scales.normalized(panel.middle)


def _contours(axes: Axes, panel: Panel, norm: Normalize) -> dict[str, Any]:
    """Lines of the prediction at the levels of the colour bar, so that they can be compared with it."""
    if not panel.theory:
        return {}
    name, values = next(iter(panel.theory.items()))
    low, high = (float(extreme(values)) for extreme in (np.nanmin, np.nanmax))
    levels = scales.levels(norm)
    levels = levels[(levels > low) & (levels < high)]
    if levels.size == 0:
        return {}
    shown = np.ma.masked_invalid(values)
    lines = axes.contour(panel.x, panel.rows, shown, levels=levels, colors="white", linewidths=0.9)
    outline = [withStroke(linewidth=2.0, foreground="0.15")]
    lines.set(path_effects=outline)
    for text in axes.clabel(lines, fmt="%g", fontsize=6):
        text.set(path_effects=outline)
    return {f"{name} (contours)": Line2D([], [], color="white", lw=0.9, path_effects=outline)}


def _break_even(axes: Axes, panel: Panel, value: float) -> dict[str, Any]:
    """The line where the comparison tips: by theory if there is one."""
    name, values = next(iter(panel.theory.items()), (panel.quantity.measured, panel.middle))
    known = values[np.isfinite(values)]
    if known.size == 0 or not known.min() < value < known.max():
        return {}
    shown = np.ma.masked_invalid(values)
    axes.contour(panel.x, panel.rows, shown, levels=[value], colors="black", linewidths=1.0)
    return {f"{panel.quantity.break_even_text} ({name})": Line2D([], [], color="black", lw=1.0)}


def _classes(panel: Panel, axes: Axes, across: Floats, up: Floats) -> dict[str, Any]:
    """Cells in the colours of their classes; of these, the legend has those that there are."""
    shown = np.ma.masked_invalid(panel.middle)
    classes = panel.quantity.classes
    codes = sorted(classes)
    colors = scales.class_colors(classes)
    norm = BoundaryNorm(np.arange(codes[0] - 0.5, codes[-1] + 1.0), len(codes))
    axes.pcolormesh(across, up, shown, norm=norm, cmap=ListedColormap(colors), rasterized=True)
    axes.set_title(panel.quantity.label)
    there = set(np.unique(shown[~np.ma.getmaskarray(shown)]).astype(int).tolist())
    return {
        classes[code].text: Patch(fc=color, ec="0.5", lw=0.3)
        for code, color in zip(codes, colors, strict=True)
        if code in there
    }


def _cover(axes: Axes, across: Floats, up: Floats, where: NDArray[np.bool_], color: str, hatch: str) -> None:
    """Cover places of a heat map, a rectangle for each run along a row."""
    steps = np.diff(np.pad(where, ((0, 0), (1, 1))).astype(int), axis=1)
    (rows, starts), (_, stops) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    left, right, low, high = across[starts], across[stops], up[rows], up[rows + 1]
    corners = np.stack([[left, low], [right, low], [right, high], [left, high]]).transpose(2, 0, 1)
    if rows.size:
        axes.add_collection(
            PolyCollection(list(corners), fc=color, ec="0.5", hatch=hatch or None, lw=0.0), False
        )
