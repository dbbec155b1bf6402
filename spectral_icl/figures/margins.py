"""The margin of a claim along the variables of a problem, and over a plane of two, with its verdicts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import LogLocator

from spectral_icl.figures import scales
from spectral_icl.figures.style import WIDTH, styled
from spectral_icl.io.checks import Floats
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.margins import Line, Plane, Point, Variable

_COLUMNS, _HEIGHT = 3, 1.75  # panels of a row, and inches of each
_CROWDED, _TICKS = 30.0, 5  # ratio of the ends from which a panel has powers of ten alone, and how many
_LEAST, _MOST = -1.0, 2.0  # margins that are shown as they are; those beyond are arrows at the edge
_SHADES = {Verdict.HOLDS: "1.0", Verdict.NOT_APPLICABLE: "0.9", Verdict.FAILS: "0.72"}
_HATCHES = {Verdict.HOLDS: "", Verdict.NOT_APPLICABLE: "////", Verdict.FAILS: "xxxx"}
_MARKERS = {Verdict.HOLDS: "o", Verdict.NOT_APPLICABLE: "o", Verdict.FAILS: "X"}
_INKS = {Verdict.HOLDS: "#0072b2", Verdict.NOT_APPLICABLE: "#0072b2", Verdict.FAILS: "#d55e00"}
_WORDS = {
    Verdict.HOLDS: "holds",
    Verdict.NOT_APPLICABLE: "not applicable: a hypothesis is not met",
    Verdict.FAILS: "fails, its hypotheses met",
}
_SYMBOLS = {"sigma^2": r"\sigma^2", "rho": r"\rho", "SNR": r"\mathrm{SNR}"}
_COLOURS = "viridis"


def margins_figure(lines: Sequence[Line]) -> Figure:
    """The margin of a claim against each variable, a panel for each.

    Filled circles are where the claim holds, crosses where it fails, open circles where a hypothesis is not
    met; the background says so too, in grey and by its hatching. The line joins what decides at each value;
    dots are other trials of the claim there. The dashed line is the base.
    """
    rows = -(-len(lines) // _COLUMNS)
    with styled():
        figure = Figure(figsize=(WIDTH, _HEIGHT * rows + 0.35))
        panels = figure.subplots(rows, min(_COLUMNS, len(lines)), squeeze=False)
        for axes, line in zip(panels.flat, lines, strict=False):
            margin_panel(line, axes)
        for axes in list(panels.flat)[len(lines) :]:
            axes.remove()
        for row in panels:
            row[0].set_ylabel("margin")
        figure.legend(handles=_legend(), loc="outside upper center", ncols=3)
    return figure


def plane_figure(plane: Plane) -> Figure:
    """The margin of a claim over the plane of two variables."""
    with styled():
        figure = Figure(figsize=(0.7 * WIDTH, 3.1))
        plane_panel(plane, figure.subplots())
    return figure


def margin_panel(line: Line, axes: Axes) -> None:
    """Draw the margin against one variable."""
    variable = line.variable
    values = np.array(line.values)
    _axis(axes, "x", variable)
    first, last = variable.values[0], variable.values[-1]
    if axes.get_xscale() == "log" and last >= _CROWDED * first:  # three panels to a row have no room for more
        axes.xaxis.set_major_locator(LogLocator(numticks=_TICKS))
    known = [p.margin for point in line.points for p in point.parts if p.margin is not None]
    shown = np.clip(known, _LEAST, _MOST) if known else np.zeros(1)
    bottom, top = min(0.0, float(shown.min())) - 0.12, max(1.0, float(shown.max())) + 0.12
    _shade(line, axes)
    axes.axhline(0.0, color="black", lw=0.6)
    axes.axvline(variable.base, color="0.4", lw=0.7, ls="--")
    joined = np.clip([np.nan if p.margin is None else p.margin for p in line.points], _LEAST, _MOST)
    axes.plot(values, joined, color="#0072b2", lw=0.9)
    for value, point in zip(line.values, line.points, strict=True):
        for part in point.parts:
            if part is not point.worst and part.margin is not None:
                axes.plot(value, np.clip(part.margin, _LEAST, _MOST), ".", ms=2.5, color="0.35")
        _mark(axes, value, point, bottom)
    axes.set_ylim(bottom, top)


def plane_panel(plane: Plane, axes: Axes) -> None:
    """Draw the margin over a plane, cells where the claim is not applicable or fails hatched."""
    across, up = _axis(axes, "x", plane.x), _axis(axes, "y", plane.y)
    rows = [[np.nan if point.margin is None else point.margin for point in row] for row in plane.points]
    shown = np.ma.masked_invalid(np.clip(rows, -1.0, 1.0))
    norm = Normalize(-1.0, 1.0)
    axes.set_facecolor("0.8")
    axes.pcolormesh(across, up, shown, norm=norm, cmap=_COLOURS, rasterized=True)
    for low, high, row in zip(up[:-1], up[1:], plane.points, strict=True):
        for left, right, point in zip(across[:-1], across[1:], row, strict=True):
            if point.verdict is not Verdict.HOLDS:
                hatch = _HATCHES[point.verdict]
                cell = Rectangle(
                    (left, low), right - left, high - low, fill=False, hatch=hatch, ec="1.0", lw=0
                )
                axes.add_patch(cell)
    axes.plot(plane.x.base, plane.y.base, "P", color="white", mec="black", ms=6)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(up[0], up[-1])
    bar = axes.figure.colorbar(ScalarMappable(norm, _COLOURS), ax=axes, pad=0.02, extend="both")
    bar.set_label("margin")
    bar.ax.axhline(0.0, color="white", lw=1.0)
    there = {point.verdict for row in plane.points for point in row}
    handles: list[Patch | Line2D] = [
        Patch(fc="0.5", ec="1.0", hatch=_HATCHES[verdict], lw=0, label=_WORDS[verdict])
        for verdict in (Verdict.NOT_APPLICABLE, Verdict.FAILS)
        if verdict in there
    ]
    if any(point.margin is None for row in plane.points for point in row):
        handles.append(Patch(fc="0.8", label="not measured"))
    handles.append(Line2D([], [], marker="P", color="white", mec="black", ls="", label="base"))
    axes.legend(handles=handles, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2, borderaxespad=0.2)


def _axis(axes: Axes, side: str, variable: Variable[object]) -> Floats:
    """Give an axis the scale and the label of a variable; returns the edges of cells around its values."""
    values = np.array(variable.values)
    symbol = _SYMBOLS.get(variable.symbol, variable.symbol)
    scales.fit(axes, "x" if side == "x" else "y", values, f"{variable.label} ${symbol}$")
    return scales.edges(values)


def _mark(axes: Axes, value: float, point: Point, bottom: float) -> None:
    """A marker where a claim was measured, an arrow if that is beyond the panel, a tick if it was not."""
    ink = _INKS[point.verdict]
    face = "white" if point.verdict is Verdict.NOT_APPLICABLE else ink
    if point.margin is None:
        axes.plot(value, bottom + 0.04, "|", color="0.3", ms=4)
        return
    marker = _MARKERS[point.verdict]
    if not _LEAST <= point.margin <= _MOST:
        marker = "v" if point.margin < _LEAST else "^"
    at = float(np.clip(point.margin, _LEAST, _MOST))
    axes.plot(value, at, marker, color=ink, mfc=face, mew=0.8, ms=5 if marker == "X" else 3.5)


def _shade(line: Line, axes: Axes) -> None:
    """The background: verdicts between the borders, which are half way between neighbouring values."""
    values = np.array(line.values)
    logarithmic = scales.is_logarithmic(np.array(line.variable.values))
    pad = scales.edges(np.array(line.variable.values))
    left = float(pad[0])
    ranges = line.ranges
    for k, one in enumerate(ranges):
        if k + 1 == len(ranges):
            right = float(pad[-1])
        else:
            after = ranges[k + 1].first
            right = float(np.sqrt(one.last * after)) if logarithmic else 0.5 * (one.last + after)
        if one.verdict is not Verdict.HOLDS:
            shade, hatch = _SHADES[one.verdict], _HATCHES[one.verdict]
            axes.axvspan(
                left,
                right,
                fc=shade,
                ec="0.75" if one.verdict is Verdict.NOT_APPLICABLE else "0.5",
                hatch=hatch,
                lw=0,
                zorder=-2,
            )
        left = right
    axes.set_xlim(min(float(pad[0]), values[0]), float(pad[-1]))


def _legend() -> list[tuple[Patch, Line2D] | Patch | Line2D]:
    """A marker and a background for each verdict."""
    return [
        Line2D(
            [],
            [],
            ls="",
            marker=_MARKERS[verdict],
            color=_INKS[verdict],
            mfc="white" if verdict is Verdict.NOT_APPLICABLE else _INKS[verdict],
            label=_WORDS[verdict],
        )
        for verdict in Verdict
    ]
