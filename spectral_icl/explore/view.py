"""The pictures of the page: made once, and filled with one flow after another.

There are few of them, with few curves of many points: what a browser takes longest over is axes with their
labels, and the messages that arrays come in. So tasks are side by side in one picture, on parts of one axis,
and the curves of a head are one curve that is interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, Range1d
from bokeh.plotting import figure

from spectral_icl.explore.changes import Changes
from spectral_icl.explore.frame import Frame, spread
from spectral_icl.explore.state import MOST_HEADS, MOST_TASKS
from spectral_icl.figures.palette import DASHES, HEADS, SHADES, TASKS
from spectral_icl.io.checks import Floats

_GREY = "#444444"
_SMALL = "11px"
_LABEL_HEIGHT = 12.0  # pixels
_LOSS_HEIGHT, _HEADS_HEIGHT = 250, 170  # pixels, of whole pictures
_BORDER = 46  # pixels left of the axes, or their labels would move them from flow to flow
_MARGINS = 50.0  # pixels of a picture's height that are not curves
_ROOM = 0.13  # of an axis of time, right of its end, for labels
_MOST_TICKS, _MOST_LEVELS = 12, 8  # on the axis of time of all tasks, on that of losses
_WORTH = 0.04  # share of the largest value from which a curve has a label
_BOUND_DASHES = {"single_head": "1 3", "head_per_task": "6 3", "lower_bound": "8 3 2 3"}
_CELLS = ("#ffffff", "#08306b")  # of a heat map: nothing, and the largest
_DARK = 0.55  # share of the largest from which a number in a cell is white


@dataclass(frozen=True)
class Look:
    """How a curve looks: its colour, its kind of dashes, its width in pixels."""

    color: str
    dash: str
    width: float


class View:
    """All pictures.

    Attributes
    ----------
    loss : LossPicture
    omega, mu : HeadsPicture
        Of every head, task by task.
    maps : MapsPicture
        Who reads what at the cursor.
    changes : Changes
        What the browser has not been told yet.
    """

    def __init__(self) -> None:
        self.changes = Changes()
        self.loss = LossPicture(self.changes)
        self.omega = HeadsPicture(self.changes, "KQ values omega of every head, on the blocks of each task")
        self.mu = HeadsPicture(self.changes, "OV values mu of every head, on each task")
        self.maps = MapsPicture(self.changes)

    def show(self, frame: Frame, at: float) -> None:
        """Show a flow, with the cursor at a fraction of the axis of time."""
        tasks = range(frame.solution.problem.tasks)
        self.loss.show(frame)
        self.omega.show(frame, frame.omega, [frame.blocks_of(task) for task in tasks])
        self.mu.show(frame, frame.mu, [[task] for task in tasks])
        self.point(frame, at)

    def point(self, frame: Frame, at: float) -> None:
        """Move the cursor to a fraction of the axis of time."""
        time, tasks = frame.moment(at), frame.solution.problem.tasks
        self.maps.show(frame, time)
        self.loss.point([time])
        for picture in (self.omega, self.mu):
            picture.point([task + at * _used(tasks) for task in range(tasks)])


class _Curves:
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
        self.plot.segment("x", "low", "x", "high", source=self.cursors, line_color=_GREY)
        self.plot.text(
            "x",
            "y",
            "text",
            source=self.ends,
            text_font_size=_SMALL,
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


class LossPicture(_Curves):
    """Losses against time, the phases shaded, the benchmarks as lines."""

    def __init__(self, changes: Changes) -> None:
        tasks = [Look(TASKS[i % len(TASKS)], _dash(i), 1.4) for i in range(MOST_TASKS)]
        super().__init__(
            changes,
            _LOSS_HEIGHT,
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
        words: dict[str, Any] = {"text_font_size": _SMALL, "x_offset": 3}
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
            "xs", "ys", source=self.bounds, line_color=_GREY, line_dash="dash", line_width=1.2
        )
        self.plot.text(
            "x",
            "y",
            "text",
            source=self.names,
            text_color=_GREY,
            background_fill_color="white",
            background_fill_alpha=0.7,
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
        ticks = {level: f"{level:g}" for level in _round_levels(*self.range, _MOST_LEVELS)}
        self.changes.mark(self.plot.yaxis[0], ticks)


class HeadsPicture(_Curves):
    """Values of every head against time, the tasks side by side: task i has the axis from i to i + 1."""

    def __init__(self, changes: Changes, title: str) -> None:
        looks = [Look(HEADS[head % len(HEADS)], _dash(head), 1.6) for head in range(MOST_HEADS)]
        super().__init__(changes, _HEADS_HEIGHT, looks, x_range=Range1d(0.0, 1.0), title=title)
        self.plot.xaxis[0].ticker = FixedTicker(ticks=[])
        self.parts = ColumnDataSource({key: [] for key in ("x", "low", "high", "text")})
        self.plot.segment("x", "low", "x", "high", source=self.parts, line_color="#bbbbbb")
        self.plot.text(
            "x",
            "high",
            "text",
            source=self.parts,
            text_font_size=_SMALL,
            text_font_style="italic",
            x_offset=4,
            y_offset=13,
        )

    def show(self, frame: Frame, values: Floats, columns: Sequence[Sequence[int]]) -> None:
        """Show values (T, H, columns), of every task its own columns."""
        shares = np.log(frame.times / frame.times[0]) / np.log(frame.times[-1] / frame.times[0])
        count = len(columns)
        used = _used(count)
        parts = [(task, column) for task, own in enumerate(columns) for column in own]
        gap = [np.nan]  # between one part and the next
        x = np.concatenate([np.append(task + shares * used, gap) for task, _ in parts])
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
        times = _round_levels(float(frame.times[0]), float(frame.times[-1]), few)
        ticks = {task + frame.fraction(time) * used: f"{time:g}" for task in range(count) for time in times}
        self.changes.mark(self.plot.xaxis[0], ticks)
        self.draw(x, curves)
        self.label([(task + used, _worth_naming(values[-1], own)) for task, own in enumerate(columns)])

    def _fit(self, values: Floats) -> None:
        low, high = min(0.0, float(np.nanmin(values))), max(0.0, float(np.nanmax(values)))
        air = 0.07 * ((high - low) or 1.0)
        self.fit(low - air, high + 2.0 * air)


class MapsPicture:
    """Who reads what: |omega| by head and block, and |mu| by head and task, as shades and numbers."""

    def __init__(self, changes: Changes) -> None:
        self.changes = changes
        self.plot = figure(
            height=_LOSS_HEIGHT,
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
            text_font_size=_SMALL,
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


def _used(tasks: int) -> float:
    """The share of the part of an axis that a task has before the names at its end."""
    return 0.93 - 0.03 * tasks


def _short(value: float) -> str:
    """A number that is not negative in six letters at most: 12, 0.0065, 1e-4."""
    if value == 0.0 or 1e-3 <= value < 1e4:
        return f"{value:.2g}" if value < 100.0 else f"{value:.0f}"
    digit, power = f"{value:.0e}".split("e")
    return f"{digit}e{int(power)}"


def _worth_naming(values: Floats, columns: Sequence[int]) -> list[tuple[str, float]]:
    """The names and values of the heads whose entries (H, columns) are not small in some columns."""
    most = float(np.abs(values[:, columns]).max())
    return [
        (f"h{head}" if len(columns) == 1 else f"h{head} b{column}", float(values[head, column]))
        for head in range(len(values))
        for column in columns
        if abs(values[head, column]) > _WORTH * most
    ]


def _round_levels(low: float, high: float, most: int) -> list[float]:
    """Round numbers between two positive ones, evenly on a logarithmic scale, and at most so many."""
    powers = range(floor(log10(low)), ceil(log10(high)) + 1)
    for steps in ((1, 2, 3, 5, 7), (1, 2, 5), (1,)):
        found = [float(f"{step}e{power}") for power in powers for step in steps]
        inside = [level for level in found if low <= level <= high]
        if len(inside) <= most:
            return inside
    return inside[:: ceil(len(inside) / most)]


def _dash(k: int) -> str:
    """The k-th kind of dashes as a page has it."""
    dash = DASHES[k % len(DASHES)]
    return "solid" if isinstance(dash, str) else " ".join(str(round(2 * length)) for length in dash[1])


def _shade(share: float) -> str:
    """The colour of a cell by its share of the largest."""
    low, high = (np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)]) for color in _CELLS)
    mixed = np.rint(low + (high - low) * share).astype(int)
    return "#" + "".join(f"{part:02x}" for part in mixed)
