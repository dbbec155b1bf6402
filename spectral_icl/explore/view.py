"""The pictures of the page: made once, and filled with one flow after another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.models import (
    Column,
    ColumnDataSource,
    FixedTicker,
    Range1d,
    Span,
)
from bokeh.plotting import figure

from spectral_icl.explore.frame import Frame, spread
from spectral_icl.explore.state import MOST_TASKS
from spectral_icl.figures.palette import DASHES, HEADS, SHADES, TASKS
from spectral_icl.io.checks import Floats

_GREY = "#444444"
_SMALL = "11px"
_CELLS = ("#ffffff", "#08306b")  # of a heat map: nothing, and the largest
_SHADES = 64  # steps between them
_DARK = 0.55  # share of the largest from which a number in a cell is white
_ROOM = 0.13  # of the axis of time, right of its end, for labels
_WORTH = 0.04  # share of the largest value from which a curve has a label
_BOUND_DASHES = {"single_head": "1 3", "head_per_task": "6 3", "lower_bound": "8 3 2 3"}
_LABEL_HEIGHT = 12.0  # pixels
_LOSS_HEIGHT, _CURVE_HEIGHT = 250, 150  # pixels, of whole pictures
_FRAME = 45.0  # pixels of a picture's height that are axes and title


class View:
    """All pictures.

    Attributes
    ----------
    loss : figure
        Losses against time, the phases shaded, the benchmarks as lines.
    panels : list of Column
        For every task that there may be, omega and mu of every head against time.
    maps : list of figure
        Who reads what at the cursor: |omega| by head and block, |mu| by head and task.
    """

    def __init__(self) -> None:
        self.loss = _Curves(
            _LOSS_HEIGHT, "loss", y_axis_type="log", x_axis_label="gradient-flow time t"
        )
        self.bounds = ColumnDataSource({"xs": [], "ys": [], "dash": []})
        self.names = ColumnDataSource({"x": [], "y": [], "text": []})
        plot = self.loss.plot
        plot.multi_line("xs", "ys", source=self.bounds, line_color=_GREY, line_dash="dash", line_width=1.2)
        plot.text(
            "x", "y", "text", source=self.names, text_font_size=_SMALL, text_color=_GREY, y_offset=-2, x_offset=3,
            background_fill_color="white", background_fill_alpha=0.7,
        )
        # not annotations: whatever may refer to other models makes Bokeh look through all of them when it changes
        self.phases = ColumnDataSource({"start": [], "end": [], "low": [], "high": [], "color": [], "text": [], "down": []})
        plot.quad(
            "start", "end", "high", "low", source=self.phases, fill_color="color", line_color=None, level="underlay"
        )
        plot.text(
            "start", "high", "text", source=self.phases, text_font_size=_SMALL, text_font_style="italic", x_offset=3,
            y_offset="down", text_color="black",
        )
        self.curves = [
            (_Curves(_CURVE_HEIGHT, f"task {i}: omega"), _Curves(_CURVE_HEIGHT, f"task {i}: mu"))
            for i in range(MOST_TASKS)
        ]
        self.panels = [
            Column(*(curves.plot for curves in pair), sizing_mode="stretch_width") for pair in self.curves
        ]
        self.maps = (_Map("|omega|", "block"), _Map("|mu|", "task"))

    def show(self, frame: Frame, at: float) -> None:
        """Show a flow, with the cursor at a fraction of the axis of time."""
        self._show_loss(frame)
        for i, (panel, pair) in enumerate(zip(self.panels, self.curves, strict=True)):
            panel.visible = i < frame.solution.problem.tasks
            if panel.visible:
                pair[0].show(frame.times, *_of_heads(frame.omega, frame.blocks_of(i)))
                pair[1].show(frame.times, *_of_heads(frame.mu, [i]))
        self.point(frame, at)

    def point(self, frame: Frame, at: float) -> None:
        """Move the cursor to a fraction of the axis of time."""
        time = frame.moment(at)
        omega, mu = frame.solution(min(time, frame.solution.trajectory.t[-1]))
        for shown, values in zip(self.maps, (omega, mu), strict=True):
            shown.show(np.abs(values))
        for curves in (self.loss, *(curves for pair in self.curves for curves in pair)):
            curves.cursor.location = time

    def _show_loss(self, frame: Frame) -> None:
        total = frame.task_loss.sum(axis=1)
        tasks = frame.task_loss.shape[1]
        rows = [total, *(frame.task_loss.T if tasks > 1 else ())]
        looks = [("loss", "black", "solid", 2.2)] + [
            (f"task {i}", TASKS[i % len(TASKS)], _dash(i), 1.4) for i in range(len(rows) - 1)
        ]
        bounds = {key: bound for key, bound in frame.bounds.items() if np.isfinite(bound.loss) and bound.loss > 0}
        levels = [bound.loss for bound in bounds.values()]
        self.loss.show(frame.times, rows, looks, extra=levels)
        first, last = frame.times[0], frame.times[-1]
        self.bounds.data = {
            "xs": [[first, last]] * len(levels),
            "ys": [[level, level] for level in levels],
            "dash": [_BOUND_DASHES[key] for key in bounds],
        }
        self.names.data = {
            "x": [first] * len(levels),
            "y": self.loss.apart(levels),
            "text": [f"{bound.name} {bound.loss:.4g}" for bound in bounds.values()],
        }
        axis = self.loss.plot.y_range
        self.phases.data = {
            "start": [start for start, _ in frame.spans.values()],
            "end": [end for _, end in frame.spans.values()],
            "low": [axis.start] * len(frame.spans),
            "high": [axis.end] * len(frame.spans),
            "color": [SHADES[name] for name in frame.spans],
            "text": list(frame.spans),
            "down": [13 + 12 * (k % 2) for k in range(len(frame.spans))],  # one may be narrower than its name
        }


class _Curves:
    """A picture of curves against the logarithm of time, each with its name at its end."""

    def __init__(self, height: int, title: str, **options: Any) -> None:
        self.plot = figure(
            height=height,
            sizing_mode="stretch_width",
            min_width=120,
            x_axis_type="log",
            x_range=Range1d(0.1, 10.0),
            y_range=Range1d(0.1, 10.0),
            tools="",
            toolbar_location=None,
            title=title,
            min_border=2,
            **options,
        )
        self.logarithmic = "y_axis_type" in options
        self.inner = height - _FRAME
        self.source = ColumnDataSource({"xs": [], "ys": [], "color": [], "dash": [], "width": []})
        self.ends = ColumnDataSource({"x": [], "y": [], "text": [], "color": []})
        self.cursor = Span(dimension="height", location=1.0, line_color=_GREY, line_width=1)
        self.plot.multi_line(
            "xs", "ys", source=self.source, line_color="color", line_dash="dash", line_width="width"
        )
        self.plot.text(
            "x", "y", "text", source=self.ends, text_color="color", text_font_size=_SMALL, x_offset=3,
            text_baseline="middle",
        )
        self.plot.add_layout(self.cursor)
        self.plot.grid.visible = False
        self.plot.outline_line_color = None
        self.plot.yaxis.minor_tick_line_color = None
        self.plot.yaxis[0].ticker.desired_num_ticks = 4

    def show(
        self,
        times: Floats,
        rows: Sequence[Floats],
        looks: Sequence[tuple[str, str, str, float]],
        extra: Sequence[float] = (),
    ) -> None:
        """Show curves, each with its name (or none), colour, dashes and width."""
        first, last = float(times[0]), float(times[-1])
        self.plot.x_range.update(start=first, end=last * (last / first) ** _ROOM)
        self._fit(rows, extra)
        self.source.data = {
            "xs": [times] * len(rows),
            "ys": list(rows),
            "color": [look[1] for look in looks],
            "dash": [look[2] for look in looks],
            "width": [look[3] for look in looks],
        }
        named = [(row, look) for row, look in zip(rows, looks, strict=True) if look[0]]
        self.ends.data = {
            "x": [last] * len(named),
            "y": self.apart([float(row[-1]) for row, _ in named]),
            "text": [look[0] for _, look in named],
            "color": [look[1] for _, look in named],
        }

    def apart(self, values: Sequence[float]) -> list[float]:
        """Places for labels at values that are not on top of each other."""
        low, high = self.plot.y_range.start, self.plot.y_range.end
        if self.logarithmic:
            low, high = np.log(low), np.log(high)
            values = [float(np.log(value)) for value in values]
        gap = (high - low) * _LABEL_HEIGHT / self.inner
        places = spread(values, gap, low + gap / 2.0, high - gap / 2.0)
        return [float(np.exp(place)) for place in places] if self.logarithmic else places

    def _fit(self, rows: Sequence[Floats], extra: Sequence[float]) -> None:
        """The axis of values: with some air, and room for the names of phases above."""
        shown = np.concatenate([*rows, list(extra)])
        if self.logarithmic:
            shown = shown[shown > 0.0]
            low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.1, 1.0)
            span = max(high / low, 1.05)
            self.plot.y_range.update(start=low / span**0.06, end=high * span**0.2)
        else:
            low, high = min(0.0, float(shown.min())), max(0.0, float(shown.max()))
            air = 0.07 * ((high - low) or 1.0)
            self.plot.y_range.update(start=low - air, end=high + air)


class _Map:
    """A picture of a matrix: shades, and the numbers themselves."""

    def __init__(self, title: str, columns: str) -> None:
        self.title, self.shape = title, (0, 0)
        self.plot = figure(
            height=_LOSS_HEIGHT,
            sizing_mode="stretch_width",
            min_width=120,
            x_range=Range1d(-0.5, 0.5),
            y_range=Range1d(0.5, -0.5),
            tools="",
            toolbar_location=None,
            title=title,
            x_axis_label=columns,
            y_axis_label="head",
            min_border=2,
        )
        self.cells = ColumnDataSource({"x": [], "y": [], "color": [], "text": [], "ink": []})
        self.plot.rect("x", "y", 1, 1, source=self.cells, fill_color="color", line_color="#bbbbbb")
        self.plot.text(
            "x", "y", "text", source=self.cells, text_color="ink", text_font_size=_SMALL, text_align="center",
            text_baseline="middle",
        )
        self.plot.grid.visible = False
        self.plot.outline_line_color = None

    def show(self, values: Floats) -> None:
        """Show a matrix of numbers that are not negative."""
        if values.shape != self.shape:
            self.shape = values.shape
            heads, columns = values.shape
            self.plot.x_range.end, self.plot.y_range.start = columns - 0.5, heads - 0.5
            self.plot.xaxis.ticker = FixedTicker(ticks=list(range(columns)))
            self.plot.yaxis.ticker = FixedTicker(ticks=list(range(heads)))
        most = float(values.max()) or 1.0
        y, x = np.indices(values.shape)
        shares = (values / most).ravel()
        self.cells.data = {
            "x": x.ravel(),
            "y": y.ravel(),
            "color": [_shade(share) for share in shares],
            "text": [f"{value:.2g}" for value in values.ravel()],
            "ink": ["white" if share > _DARK else "black" for share in shares],
        }


def _of_heads(values: Floats, columns: list[int]) -> tuple[list[Floats], list[tuple[str, str, str, float]]]:
    """The curves of every head in some columns, and how they look."""
    most = float(np.abs(values[-1][:, columns]).max())
    rows, looks = [], []
    for head in range(values.shape[1]):
        for column in columns:
            row = values[:, head, column]
            name = f"h{head}" if len(columns) == 1 else f"h{head} b{column}"
            worth = most > 0.0 and abs(row[-1]) > _WORTH * most
            rows.append(row)
            looks.append((name if worth else "", HEADS[head % len(HEADS)], _dash(head), 1.6))
    return rows, looks


def _dash(k: int) -> str:
    """The k-th kind of dashes as a page has it."""
    dash = DASHES[k % len(DASHES)]
    return "solid" if isinstance(dash, str) else " ".join(str(round(2 * length)) for length in dash[1])


def _shade(share: float) -> str:
    """The colour of a cell by its share of the largest."""
    low, high = (np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) for color in _CELLS)
    mixed = np.rint(low + (high - low) * share).astype(int)
    return "#" + "".join(f"{part:02x}" for part in mixed)
