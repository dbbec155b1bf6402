"""Predicted emergence: when the warm-up of each task diverges, and which head takes it.

To leading order in a small start the balanced weights of disjoint tasks obey, on the block of each task,

    omega_h' = c1 omega_h mu_h,   mu_h' = mu_h (c2 omega_h - n sum_k mu_k),

with c1 = 4 c kappa a / d, c2 = 4 kappa a and n = 4 s / L. A head alone diverges at a time in closed form
(`predicted_emergence`). The heads of a task hold each other back through n, and a head that has taken one
task falls back on the others: that race has no closed form but is a small system, solved by `race`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache, singledispatch
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.large_length import LargeLength
from spectral_icl.kernels.model import HYPERBOLIC, LINEAR, Chart, Model
from spectral_icl.multitask.context import DEFAULT, pack
from spectral_icl.multitask.optimal.benchmarks import head_per_task
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

BALANCED = 0.1  # half the imbalance over the start, below which the theory of balanced weights is applied
MERGED = "the flow of merged weights has no warm-up theory"
SMALL = 0.1  # size of a start up to which the race is predicted (see `size_of_start`), to about 6 %
_RESOLVED = 1e-2  # rivals' share of mu, and time left over that gone by, at which the closed form takes over
_TIED = 1e-6  # time left over that gone by, at which rivals that still hold a share are tied
_RTOL = 1e-6  # of the race; its neglected terms are larger
_MOST = 20_000  # evaluations of a race's field; a usual one takes hundreds
_NOISE, _SCALES = 1e3, (1e-3, 1e3)  # largest d phi / L, and range of kappa c, of a fall
_SLOW = "the warm-up is too slow to be timed"
_UNRESOLVED = "the race could not be followed"
_EXTREME = "the problem is too extreme for a forecast"


@dataclass(frozen=True)
class Forecast:
    """The outcome of a task's race, predicted from the start.

    Attributes
    ----------
    task : int
    time : float or None
        Of the steepest fall of the task's loss; None where the theory does not apply.
    head : int or None
        That takes the task.
    remark : str
        Why there is no prediction, if there is none.
    """

    task: int
    time: float | None
    head: int | None
    remark: str


class Rates(NamedTuple):
    """Coefficients of the warm-up of every task, (I,) each; see the module."""

    c1: Floats
    c2: Floats
    n: Floats
    size: Floats  # d
    kappa: Floats

    @property
    def slope(self) -> Floats:
        """A = c2 / (c1 + n): a lone head goes to mu = A omega."""
        return self.c2 / (self.c1 + self.n)

    def only(self, tasks: list[int]) -> Rates:
        """Of some of the tasks."""
        return Rates(*(values[tasks] for values in self))


def rates(problem: Problem, key_scale: float) -> Rates:
    """Coefficients of the warm-up of disjoint tasks."""
    assert problem.home is not None
    home = list(problem.home)
    kappa = np.asarray(problem.covariance)[home]
    size = np.asarray(problem.block_sizes, dtype=np.float64)[home]
    power = np.asarray(problem.signal).sum(axis=1)
    n = 4.0 * problem.variance / problem.context_length
    return Rates(4.0 * key_scale * kappa * power / size, 4.0 * kappa * power, n, size, kappa)


def forecast(
    problem: Problem, start: State, chart: Chart, key_scale: float, kernel: str = DEFAULT
) -> tuple[Forecast, ...]:
    """The emergence of every task, predicted from the start alone, by `race`.

    Parameters
    ----------
    problem : Problem
    start : State
    chart : Chart
        Dual coordinates at the start, which say whether weights are balanced.
    key_scale : float
    kernel : str
        Law of the context; only that of a large context has a warm-up theory.
    """
    return _forecast(pack(problem, kernel), problem, start, chart, key_scale)


@singledispatch
def _forecast(
    model: Model, problem: Problem, start: State, chart: Chart, key_scale: float
) -> tuple[Forecast, ...]:
    return _silent(problem, "there is no warm-up theory of this law of the context")


@_forecast.register
def _(
    model: LargeLength, problem: Problem, start: State, chart: Chart, key_scale: float
) -> tuple[Forecast, ...]:
    if (chart.kind == LINEAR).any():
        return _silent(problem, MERGED)
    return tuple(_if_balanced(task, problem, start, chart) for task in race(problem, start, key_scale))


def lone_forecast(problem: Problem, start: State, chart: Chart, key_scale: float, task: int) -> Forecast:
    """`predicted_emergence`, if the weights are balanced or nearly so at the start."""
    if (chart.kind == LINEAR).any():
        return Forecast(task, None, None, MERGED)
    return _if_balanced(predicted_emergence(problem, start, key_scale, task), problem, start, chart)


def _if_balanced(found: Forecast, problem: Problem, start: State, chart: Chart) -> Forecast:
    """The forecast, unless the weights of its winner are not balanced."""
    remark = "" if found.head is None else _why_not_balanced(problem, start, chart, found.head, found.task)
    return Forecast(found.task, None, None, remark) if remark else found


def _why_not_balanced(problem: Problem, start: State, chart: Chart, winner: int, task: int) -> str:
    """Why the prediction for balanced weights does not apply to a task's winner.

    Half its imbalance is above a tenth of its omega or mu at the start. Empty if it applies.
    """
    assert problem.home is not None
    block = problem.home[task]
    entries = (winner * problem.blocks + block, mu_entry(problem, len(start.omega), winner, task))
    for entry, value in zip(entries, (start.omega[winner, block], start.mu[winner, task]), strict=True):
        if chart.kind[entry] == HYPERBOLIC and chart.scale[entry] > BALANCED * abs(value):
            return "the imbalance is not small against the start"
    return ""


def mu_entry(problem: Problem, heads: int, head: int, task: int) -> int:
    """Index of mu_hi in the flat state of so many heads."""
    return heads * problem.blocks + head * problem.tasks + task


def predicted_emergence(problem: Problem, start: State, key_scale: float, task: int) -> Forecast:
    """When a lone head's warm-up diverges, and the head for which it does so first, in closed form.

    The orbit is mu = A omega + C omega^(-n/c1) with A = c2 / (c1 + n), and omega diverges at

        T = integral_omega0^inf domega / (c1 omega mu(omega))
          = 2F1(1, p; 1 + p; 1 - mu0 / (A omega0)) / (c1 A omega0),   p = c1 / (c1 + n).

    It leaves out that rivals' mu hold the head back, so T is early: if the head leads in omega and mu, the
    time with all heads is between T and the same with n S for n, S = sum_k mu_k / mu_h at the start. `race`
    has it.
    """
    if problem.home is None:
        return Forecast(task, None, None, "tasks overlap or span several blocks")
    block = problem.home[task]
    c1, c2, n, _, _ = (float(values[task]) for values in rates(problem, key_scale))
    omega, mu = start.omega[:, block], start.mu[:, task]
    growing = omega * mu > 0.0
    if not growing.any():
        return Forecast(task, None, None, "no head has omega mu > 0 on the task")
    times = np.full(omega.size, np.inf)
    with np.errstate(all="ignore"):  # extreme problems may overflow; the time is then infinite
        times[growing] = _divergence(np.abs(omega[growing]), np.abs(mu[growing]), c1, c2, n)
    times[~np.isfinite(times)] = np.inf
    winner = int(times.argmin())
    if not np.isfinite(times[winner]):
        return Forecast(task, None, None, _SLOW)
    if np.isclose(np.sort(times)[:2], times[winner], rtol=1e-9).sum() > 1:
        return Forecast(task, None, None, "no head dominates: two heads are tied")
    limit = head_per_task(problem).weights
    assert limit is not None
    if abs(omega[winner]) >= limit.omega[task, block] or abs(mu[winner]) >= limit.mu[task, task]:
        return Forecast(task, None, None, "the start is not small: it is past the limit")
    return Forecast(task, float(times[winner]), winner, "")


def size_of_start(problem: Problem, start: State, key_scale: float) -> float:
    """How far a start is on its way to the first fall: 0 is the limit in which the race is exact.

    The loss falls where the learned share kappa mu omega, with mu = A omega on the way there, or the exponent
    kappa^2 d omega^2 nears 1: the square root of the largest of them over heads and tasks.
    """
    made = rates(problem, key_scale)
    assert problem.home is not None
    omega = start.omega[:, list(problem.home)]
    leading = np.maximum(made.slope, made.kappa * made.size) * omega**2
    return float(np.sqrt((made.kappa * np.maximum(leading, np.abs(start.mu * omega))).max()))


def race(problem: Problem, start: State, key_scale: float) -> tuple[Forecast, ...]:
    """The emergence of every task from a small start of balanced weights, of one sign on each task.

    Adds three effects to `predicted_emergence`: the heads of a task share its noise term; a head that has
    taken task j has E_hh = e from then on, so that its omega on other blocks decays by the rate 4 c kappa^2
    (e s_j mu_j^2 / L) omega; and the steepest fall is at a distance from the divergence that `fall_delay`
    finds. Exact as the start goes to 0; within 5 % up to a `size_of_start` of 0.05.
    """
    if problem.home is None:
        return _silent(problem, "tasks overlap or span several blocks")
    if not one_sign(problem, start):
        return _silent(problem, "weights differ in sign on a task")
    size = size_of_start(problem, start, key_scale)
    if not size <= SMALL:
        return _silent(problem, f"the start is not small: size {size:.3g} > {SMALL:g}")
    made = rates(problem, key_scale)
    noise, scale = made.kappa * made.n * made.size / made.c2, made.kappa * key_scale
    if not ((noise <= _NOISE) & (_SCALES[0] <= scale) & (scale <= _SCALES[1])).all():
        return _silent(problem, _EXTREME)
    forecasts = []
    for diverges in _divergences(problem, start, made, key_scale):
        task = diverges.task
        if diverges.time is not None:
            unit = made.c1[task] * made.size[task] ** 0.5
            delay = fall_delay(float(noise[task]), float(scale[task])) / float(unit)
            diverges = replace(diverges, time=diverges.time + delay)
        forecasts.append(diverges)
    return tuple(forecasts)


def one_sign(problem: Problem, start: State) -> bool:
    """Whether all omega and mu of a task have one sign, so that every head pulls the same way."""
    for task, block in enumerate(problem.home or ()):
        weights = np.concatenate([start.omega[:, block], start.mu[:, task]])
        if (weights > 0.0).any() and (weights < 0.0).any():
            return False
    return True


def _silent(problem: Problem, remark: str) -> tuple[Forecast, ...]:
    return tuple(Forecast(task, None, None, remark) for task in range(problem.tasks))


class _TooSlowError(Exception):
    """A race that takes too many steps, or none at all."""


class _Race:
    """The warm-up of the tasks that are still open, in one vector of unknowns.

    The unknowns are log |omega| and log |mu| of every head and open task, and the time. The independent
    variable is a time in which nothing grows faster than e^tau, so that a divergence is no obstacle.
    """

    def __init__(self, made: Rates, signs: State, extra: Floats, damping: Floats) -> None:
        self.rates, self.signs, self.extra, self.damping = made, signs, extra, damping
        self.shape = signs.mu.shape
        self.calls = 0

    def sizes(self, y: Floats) -> tuple[Floats, Floats]:
        """|omega| and |mu|, (H, open tasks)."""
        grown = np.exp(y[:-1]).reshape(2, *self.shape)
        return grown[0], grown[1]

    def field(self, _: float, y: Floats) -> Floats:
        """The right-hand side."""
        self.calls += 1
        if self.calls > _MOST:
            raise _TooSlowError
        size, strength = self.sizes(y)
        omega, mu = self.signs.omega * size, self.signs.mu * strength
        noise = self.rates.n * (mu.sum(axis=0) + self.extra * mu)
        by_omega = self.rates.c1 * self.signs.omega * mu - self.damping * size
        by_mu = self.signs.mu * (self.rates.c2 * omega - noise)
        fastest = (self.rates.c1 * strength + self.rates.c2 * size + np.abs(noise)).max()
        if not 0.0 < fastest < np.inf:
            raise _TooSlowError
        rate: Floats = np.concatenate([by_omega.ravel(), by_mu.ravel(), [1.0]]) / fastest
        return rate

    def standing(self, y: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
        """The leading head of every task, its rivals' share of mu, and the time left over that gone by."""
        omega, mu = self.sizes(y)
        head = omega.argmax(axis=0)
        tasks = np.arange(head.size)
        left: Floats = 1.0 / (self.rates.c1 * self.rates.slope * omega[head, tasks])
        rivals = mu.sum(axis=0) / mu[head, tasks] - 1.0
        return head, rivals, left / max(float(y[-1]), 1e-300)

    def unresolved(self, _: float, y: Floats) -> float:
        """0 once a task has but one head left, or is tied."""
        rivals, left = self.standing(y)[1:]
        return float(np.log(np.where(left < _TIED, left, np.maximum(left, rivals)) / _RESOLVED).min())

    unresolved.terminal = True  # type: ignore[attr-defined]


