"""Time in the figures of a flow: which times are drawn, their axis, losses then, and the phases behind."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from spectral_icl.figures.palette import SHADES
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.loss import losses_at

_LOG_FROM = 5.0  # a run this many times longer than its warm-up is shown in log time
_ON_PAPER = 400  # times that are enough where steps are sparse


def spaced(solution: Solution) -> tuple[Callable[..., Floats], float, float]:
    """How the time of a flow is shown, `geomspace` or `linspace`, and from when to when."""
    end = float(solution.trajectory.t[-1])
    onset = solution.phases.warm_up[1]
    if end > _LOG_FROM * onset > 0.0:
        return np.geomspace, onset / 20.0, end
    return np.linspace, 0.0, end


def times_of(solution: Solution) -> Floats:
    """The integrator's steps, refined, with an even grid added where they are sparse on paper.

    Of a flow that is kept in outline, the times of its states.
    """
    even, start, end = spaced(solution)
    curve = solution.trajectory
    if isinstance(curve, Outline):
        inside = curve.kept[curve.kept >= start]
        return inside if inside.size > 1 else curve.kept
    times = np.union1d(curve.refined(4), np.clip(even(start, end, _ON_PAPER), 0.0, end))
    return times[times >= start]


def task_losses(solution: Solution, most: int | None = None) -> tuple[Floats, Floats]:
    """Times (T,), at most so many if that is asked for, and the loss of every task then, (T, I)."""
    even, start, end = spaced(solution)
    curve = solution.trajectory
    if isinstance(curve, Outline):
        chosen = np.flatnonzero(curve.times >= start)
        if most is not None and chosen.size > most:
            nearest = np.searchsorted(curve.times, even(start, end, most)).clip(chosen[0], chosen[-1])
            chosen = np.unique(np.append(nearest, chosen[-1]))
        return curve.times[chosen], curve.losses[chosen]
    times = times_of(solution) if most is None or end == 0.0 else np.clip(even(start, end, most), 0.0, end)
    return times, losses_at(solution.problem, solution(times), solution.options.kernel)


def time_axis(solution: Solution, axes: Axes) -> None:
    """Give the axis along the time of a flow its scale and its ends."""
    even, start, end = spaced(solution)
    if even is np.geomspace:
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlim(start, end if end > start else start + 1.0)


def marker(times: Floats) -> str:
    """A flow without a step is a point, not a line."""
    return "." if times.size == 1 else ""


def shade_phases(solution: Solution, axes: Axes) -> list[Patch]:
    """Shade the phases behind the curves and return the patches for a legend."""
    patches = []
    for name, (start, stop) in solution.phases.spans(solution.trajectory.t[-1]).items():
        axes.axvspan(start, stop, color=SHADES[name], lw=0, zorder=-1)
        patches.append(Patch(color=SHADES[name], label=name))
    return patches
