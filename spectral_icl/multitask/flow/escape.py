"""The escape: when a plateau is left because a losing head changes sign, seen and predicted."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from spectral_icl.io.checks import ProblemError
from spectral_icl.kernels.model import HYPERBOLIC, Chart, Emerged
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.loss import gradient_at
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, mu_entry, unflattened

# |mu| of a rival, over the winner's, that marks the escape; one with a task of its own stalls at 1/e
EXIT = 0.2
_TOGETHER = 1e-6  # relative difference of times within which equal tasks escape together


@dataclass(frozen=True)
class Escape:
    """How a task left its plateau because a rival head changed sign.

    Attributes
    ----------
    task, head : int
        The head is the rival whose mu reached a fifth of the winner's, with the opposite sign.
    time : float
        When it did; NaN if not before the end.
    predicted_time : float or None
        See `predicted_escape`; None where the theory does not apply: to all but the soonest escape, since it
        moves the weights that the later ones start from.
    """

    task: int
    head: int
    time: float
    predicted_time: float | None


def find_escapes(problem: Problem, chart: Chart, found: Emerged, kernel: str = DEFAULT) -> tuple[Escape, ...]:
    """The escapes of a flow, one per task with a possible or observed one.

    Parameters
    ----------
    problem : Problem
    chart : Chart
        Dual coordinates of the flow.
    found : Emerged
        What was measured of the flow.
    kernel : str
        Law of the context that it descends.
    """
    tasks = (task for task in range(problem.tasks) if found.head[task] >= 0)
    limit = _limit(problem, kernel) if (chart.kind == HYPERBOLIC).any() else None
    each = (_escape(problem, chart, found, task, kernel, limit) for task in tasks)
    escapes = [escape for escape in each if escape is not None]
    soonest = min((e.predicted_time for e in escapes if e.predicted_time is not None), default=np.inf)
    return tuple(
        replace(e, predicted_time=None) if (e.predicted_time or 0.0) > soonest * (1.0 + _TOGETHER) else e
        for e in escapes
    )


def _limit(problem: Problem, kernel: str) -> State | None:
    """The head-per-task limit of disjoint tasks, if the law has one; prompts may be too short for it."""
    if problem.home is None:
        return None
    with suppress(ProblemError):
        return BENCHMARKS["head_per_task"].of(problem, kernel).weights
    return None


def _escape(
    problem: Problem, chart: Chart, found: Emerged, task: int, kernel: str, limit: State | None
) -> Escape | None:
    """The first rival of the task's winner to leave on the other side, or the one predicted to."""
    waits = {} if limit is None else _waits(problem, chart, found, task, kernel, limit)
    if found.rival[task] >= 0:
        rival = int(found.rival[task])
        return Escape(task, rival, float(found.escape[task]), waits.get(rival))
    if not waits:
        return None
    rival = min(waits, key=lambda r: waits[r])
    return Escape(task, rival, float("nan"), waits[rival])


def _waits(
    problem: Problem, chart: Chart, found: Emerged, task: int, kernel: str, limit: State
) -> dict[int, float]:
    """Predicted escape time through every rival of a disjoint task with an imbalance, if it is finite."""
    winner, emerged = int(found.head[task]), float(found.time[task])
    if not found.at[task].size or not np.isfinite(found.at[task]).all():  # it was not kept, or is not there
        return {}
    heads = chart.kind.size // (problem.blocks + problem.tasks)
    at = unflattened(found.at[task], (heads, problem.blocks, problem.tasks))
    waits = {}
    for rival in range(heads):
        entry = mu_entry(problem, heads, rival, task)
        if rival != winner and chart.kind[entry] == HYPERBOLIC:
            half = float(chart.scale[entry])
            wait = _wait(problem, at, half, task, winner, rival, kernel, limit)
            if np.isfinite(wait) and wait > 0.0:
                waits[rival] = emerged + wait
    return waits


def settled(problem: Problem, at: State, task: int, winner: int, limit: State) -> State:
    """A state with a task's winner at the head-per-task limit, on the side that it is on."""
    assert problem.home is not None
    block = problem.home[task]
    side = 1.0 if at.omega[winner, block] >= 0.0 else -1.0
    there = State(at.omega.copy(), at.mu.copy())
    there.omega[winner, block] = side * limit.omega[task, block]
    there.mu[winner, task] = side * limit.mu[task, task]
    return there


def fall(problem: Problem, at: State, task: int, winner: int, rival: int, kernel: str = DEFAULT) -> float:
    """Rate 2 g at which the dual coordinate of a rival's mu moves away from the winner's sign.

    For disjoint tasks, with the winner's omega and mu on the task as they are in the state, and of the rival
    its omega alone.
    """
    assert problem.home is not None
    block = problem.home[task]
    omega, mu = np.zeros_like(at.omega), np.zeros_like(at.mu)
    omega[[winner, rival], block] = at.omega[[winner, rival], block]
    mu[winner, task] = at.mu[winner, task]
    side = 1.0 if at.omega[winner, block] >= 0.0 else -1.0
    return float(2.0 * side * gradient_at(problem, State(omega, mu), kernel).mu[rival, task])


def predicted_escape(
    problem: Problem, at: State, half: float, task: int, winner: int, rival: int, kernel: str = DEFAULT
) -> float:
    """Time from emergence to escape of a task through a rival head, for disjoint tasks.

    On the plateau the dual coordinate z of the rival, mu = half sinh z with half = D / 2, moves away from the
    winner's sign at the constant rate 2 g, g = dloss/dmu_rival at (the winner at its limit, mu_rival = 0). So

        T_esc - T_em = [asinh(2 mu / D) + asinh(2 |mu_exit| / D)] / (2 g)

    with mu counted positive on the winner's side; infinite for D = 0. ``at`` is the state at emergence.
    """
    limit = BENCHMARKS["head_per_task"].of(problem, kernel).weights
    assert limit is not None
    return _wait(problem, at, half, task, winner, rival, kernel, limit)


def _wait(
    problem: Problem,
    at: State,
    half: float,
    task: int,
    winner: int,
    rival: int,
    kernel: str,
    limit: State,
) -> float:
    """The time of `predicted_escape`, for a limit that is known."""
    assert problem.home is not None
    block = problem.home[task]
    side = 1.0 if at.omega[winner, block] >= 0.0 else -1.0
    rate = fall(problem, settled(problem, at, task, winner, limit), task, winner, rival, kernel)
    if half == 0.0 or rate <= 0.0:
        return float("inf")
    with np.errstate(over="ignore"):  # a wait may be longer than any number
        path = np.arcsinh(side * at.mu[rival, task] / half)
        path += np.arcsinh(EXIT * limit.mu[task, task] / half)
        return float(path / rate)