def _divergences(problem: Problem, start: State, made: Rates, key_scale: float) -> list[Forecast]:
    """When the warm-up of every task diverges, and its winner.

    Once the rivals hold less than 1 % of mu, and less than 1 % of the time is left, the task is settled by
    the closed form of the lone head, and the race goes on without it.
    """
    from scipy.integrate import solve_ivp  # slow to import, and only needed here

    home = list(problem.home or ())
    signs = State(np.sign(start.omega[:, home]), np.sign(start.mu))
    state = np.abs(np.stack([start.omega[:, home], start.mu]))
    state = np.log(np.maximum(state, 1e-300))  # zeros stay zeros, by their sign
    limit = head_per_task(problem).weights
    assert limit is not None
    cost = 4.0 * key_scale * np.e * problem.variance / problem.context_length * np.diag(limit.mu) ** 2
    extra, damping = np.zeros((len(start.mu), 1)), np.zeros(start.mu.shape)
    found = list(_silent(problem, "no head has omega mu > 0 on the task"))
    taken: set[int] = set()
    now, left = 0.0, [task for task in range(problem.tasks) if (signs.omega * signs.mu > 0.0)[:, task].any()]
    while left:
        open_signs = State(signs.omega[:, left], signs.mu[:, left])
        running = _Race(made.only(left), open_signs, extra, damping[:, left])
        y = np.append(state[:, :, left], now)
        remark = _SLOW
        try:
            with np.errstate(all="ignore"):
                run = solve_ivp(
                    running.field, (0.0, 1e4), y, "LSODA", rtol=_RTOL, atol=_RTOL, events=running.unresolved
                )
        except _TooSlowError:
            run = None
        except ValueError:  # the root of the event is lost when it lies at the very start
            run, remark = None, _UNRESOLVED
        if run is None or run.status != 1:
            for task in left:
                found[task] = Forecast(task, None, None, remark)
            break
        y = run.y[:, -1]
        now = float(y[-1])
        state[:, :, left] = y[:-1].reshape(2, *running.shape)
        head, rivals, remaining = running.standing(y)
        near = 1.0 + 1e-3  # the event is found to a tolerance
        alone = (rivals < near * _RESOLVED) & (remaining < near * _RESOLVED)
        over = alone | (remaining < near * _TIED)
        for k in np.flatnonzero(over):
            task, winner = left[k], int(head[k])
            if not alone[k]:
                found[task] = Forecast(task, None, None, "no head dominates: two heads are tied")
                continue
            omega, mu = (values[[winner], k] for values in running.sizes(y))
            time = now + float(_divergence(omega, mu, *(float(v[k]) for v in running.rates[:3]))[0])
            found[task] = Forecast(task, time, winner, "")
            if winner in taken:  # one head for two tasks goes to another limit
                found[task] = Forecast(task, None, None, f"head {winner} has taken another task before")
            taken.add(winner)
            extra[winner] = np.e - 1.0
            damping[winner] += cost[task] * made.kappa**2
        left = [task for k, task in enumerate(left) if not over[k]]
    return found


