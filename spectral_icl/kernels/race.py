"""The warm-up of heads that race for tasks, each task by implicit steps of its own that cost O(H).

With u = log omega and v = log mu the heads of a task obey, while no head takes another,

    u_h' = c1 mu_h - D_h omega_h,   v_h' = c2 omega_h - n (sum_k mu_k + e_h mu_h),

where D_h and e_h come of the tasks that a head holds. The noise term makes it stiff where n is large against
c1. Its Jacobian is a 2 x 2 block for every head and one product of two vectors beside, so that the linear
equations of a Rosenbrock step are solved by the formula of Sherman and Morrison.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, entry, inner, maker
from spectral_icl.kernels.control import growth, shrinkage, too_small
from spectral_icl.kernels.elementary import exponential
from spectral_icl.kernels.model import Floats, Ints, Rosenbrock
from spectral_icl.kernels.runge_kutta import accumulate
from spectral_icl.kernels.subnormals import floating_mode, flushing, set_floating_mode

OPEN, DECIDED, TIED, NEVER, SLOW, LOST = 0, 1, 2, 3, 4, 5

RESOLVED = 1e-2  # rivals' share of mu below which a head has won
_LEFT = 1e-4  # time left over that gone by, at which the rest of a winner's way is in closed form
_SAME = 1e-6  # time left over that gone by, at which rivals that still hold a share are tied
_SKEWED = 0.1  # distance from the ray up to which that form holds
_TAKEN = 0.25  # omega over that of the limit, at an event that comes too late to decide who takes the task
_RTOL = 1e-6  # of the weights; the race's neglected terms are larger
_MOST = 5000  # steps of a task to the next event; a usual one takes tens


class Warming(NamedTuple):
    """The open tasks of a race, and what the heads hold."""

    c1: Floats  # (I,)
    c2: Floats  # (I,)
    n: Floats  # (I,)
    square: Floats  # (I,) kappa^2
    full: Floats  # (I,) kappa sqrt(d): the reciprocal of the omega of a head that has the task
    after: Floats  # (I,) time from the divergence to the fall
    extra: Floats  # (H,) e, E_hh - 1
    level: Floats  # (H,) D / kappa^2


class Standing(NamedTuple):
    """What became of every task, (I,) each; of tasks that are still open, the state at a common time."""

    state: Floats  # (I, 2 H) u, then v
    step: Floats  # (I,) the step to try next, 0 if unknown
    time: Floats  # (I,) of the state
    diverges: Floats  # (I,) when the winner does, or, of an open task, would if it were alone from now on
    head: Ints  # (I,) winner
    outcome: Ints  # (I,)


class _Work(NamedTuple):
    y: Floats  # (2 H,)
    trial: Floats  # (2 H,)
    grown: Floats  # (2 H,) omega, then mu, at y
    moved: Floats  # (2 H,) at trial
    rate: Floats  # (2 H,)
    weights: Floats  # (2 H,) reciprocal tolerances
    damping: Floats  # (H,) D
    growth: Floats  # (H,) of omega on the ray: omega' = growth omega^2
    blocks: Floats  # (4, H) inverses of the 2 x 2 blocks
    pull: Floats  # (2 H,) the solution for the noise term
    increments: Floats  # (stages, 2 H)


@maker
def _workspace(heads, stages):
    size = 2 * heads
    return _Work(
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(heads),
        np.empty(heads),
        np.empty((4, heads)),
        np.empty(size),
        np.empty((stages, size)),
    )


@inner(fastmath=ALGEBRA)
def _field(c1, c2, n, extra, damping, y, grown, rate):
    """Fill the weights and the rates of their logarithms."""
    heads = extra.size
    for k in range(y.size):
        grown[k] = exponential(y[k])
    noise = 0.0
    for h in range(heads):
        noise += grown[heads + h]
    for h in range(heads):
        omega, mu = grown[h], grown[heads + h]
        rate[h] = c1 * mu - damping[h] * omega
        rate[heads + h] = c2 * omega - n * (noise + extra[h] * mu)


@inner(fastmath=ALGEBRA)
def _factorise(c1, c2, n, extra, damping, step, work):
    """Prepare the solution of (1 - step J) k = r at the state; return 1 over the pivot, 0 past a pole."""
    grown, blocks, pull = work.grown, work.blocks, work.pull
    heads = extra.size
    sound = True
    total = 0.0
    for h in range(heads):
        omega, mu = grown[h], grown[heads + h]
        first, last = 1.0 + step * damping[h] * omega, 1.0 + step * n * extra[h] * mu
        right, left = step * c1 * mu, step * c2 * omega
        determinant = first * last - right * left
        sound = sound and determinant > 0.0
        inverse = 1.0 / determinant
        blocks[0, h], blocks[1, h] = last * inverse, right * inverse
        blocks[2, h], blocks[3, h] = left * inverse, first * inverse
        pull[h], pull[heads + h] = blocks[1, h], blocks[3, h]
        total += mu * blocks[3, h]
    pivot = 1.0 + step * n * total
    return step * n / pivot if sound and pivot > 0.0 else -1.0


@inner(fastmath=ALGEBRA)
def _solve(noise, grown, blocks, pull, stage):
    """Solve in place."""
    heads = blocks.shape[1]
    total = 0.0
    for h in range(heads):
        a, b = stage[h], stage[heads + h]
        stage[h] = blocks[0, h] * a + blocks[1, h] * b
        stage[heads + h] = blocks[2, h] * a + blocks[3, h] * b
        total += grown[heads + h] * stage[heads + h]
    total *= noise
    for k in range(stage.size):
        stage[k] -= total * pull[k]


@inner(fastmath=ALGEBRA)
def _step(method, c1, c2, n, extra, step, work):
    """Fill ``trial`` with the state after a step; return its error in tolerances, infinite past a pole."""
    y, trial, increments = work.y, work.trial, work.increments
    stages = method.a.shape[0]
    noise = _factorise(c1, c2, n, extra, work.damping, method.gamma * step, work)
    if noise < 0.0:
        return np.inf
    for s in range(stages):
        for k in range(y.size):
            trial[k] = y[k]
        accumulate(trial, method.a[s], increments, s)
        _field(c1, c2, n, extra, work.damping, trial, work.moved, work.rate)
        stage = increments[s]
        for k in range(y.size):
            stage[k] = step * work.rate[k]
        accumulate(stage, method.c[s], increments, s)
        for k in range(y.size):
            stage[k] *= method.gamma
        _solve(noise, work.grown, work.blocks, work.pull, stage)
    last = increments[stages - 1]
    error = 0.0
    for k in range(y.size):
        trial[k] += last[k]
        error = max(error, abs(last[k]) * work.weights[k])
        if not abs(trial[k]) < np.inf:
            error = np.inf
    return error


@inner()
def _leader(c1, c2, n, extra, work):
    """The head that would diverge first were it alone and on its ray.

    Returns
    -------
    head
        -1 if none would.
    rivals
        What the others have of mu, over its own.
    left
        Its time to the divergence.
    skew
        Relative correction of that time by the distance from the ray.
    """
    heads = extra.size
    grown = work.grown
    head, fastest, total = -1, 0.0, 0.0
    for h in range(heads):
        mu = grown[heads + h]
        total += mu
        speed = work.growth[h] * grown[h]
        if mu > 1e-290 and speed > fastest:
            head, fastest = h, speed
    if head < 0:
        return head, np.inf, np.inf, np.inf
    omega, mu = grown[head], grown[heads + head]
    held = n * (1.0 + extra[head]) + c1
    slope = (c2 + work.damping[head]) / held
    off = c1 * (mu / omega - slope) / work.growth[head]
    # the distance from the ray falls as omega^-q
    q = slope * held / work.growth[head]
    return head, total / mu - 1.0, 1.0 / fastest, -off / (1.0 + q)


@inner()
def _advance(method, warming, i, until, at, work):
    """Follow one task until then, or until it is decided before.

    ``work`` has its state, ``at`` is where what is found goes. A task whose fall has begun at that time, as
    its omega shows, is followed to its end: falls have a width, and closer ones are one event.
    """
    c1, c2, n = warming.c1[i], warming.c2[i], warming.n[i]
    extra, damping, y = warming.extra, work.damping, work.y
    heads = extra.size
    for h in range(heads):
        damping[h] = warming.level[h] * warming.square[i]
        slope = (c2 + damping[h]) / (c1 + n * (1.0 + extra[h]))
        work.growth[h] = c1 * slope - damping[h]
    t, step = at.time[i], at.step[i]
    previous, rejected = 1.0, False
    at.outcome[i] = OPEN
    taken = 0
    while True:
        if not rejected:
            _field(c1, c2, n, extra, damping, y, work.grown, work.rate)
            head, rivals, left, skew = _leader(c1, c2, n, extra, work)
            if head < 0:
                at.outcome[i] = NEVER
                break
            over = t + left * (1.0 + skew)
            at.diverges[i], at.head[i] = over, head
            alone = rivals < RESOLVED and left < _LEFT * t and abs(skew) < _SKEWED
            if (alone or left < _SAME * t) and over + min(0.0, warming.after[i]) <= until:
                at.outcome[i] = DECIDED if alone else TIED
                break
            if t >= until or too_small(until - t, t):
                t = until
                if work.grown[head] * warming.full[i] < _TAKEN:
                    break
                until = np.inf
            if step <= 0.0:
                fastest = 0.0
                for k in range(y.size):
                    fastest = max(fastest, abs(work.rate[k]))
                step = 0.01 / fastest
            for k in range(y.size):
                work.weights[k] = 1.0 / (_RTOL * max(1.0, 0.25 * abs(y[k])))
        tried = min(step, until - t)
        if taken == _MOST or not t + tried < np.inf:
            at.outcome[i] = SLOW
            break
        if too_small(tried, t):
            at.outcome[i] = LOST
            break
        taken += 1
        error = _step(method, c1, c2, n, extra, tried, work)
        if not error <= 1.0:
            step = tried * (shrinkage(method.order, error) if error < np.inf else 0.5)
            rejected = True
            continue
        t = until if tried < step else t + tried
        for k in range(y.size):
            y[k] = work.trial[k]
        error = max(error, 1e-6)
        step = max(tried * growth(method.order, error, previous, rejected), step if tried < step else 0.0)
        previous, rejected = error, False
    at.time[i], at.step[i] = t, step


@entry()
def advance(
    method: Rosenbrock, warming: Warming, tasks: Ints, until: float, start: Standing, at: Standing
) -> float:
    """Follow tasks from one event to the next, and return the time of it.

    The next event is at ``until``, or at the fall of a task of these that comes before. Tasks that were
    followed before it was found may have gone further.

    Parameters
    ----------
    method : Rosenbrock
    warming : Warming
    tasks : ndarray
        Open tasks in the order in which to follow them.
    until : float
    start, at : Standing
        All tasks at the last event; and where what is found goes.
    """
    heads = warming.extra.size
    work = _workspace(heads, method.a.shape[0])
    floating = floating_mode()
    set_floating_mode(flushing(floating))
    for i in tasks:
        for k in range(2 * heads):
            work.y[k] = start.state[i, k]
        at.time[i], at.step[i] = start.time[i], start.step[i]
        _advance(method, warming, i, until, at, work)
        for k in range(2 * heads):
            at.state[i, k] = work.y[k]
        if at.outcome[i] == DECIDED:
            until = min(until, max(at.diverges[i] + warming.after[i], start.time[i]))
    set_floating_mode(floating)
    return until
