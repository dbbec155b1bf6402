"""Losses against time."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, Range1d

from spectral_icl.explore.changes import Changes
from spectral_icl.explore.choices import MOST_TASKS
from spectral_icl.explore.curves import GREY, SMALL, Curves, Look, dash, round_levels
from spectral_icl.explore.frame import Frame
from spectral_icl.figures.palette import SHADES, TASKS
from spectral_icl.io.checks import Floats

_HEIGHT = 250  # pixels
_ROOM = 0.13  # of the axis of time, right of its end, for names
_MOST_LEVELS = 8  # with a number on the axis
_BOUND_DASHES = {"single_head": "1 3", "head_per_task": "6 3", "lower_bound": "8 3 2 3"}


class LossPicture(Curves):
    """Losses against time, the phases shaded, the benchmarks as lines."""

    def __init__(self, changes: Changes) -> None:
        tasks = [Look(TASKS[i % len(TASKS)], dash(i), 1.4) for i in range(MOST_TASKS)]
        super().__init__(
            changes,
            _HEIGHT,
            [Look("black", "solid", 2.2), *tasks],
            title="loss",
            x_axis_type="log",
            y_axis_type="log",
            x_range=Range1d(0.1, 10.0),
            x_axis_label="gradient-flow time t",
        )
        # Glyphs, not annotations, which may refer to other models: Bokeh looks through all when one changes.
        self.phases = ColumnDataSource(
            {key: [] for key in ("start", "end", "low", "high", "color", "text", "down")}
        )
        self.bounds = ColumnDataSource({key: [] for key in ("xs", "ys", "dash")})
        self.names = ColumnDataSource({key: [] for key in ("x", "y", "text")})
        words: dict[str, Any] = {"text_font_size": SMALL, "x_offset": 3}
        self.plot.quad(
            "start",
            "end",
            "high",
            "low",
            source=self.phases,
            fill_color="color",
            line_color=None,
            level="underlay",
        )
        self.plot.text(
            "start", "high", "text", source=self.phases, text_font_style="italic", y_offset="down", **words
        )
        self.plot.multi_line(
            "xs", "ys", source=self.bounds, line_color=GREY, line_dash="dash", line_width=1.2
        )
        self.plot.text(
            "x",
            "y",
            "text",
            source=self.names,
            text_color=GREY,
            background_fill_color="white",
            background_fill_alpha=0.7,
            level="overlay",
            y_offset=-2,
            **words,
        )

    def show(self, frame: Frame) -> None:
        """Show the losses of a flow."""
        times, losses = frame.times, frame.task_loss
        first, last = float(times[0]), float(times[-1])
        curves = {"loss": losses.sum(axis=1)}
        if losses.shape[1] > 1:
            curves |= {f"task {i}": loss for i, loss in enumerate(losses.T)}
        bounds = {key: bound for key, bound in frame.bounds.items() if 0.0 < bound.loss < np.inf}
        levels = [bound.loss for bound in bounds.values()]
        self._fit(np.concatenate([*curves.values(), levels]))
        self.changes.set(self.plot.x_range, start=first, end=last * (last / first) ** _ROOM)
        self.draw(times, list(curves.values()))
        self.label([(last, [(name, float(curve[-1])) for name, curve in curves.items()])])
        self.changes.set(
            self.bounds,
            data={
                "xs": [[first, last]] * len(levels),
                "ys": [[level, level] for level in levels],
                "dash": [_BOUND_DASHES[key] for key in bounds],
            },
        )
        self.changes.set(
            self.names,
            data={
                "x": [first] * len(levels),
                "y": self.apart(levels),
                "text": [f"{bound.name} {bound.loss:.4g}" for bound in bounds.values()],
            },
        )
        low, high = self.range
        count = len(frame.spans)
        self.changes.set(
            self.phases,
            data={
                "start": [start for start, _ in frame.spans.values()],
                "end": [end for _, end in frame.spans.values()],
                "low": [low] * count,
                "high": [high] * count,
                "color": [SHADES[name] for name in frame.spans],
                "text": list(frame.spans),
                "down": [13 + 12 * (k % 2) for k in range(count)],  # one may be narrower than its name
            },
        )

    def _fit(self, values: Floats) -> None:
        """Fit the axis to values, with room above them for the names of phases."""
        shown = values[(values > 0.0) & np.isfinite(values)]
        low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.1, 1.0)
        span = max(high / low, 1.05)
        self.fit(low / span**0.06, high * span**0.2)
        ticks = {level: f"{level:g}" for level in round_levels(*self.range, _MOST_LEVELS)}
        self.changes.mark(self.plot.yaxis[0], ticks)
