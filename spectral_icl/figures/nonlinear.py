"""Figures of a flow on single-index tasks: every panel is a function of the flow, a task and an axes."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from spectral_icl.figures.style import WIDTH, styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.nonlinear.flow import SingleIndexFlow
from spectral_icl.multitask.nonlinear.learned import learned_at
from spectral_icl.multitask.nonlinear.loss import task_loss_at
from spectral_icl.multitask.state import State

_MOST_TASKS = 4  # columns
_POINTS = 300  # times


def nonlinear_figure(flow: SingleIndexFlow) -> Figure:
    """A flow on one page, a column for each of the first four tasks.

    From the top: the loss without query noise, and what is left of every Hermite degree; omega, and mu, of
    every head, and the sum of mu, by which an intercept is multiplied.
    """
    tasks = min(flow.problem.tasks, _MOST_TASKS)
    with styled():
        figure = Figure(figsize=(WIDTH if tasks > 1 else 0.6 * WIDTH, 6.0))
        grid = figure.subplots(3, tasks, sharex=True, sharey="row", squeeze=False)
        for task in range(tasks):
            degrees(flow, task, grid[0, task])
            heads(flow, task, "omega", grid[1, task])
            heads(flow, task, "mu", grid[2, task])
            grid[0, task].set_title(f"task {task}")
            grid[2, task].set_xlabel("gradient-flow time $t$")
        for axes, label in zip(grid[:, 0], ("loss without noise", r"$\omega$", r"$\mu$"), strict=True):
            axes.set_ylabel(label)
        for axes in grid[:, -1]:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
        if not flow.success:
            figure.suptitle(f"unfinished ({flow.outcome.name.lower().replace('_', ' ')})")
        return figure


def degrees(flow: SingleIndexFlow, task: int, axes: Axes) -> None:
    """Loss of a task without query noise, and what is left of each Hermite degree, against time."""
    t, states = _sampled(flow)
    total = [task_loss_at(flow.problem, at, flow.kernel)[task] for at in states]
    left = np.array([learned_at(flow.problem, at).left[task] for at in states])
    axes.plot(t, np.array(total) - flow.problem.noise[task], color="black", label="loss")
    for k in range(flow.problem.degree + 1):
        if left[:, k].any():
            axes.plot(t, left[:, k], color=f"C{k % 10}", ls="--", label=f"degree {k}")
    axes.set_yscale("log")
    # tasks may share an axis; what is left of a degree may be nothing
    low = min(float(np.min(line.get_ydata())) for panel in _sharing(axes) for line in panel.lines[:1])
    axes.set_ylim(bottom=0.3 * max(low, 1e-12))
    _time_axis(flow, axes)


def heads(flow: SingleIndexFlow, task: int, circuit: str, axes: Axes) -> None:
    """Values ("omega" or "mu") of every head on a task against time, and of mu the sum over heads."""
    t, states = _sampled(flow)
    values = np.array([getattr(at, circuit)[:, task] for at in states])
    for h in range(values.shape[1]):
        axes.plot(t, values[:, h], color=f"C{h % 10}", label=f"head {h}")
    if circuit == "mu":
        axes.plot(t, values.sum(axis=1), color="black", ls=":", label="sum")
    _time_axis(flow, axes)


def _sharing(axes: Axes) -> list[Axes]:
    """The axes that share their vertical range with one, itself included."""
    return list(axes.get_shared_y_axes().get_siblings(axes))


def _sampled(flow: SingleIndexFlow) -> tuple[Floats, list[State]]:
    """Times that are dense where the flow is quick, and the states there."""
    steps = flow.t[:: max(1, flow.t.size // _POINTS)]
    t = np.unique(np.clip([*steps, *np.geomspace(1e-3 * flow.end, flow.end, 100)], 0.0, flow.end))
    at = flow(t)
    return t, [State(omega, mu) for omega, mu in zip(*at, strict=True)]


def _time_axis(flow: SingleIndexFlow, axes: Axes) -> None:
    """Logarithmic, of three decades: heads emerge early and settle late."""
    axes.set_xscale("log")
    axes.set_xlim(1e-3 * flow.end, flow.end)
