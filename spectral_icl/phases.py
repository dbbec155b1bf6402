"""The phases of a solved flow: measured on its trajectory, beside the theory's prediction where there is one.

Warm-up lasts until the first task's loss starts to fall, emergence until the last task has reached its
plateau, convergence from there on. Where signs may change the plateau is a saddle and is left again: escape.
Definitions follow Chen, Sheen, Wang and Yang (2024); every threshold is a constant of this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from spectral_icl.emergence import Forecast, predicted_emergence, race
from spectral_icl.kernels import EXPONENTIAL, HYPERBOLIC, LINEAR
from spectral_icl.optimal import head_per_task, lower_bound
from spectral_icl.problem import Problem
from spectral_icl.reduced import State, gradient, task_loss
from spectral_icl.trajectory import Trajectory
from spectral_icl.validation import Floats

ONSET = 0.05  # share of a task's whole fall that ends its warm-up
SETTLED = 1e-3  # rate of fall, over the steepest, below which a task has reached its plateau
LULL = 0.1  # the same, if the rate then rises again: a plateau left before it was reached
LEARNED = 0.05  # least fall that counts as an emergence, over the most that any attention could reach
BALANCED = 0.1  # half the imbalance over the start, below which the theory of balanced weights is applied
# |mu| of a rival, over the winner's, that marks the escape; one with a task of its own stalls at 1/e
EXIT = 0.2
_MERGED = "the flow of merged weights has no warm-up theory"
_POINTS = 8  # samples per integration step
_TOGETHER = 1e-6  # relative difference of times within which equal tasks escape together


@dataclass(frozen=True)
class Emergence:
    """How one task was learned.

    Attributes
    ----------
    task : int
    head : int or None
        The head with the largest share of the task on its plateau; None if the task did not emerge.
    share : float
        That head's share of the learned map: 1 if it holds all of it, above 1 if others work against it.
    onset, time, settled : float
        When the task's loss had covered 5 % of its whole fall, fell steepest from then on, and had reached
        its plateau; NaN if the task did not emerge before the end (``onset`` is there if it had begun to).
    plateau : float
        Task loss at ``settled``.
    predicted_time : float or None
        T of `predicted_emergence` for the predicted head; None where the theory does not apply. `forecast`
        is closer.
    predicted_head : int or None
    remark : str
        Why there is no prediction, if there is none.
    """

    task: int
    head: int | None
    share: float
    onset: float
    time: float
    settled: float
    plateau: float
    predicted_time: float | None
    predicted_head: int | None
    remark: str


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


@dataclass(frozen=True)
class Phases:
    """Phases of one flow. Intervals are (start, end) in units of the flow's time; NaN if not reached.

    Attributes
    ----------
    warm_up, emergence, convergence : tuple of float
        ``convergence`` is NaN also if the plateau was left before it was reached.
    tasks : tuple of Emergence
        One per task. A task on several blocks may fall more than once; its emergence is the steepest fall.
    escapes : tuple of Escape
        One per task with a possible or observed escape; empty where every sign is conserved.
    """

    warm_up: tuple[float, float]
    emergence: tuple[float, float]
    convergence: tuple[float, float]
    tasks: tuple[Emergence, ...]
    escapes: tuple[Escape, ...]


def shares(problem: Problem, omega: Floats, mu: Floats) -> Floats:
    """Share of each head in the map learned for each task, (..., H, I).

    The share of head h in task i is sum_b A_ib kappa_b omega_hb mu_hi over its sum over heads.
    """
    pull = np.einsum("ib,...hb->...hi", np.asarray(problem.signal) * np.asarray(problem.covariance), omega)
    held: Floats = pull * mu
    total: Floats = held.sum(axis=-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(held, total)


def forecast(trajectory: Trajectory, key_scale: float) -> tuple[Forecast, ...]:
    """The emergence of every task as `spectral_icl.emergence.race` predicts it from the start alone."""
    start = trajectory(trajectory.t[0])
    if (trajectory.chart.kind == LINEAR).any():
        return tuple(Forecast(task, None, None, _MERGED) for task in range(trajectory.problem.tasks))
    found = []
    for task in race(trajectory.problem, start, key_scale):
        remark = "" if task.head is None else _unbalanced(trajectory, start, task.head, task.task)
        found.append(Forecast(task.task, None, None, remark) if remark else task)
    return tuple(found)


def predicted_escape(problem: Problem, at: State, half: float, task: int, winner: int, rival: int) -> float:
    """Time from emergence to escape of a task through a rival head, for disjoint tasks.

    On the plateau the dual coordinate z of the rival, mu = half sinh z with half = D / 2, moves away from the
    winner's sign at the constant rate 2 g, g = dloss/dmu_rival at (the winner at its limit, mu_rival = 0). So

        T_esc - T_em = [asinh(2 mu / D) + asinh(2 |mu_exit| / D)] / (2 g)

    with mu counted positive on the winner's side; infinite for D = 0. ``at`` is the state at emergence.
    """
    assert problem.home is not None
    block = problem.home[task]
    limit = head_per_task(problem).weights
    assert limit is not None
    side = 1.0 if at.omega[winner, block] >= 0.0 else -1.0
    omega, mu = np.zeros_like(at.omega), np.zeros_like(at.mu)
    omega[winner, block] = side * limit.omega[task, block]
    mu[winner, task] = side * limit.mu[task, task]
    omega[rival, block] = at.omega[rival, block]
    rate = 2.0 * side * gradient(problem, omega, mu).mu[rival, task]
    if half == 0.0 or rate <= 0.0:
        return float("inf")
    path = np.arcsinh(side * at.mu[rival, task] / half)
    path += np.arcsinh(EXIT * limit.mu[task, task] / half)
    return float(path / rate)


def measure(trajectory: Trajectory, key_scale: float) -> Phases:
    """The phases of a trajectory."""
    problem = trajectory.problem
    times = trajectory.refined(_POINTS)
    losses = task_loss(problem, *trajectory(times), trajectory.kernel)
    attainable = problem.variance - lower_bound(problem).task_loss  # s_i is the loss of zero weights
    tasks = tuple(
        _emergence(trajectory, times, losses[:, i], attainable[i], key_scale, i) for i in range(problem.tasks)
    )
    reached = [e for e in tasks if e.head is not None]
    end = float(times[-1])
    onset = min((e.onset for e in tasks if np.isfinite(e.onset)), default=np.nan)
    settled = max((e.settled for e in reached), default=np.nan)
    if len(reached) < len(tasks):
        settled = np.nan
    escapes = tuple(escape for e in reached if (escape := _escape(trajectory, times, e)) is not None)
    soonest = min((e.predicted_time for e in escapes if e.predicted_time is not None), default=np.inf)
    escapes = tuple(
        replace(e, predicted_time=None) if (e.predicted_time or 0.0) > soonest * (1.0 + _TOGETHER) else e
        for e in escapes
    )
    left = min((e.time for e in escapes if np.isfinite(e.time)), default=end)
    return Phases(
        warm_up=(float(times[0]), onset if np.isfinite(onset) else end),
        emergence=(onset, settled),
        convergence=(settled, left) if left > settled else (np.nan, np.nan),
        tasks=tasks,
        escapes=escapes,
    )


def _emergence(
    trajectory: Trajectory,
    times: Floats,
    losses: Floats,
    attainable: float,
    key_scale: float,
    task: int,
) -> Emergence:
    """How a task was learned, from its ``losses`` at ``times``; ``attainable`` bounds their fall."""
    problem = trajectory.problem
    predicted, winner, remark = _prediction(trajectory, key_scale, task)
    nothing = Emergence(task, None, np.nan, np.nan, np.nan, np.nan, np.nan, predicted, winner, remark)
    # A start with a loss above that of zero weights first falls to it; that is no emergence.
    first = int((losses <= problem.variance[task] * (1.0 + 1e-9)).argmax())
    times, losses = times[first:], losses[first:]
    if times.size < 3 or not np.isfinite(losses).all():
        return nothing
    least = LEARNED * attainable
    depth = losses[0] - losses.min()
    if depth < least:
        return nothing
    begun = int((losses <= losses[0] - ONSET * depth).argmax())
    onset = float(times[begun])
    fall = -np.diff(losses) / np.diff(times)
    peak = min(begun, fall.size - 1)
    peak += int(fall[peak:].argmax())
    calm = np.flatnonzero(_calm(fall[peak:]))
    if calm.size == 0 or losses[0] - losses[peak + int(calm[0]) + 1] < least:
        return replace(nothing, onset=onset)
    end = peak + int(calm[0]) + 1
    held = shares(problem, *trajectory(times[end]))[:, task]
    head = int(held.argmax())
    return Emergence(
        task=task,
        head=head,
        share=float(held[head]),
        onset=onset,
        time=_summit(0.5 * (times[1:] + times[:-1]), fall, peak),
        settled=float(times[end]),
        plateau=float(losses[end]),
        predicted_time=predicted,
        predicted_head=winner,
        remark=remark,
    )


def _prediction(trajectory: Trajectory, key_scale: float, task: int) -> tuple[float | None, int | None, str]:
    """`predicted_emergence`, if the weights are balanced or nearly so at the start."""
    start = trajectory(trajectory.t[0])
    if (trajectory.chart.kind == LINEAR).any():
        return None, None, _MERGED
    predicted, winner, remark = predicted_emergence(trajectory.problem, start, key_scale, task)
    if winner is None:
        return None, None, remark
    remark = _unbalanced(trajectory, start, winner, task)
    return (None, None, remark) if remark else (predicted, winner, "")


def _unbalanced(trajectory: Trajectory, start: State, winner: int, task: int) -> str:
    """Why the theory of balanced weights is not that of a task's winner, if it is not."""
    problem, chart = trajectory.problem, trajectory.chart
    assert problem.home is not None
    block = problem.home[task]
    entries = [winner * problem.blocks + block, _mu_entry(trajectory, winner, task)]
    for entry, value in zip(entries, (start.omega[winner, block], start.mu[winner, task]), strict=True):
        if chart.kind[entry] == HYPERBOLIC and chart.scale[entry] > BALANCED * abs(value):
            return "the imbalance is not small against the start"
    return ""


