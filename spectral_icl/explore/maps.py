"""Heat maps: which head reads what, as shades and numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, Range1d
from bokeh.plotting import figure

from spectral_icl.explore.changes import Changes
from spectral_icl.explore.curves import SMALL
from spectral_icl.explore.frame import Frame
from spectral_icl.io.checks import Floats

_HEIGHT = 250  # pixels, as of the losses beside it
_CELLS = ("#ffffff", "#08306b")  # nothing, and the largest
_DARK = 0.55  # share of the largest from which a number is white


class MapsPicture:
    """Who reads what: |omega| by head and block, and |mu| by head and task, as shades and numbers."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.plot = figure(
            height=_HEIGHT,
            sizing_mode="stretch_width",
            min_width=120,
            x_range=Range1d(-0.5, 0.5),
            y_range=Range1d(0.5, -0.5),
            tools="",
            toolbar_location=None,
            min_border=2,
            title=" ",
        )
        self.cells = ColumnDataSource({key: [] for key in ("x", "y", "color", "text", "ink")})
        self.plot.rect("x", "y", 1, 1, source=self.cells, fill_color="color", line_color="#bbbbbb")
        self.plot.text(
            "x",
            "y",
            "text",
            source=self.cells,
            text_color="ink",
            text_font_size=SMALL,
            text_align="center",
            text_baseline="middle",
        )
        self.plot.grid.visible = False
        self.plot.outline_line_color = None
        for axis in (self.plot.xaxis[0], self.plot.yaxis[0]):
            axis.ticker = FixedTicker(ticks=[])
            axis.minor_tick_line_color = None

    def show(self, frame: Frame, time: float) -> None:
        """Show the state at a time."""
        solution = frame.solution
        omega, mu = solution(min(time, solution.trajectory.t[-1]))
        heads, blocks = omega.shape
        tasks = mu.shape[1]
        # one column is left free between the two
        columns = {b: f"b{b}" for b in range(blocks)} | {blocks + 1 + i: f"t{i}" for i in range(tasks)}
        self.changes.set(self.plot.x_range, end=blocks + tasks + 0.5)
        self.changes.set(self.plot.y_range, start=heads - 0.5)
        self.changes.mark(self.plot.xaxis[0], columns)
        self.changes.mark(self.plot.yaxis[0], {head: f"h{head}" for head in range(heads)})
        self.changes.set(self.plot.title, text=f"|omega| on blocks, |mu| on tasks at t = {time:.4g}")
        parts = [_cells(np.abs(omega), 0), _cells(np.abs(mu), blocks + 1)]
        self.changes.set(self.cells, data={key: [x for part in parts for x in part[key]] for key in parts[0]})


def _cells(values: Floats, first: int) -> dict[str, list[Any]]:
    """The cells of a matrix of numbers that are not negative, from a column on."""
    shares = (values / (float(values.max()) or 1.0)).ravel().tolist()
    y, x = np.indices(values.shape)
    return {
        "x": (first + x).ravel().tolist(),
        "y": y.ravel().tolist(),
        "color": [_shade(share) for share in shares],
        "text": [_short(value) for value in values.ravel()],
        "ink": ["white" if share > _DARK else "black" for share in shares],
    }


def _short(value: float) -> str:
    """A number that is not negative in six letters at most: 12, 0.0065, 1e-4."""
    if value == 0.0 or 1e-3 <= value < 1e4:
        return f"{value:.2g}" if value < 100.0 else f"{value:.0f}"
    digit, power = f"{value:.0e}".split("e")
    return f"{digit}e{int(power)}"


def _shade(share: float) -> str:
    """The colour of a cell by its share of the largest."""
    low, high = (np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) for color in _CELLS)
    mixed = np.rint(low + (high - low) * share).astype(int)
    return "#" + "".join(f"{part:02x}" for part in mixed)
