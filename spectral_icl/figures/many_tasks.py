"""The figure of a flow with too many tasks for a line each: bands, a histogram and heat maps."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import FuncNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from numpy.typing import NDArray

from spectral_icl.figures import scales, timeline
from spectral_icl.figures.palette import BENCHMARKS
from spectral_icl.figures.style import WIDTH
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.census import QUANTILES, Census
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.report import benchmarks

_HEIGHT = 5.8  # inches
_MOST_SAMPLES = 300  # of the task losses against time
_CELLS = (100, 250)  # rows and columns of a heat map that can be told apart in print
_BINS = 60  # of emergence times
_FEW = 40  # heads with bars of their own
_BAND = "#0072b2"


def many_tasks_figure(solution: Solution) -> Figure:
    """A flow of very many tasks on one page.

    Top: quantiles of the task losses against time beside the benchmarks, below them when tasks emerged, and
    how many tasks each head has. Bottom: mu and omega of all heads at a few times, tasks in the order of
    their heads and of their emergence.
    """
    figure = Figure(figsize=(WIDTH, _HEIGHT))
    top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=(1.15, 1.0)))
    grid = top.subplots(2, 2, width_ratios=(3.0, 1.0), height_ratios=(1.7, 1.0))
    grid[0, 1].axis("off")
    handles = loss_bands(solution, grid[0, 0])
    grid[0, 0].tick_params(labelbottom=False)
    grid[0, 1].legend(handles=handles, loc="center left", borderaxespad=0.0)
    emergence_times(solution, grid[1, 0])
    grid[1, 0].set_xlabel("gradient-flow time $t$")
    tasks_per_head(solution, grid[1, 1])
    maps(solution, bottom)
    return figure


def loss_bands(solution: Solution, axes: Axes) -> list[Any]:
    """Mean and quantiles of task losses against time, benchmarks as lines; returned for the legend."""
    times, losses = timeline.task_losses(solution, _MOST_SAMPLES)
    losses = np.where(np.isfinite(losses), losses, np.nan)  # of states beyond all laws nothing is drawn
    quantiles = np.quantile(losses, QUANTILES, axis=1)
    (mean,) = axes.plot(times, losses.mean(axis=1), "k", label="mean of tasks", marker=timeline.marker(times))
    (middle,) = axes.plot(times, quantiles[2], color=_BAND, lw=0.9, label="median")
    bands = []
    for k, alpha in ((1, 0.4), (0, 0.2)):
        label = f"{100 * QUANTILES[k]:.0f} to {100 * QUANTILES[-1 - k]:.0f} %"
        look: dict[str, Any] = {"color": _BAND, "alpha": alpha, "lw": 0}
        bands.append(axes.fill_between(times, quantiles[k], quantiles[-1 - k], label=label, **look))
    lines = [
        axes.axhline(bound.loss / losses.shape[1], color="0.35", lw=0.8, ls=BENCHMARKS[key], label=bound.name)
        for key, bound in benchmarks(solution.problem, solution.options.kernel).items()
    ]
    axes.set_yscale("log")
    scales.round_ticks(axes.yaxis)
    timeline.time_axis(solution, axes)
    axes.set_ylabel("loss per task")
    axes.set_title(f"{solution.options.kernel} law", loc="left")
    return [mean, middle, *bands, *lines, *timeline.shade_phases(solution, axes)]


def emergence_times(solution: Solution, axes: Axes) -> None:
    """How many tasks emerged when, and when that was predicted."""
    even, start, end = timeline.spaced(solution)
    edges = even(start, end if end > start else start + 1.0, _BINS + 1).tolist()
    census = Census.of(solution.phases, solution.heads)
    predicted = [task.time for task in solution.forecast if task.time is not None]
    lone = [task.predicted_time for task in solution.phases.tasks if task.predicted_time is not None]
    name = "predicted" if predicted else "of a lone head"
    axes.hist(census.times, edges, color="0.6", label="measured")
    if predicted or lone:
        look: dict[str, Any] = {"histtype": "step", "color": "#d55e00", "lw": 0.9}
        axes.hist(predicted or lone, edges, label=name, **look)
        axes.legend(loc="upper left")
    timeline.time_axis(solution, axes)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_ylabel("tasks")
    axes.set_title(f"emergence: {census.emerged}", loc="left")


def tasks_per_head(solution: Solution, axes: Axes) -> None:
    """The number of tasks of every head, the largest first."""
    held = np.sort(Census.of(solution.phases, solution.heads).held)[::-1]
    look: dict[str, Any] = {"width": 0.8} if held.size <= _FEW else {"width": 1.0, "lw": 0}
    axes.bar(np.arange(1, held.size + 1), held, color="0.6", **look)
    axes.set_xlim(0.4, held.size + 0.6)
    axes.set_ylim(0.0, 1.05 * max(1, held[0]))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set_xlabel("heads, by their tasks")
    axes.set_ylabel("tasks")


def maps(solution: Solution, figure: Any) -> None:
    """Mu of all heads on all tasks, and omega on their blocks, at a few times."""
    times = moments(solution)
    omega, mu = solution(times)
    tasks, blocks = order(solution)
    grid = figure.subplots(2, times.size, sharey=True, squeeze=False)
    shown = ((mu[:, :, tasks], r"OV value $\mu$"), (omega[:, :, blocks], r"KQ value $\omega$"))
    for axes, (values, label), along in zip(grid, shown, ("tasks", "blocks"), strict=True):
        image = _map_row(axes, values, along)
        bound = image.norm.vmax
        bar = figure.colorbar(image, ax=list(axes), shrink=0.9, pad=0.01, label=label)
        bar.set_ticks([-bound, -bound / 4.0, 0.0, bound / 4.0, bound])
        bar.ax.yaxis.set_major_formatter(StrMethodFormatter("{x:.2g}"))
        bar.ax.minorticks_off()
    for axes, time in zip(grid[0], times, strict=True):
        axes.set_title(f"$t$ = {time:.3g}")
    size = matplotlib.rcParams["axes.titlesize"]
    figure.suptitle("states: tasks and blocks are in the order of their heads and emergences", size=size)


def _map_row(row: NDArray[Any], values: Floats, label: str) -> Any:
    """The heat maps of values (T, H, n), one axes each, in one scale of colours."""
    bound = float(np.abs(values).max()) or 1.0
    norm = FuncNorm((_signed_root, _signed_square), -bound, bound)  # small starts are seen beside the end
    heads, count = values.shape[1:]
    for axes, at in zip(row, values, strict=True):
        image = axes.imshow(
            binned(at, _CELLS),
            cmap="RdBu",
            norm=norm,
            aspect="auto",
            interpolation="none",
            extent=(-0.5, count - 0.5, heads - 0.5, -0.5),
        )
        axes.set_xlabel(label)
        axes.xaxis.set_major_locator(MaxNLocator(2, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    row[0].set_ylabel("head")
    return image


def _signed_root(values: Floats) -> Floats:
    return np.sign(values) * np.sqrt(np.abs(values))


def _signed_square(values: Floats) -> Floats:
    return np.sign(values) * np.square(values)


def binned(values: Floats, most: tuple[int, int]) -> Floats:
    """A matrix of at most so many rows and columns: of every cell the entry that is largest in size.

    A mean would hide the single head of a task among those beside it.
    """
    for axis in (0, 1):
        count = values.shape[axis]
        first = np.unique(np.linspace(0, count, min(count, most[axis]) + 1).astype(np.int64)[:-1])
        high, low = (f.reduceat(values, first, axis=axis) for f in (np.maximum, np.minimum))
        values = np.where(high >= -low, high, low)
    return values


def order(solution: Solution) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tasks by the head that seized them and by when, those without a head last; blocks as their tasks."""
    emerged = solution.phases.tasks
    head = [solution.heads if task.head is None else task.head for task in emerged]
    tasks = np.lexsort((np.array([task.time for task in emerged]), np.array(head)))
    rank = np.empty(tasks.size, dtype=np.int64)
    rank[tasks] = np.arange(tasks.size)
    signal = solution.problem.signal
    first = np.full(signal.blocks, tasks.size)
    np.minimum.at(first, signal.block, rank[signal.task])
    return tasks, np.argsort(first, kind="stable")


def moments(solution: Solution) -> Floats:
    """Times of a few maps: the end of the warm-up, half of the emergences, most plateaus, the end."""
    phases, end = solution.phases, float(solution.trajectory.t[-1])
    emerged = [task for task in phases.tasks if task.head is not None]
    settled = [task.settled for task in emerged if np.isfinite(task.settled)]
    times = [phases.warm_up[1], end]
    times += [float(np.median([task.time for task in emerged]))] if emerged else []
    times += [float(np.quantile(settled, QUANTILES[-1]))] if settled else []
    return np.unique(solution.trajectory.nearest(times))