@lru_cache(maxsize=1024)
def fall_delay(noise: float, key_scale: float) -> float:
    """Time from the divergence of the warm-up to the steepest fall, in units of 1 / (c1 sqrt(d)).

    A lone head leaves zero along one curve. With w = kappa sqrt(d) omega, m = mu / sqrt(d) and ``noise``
    g = d phi / L it depends on g and ``key_scale`` kappa c alone: (log w)' = m (1 - m w (1 + g E)) and
    (log m)' = (w (1 - m w) - g E m) / (kappa c), E = e^(w^2), where the warm-up has w' = w^2 / (kappa c + g).
    """
    from scipy.integrate import solve_ivp  # slow to import, and only needed here

    def speeds(w: Floats, m: Floats) -> tuple[Floats, Floats]:
        tilt = noise * np.exp(w * w)
        return m * (1.0 - m * w * (1.0 + tilt)), (w * (1.0 - m * w) - tilt * m) / key_scale

    def field(_: float, y: Floats) -> Floats:
        return np.array(speeds(*np.exp(y)))

    def fall(t: Floats) -> Floats:
        assert run.sol is not None
        w, m = np.exp(run.sol(t))
        by_w, by_m = speeds(w, m)
        tilt = noise * np.exp(w * w)
        learned = 2.0 * (1.0 - m * w) * m * w * (by_w + by_m)
        rate: Floats = learned - 2.0 * tilt * m * m * (by_m + w * w * by_w)
        return rate

    ray = key_scale + noise
    begin = 1e-3 * min(1.0, ray**0.5)
    diverges, beyond = ray / begin, 5.0 * ray**0.5 + 5.0 * ray
    start = np.log([begin, begin / ray])
    run = solve_ivp(field, (0.0, diverges + beyond), start, "LSODA", rtol=1e-7, atol=1e-9, dense_output=True)
    times = np.linspace(max(0.0, diverges - beyond - 5.0), float(run.t[-1]), 2000)
    peak = int(np.clip(fall(times).argmax(), 1, times.size - 2))
    times = np.linspace(times[peak - 1], times[peak + 1], 200)
    return float(times[fall(times).argmax()] - diverges)


