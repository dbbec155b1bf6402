"""The race of the heads: when each task emerges, and which head takes it.

The heads of a task hold each other back through the noise term, and a head that has taken one task falls back
on the others. For all heads and tasks the system of `spectral_icl.multitask.flow.emergence` has no closed
form. But from one fall to the next every task goes its own way, and is followed in steps of its own.
"""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels import race as kernel
from spectral_icl.kernels.fall import delays
from spectral_icl.kernels.model import Ints
from spectral_icl.kernels.race import Standing, Warming, advance
from spectral_icl.kernels.tableaus import RODAS5P
from spectral_icl.multitask.flow.emergence import (
    EXTREME,
    SLOW,
    Forecast,
    Rates,
    head_limit,
    no_forecasts,
    one_sign,
    rates,
    size_of_start,
)
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

SMALL = 0.1  # size of a start up to which the race is predicted (see `size_of_start`)
_NOISE, _SCALES = 1e3, (1e-3, 1e3)  # largest d phi / L, and range of kappa c, of a fall
_LEAST = 1e-300  # zeros are taken for this, and stay it
_REMARKS = {
    kernel.TIED: "no head dominates: two heads are tied",
    kernel.NEVER: "the heads that could take the task lose more on those they have",
    kernel.SLOW: SLOW,
    kernel.LOST: "the race could not be followed",
}


