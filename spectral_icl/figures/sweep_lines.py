"""A quantity along one dimension of a sweep, as lines with the curves of the theory."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import NDArray

from spectral_icl.figures import scales
from spectral_icl.figures.sweep_panel import AWAITED, Panel, as_share
from spectral_icl.figures.sweep_view import View
from spectral_icl.io.checks import Floats
from spectral_icl.sweeps.quantities import FAILED, GOOD, MISSING, UNFIT, UNTRUSTED, Quantity

_MARKERS = {MISSING: ".", UNFIT: "+", FAILED: "*", UNTRUSTED: "x"}
_DASHES: tuple[Any, ...] = ("--", (0, (1, 1)), "-.")  # of the theory's curves
_CROWDED = 40  # points of a line beyond which they have no markers


def draw(quantity: Quantity, view: View, axes: Axes) -> dict[str, Any]:
    """Draw lines, or of classes of several runs the stacked shares; returns a legend's handles by text."""
    if quantity.classes and view.sweep.plan.replicated and view.lines is None:
        panel = Panel.of(quantity, view)
        handles = _shares(panel, axes)
    else:
        if quantity.classes and view.sweep.plan.replicated:
            quantity = as_share(view.sweep, quantity)
        panel = Panel.of(quantity, view)
        handles = _lines(panel, view, axes)
    scales.fit(axes, "x", panel.x, view.label(view.x))
    return handles


def _lines(panel: Panel, view: View, axes: Axes) -> dict[str, Any]:
    """A line for each row, the theory's curves, and marks for what is not there."""
    quantity = panel.quantity
    colors = _line_colors(view, len(panel.rows))
    handles: dict[str, Any] = {}
    for row, color in enumerate(colors):
        _line(panel, row, color, (row - (len(colors) - 1) / 2.0) / len(colors), axes)
        if view.lines:
            look: dict[str, Any] = {"ls": "none", "marker": "o"}
            look = look if quantity.classes else {"marker": _marker(panel)}
            name = view.place(view.lines, panel.rows[row].item())
            handles[name] = Line2D([], [], color=color, ms=4, **look)
    if _banded(panel):
        handles["quartiles"] = Patch(color="0.5", alpha=0.3, lw=0)
    handles |= _theory(axes, panel, colors)
    if quantity.break_even is not None:
        look = {"color": "0.6", "lw": 0.8, "zorder": 1.0}
        axes.axhline(quantity.break_even, **look)
        handles[quantity.break_even_text] = Line2D([], [], **look)
    _fit_values(panel, axes)
    if quantity.shown_as == "times" and (n := int(panel.absent.sum())):
        handles[f"{AWAITED}: {n}"] = _mark("^")
    handles |= {text: _mark(_MARKERS[code]) for code, text in panel.left_out().items()}
    name = "median" if view.sweep.plan.replicated and quantity.shown_as != "shares" else quantity.measured
    if panel.error is not None:
        sample = Line2D([], [], color="black" if view.lines is None else "0.35", ls="none", marker="o", ms=3)
        return {**handles, name: sample} if view.lines else {name: sample, **handles}
    if view.lines is None and handles and not quantity.classes:
        return {name: Line2D([], [], color="black", marker=_marker(panel), ms=4), **handles}
    return handles


def _line(panel: Panel, row: int, color: Any, beside: float, axes: Axes) -> None:
    """One line, with a band between its quartiles and marks where it has no points.

    Classes, which are often the same on several lines, are shifted by half of ``beside``.
    """
    middle, verdict = panel.middle[row], panel.verdict[row]
    if panel.quantity.classes:
        axes.plot(panel.x, middle + 0.5 * beside, color=color, ls="none", marker="o", ms=3)
    elif panel.error is not None:
        _samples(axes, panel.x, middle, panel.error[row], color)
    else:
        _curve(axes, panel.x, middle, color)
    if _banded(panel):
        low, high = (panel.quantile(q)[row] for q in (0.25, 0.75))
        axes.fill_between(panel.x, low, high, color=color, alpha=0.2, lw=0)
    _mark_left_out(axes, panel.x, verdict)
    if panel.quantity.shown_as == "times":
        _marks_at(axes, panel.x[panel.absent[row]], 0.97, "^", color)


