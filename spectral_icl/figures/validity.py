"""Maps of how far the laws in 1/L are from softmax attention."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from spectral_icl.figures import scales
from spectral_icl.figures.style import WIDTH, styled
from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.multitask.validity import LAWS, Validity

MARKED = (0.01, 0.1, 0.5)  # relative errors at which lines are drawn
_LEAST, _MOST = 1e-3, 1.0  # ends of the colours
_COLOURS = "YlOrRd"
_UNKNOWN = "0.8"  # where a law does not exist
_WRITTEN = {0.01: "1 %", 0.1: "10 %", 0.5: "50 %"}


def validity_figure(maps: Sequence[Validity]) -> Figure:
    """The relative error of the excess, a column for each map and a row for each law in 1/L.

    Lines are drawn at 1, 10 and 50 %; grey is where the law does not exist. A thin valley is where the error
    changes sign.

    Parameters
    ----------
    maps : sequence of Validity
        Each over two of context lengths, dimensions and sizes, at one value of the third.

    Raises
    ------
    ProblemError
        A map has one context length, or both dimensions and sizes vary or neither does.
    """
    for found in maps:
        if found.lengths.size < 2 or (found.dimensions.size > 1) == (found.sizes.size > 1):
            shape = (found.lengths.size, found.dimensions.size, found.sizes.size)
            raise ProblemError(
                "maps", shape, "several lengths, and either several dimensions or several sizes"
            )
    norm = LogNorm(_LEAST, _MOST)
    with styled():
        figure = Figure(figsize=(WIDTH, 4.4))
        panels = figure.subplots(len(LAWS), len(maps), squeeze=False)
        for row, law in zip(panels, LAWS, strict=True):
            for axes, found in zip(row, maps, strict=True):
                _draw(found, law, axes, norm)
            row[0].annotate(
                f"{law} law", (-0.42, 0.5), xycoords="axes fraction", rotation=90, ha="center", va="center"
            )
        for axes, found in zip(panels[0], maps, strict=True):
            axes.set_title(_title(found))
        for axes in panels[-1]:
            axes.set_xlabel("context length $L$")
        bar = figure.colorbar(ScalarMappable(norm, _COLOURS), ax=panels, pad=0.02, extend="both")
        bar.set_label("relative error of the excess")
        for mark in MARKED:
            bar.ax.axhline(mark, color="black", lw=0.8)
        return figure


def _draw(found: Validity, law: str, axes: Axes, norm: LogNorm) -> None:
    """One law's error over one map."""
    by_dimension = found.dimensions.size > 1
    up = (found.dimensions if by_dimension else found.sizes).astype(np.float64)
    error: Floats = found.error(law).reshape(found.lengths.size, up.size).T
    shown = np.ma.masked_invalid(error)
    axes.set_facecolor(_UNKNOWN)
    # before the lines, whose labels make room for themselves on the scale that there is
    scales.fit(axes, "x", found.lengths, "")
    scales.fit(axes, "y", up, "dimension $d$" if by_dimension else r"logit variance $d\,\omega^2$")
    across, edges = scales.edges(found.lengths), scales.edges(up)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(edges[0], edges[-1])
    axes.pcolormesh(across, edges, shown, norm=norm, cmap=_COLOURS, rasterized=True)
    lines = axes.contour(found.lengths, up, shown, levels=MARKED, colors="black", linewidths=0.9)
    outline = [withStroke(linewidth=1.5, foreground="white")]
    for text in axes.clabel(lines, fmt=_WRITTEN, fontsize=6):
        text.set(path_effects=outline)


def _title(found: Validity) -> str:
    """What is held fixed."""
    fixed = (
        rf"$d\,\omega^2 = {found.sizes[0]:g}$" if found.sizes.size == 1 else f"$d = {found.dimensions[0]:g}$"
    )
    heads = "one head" if found.heads == 1 else "two heads"
    return f"{heads}, {fixed}"
