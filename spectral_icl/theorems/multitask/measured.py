"""Times and rates of a flow as they are seen in it: what closed forms are held against."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.rates import stray_coefficients, winner_rates
from spectral_icl.multitask.flow.solution import IntegrationError, Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.flow.trajectory import Trajectory
from spectral_icl.multitask.flow.width import LEAST, MOST
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS
from spectral_icl.multitask.parametrization import Balanced, Factored, Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import UnmeasurableError
from spectral_icl.theorems.multitask.evidence import FOREVER, Evidence

_POINTS = 16  # times per step, between which a share of the fall is interpolated
_SETTLED = 40.0  # times that the slowest winner takes, after which it has settled to rounding
_FADED = 1e4  # times over which a stray omega falls to this part of the winner's
_NUDGE = 1e-4  # relative change of a winner at its limit
_LATE = 8.0  # times that each mode takes, after which a winner's distance falls by the slow one alone
_FORGOTTEN = 300.0  # times over which a stray omega halves, after which its start is forgotten
_FINE = 1e-11  # tolerance of the flow of one head
_ROUNDED = 1e-13  # of the loss, below which an excess is rounding


class Winners(NamedTuple):
    """Rates at which winners come to their limits, (I,) each."""

    fast: Floats
    slow: Floats


class Losers(NamedTuple):
    """Heads in the end, (H, I) each: the rates at which their mu decay, and kappa sqrt(d) omega."""

    rates: Floats
    reading: Floats


class Strays(NamedTuple):
    """The winners' omega on blocks of no use to them.

    Attributes
    ----------
    growth, predicted : ndarray, (S,)
        Rates at which 1 / omega grows, seen and in closed form.
    exponent : float
        Of the power of time by which the excess over the limit falls; NaN if it is lost to rounding.
    """

    growth: Floats
    predicted: Floats
    exponent: float


def widths(e: Evidence) -> Floats:
    """Time that the loss of every task takes to emerge, (I,); NaN where it does not fall that far."""
    times, losses = e.flow.trajectory.sampled(_POINTS)
    whole = e.problem.variance - e.limit.task_loss
    shares = (e.problem.variance - losses) / whole
    return np.array([_crossed(times, share, MOST) - _crossed(times, share, LEAST) for share in shares.T])


def _crossed(times: Floats, values: Floats, level: float) -> float:
    """When values first cross a level from below."""
    above = values >= level
    if not above.any() or above[0]:
        return np.nan
    last = int(above.argmax())
    return float(np.interp(level, values[last - 1 : last + 1], times[last - 1 : last + 1]))


def losers(e: Evidence) -> Losers:
    """What heads without a task do after the winners have settled and what they have elsewhere has faded."""
    problem, scale = e.problem, e.flow.key_scale
    fading = stray_coefficients(problem, scale) / _unit(problem)
    fading[np.arange(problem.tasks), list(_home(problem))] = np.inf
    wait = max(_SETTLED / winner_rates(problem, scale).slow.min(), _FADED / float(fading.min()))
    # from the start, in one go: a mu that has underflowed is lost to a flow that begins with it
    since = _emergence(e)
    flow = follow(problem, e.start, e.parametrization, since + 2.0 * wait, e.rtol, e.kernel)
    path = flow.trajectory
    if not isinstance(path, Trajectory):
        raise UnmeasurableError("the flow is too large to be kept whole")
    first = min(int(np.searchsorted(path.t, since + wait)), path.t.size - 2)
    logs = path.x[:, e.start.omega.size :]  # balanced ones are logarithms, which do not underflow
    rates = (logs[first] - logs[-1]) / (path.t[-1] - path.t[first])
    return Losers(rates.reshape(e.start.mu.shape), readings(problem, flow.final))


def readings(problem: Problem, at: State) -> Floats:
    """Kappa sqrt(d) omega of every head on the block of every task, (H, I): 1 of a winner at its limit."""
    home = list(_home(problem))
    found: Floats = _unit(problem)[home] * at.omega[:, home]
    return found


def leaders(e: Evidence) -> list[int]:
    """The head that leads each task, where every task has one, (I,)."""
    return [head for head in e.leaders if head is not None]


def winners(e: Evidence) -> Winners:
    """How each winner, from where it is at its emergence, comes to its limit with all other weights zero.

    The slow rate is that of its distance in the end, and the sum of both that of the area spanned by two
    small changes of its omega and mu.
    """
    at = [e.flow(e.flow.trajectory.nearest(task.time)) for task in e.flow.phases.tasks]
    each = []
    for task, block in enumerate(_home(e.problem)):
        head = leaders(e)[task]
        start = float(at[task].omega[head, block]), float(at[task].mu[head, task])
        weights = _of_one_head(e, head, block, task)
        each.append(_winner(e.problem, task, block, start, weights, e.flow.key_scale, e.kernel))
    fast, slow = np.array(each).T
    return Winners(fast, slow)


def _of_one_head(e: Evidence, head: int, block: int, task: int) -> Parametrization:
    """The weights of a head on one block and task, of those of the flow and with its key scale."""
    if e.parametrization.conserves_signs:
        return Balanced(e.flow.key_scale)
    if not e.parametrization.trains_factors:
        return e.parametrization
    of_omega = np.broadcast_to(e.parametrization.imbalance("omega"), e.start.omega.shape)
    of_mu = np.broadcast_to(e.parametrization.imbalance("mu"), e.start.mu.shape)
    return Factored(float(of_omega[head, block]), float(of_mu[head, task]), e.flow.key_scale)


def _winner(
    problem: Problem,
    task: int,
    block: int,
    start: tuple[float, float],
    weights: Parametrization,
    key_scale: float,
    kernel: str,
) -> tuple[float, float]:
    alone = Problem.multitask(
        task_sizes=(problem.block_sizes[block],),
        signal=float(problem.power[task]),
        noise=problem.noise[task],
        context_length=problem.context_length,
        covariance=problem.covariance[block],
    )
    limit = BENCHMARKS["head_per_task"].of(alone, kernel).weights
    assert limit is not None
    there = np.array([limit.omega[0, 0], limit.mu[0, 0]])
    quick, late = (float(rates[0]) for rates in winner_rates(alone, key_scale))

    def moved(place: Floats, times: Floats) -> Floats:
        """Logarithmic distance (T, 2) from the limit."""
        at = State(place[:1, None], place[1:, None])
        flow = follow(alone, at, weights, float(times[-1]), _FINE, kernel)
        distance: Floats = np.log(np.concatenate(flow(times), axis=1)[:, :, 0] / there)
        return distance

    wait = _LATE / quick + _LATE / late
    first, second = np.abs(moved(np.array(start), np.array([wait, wait + 1.0 / late]))).max(axis=1)
    slow = float(np.log(first / second)) * late
    time = 1.0 / (quick + late)
    columns = [
        moved(there * np.exp(nudge), np.array([time]))[0] - moved(there * np.exp(-nudge), np.array([time]))[0]
        for nudge in _NUDGE * np.eye(2)
    ]
    area = float(np.linalg.det(np.array(columns))) / (2.0 * _NUDGE) ** 2
    return -float(np.log(area)) / time - slow, slow


def strays(e: Evidence, settling: float) -> Strays:
    """The decay of the winners' omega on other blocks, after so long that their start is forgotten.

    Parameters
    ----------
    e : Evidence
    settling : float
        Time in which all other weights come nearer to the limit by a factor e.
    """
    problem = e.problem
    home, start = _home(problem), e.flow(e.flow.trajectory.nearest(_emergence(e)))
    places = [
        (head, block, task)
        for task, head in enumerate(leaders(e))
        for block in range(problem.blocks)
        if block != home[task] and start.omega[head, block] != 0.0
    ]
    head, block, task = np.array(places).T
    predicted = stray_coefficients(problem, e.flow.key_scale)[task, block]
    slowest = float((1.0 / (predicted * np.abs(start.omega[head, block]))).max())
    end = _FORGOTTEN * max(slowest, settling)
    times = np.array([end / 3.0, end])
    flow = follow(problem, start, e.parametrization, end, e.rtol, e.kernel)
    at = flow(times)
    growth = np.diff(1.0 / np.abs(at.omega[:, head, block]), axis=0)[0] / (times[1] - times[0])
    over = losses_at(problem, at, e.kernel).sum(axis=1) - e.limit.loss
    known = bool((over > _ROUNDED * e.limit.loss).all())
    exponent = float(-np.diff(np.log(over))[0] / np.log(3.0)) if known else np.nan
    return Strays(growth, predicted, exponent)


def follow(
    problem: Problem, start: State, parametrization: Parametrization, t_end: float, rtol: float, kernel: str
) -> Solution:
    """The flow from a start to a time.

    Raises
    ------
    UnmeasurableError
        The time is too far away, or the integration failed.
    """
    if not t_end <= FOREVER:
        raise UnmeasurableError("the flow is too slow to be followed")
    try:
        return gradient_flow(
            problem, *start, parametrization=parametrization, t_end=t_end, rtol=rtol, kernel=kernel
        )
    except IntegrationError as error:
        raise UnmeasurableError("a flow could not be followed to its end") from error


def _home(problem: Problem) -> tuple[int, ...]:
    assert problem.home is not None
    return problem.home


def _unit(problem: Problem) -> Floats:
    """What omega on every block is counted in, (B,)."""
    unit: Floats = np.asarray(problem.covariance) * np.sqrt(problem.block_sizes)
    return unit


def _emergence(e: Evidence) -> float:
    """When the last task has reached its plateau."""
    return max(task.settled for task in e.flow.phases.tasks)