def _banded(panel: Panel) -> bool:
    """Whether lines have a band between the quartiles of several runs."""
    return panel.replicates > 1 and panel.quantity.shown_as in ("numbers", "times")


def _fit_values(panel: Panel, axes: Axes) -> None:
    """Scale, ticks and label of the axis of the quantity."""
    quantity = panel.quantity
    if quantity.classes:
        codes = sorted(quantity.classes)
        axes.set_yticks(codes, [quantity.classes[code].text for code in codes])
        axes.set_ylim(min(codes) - 0.5, max(codes) + 0.5)
    elif quantity.shown_as == "shares":
        axes.set_ylim(-0.03, 1.03)
    elif scales.is_wide([panel.middle, *panel.theory.values()]):
        axes.set_yscale("log")
        scales.fit_ticks(axes.yaxis, *axes.get_ylim())
    axes.set_ylabel(quantity.label if not quantity.classes else "")


def _theory(axes: Axes, panel: Panel, colors: list[Any]) -> dict[str, Any]:
    """The theory's curves: once if all lines share one, else only the first, in their colours.

    They are dashed, except beside samples, which are not lines.
    """
    handles: dict[str, Any] = {}
    for k, (name, values) in enumerate(panel.theory.items()):
        dashes = _DASHES[k % len(_DASHES)] if panel.error is None else "-"
        look: dict[str, Any] = {"ls": dashes, "lw": 1.0, "zorder": 3.5 if panel.error is None else 2.5}
        color = "C1" if k == 0 and panel.error is None else "0.35"
        if _equal(values):
            axes.plot(panel.x, values[0], color=color, **look)
        elif k == 0:
            color = "0.35"
            for row, own in zip(values, colors, strict=True):
                axes.plot(panel.x, row, color=own, **look)
        else:
            continue
        handles[name] = Line2D([], [], color=color, **look)
    return handles


def _equal(rows: Floats) -> bool:
    """Whether a curve is the same for every line (benchmarks are, if only the start is varied)."""
    first = rows[0]
    return all(np.allclose(row, first, rtol=1e-9, equal_nan=True) for row in rows)


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


def _shares(panel: Panel, axes: Axes) -> dict[str, Any]:
    """The share of runs with each class, stacked."""
    verdict, good = panel.verdict[0], panel.good[0]
    runs = np.where(verdict == GOOD, good.sum(axis=-1), np.nan)
    classes = panel.quantity.classes
    below = np.zeros(panel.x.size)
    handles: dict[str, Any] = {}
    for code, color in reversed(list(zip(sorted(classes), scales.class_colors(classes), strict=True))):
        share = ((panel.values[0] == code) & good).sum(axis=-1) / runs
        look = {"color": color, "lw": 0}
        axes.fill_between(panel.x, below, below + share, **look)
        below = below + share
        handles[classes[code].text] = Patch(**look)
    _mark_left_out(axes, panel.x, verdict)
    axes.set_ylim(0.0, 1.0)
    axes.set_ylabel("share of runs")
    return handles | {text: _mark(_MARKERS[code]) for code, text in panel.left_out().items()}


def _mark_left_out(axes: Axes, x: Floats, verdict: NDArray[np.int64]) -> None:
    """Marks at the foot of the panel where a line has no points."""
    for code, marker in _MARKERS.items():
        _marks_at(axes, x[verdict == code], 0.03, marker, "0.5")


def _marks_at(axes: Axes, x: Floats, height: float, marker: str, color: Any) -> None:
    """Marks at a height that is a share of the panel's."""
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


def _mark(marker: str) -> Line2D:
    """A legend's handle for marks."""
    return Line2D([], [], ls="none", marker=marker, color="0.5", ms=4)


def _marker(panel: Panel) -> str:
    return "." if panel.x.size <= _CROWDED else ""


def _line_colors(view: View, count: int) -> list[Any]:
    """A colour for each line of a panel."""
    if view.lines is None:
        return ["black"]
    return list(view.sweep.entries.get(view.lines, {}).values()) or scales.shades(count)
