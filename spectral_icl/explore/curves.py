"""A picture of curves, whatever they are of: names at their ends, round numbers on its axes, a cursor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, Range1d
from bokeh.plotting import figure

from spectral_icl.explore.changes import Changes
from spectral_icl.explore.frame import spread
from spectral_icl.figures.palette import DASHES
from spectral_icl.io.checks import Floats

GREY = "#444444"
SMALL = "11px"
_LABEL_HEIGHT = 12.0  # pixels
_BORDER = 46  # pixels left of the axes, or their labels would move them from flow to flow
_MARGINS = 50.0  # pixels of a picture's height that are not curves


@dataclass(frozen=True)
class Look:
    """How a curve looks: its colour, its kind of dashes, its width in pixels."""

    color: str
    dash: str
    width: float


class Curves:
    """A picture of curves with names at their ends, and of a cursor.

    Parameters
    ----------
    changes : Changes
        Where what it shows goes.
    height : int
    looks : sequence of Look
        Of all the curves that there may be.
    **options
        Of the figure.
    """

    def __init__(self, changes: Changes, height: int, looks: Sequence[Look], **options: Any) -> None:
        self.changes = changes
        self.plot = figure(
            height=height,
            sizing_mode="stretch_width",
            min_width=120,
            y_range=Range1d(0.1, 10.0),
            tools="",
            toolbar_location=None,
            min_border=2,
            min_border_left=_BORDER,
            **options,
        )
        self.is_logarithmic = options.get("y_axis_type") == "log"
        self.height = height - _MARGINS
        self.most = len(looks)
        self.curves = ColumnDataSource({"x": [], **{f"y{k}": [] for k in range(self.most)}})
        self.ends = ColumnDataSource({key: [] for key in ("x", "y", "text")})
        self.cursors = ColumnDataSource({key: [] for key in ("x", "low", "high")})
        for k, look in enumerate(looks):
            self.plot.line(
                "x",
                f"y{k}",
                source=self.curves,
                line_color=look.color,
                line_dash=look.dash,
                line_width=look.width,
            )
        self.plot.segment("x", "low", "x", "high", source=self.cursors, line_color=GREY)
        self.plot.text(
            "x",
            "y",
            "text",
            source=self.ends,
            text_font_size=SMALL,
            text_baseline="middle",
            x_offset=3,
        )
        self.plot.grid.visible = False
        self.plot.outline_line_color = None
        self.plot.yaxis.minor_tick_line_color = None
        if self.is_logarithmic:
            self.plot.yaxis[0].ticker = FixedTicker(ticks=[])
        else:
            self.plot.yaxis[0].ticker.desired_num_ticks = 4

    @property
    def range(self) -> tuple[float, float]:
        """The ends of the axis of values."""
        return self.changes.of(self.plot.y_range, "start"), self.changes.of(self.plot.y_range, "end")

    def fit(self, low: float, high: float) -> None:
        """Let the axis of values have these ends."""
        self.changes.set(self.plot.y_range, start=low, end=high)

    def draw(self, x: Floats, curves: Sequence[Floats]) -> None:
        """Show curves over the same x; where they are NaN they are interrupted."""
        nothing = np.full(x.shape, np.nan)
        rows = [*curves, *[nothing] * (self.most - len(curves))]
        self.changes.set(self.curves, data={"x": x, **{f"y{k}": row for k, row in enumerate(rows)}})

    def label(self, places: Sequence[tuple[float, Sequence[tuple[str, float]]]]) -> None:
        """Put names at the values at several x, with some distance between those at the same one."""
        self.changes.set(
            self.ends,
            data={
                "x": [x for x, named in places for _ in named],
                "y": [y for _, named in places for y in self.apart([value for _, value in named])],
                "text": [name for _, named in places for name, _ in named],
            },
        )

    def apart(self, values: Sequence[float]) -> list[float]:
        """Places for labels at values that are not on top of each other."""
        low, high = self.range
        if self.is_logarithmic:
            low, high, *values = (log10(max(value, 1e-300)) for value in (low, high, *values))
        gap = (high - low) * _LABEL_HEIGHT / self.height
        places = spread(values, gap, low + gap / 2.0, high - gap / 2.0)
        return [10.0**place for place in places] if self.is_logarithmic else places

    def point(self, places: Sequence[float]) -> None:
        """Move the cursor, of which there may be several."""
        low, high = self.range
        self.changes.set(
            self.cursors, data={"x": places, "low": [low] * len(places), "high": [high] * len(places)}
        )


def round_levels(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two positive ones, evenly on a logarithmic scale, and at most so many."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1,)):
        found = [float(f"{step}e{power}") for power in powers for step in steps]
        inside = [level for level in found if low <= level <= high]
        if len(inside) <= most:
            return inside
    return inside[:: ceil(len(inside) / most)]


def dash(k: int) -> str:
    """The k-th kind of dashes as a page has it."""
    dash = DASHES[k % len(DASHES)]
    return "solid" if isinstance(dash, str) else " ".join(str(round(2 * length)) for length in dash[1])
