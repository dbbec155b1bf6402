"""Values of every head against time, task by task."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, Range1d

from spectral_icl.explore.changes import Changes
from spectral_icl.explore.choices import MOST_HEADS
from spectral_icl.explore.curves import SMALL, Curves, Look, dash, round_levels
from spectral_icl.explore.frame import Frame
from spectral_icl.figures.palette import HEADS
from spectral_icl.io.checks import Floats

_HEIGHT = 170  # pixels
_MOST_TICKS = 12  # of all tasks together
_WORTH = 0.04  # share of the largest value at the end from which a head is named


class HeadsPicture(Curves):
    """Values of every head against time, the tasks side by side: task i has the axis from i to i + 1."""

    def __init__(self, changes: Changes, title: str) -> None:
        looks = [Look(HEADS[head % len(HEADS)], dash(head), 1.6) for head in range(MOST_HEADS)]
        super().__init__(changes, _HEIGHT, looks, x_range=Range1d(0.0, 1.0), title=title)
        self.plot.xaxis[0].ticker = FixedTicker(ticks=[])
        self.parts = ColumnDataSource({key: [] for key in ("x", "low", "high", "text")})
        self.plot.segment("x", "low", "x", "high", source=self.parts, line_color="#bbbbbb")
        self.plot.text(
            "x",
            "high",
            "text",
            source=self.parts,
            text_font_size=SMALL,
            text_font_style="italic",
            x_offset=4,
            y_offset=13,
        )

    def show(self, frame: Frame, values: Floats, columns: Sequence[Sequence[int]]) -> None:
        """Show values (T, H, columns), of every task its own columns."""
        shares = np.log(frame.times / frame.times[0]) / np.log(frame.times[-1] / frame.times[0])
        count = len(columns)
        share = used(count)
        parts = [(task, column) for task, own in enumerate(columns) for column in own]
        gap = [np.nan]  # between one part and the next
        x = np.concatenate([np.append(task + shares * share, gap) for task, _ in parts])
        curves = [
            np.concatenate([np.append(of_head[:, column], gap) for _, column in parts])
            for of_head in np.moveaxis(values, 1, 0)
        ]
        self._fit(np.asarray(curves))
        self.changes.set(self.plot.x_range, end=float(count))
        low, high = self.range
        self.changes.set(
            self.parts,
            data={
                "x": list(range(count)),
                "low": [low] * count,
                "high": [high] * count,
                "text": [f"task {i}" for i in range(count)],
            },
        )
        few = min(_MOST_TICKS // count, 4)
        times = round_levels(float(frame.times[0]), float(frame.times[-1]), few)
        ticks = {task + frame.fraction(time) * share: f"{time:g}" for task in range(count) for time in times}
        self.changes.mark(self.plot.xaxis[0], ticks)
        self.draw(x, curves)
        self.label([(task + share, _worth_naming(values[-1], own)) for task, own in enumerate(columns)])

    def _fit(self, values: Floats) -> None:
        low, high = min(0.0, float(np.nanmin(values))), max(0.0, float(np.nanmax(values)))
        air = 0.07 * ((high - low) or 1.0)
        self.fit(low - air, high + 2.0 * air)


def used(tasks: int) -> float:
    """The share of the part of an axis that a task has before the names at its end."""
    return 0.93 - 0.03 * tasks


def _worth_naming(values: Floats, columns: Sequence[int]) -> list[tuple[str, float]]:
    """The names and values of the heads whose entries (H, columns) are not small in some columns."""
    most = float(np.abs(values[:, columns]).max())
    return [
        (f"h{head}" if len(columns) == 1 else f"h{head} b{column}", float(values[head, column]))
        for head in range(len(values))
        for column in columns
        if abs(values[head, column]) > _WORTH * most
    ]
