"""The phases of a solved flow: measured on its trajectory, beside the theory's prediction where there is one.

Warm-up lasts until the first task's loss starts to fall, emergence until the last task has reached its
plateau, convergence from there on. Where signs may change the plateau is a saddle and is left again: escape.
Definitions follow Chen, Sheen, Wang and Yang (2024); every threshold is a constant of this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_icl.kernels import EXPONENTIAL, HYPERBOLIC, LINEAR
from spectral_icl.parametrization import Parametrization
from spectral_icl.problem import Problem
from spectral_icl.reduced import State, gradient, task_loss
from spectral_icl.trajectory import Trajectory
from spectral_icl.validation import Floats

ONSET = 0.05  # share of a task's fall to its plateau that ends its warm-up
SETTLED = 1e-3  # rate of fall, over the steepest, below which a task has reached its plateau
LULL = 0.1  # the same, if the rate then rises again: a plateau left before it was reached
LEARNED = 0.05  # least share of a task's signal that a fall must remove to count as an emergence
EXIT = np.exp(-1.0)  # |mu| of a rival, over the winner's, that marks the escape from the plateau
_POINTS = 8  # samples per integration step


@dataclass(frozen=True)
class Emergence:
    """How one task was learned.

    Attributes
    ----------
    task : int
    head : int or None
        The head with the largest share of the task on its plateau; None if the task did not emerge.
    share : float
        That head's share of the learned map, 1 if it holds all of it.
    onset, time, settled : float
        When the task's loss had covered 5 % of its fall, fell steepest, and had reached its plateau; NaN
        if the task did not emerge before the end.
    plateau : float
        Task loss at ``settled``.
    predicted_time : float or None
        T of `predicted_emergence` for the predicted head; None where the theory does not apply.
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
        The head is the rival whose mu reached 1/e of the winner's, with the opposite sign.
    time : float
        When it did; NaN if not before the end.
    predicted_time : float or None
        See `predicted_escape`; None where the theory does not apply.
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
    tasks : tuple of Emergence
        One per task.
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


def predicted_emergence(
    problem: Problem, start: State, key_scale: float, task: int
) -> tuple[float | None, int | None, str]:
    """Predicted emergence time of a task, the head that takes it, and why not if there is no prediction.

    In the warm-up a head alone on a disjoint task obeys omega' = c1 omega mu, mu' = mu (c2 omega - n mu) with
    c1 = 4 c kappa a / d, c2 = 4 kappa a and n = 4 s / L. So mu = A omega + C omega^(-n/c1) with
    A = c2 / (c1 + n), and omega diverges at

        T = integral_omega0^inf domega / (c1 omega mu(omega))
          = 2F1(1, p; 1 + p; 1 - mu0 / (A omega0)) / (c1 A omega0),   p = c1 / (c1 + n).

    The head with the smallest T is the predicted winner.
    """
    if problem.home is None:
        return None, None, "tasks overlap or span several blocks"
    from scipy.special import hyp2f1  # slow to import, and only needed here

    block = problem.home[task]
    kappa, size = problem.covariance[block], problem.block_sizes[block]
    power = problem.signal[task][block]
    c1 = 4.0 * key_scale * kappa * power / size
    c2 = 4.0 * kappa * power
    n = 4.0 * problem.variance[task] / problem.context_length
    slope = c2 / (c1 + n)
    p = c1 / (c1 + n)
    omega, mu = start.omega[:, block], start.mu[:, task]
    growing = omega * mu > 0.0
    if not growing.any():
        return None, None, "no head has omega mu > 0 on the task"
    times = np.full(omega.size, np.inf)
    lead = slope * np.abs(omega[growing])
    with np.errstate(all="ignore"):  # extreme problems may overflow; the time is then infinite
        times[growing] = hyp2f1(1.0, p, 1.0 + p, 1.0 - np.abs(mu[growing]) / lead) / (c1 * lead)
    times[~np.isfinite(times)] = np.inf
    winner = int(times.argmin())
    if not np.isfinite(times[winner]):
        return None, None, "the warm-up is too slow to be timed"
    if np.isclose(np.sort(times)[:2], times[winner], rtol=1e-9).sum() > 1:
        return None, None, "no head dominates: two heads are tied"
    if size * kappa**2 * omega[winner] ** 2 >= 1.0:
        return None, None, "the start is not small: omega is past its limit"
    return float(times[winner]), winner, ""


def predicted_escape(problem: Problem, at: State, half: float, task: int, rival: int) -> float:
    """Time from emergence to escape of a task, given the state at emergence on the plateau's scale.

    On the plateau of a disjoint task the dual coordinate z of a rival head, mu = half sinh z with half = D/2,
    falls at the constant rate 2 g, g = dloss/dmu at (the winner at its limit; the rival's omega), so that

        T_esc - T_em = [asinh(2 mu / D) + asinh(2 |mu_exit| / D)] / (2 g),

    infinite for D = 0. ``at`` holds the limit for the winner and the rival's values at emergence.
    """
    head_mu = at.mu[rival, task]
    sign = 1.0 if head_mu == 0.0 else float(np.sign(head_mu))
    resting = State(at.omega, at.mu.copy())
    resting.mu[rival, task] = 0.0
    rate = 2.0 * sign * gradient(problem, *resting).mu[rival, task]
    if half == 0.0 or rate <= 0.0:
        return float("inf")
    winner_mu = np.abs(at.mu[:, task]).max()
    path = np.arcsinh(abs(head_mu) / half) + np.arcsinh(EXIT * winner_mu / half)
    return float(path / rate)


