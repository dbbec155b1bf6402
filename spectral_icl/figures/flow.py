"""Figures of a solved flow. Every panel is a function of a solution and an axes."""

from __future__ import annotations

from typing import Any

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_icl.figures import scales
from spectral_icl.figures.many_tasks import many_tasks_figure
from spectral_icl.figures.palette import BENCHMARKS, DASHES, TASKS
from spectral_icl.figures.style import WIDTH, styled
from spectral_icl.figures.style import save as save  # this module is `spectral_icl.plots`
from spectral_icl.figures.timeline import marker, task_losses, time_axis, times_of
from spectral_icl.figures.timeline import shade_phases as shade_phases
from spectral_icl.io.checks import Floats
from spectral_icl.io.text import MANY
from spectral_icl.multitask.flow.scatter import HIGH, LOW
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.flow.stochastic import StochasticFlow
from spectral_icl.multitask.report import benchmarks

_MOST_TASKS = 6  # columns of the figure; further tasks are in the heat map only
_MOST_LABELLED = 8  # heads and tasks with an entry in the legend
_MOST_NUMBERED = 4  # tasks whose entries of the heat map have room for a number
_SHADE = 0.3  # opacity of a band: two that overlap are seen as two
_THIN = 0.5  # points, of the middle of a band
_SINGLE = 3  # paths that are drawn one by one


def flow_figure(solution: Solution, paths: StochasticFlow | None = None) -> Figure:
    """The whole story of a flow on one page, with the bands of its paths of gradient descent if it has any.

    Top: loss and task losses against time, the phases shaded, the benchmarks as lines, and the final
    head-by-task map. Below, for every task (the first six): omega of every head on the task's blocks, and mu.
    A flow of more than a dozen tasks is drawn by `many_tasks_figure`, without paths.
    """
    with styled():
        if solution.problem.tasks > MANY:
            return _said_if_unfinished(solution, many_tasks_figure(solution))
        columns = min(solution.problem.tasks, _MOST_TASKS)
        figure = Figure(figsize=(WIDTH, 5.4))
        top, bottom = np.asarray(figure.subfigures(2, 1, height_ratios=(1.05, 1.25)))
        loss_axes, map_axes = top.subplots(1, 2, width_ratios=(3.2, 1))
        loss(solution, loss_axes, paths)
        allocation_map(solution, map_axes)
        grid = bottom.subplots(2, columns, sharex=True, sharey="row", squeeze=False)
        for task in range(columns):
            omega(solution, task, grid[0, task], paths)
            mu(solution, task, grid[1, task], paths)
            grid[0, task].set_title(f"task {task}")
        grid[0, 0].set_ylabel(r"KQ value $\omega$")
        grid[1, 0].set_ylabel(r"OV value $\mu$")
        bottom.supxlabel("gradient-flow time $t$", size=matplotlib.rcParams["axes.labelsize"])
        handles, labels = grid[1, 0].get_legend_handles_labels()
        bottom.legend(handles, labels, loc="outside right upper")
        return _said_if_unfinished(solution, figure)


def _said_if_unfinished(solution: Solution, figure: Figure) -> Figure:
    if not solution.success:
        figure.suptitle(f"unfinished ({solution.outcome.name.lower().replace('_', ' ')})")
    return figure


def loss(solution: Solution, axes: Axes, paths: StochasticFlow | None = None) -> None:
    """Loss and task losses against time, with the phases shaded and the benchmarks as lines.

    Of paths there are the band of their loss from 5 to 95 % and a few of them.
    """
    times, dense = task_losses(solution)
    (total,) = axes.plot(
        times, dense.sum(axis=1), color="black", label="loss", zorder=3, marker=marker(times)
    )
    lines: list[Artist] = [total]
    if solution.problem.tasks > 1:
        for task in range(solution.problem.tasks):
            named = task < _MOST_LABELLED
            label = f"task {task}" if named else None
            look: dict[str, Any] = {"color": TASKS[task % len(TASKS)], "ls": DASHES[task % len(DASHES)]}
            (line,) = axes.plot(times, dense[:, task], lw=0.9, label=label, **look)
            lines += [line] if named else []
    for key, bound in benchmarks(solution.problem, solution.options.kernel).items():
        lines.append(axes.axhline(bound.loss, color="0.35", lw=0.8, ls=BENCHMARKS[key], label=bound.name))
    if paths is not None:
        lines += [band(paths, paths.loss, axes, "0.25", "5 to 95 % of paths"), _single(paths, axes)]
    axes.set_yscale("log")
    scales.round_ticks(axes.yaxis)
    time_axis(solution, axes)
    axes.set_xlabel("gradient-flow time $t$")
    axes.set_ylabel(f"loss, {solution.options.kernel} law")
    shades = shade_phases(solution, axes)
    axes.legend(handles=[*lines, *shades], loc="center left", bbox_to_anchor=(1.0, 0.5))


