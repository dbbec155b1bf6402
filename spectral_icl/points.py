"""Solve a range of a plan's points: a dict of arrays, the same for a point whatever range it is solved in."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_icl import optimal
from spectral_icl.ensemble import Ensemble, gradient_flow_ensemble
from spectral_icl.experiment import Experiment
from spectral_icl.plan import Plan
from spectral_icl.problem import Problem
from spectral_icl.solution import IntegrationError
from spectral_icl.validation import ProblemError, integer

INVALID = 100  # status of a point whose values do not fit together
SOLVED = (0, 1)  # and of one that reached its end, or came to rest; others are those of `Outcome`

_BENCHMARKS = ("lower_bound", "head_per_task", "single_head", "gradient_step")
_KEPT = 2**10  # problems whose benchmarks are remembered; one of many tasks takes tens of kilobytes


@dataclass(frozen=True)
class Variable:
    """One result: its dimensions beside the points, its type, what stands for "none", and what it is."""

    dims: tuple[str, ...]
    dtype: str
    fill: float | int
    long_name: str


def variables(plan: Plan) -> dict[str, Variable]:
    """What `solve` finds for every point of a plan, without its status."""

    def real(*dims: str, name: str) -> Variable:
        return Variable(("point", *dims), "float64", np.nan, name)

    def head(name: str) -> Variable:
        return Variable(("point", "task"), "int16", -1, name)

    record = plan.record
    found = {
        "t": real(name="time reached"),
        "loss": real(name="loss at t, summed over tasks"),
        "saturation": real(name="largest logit variance over log L; the kernel is wrong above 0.5"),
        "steps": Variable(("point",), "int32", -1, "steps taken"),
        "task_loss": real("task", name="loss of each task at t"),
    }
    if record.state:
        found["omega"] = real("head", "block", name="KQ values at t")
        found["mu"] = real("head", "task", name="OV values at t")
    if record.phases:
        found["emergence"] = real("task", name="time of each task's steepest fall")
        found["settled"] = real("task", name="time at which each task reached its plateau")
        found["allocation"] = head("head that seized each task")
        found["escape"] = real("task", name="time at which a rival head left the plateau")
    if record.benchmarks:
        found["lower_bound"] = real(name="loss that no decomposable attention goes below")
        found["head_per_task"] = real(name="loss with a head for every task")
        found["single_head"] = real(name="best loss of one head")
        found["gradient_step"] = real(name="loss of one step of gradient descent")
    if record.forecast:
        found["emergence_predicted"] = real("task", name="predicted time of emergence")
        found["allocation_predicted"] = head("predicted head")
        found["escape_predicted"] = real("task", name="predicted time of escape")
    if record.times is not None:
        found["loss_curve"] = real("time", name="loss, summed over tasks")
    return found


def solve(plan: Plan, start: int, stop: int, threads: int | None = 1) -> dict[str, NDArray[Any]]:
    """Results of the points ``start`` to ``stop`` of a plan, by name.

    Parameters
    ----------
    plan : Plan
    start, stop : int
        0 <= start <= stop <= plan.size.
    threads : int, optional
        Of the compiled ensemble.

    Returns
    -------
    dict of str to ndarray
        ``status`` (int8) and every one of `variables`, padded to `Plan.shape`. A point whose status is not 0
        or 1 failed: its numbers are those at the time it reached, or none at all if it is `INVALID`.
    """
    stop = integer("stop", stop, minimum=0, maximum=plan.size)
    start = integer("start", start, minimum=0, maximum=stop)
    heads, blocks, tasks = plan.shape
    lengths = {"point": stop - start, "head": heads, "block": blocks, "task": tasks}
    if plan.record.times is not None:
        lengths["time"] = plan.record.times.size
    found = {
        name: np.full([lengths[dim] for dim in variable.dims], variable.fill, variable.dtype)
        for name, variable in variables(plan).items()
    }
    found["status"] = np.full(stop - start, INVALID, np.int8)
    groups: defaultdict[tuple[Any, ...], list[tuple[int, Experiment]]] = defaultdict(list)
    for row, point in enumerate(plan.experiments(start, stop)):
        if not isinstance(point, ProblemError):
            groups[*point.start.omega.shape, point.problem.tasks, point.model.kernel].append((row, point))
    for members in groups.values():
        rows = np.array([row for row, _ in members])
        points = [point for _, point in members]
        _fill(found, rows, _ensemble(plan, points, threads))
        if plan.record.benchmarks:
            for name, losses in zip(
                _BENCHMARKS, zip(*(_benchmarks(p.problem) for p in points), strict=True), strict=True
            ):
                found[name][rows] = losses
        if plan.record.forecast:
            for row, point in members:
                if found["status"][row] in SOLVED:
                    _forecast(found, row, point)
    return found


def _ensemble(plan: Plan, points: list[Experiment], threads: int | None) -> Ensemble:
    """The flows of points of one shape."""
    flows = [point.flow for point in points]
    stationary = np.array([np.nan if flow.stationary is None else flow.stationary for flow in flows])
    return gradient_flow_ensemble(
        [point.problem for point in points],
        np.array([point.start.omega for point in points]),
        np.array([point.start.mu for point in points]),
        parametrization=[point.parametrization for point in points],
        t_end=np.array([flow.t_end for flow in flows]),
        t_eval=plan.record.times,
        rtol=np.array([flow.rtol for flow in flows]),
        kernel=points[0].model.kernel,
        stationary=None if np.isnan(stationary).all() else stationary,
        max_steps=np.array([flow.max_steps for flow in flows]),
        phases=plan.record.phases,
        threads=threads,
    )


def _fill(found: dict[str, NDArray[Any]], rows: NDArray[np.int64], ensemble: Ensemble) -> None:
    """Put an ensemble's results into the rows of its members, at the front of what is padded."""
    found["status"][rows] = ensemble.outcome
    for name in found:
        values = getattr(ensemble, name, None)
        if values is not None:
            there: tuple[Any, ...] = (rows, *(slice(n) for n in values.shape[1:]))
            found[name][there] = values


@lru_cache(maxsize=_KEPT)
def _benchmarks(problem: Problem) -> tuple[float, ...]:
    return tuple(_benchmark(name, problem) for name in _BENCHMARKS)


def _benchmark(name: str, problem: Problem) -> float:
    """A benchmark loss; NaN where its weights are beyond the numbers that are computed with."""
    try:
        return float(getattr(optimal, name)(problem).loss)
    except ProblemError:
        return np.nan


def _forecast(found: dict[str, NDArray[Any]], row: int, point: Experiment) -> None:
    """Put the theory's predictions for a point into its row."""
    try:
        solution = point.solve()  # an ensemble keeps no trajectory
    except IntegrationError:
        return
    for task in solution.forecast:
        if task.time is not None:
            found["emergence_predicted"][row, task.task] = task.time
        if task.head is not None:
            found["allocation_predicted"][row, task.task] = task.head
    for escape in solution.phases.escapes:
        if escape.predicted_time is not None:
            found["escape_predicted"][row, escape.task] = escape.predicted_time
