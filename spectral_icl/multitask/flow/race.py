"""The race of the heads: when each task emerges, and which head takes it.

The heads of a task hold each other back through the noise term, and a head that has taken one task falls back
on the others. For all heads and tasks the system of `spectral_icl.multitask.flow.emergence` has no closed
form. But from one fall to the next every task goes its own way, and is followed in steps of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.fall import delays
from spectral_icl.kernels.race import DECIDED, NEVER, OPEN, SLOW as TOO_SLOW, TIED, Standing, Warming, advance
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

SMALL = 0.1  # size of a start up to which the race is predicted (see `size_of_start`), to about 6 %
_NOISE, _SCALES = 1e3, (1e-3, 1e3)  # largest d phi / L, and range of kappa c, of a fall
_LEAST = 1e-300  # zeros stay zeros: nothing grows from here
_REMARKS = {
    TIED: "no head dominates: two heads are tied",
    NEVER: "no head that could take the task gains from it",
    TOO_SLOW: SLOW,
}
_UNRESOLVED = "the race could not be followed"


@np.errstate(all="ignore")  # of extreme problems, of which there is no forecast
def race(problem: Problem, start: State, key_scale: float) -> tuple[Forecast, ...]:
    """The emergence of every task from a small start of balanced weights, of one sign on each task.
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
    if head_limit(problem) is None:
        return no_forecasts(problem, EXTREME)
    after = delays(RODAS5P, noise, scale) / (made.c1 * made.size**0.5)
    return _Race(problem, start, made, key_scale, after).run()


class _Race:

    def __init__(self, problem, start, made, key_scale, after):
        omega, mu = start.omega[:, list(problem.home or ())], start.mu
        tasks, self.heads = problem.tasks, len(mu)
        state = np.log(np.maximum(np.abs(np.concatenate([omega, mu]).T), _LEAST))
        self.start, self.at = (
            Standing(
                state.copy(),
                np.zeros(tasks),
                np.zeros(tasks),
                np.zeros(tasks),
                np.zeros(tasks, dtype=np.int64),
                np.full(tasks, OPEN),
            )
            for _ in range(2)
        )
        self.warming = Warming(made.c1, made.c2, made.n, made.kappa**2, made.kappa*made.size**.5, after, np.zeros(self.heads), np.zeros(self.heads))
        self.gain = made.c2 / (made.kappa * made.n * made.size * np.e)
        self.power = made.c2 / made.kappa / 4
        self.key_scale = key_scale
        self.held = [[] for _ in range(self.heads)]
        self.grows = (omega*mu > 0).any(axis=0)

    def run(self):
        tasks = self.grows.size
        head, fall = np.full(tasks, -1), np.full(tasks, np.inf)
        remark = np.where(self.grows, "", "no head has omega mu > 0 on the task").astype(object)
        waiting = np.zeros(tasks, dtype=bool)
        left = np.flatnonzero(self.grows)
        self.rounds = 0
        while left.size or waiting.any():
            self.rounds += 1
            assert self.rounds < 3*tasks+10
            until = fall[waiting].min(initial=np.inf)
            at = self.at
            if left.size:
                first = self.start.diverges[left].argmin()
                left[[0, first]] = left[[first, 0]]
                until = advance(RODAS5P, self.warming, left, until, self.start, at)
                settled = (at.outcome[left] == DECIDED) | (at.outcome[left] == TIED)
                reached = np.where(settled, at.diverges[left] + np.minimum(0.0, self.warming.after[left]), at.time[left])
                beyond = (reached > until) & (at.outcome[left] != NEVER)
                advance(RODAS5P, self.warming, left[beyond], until, self.start, at)
                closed = left[at.outcome[left] != OPEN]
                for i in closed:
                    if at.outcome[i] == DECIDED:
                        head[i], waiting[i] = at.head[i], True
                        fall[i] = max(at.diverges[i] + self.warming.after[i], self.start.time[i])
                    else:
                        remark[i] = _REMARKS.get(int(at.outcome[i]), _UNRESOLVED)
                left = left[at.outcome[left] == OPEN]
                self.start, self.at = at, self.start
            now = waiting & (fall <= until)
            for i in np.flatnonzero(now):
                self.take(int(i), int(head[i]))
            waiting &= ~now
        out = []
        for i in range(tasks):
            ok = head[i] >= 0 and np.isfinite(fall[i])
            out.append(Forecast(i, float(fall[i]) if ok else None, int(head[i]) if ok else None, "" if ok else remark[i] or SLOW))
        return tuple(out)

    def take(self, task, head):
        held = self.held[head]
        held.append(task)
        g, a = self.gain[held], self.power[held]
        k = np.argsort(-a*g)
        root = np.cumsum(np.sqrt(a/g)[k]) / (1.0 + np.cumsum(1.0/g[k]))
        fits = (a*g)[k] > root**2
        m = np.flatnonzero(fits)[-1]
        self.warming.level[head] = 4*self.key_scale*root[m]**2
        self.warming.extra[head] = np.e - 1.0


def fall_delay(noise: float, key_scale: float) -> float:
    """Time from the divergence of the warm-up to the steepest fall, in units of 1 / (c1 sqrt(d)).

    A lone head leaves zero along one curve. With w = kappa sqrt(d) omega, m = mu / sqrt(d) and ``noise``
    g = d phi / L it depends on g and ``key_scale`` kappa c alone: (log w)' = m (1 - m w (1 + g E)) and
    (log m)' = (w (1 - m w) - g E m) / (kappa c), E = e^(w^2), where the warm-up has w' = w^2 / (kappa c + g).
    """
    return float(delays(RODAS5P, np.array([noise]), np.array([key_scale]))[0])