def _divergence(omega: Floats, mu: Floats, c1: float, c2: float, n: float) -> Floats:
    """Time at which lone heads diverge, see `predicted_emergence`."""
    lead = c2 / (c1 + n) * omega
    time: Floats = _warm_up_integral(c1 / (c1 + n), mu, lead) / (c1 * lead)
    return time


def _warm_up_integral(p: float, mu: Floats, lead: Floats) -> Floats:
    """2F1(1, p; 1 + p; 1 - w) with w = mu / lead, for any size of w > 0.

    Near w = 0 the argument rounds to 1, where the function has a logarithm: there by its expansion
    (Abramowitz and Stegun 15.3.10), p sum_n (p)_n / n! [psi(n + 1) - psi(p + n) - log w] w^n.
    """
    from scipy.special import digamma, hyp2f1  # slow to import, and only needed here

    w = mu / lead
    value: Floats = np.asarray(hyp2f1(1.0, p, 1.0 + p, 1.0 - w), dtype=np.float64)
    n = np.arange(60.0)
    coefficient = np.cumprod(np.concatenate([[1.0], (p + n[:-1]) / (n[:-1] + 1.0)]))
    near = np.flatnonzero(w < 0.5)
    log_w = (np.log(mu) - np.log(lead))[near, None]
    terms = coefficient * (digamma(n + 1.0) - digamma(p + n) - log_w) * w[near, None] ** n
    value[near] = p * terms.sum(axis=1)
    return value