def measure(
    problem: Problem, trajectory: Trajectory, parametrization: Parametrization, key_scale: float
) -> Phases:
    """The phases of a trajectory."""
    times = trajectory.refined(_POINTS)
    losses = task_loss(problem, *trajectory(times))
    start = trajectory(times[0])
    tasks = tuple(
        _emergence(problem, trajectory, times, losses[:, i], start, key_scale, i)
        for i in range(problem.tasks)
    )
    reached = [e for e in tasks if e.head is not None]
    end = float(times[-1])
    if reached:
        onset = min(e.onset for e in reached)
        settled = max(e.settled for e in reached) if len(reached) == len(tasks) else np.nan
    else:
        onset, settled = end, np.nan
    escapes: tuple[Escape, ...] = ()
    if (trajectory.chart.kind != EXPONENTIAL).any():
        escapes = tuple(
            escape for e in reached if (escape := _escape(problem, trajectory, times, e)) is not None
        )
    left = min((e.time for e in escapes if np.isfinite(e.time)), default=end)
    return Phases(
        warm_up=(float(times[0]), onset),
        emergence=(onset if reached else np.nan, settled),
        convergence=(settled, max(left, settled) if np.isfinite(settled) else np.nan),
        tasks=tasks,
        escapes=escapes,
    )


def _emergence(
    problem: Problem,
    trajectory: Trajectory,
    times: Floats,
    losses: Floats,
    start: State,
    key_scale: float,
    task: int,
) -> Emergence:
    if trajectory.chart.kind[0] == LINEAR:
        predicted, winner, remark = None, None, "the flow of merged weights has no warm-up theory"
    else:
        predicted, winner, remark = predicted_emergence(problem, start, key_scale, task)
    nothing = Emergence(task, None, np.nan, np.nan, np.nan, np.nan, np.nan, predicted, winner, remark)
    if times.size < 3:
        return nothing
    fall = -np.diff(losses) / np.diff(times)
    middle = 0.5 * (times[1:] + times[:-1])
    peak = int(fall.argmax())
    calm = np.flatnonzero(_calm(fall[peak:]))
    signal = sum(problem.signal[task])
    if fall[peak] <= 0.0 or calm.size == 0:
        return nothing
    end = peak + int(calm[0]) + 1
    plateau = float(losses[end])
    if losses[0] - plateau < LEARNED * signal:
        return nothing
    onset = int(np.flatnonzero(losses <= losses[0] - ONSET * (losses[0] - plateau))[0])
    held = shares(problem, *trajectory(times[end]))[:, task]
    head = int(held.argmax())
    return Emergence(
        task=task,
        head=head,
        share=float(held[head]),
        onset=float(times[onset]),
        time=_summit(middle, fall, peak),
        settled=float(times[end]),
        plateau=plateau,
        predicted_time=predicted,
        predicted_head=winner,
        remark=remark,
    )


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


def _escape(problem: Problem, trajectory: Trajectory, times: Floats, emerged: Emergence) -> Escape | None:
    """The first rival of the task's winner to change sign, or the one predicted to, if any may."""
    task, winner = emerged.task, emerged.head
    assert winner is not None
    mu = trajectory(times).mu[:, :, task]
    toward = np.sign(mu[-1, winner])
    later = times > emerged.time
    if not later.any():
        return None
    ally = toward * mu[np.flatnonzero(later)[0] - 1] >= 0.0  # same sign as the winner, until it escapes
    found: list[tuple[float, int]] = []
    for rival in range(mu.shape[1]):
        crossed = np.flatnonzero(later & (toward * mu[:, rival] < -EXIT * np.abs(mu[:, winner])))
        if rival != winner and ally[rival] and crossed.size:
            k = int(crossed[0])
            gap = toward * mu[k - 1 : k + 1, rival] + EXIT * np.abs(mu[k - 1 : k + 1, winner])
            fraction = gap[0] / (gap[0] - gap[1]) if gap[0] > 0.0 else 0.0
            found.append((float(times[k - 1] + fraction * (times[k] - times[k - 1])), rival))
    forecast = _forecast(problem, trajectory, emerged)
    if found:
        time, rival = min(found)
    elif forecast:
        time, rival = np.nan, min(forecast, key=lambda r: forecast[r])
    else:
        return None
    return Escape(task, rival, time, forecast.get(rival))


def _forecast(problem: Problem, trajectory: Trajectory, emerged: Emergence) -> dict[int, float]:
    """Predicted escape time through every rival of a disjoint task with an imbalance, if it is finite."""
    task, winner = emerged.task, emerged.head
    if problem.home is None or winner is None:
        return {}
    block = problem.home[task]
    size, kappa = problem.block_sizes[block], problem.covariance[block]
    power = problem.signal[task][block]
    excess = np.e * size * problem.variance[task] / (power * problem.context_length)
    at = trajectory(emerged.time)
    omega, mu = np.zeros_like(at.omega), np.zeros_like(at.mu)
    chart, heads = trajectory.chart, trajectory.heads
    first_mu = heads * problem.blocks
    forecast = {}
    for rival in range(heads):
        entry = first_mu + rival * problem.tasks + task
        if rival == winner or chart.kind[entry] != HYPERBOLIC:
            continue
        omega[:], mu[:] = 0.0, 0.0
        sign = np.sign(at.omega[winner, block]) or 1.0
        omega[winner, block] = sign / (kappa * np.sqrt(size))
        mu[winner, task] = sign * np.sqrt(size) / (1.0 + excess)
        omega[rival, block] = at.omega[rival, block]
        mu[rival, task] = at.mu[rival, task]
        wait = predicted_escape(problem, State(omega, mu), chart.scale[entry], task, rival)
        if np.isfinite(wait):
            forecast[rival] = emerged.time + wait
    return forecast