@np.errstate(all="ignore")  # of extreme problems, of which there is no forecast
def race(problem: Problem, start: State, key_scale: float) -> tuple[Forecast, ...]:
    """The emergence of every task from a small start of balanced weights, of one sign on each task.

    Adds three effects to `predicted_emergence`: the heads of a task share its noise term; a head that has
    taken tasks has E_hh = e from then on, and its omega on other blocks decays by the rate 4 c kappa^2 V
    omega, with V as in `water_level`; and the steepest fall is at a distance from the divergence that
    `fall_delay` finds. Exact as the start goes to 0. Up to a `size_of_start` of 0.05 the first task of a head
    is within 5 %. A later one, for which that distance is taken to be the same, is within 3 % in 19 of 20
    cases and within 7 % in 99 of 100; it is far off where a close race before it ends otherwise.
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
    after = delays(RODAS5P, noise, scale) / (made.c1 * made.size**0.5)
    if head_limit(problem, made) is None or not np.isfinite(after).all():
        return no_forecasts(problem, EXTREME)
    omega, mu = start.omega[:, list(problem.home)], start.mu
    return _Race(made, key_scale, after, np.abs(omega), np.abs(mu)).forecasts()


class _Race:
    """The tasks that are still open, at the time of the last fall, and what was decided before.

    Parameters
    ----------
    made : Rates
    key_scale : float
    after : ndarray, (I,)
        Time from the divergence of a task's warm-up to its fall.
    omega, mu : ndarray, (H, I)
        On the block of every task, and in it, at the start; not negative.
    """

    def __init__(self, made: Rates, key_scale: float, after: Floats, omega: Floats, mu: Floats) -> None:
        heads, tasks = omega.shape
        self.after, self.key_scale = after, key_scale
        self.power = made.c2 / (4.0 * made.kappa)
        self.gain = 4.0 * self.power / (np.e * made.n * made.size)
        full = made.kappa * np.sqrt(made.size)
        self.warming = Warming(
            made.c1, made.c2, made.n, made.kappa**2, full, after, np.zeros(heads), np.zeros(heads)
        )
        logs = np.log(np.maximum(np.concatenate([omega, mu]), _LEAST)).T
        self.start, self.at = _standing(logs), _standing(logs)
        self.held: list[list[int]] = [[] for _ in range(heads)]
        grows = np.atleast_1d(((omega > 0.0) & (mu > 0.0)).any(axis=0))
        self.left = np.flatnonzero(grows)
        self.head, self.fall = np.full(tasks, -1), np.full(tasks, np.inf)
        self.remark = ["" if growing else "no head has omega mu > 0 on the task" for growing in grows]

    def forecasts(self) -> tuple[Forecast, ...]:
        """Run the race, from fall to fall."""
        ahead: list[int] = []  # decided, and not yet fallen
        while self.left.size or ahead:
            until = float(self.fall[ahead].min(initial=np.inf))
            if self.left.size:
                until, decided = self._to_next_fall(until)
                ahead += decided
            for task in ahead:
                if self.fall[task] <= until:
                    self._take(task, int(self.head[task]))
            ahead = [task for task in ahead if self.fall[task] > until]
        return tuple(
            Forecast(task, float(self.fall[task]), int(self.head[task]), "")
            if np.isfinite(self.fall[task])
            else Forecast(task, None, None, remark)
            for task, remark in enumerate(self.remark)
        )

    def _to_next_fall(self, until: float) -> tuple[float, list[int]]:
        """Follow the open tasks until then, or to a fall before; return its time, and who was decided."""
        left, start, at = self.left, self.start, self.at
        # the one that seems next goes first, so that few others are followed too far
        first = int(start.diverges[left].argmin())
        left[[0, first]] = left[[first, 0]]
        until = advance(RODAS5P, self.warming, left, until, start, at)
        settled = np.isin(at.outcome[left], (kernel.DECIDED, kernel.TIED))
        seen = np.where(settled, at.diverges[left] + np.minimum(self.after[left], 0.0), at.time[left])
        too_far = (seen > until) & (at.outcome[left] != kernel.NEVER)
        advance(RODAS5P, self.warming, left[too_far], until, start, at)
        decided = []
        for task in map(int, left[at.outcome[left] != kernel.OPEN]):
            if at.outcome[task] != kernel.DECIDED:
                self.remark[task] = _REMARKS[int(at.outcome[task])]
                continue
            time = max(at.diverges[task] + self.after[task], start.time[task])
            self.remark[task] = "" if np.isfinite(time) else SLOW
            if np.isfinite(time):
                self.head[task], self.fall[task] = at.head[task], time
                decided.append(task)
        self.left = left[at.outcome[left] == kernel.OPEN]
        self.start, self.at = at, start
        return until, decided

    def _take(self, task: int, head: int) -> None:
        """Let a head have a task."""
        held = self.held[head]
        held.append(task)
        self.warming.extra[head] = np.e - 1.0
        level = water_level(self.power[held], self.gain[held])
        self.warming.level[head] = 4.0 * self.key_scale * level


def water_level(power: Floats, gain: Floats) -> float:
    """V = (e / L) sum_i s_i mu_i^2 of a head that has tasks of power a_i and gain g_i = L a_i / (e s_i d_i).

    Such a head comes to rest where its shares p_i = d_i (kappa_i omega_i)^2, whose sum is 1, have equal
    returns: V = a_i g_i / (1 + g_i p_i)^2 where p_i > 0. A task with a_i g_i < V it gives up, or never takes.
    """
    order = np.argsort(-power * gain)
    power, gain = power[order], gain[order]
    # of the best tasks alone: the best two, and so on
    levels = (np.cumsum(np.sqrt(power / gain)) / (1.0 + np.cumsum(1.0 / gain))) ** 2
    served = np.flatnonzero(power * gain >= levels)
    return float(levels[served[-1]])


def fall_delay(noise: float, key_scale: float) -> float:
    """Time from the divergence of the warm-up to the steepest fall, in units of 1 / (c1 sqrt(d)).

    A lone head leaves zero along one curve. With w = kappa sqrt(d) omega, m = mu / sqrt(d) and ``noise``
    g = d phi / L it depends on g and ``key_scale`` kappa c alone: (log w)' = m (1 - m w (1 + g E)) and
    (log m)' = (w (1 - m w) - g E m) / (kappa c), E = e^(w^2), where the warm-up has w' = w^2 / (kappa c + g).
    """
    return float(delays(RODAS5P, np.array([noise]), np.array([key_scale]))[0])


def _standing(logs: Floats) -> Standing:
    """Tasks at the start."""
    tasks = len(logs)
    zeros: Ints = np.zeros(tasks, dtype=np.int64)
    return Standing(
        logs.copy(), np.zeros(tasks), np.zeros(tasks), np.full(tasks, np.inf), zeros, zeros + kernel.OPEN
    )