def _mu_entry(trajectory: Trajectory, head: int, task: int) -> int:
    """Index of mu_hi in the flat state."""
    problem = trajectory.problem
    return trajectory.heads * problem.blocks + head * problem.tasks + task


def _calm(fall: Floats) -> NDArray[np.bool_]:
    """Where the rate of fall after its peak has all but vanished, or is at its lowest before it rises."""
    lull = np.zeros(fall.size, dtype=bool)
    lull[:-1] = (fall[1:] > fall[:-1]) & (fall[:-1] <= LULL * fall[0])
    lull |= fall <= SETTLED * fall[0]
    return lull


def _summit(x: Floats, y: Floats, peak: int) -> float:
    """Abscissa of the parabola's top through the three points around ``peak``."""
    if peak in (0, y.size - 1):
        return float(x[peak])
    (x0, x1, x2), (y0, y1, y2) = x[peak - 1 : peak + 2], y[peak - 1 : peak + 2]
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    curvature = (right - left) / (x2 - x0)
    if curvature >= 0.0:
        return float(x1)
    return float(0.5 * (x0 + x1) - left / (2.0 * curvature))


def _escape(trajectory: Trajectory, times: Floats, emerged: Emergence) -> Escape | None:
    """The first rival of the task's winner to leave on the other side, or the one predicted to."""
    task, winner = emerged.task, emerged.head
    assert winner is not None
    if (trajectory.chart.kind == EXPONENTIAL).all():
        return None
    after = times[times > emerged.time]
    mu = trajectory(np.concatenate([[emerged.time], after])).mu[:, :, task]
    moments = np.concatenate([[emerged.time], after])
    margin = np.sign(mu[:, winner, None]) * mu + EXIT * np.abs(mu[:, winner, None])  # < 0: out
    found: list[tuple[float, int]] = []
    for rival in range(mu.shape[1]):
        out = np.flatnonzero(margin[:, rival] < 0.0)
        if rival == winner or out.size == 0 or out[0] == 0:  # never out, or never in
            continue
        k = int(out[0])
        before, behind = margin[k - 1, rival], margin[k, rival]
        fraction = before / (before - behind)
        found.append((float(moments[k - 1] + fraction * (moments[k] - moments[k - 1])), rival))
    forecast = _forecast(trajectory, emerged)
    if found:
        time, rival = min(found)
    elif forecast:
        time, rival = np.nan, min(forecast, key=lambda r: forecast[r])
    else:
        return None
    return Escape(task, rival, time, forecast.get(rival))


def _forecast(trajectory: Trajectory, emerged: Emergence) -> dict[int, float]:
    """Predicted escape time through every rival of a disjoint task with an imbalance, if it is finite."""
    task, winner = emerged.task, emerged.head
    problem, chart = trajectory.problem, trajectory.chart
    if problem.home is None or winner is None:
        return {}
    at = trajectory(emerged.time)
    forecast = {}
    for rival in range(trajectory.heads):
        entry = _mu_entry(trajectory, rival, task)
        if rival != winner and chart.kind[entry] == HYPERBOLIC:
            wait = predicted_escape(problem, at, chart.scale[entry], task, winner, rival)
            if np.isfinite(wait) and wait > 0.0:
                forecast[rival] = emerged.time + wait
    return forecast