def omega(solution: Solution, task: int, axes: Axes, paths: StochasticFlow | None = None) -> None:
    """KQ values of every head on the blocks of the task's signal; several blocks differ in dashes.

    Of paths there are a band from 5 to 95 % and their median for each line.
    """
    times = times_of(solution)
    values = solution(times).omega
    blocks = solution.problem.signal.blocks_of(task)
    for k, block in enumerate(blocks):
        dashes = DASHES[k % len(DASHES)] if blocks.size > 1 else None
        _per_head(axes, times, values[:, :, block], dashes)
        if paths is not None:
            _bands(paths, paths.omega[:, :, :, block], axes, dashes)
    time_axis(solution, axes)


def mu(solution: Solution, task: int, axes: Axes, paths: StochasticFlow | None = None) -> None:
    """OV values of every head on the task; of paths there are a band and their median for each."""
    times = times_of(solution)
    _per_head(axes, times, solution(times).mu[:, :, task])
    if paths is not None:
        _bands(paths, paths.mu[:, :, :, task], axes)
    time_axis(solution, axes)


def allocation_map(solution: Solution, axes: Axes) -> None:
    """The final head-by-task map of mu: which head serves which task, and with which sign."""
    values = solution.final.mu
    bound = float(np.abs(values).max()) or 1.0
    image = axes.imshow(values, cmap="RdBu", vmin=-bound, vmax=bound, aspect="auto")
    heads, tasks = values.shape
    axes.set_xticks(range(0, tasks, -(-tasks // _MOST_LABELLED)))
    axes.set_yticks(range(0, heads, -(-heads // _MOST_LABELLED)))
    if heads <= _MOST_LABELLED and tasks <= _MOST_NUMBERED:
        for (head, task), value in np.ndenumerate(values):
            color = "white" if abs(value) > 0.6 * bound else "black"
            text = f"{value:.2f}".replace("-0.00", "0.00")
            axes.text(task, head, text, ha="center", va="center", size=6, color=color)
    axes.set_xlabel("task")
    axes.set_ylabel("head")
    axes.set_title(r"final OV value $\mu$")
    axes.figure.colorbar(image, ax=axes, shrink=0.8, pad=0.03)


def band(paths: StochasticFlow, values: Floats, axes: Axes, color: Any, label: str | None = None) -> Artist:
    """Between which values (P, T) paths are from 5 to 95 %, shaded; returned for a legend."""
    low, high = paths.band(values, (LOW, HIGH))
    return axes.fill_between(paths.t, low, high, color=color, alpha=_SHADE, lw=0.4, label=label, zorder=1.5)


def _single(paths: StochasticFlow, axes: Axes) -> Artist:
    """The loss of the first few paths, thin; one line of them, for the legend."""
    for values in paths.loss[:_SINGLE]:
        (line,) = axes.plot(paths.t, values, color="0.25", lw=0.35, alpha=0.8, zorder=1.6)
    line.set_label("single paths")
    return line


def _bands(paths: StochasticFlow, values: Floats, axes: Axes, dashes: Any = None) -> None:
    """The band of every head, of values (P, T, H), and its median in the head's looks, to be told in grey."""
    for head, (color, look) in enumerate(_looks(values.shape[2], dashes)):
        band(paths, values[:, :, head], axes, color)
        axes.plot(paths.t, paths.band(values[:, :, head], (0.5,))[0], color=color, ls=look, lw=_THIN)


def _looks(heads: int, dashes: Any = None) -> list[tuple[Any, Any]]:
    """A colour and dashes for every head, given ones or its own, which tell heads apart in grey."""
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    map_ = matplotlib.colormaps["viridis"]
    return [
        (
            cycle[head] if heads <= len(cycle) else map_(head / (heads - 1)),
            DASHES[head % len(DASHES)] if dashes is None else dashes,
        )
        for head in range(heads)
    ]


def _per_head(axes: Axes, times: Floats, values: Floats, dashes: Any = None) -> None:
    """A line for each head, of the given dashes or of its own."""
    heads = values.shape[1]
    known = {line.get_label() for line in axes.get_lines()}
    for head, (color, look) in enumerate(_looks(heads, dashes)):
        label = f"head {head}" if heads <= _MOST_LABELLED or head in (0, heads - 1) else None
        label = None if label in known else label
        axes.plot(times, values[:, head], color=color, ls=look, marker=marker(times), label=label)
