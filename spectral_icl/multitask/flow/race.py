"""The race of the heads: when each task emerges, and which head takes it.

The heads of a task hold each other back through the noise term, and a head that has taken one task falls back
on the others. For all heads and tasks the system of `spectral_icl.multitask.flow.emergence` has no closed
form, but it is small, and solved here.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.emergence import (
    EXTREME,
    SLOW,
    Forecast,
    Rates,
    divergence,
    head_limit,
    no_forecasts,
    one_sign,
    rates,
    size_of_start,
)
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

SMALL = 0.1  # size of a start up to which the race is predicted (see `size_of_start`), to about 6 %
_RESOLVED = 1e-2  # rivals' share of mu, and time left over that gone by, at which the closed form takes over
_TIED = 1e-6  # time left over that gone by, at which rivals that still hold a share are tied
_RTOL = 1e-6  # of the race; its neglected terms are larger
_MOST = 20_000  # evaluations of a race's field; a usual one takes hundreds
_NOISE, _SCALES = 1e3, (1e-3, 1e3)  # largest d phi / L, and range of kappa c, of a fall
_UNRESOLVED = "the race could not be followed"


@np.errstate(all="ignore")  # of extreme problems, of which there is no forecast
def race(problem: Problem, start: State, key_scale: float) -> tuple[Forecast, ...]:
    """The emergence of every task from a small start of balanced weights, of one sign on each task.

    Adds three effects to `predicted_emergence`: the heads of a task share its noise term; a head that has
    taken task j has E_hh = e from then on, so that its omega on other blocks decays by the rate 4 c kappa^2
    (e s_j mu_j^2 / L) omega; and the steepest fall is at a distance from the divergence that `fall_delay`
    finds. Exact as the start goes to 0; within 5 % up to a `size_of_start` of 0.05.
    """
    if problem.home is None:
        return no_forecasts(problem, "tasks overlap or span several blocks")
    if not one_sign(problem, start):
        return no_forecasts(problem, "weights differ in sign on a task")
    size = size_of_start(problem, start, key_scale)
    if not size <= SMALL:
        return no_forecasts(problem, f"the start is not small: size {size:.3g} > {SMALL:g}")
    made = rates(problem, key_scale)
    noise, scale = made.kappa * made.n * made.size / made.c2, made.kappa * key_scale
    if not ((noise <= _NOISE) & (_SCALES[0] <= scale) & (scale <= _SCALES[1])).all():
        return no_forecasts(problem, EXTREME)
    limit = head_limit(problem)
    if limit is None:
        return no_forecasts(problem, EXTREME)
    forecasts = []
    for diverges in _divergences(problem, start, made, key_scale, limit):
        task = diverges.task
        if diverges.time is not None:
            unit = made.c1[task] * made.size[task] ** 0.5
            time = float(diverges.time + fall_delay(float(noise[task]), float(scale[task])) / unit)
            slow = Forecast(task, None, None, SLOW)
            diverges = replace(diverges, time=time) if np.isfinite(time) else slow
        forecasts.append(diverges)
    return tuple(forecasts)


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


def _divergences(
    problem: Problem, start: State, made: Rates, key_scale: float, limit: State
) -> list[Forecast]:
    """When the warm-up of every task diverges, and its winner.

    Once the rivals hold less than 1 % of mu, and less than 1 % of the time is left, the task is settled by
    the closed form of the lone head, and the race goes on without it.
    """
    from scipy.integrate import solve_ivp  # slow to import, and only needed here

    home = list(problem.home or ())
    signs = State(np.sign(start.omega[:, home]), np.sign(start.mu))
    state = np.abs(np.stack([start.omega[:, home], start.mu]))
    state = np.log(np.maximum(state, 1e-300))  # zeros stay zeros, by their sign
    cost = 4.0 * key_scale * np.e * problem.variance / problem.context_length * np.diag(limit.mu) ** 2
    extra, damping = np.zeros((len(start.mu), 1)), np.zeros(start.mu.shape)
    found = list(no_forecasts(problem, "no head has omega mu > 0 on the task"))
    taken: set[int] = set()
    now, left = 0.0, [task for task in range(problem.tasks) if (signs.omega * signs.mu > 0.0)[:, task].any()]
    while left:
        open_signs = State(signs.omega[:, left], signs.mu[:, left])
        running = _Race(made.only(left), open_signs, extra, damping[:, left])
        y = np.append(state[:, :, left], now)
        remark = SLOW
        try:
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
            time = now + float(divergence(omega, mu, *(v[k] for v in running.rates[:3]))[0])
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
