"""The integrator of many flows at once, one in each lane of the processor's vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import lane_chart, lanes_slope, lanes_to_primal, load_chart, pick_chart
from spectral_icl.kernels.cholesky import cholesky, cholesky_solve
from spectral_icl.kernels.compile import ALGEBRA, entry, inner
from spectral_icl.kernels.integrator import evaluate
from spectral_icl.kernels.lanes import WIDTH, as_lanes, everywhere, lane_array, pick, put, where
from spectral_icl.kernels.loss import task_losses
from spectral_icl.kernels.model import (
    EXPONENTIAL,
    HYPERBOLIC,
    LEFT_RANGE,
    LINEAR,
    NON_FINITE,
    OVERFLOW,
    REACHED_END,
    STATIONARY,
    STEP_LIMIT,
    STEP_UNDERFLOW,
    Emerged,
    Ends,
    Floats,
    ManyLimits,
    Nodes,
    Recording,
    Systems,
    Tableau,
    Tasks,
)
from spectral_icl.kernels.phases import measure_phases
from spectral_icl.kernels.steps import all_finite, first_step, fitted, growth, shrinkage, too_small


class LaneWork(NamedTuple):
    """Scratch of `integrate_many`: an entry is one number for every lane.

    Unprefixed arrays belong to the last accepted state, ``trial`` and ``new_*`` to the step being tried;
    `spectral_icl.kernels.steps.Work` has the meaning of those that are not explained here.
    """

    x: Floats  # (N,)
    theta: Floats
    slope: Floats
    scratch: tuple[Floats, ...]
    trial: Floats
    new_theta: Floats
    new_slope: Floats
    new_scratch: tuple[Floats, ...]
    grad: Floats
    increments: Floats
    weights: Floats
    root: Floats
    down: Floats  # (N,) diagonal map into the coordinates in which the Jacobian is symmetric
    up: Floats  # (N,) and back
    rhs: Floats
    factor: Floats  # (N, N) the Hessian, then the Cholesky factor that is made of it
    bend: Floats  # (K, N) coefficients of the continuous extension


@inner()
def _keep(p, systems, nodes, rests, recording):
    """Record what is asked of a flow that has ended."""
    heads, blocks, tasks = systems.shape
    model = law.pick_model(systems.models, p)
    chart = pick_chart(systems.charts, p)
    if recording.tasks.attainable.size > 0:
        found, asked = recording.found, recording.tasks
        measure_phases(
            model,
            chart,
            systems.shape,
            nodes,
            Tasks(asked.attainable[p], asked.variance[p], asked.pull[p]),
            recording.thresholds,
            Emerged(
                found.head[p],
                found.share[p],
                found.onset[p],
                found.time[p],
                found.settled[p],
                found.plateau[p],
                found.rival[p],
                found.escape[p],
                found.at[p],
            ),
        )
    instant, theta, losses = np.empty(1), np.empty((1, nodes.x.shape[1])), np.empty((1, tasks))
    for k in range(recording.times.size):
        instant[0] = recording.times[k]
        if instant[0] > nodes.t[-1]:
            if not rests:
                break
            instant[0] = nodes.t[-1]
        evaluate(chart, nodes, instant, theta)
        omega = theta[:, : heads * blocks].copy().reshape(1, heads, blocks)
        mu = theta[:, heads * blocks :].copy().reshape(1, heads, tasks)
        task_losses(model, omega, mu, losses)
        recording.curve[p, k] = losses[0].sum()


@inner()
def _lane_workspace(model, shape, stages, orders):
    heads, blocks, tasks = shape
    size = heads * (blocks + tasks)
    return LaneWork(
        lane_array(size),
        lane_array(size),
        lane_array(size),
        law.scratch(model, shape),
        lane_array(size),
        lane_array(size),
        lane_array(size),
        law.scratch(model, shape),
        lane_array(size),
        lane_array(stages * size).reshape(stages, size),
        lane_array(size),
        lane_array(size),
        lane_array(size),
        lane_array(size),
        lane_array(size),
        lane_array(size * size).reshape(size, size),
        lane_array(orders * size).reshape(orders, size),
    )


@inner(fastmath=ALGEBRA)
def _lanes_field(model, chart, shape, f, mixed):
    """`field` in lanes, from `trial` to `new_slope`. Returns the mask of the lanes where all of it is finite.

    ``mixed`` says whether some entry in some lane is not exponential.
    """
    heads, blocks, tasks = shape
    theta, grad = f.new_theta, f.grad
    lanes_to_primal(chart, f.trial, theta, mixed)
    first_mu = heads * blocks
    law.gradient(
        model,
        theta[:first_mu].reshape(heads, blocks),
        theta[first_mu:].reshape(heads, tasks),
        grad[:first_mu].reshape(heads, blocks),
        grad[first_mu:].reshape(heads, tasks),
        f.new_scratch,
    )
    finite = abs(grad[0]) < np.inf
    for n in range(grad.size):
        rate = -(chart.speed[n] * chart.sign[n]) * grad[n]
        f.new_slope[n] = rate
        finite = finite & (abs(rate) < np.inf)
    return finite


@inner(fastmath=ALGEBRA)
def _lanes_prepare(model, chart, shape, rtol, f, mixed):
    """Fill tolerances, Hessian (in ``factor``) and its scaling at x. Returns what `is_stationary` tests."""
    heads, blocks, tasks = shape
    first_mu = heads * blocks
    unrest = everywhere(0.0)
    for n in range(f.x.size):
        size = abs(f.x[n])
        bound = 0.25 * size
        bound = where(bound > 1.0, bound, 1.0)
        slope = lanes_slope(chart, f.theta, n, mixed)
        speed = abs(f.slope[n])
        drift = f.slope[n]  # an exponential entry may decay to zero: only growth counts
        if mixed:
            linear = chart.kind[n] == LINEAR
            hyperbolic = chart.kind[n] == HYPERBOLIC
            scale = chart.scale[n]
            bound = where(linear, where(size > scale, size, scale), bound)
            drift = where(hyperbolic | linear, speed, drift)
        change = slope * speed
        unrest = where(change > unrest, change, unrest)
        unrest = where(drift > unrest, drift, unrest)
        f.weights[n] = 1.0 / (rtol * bound)
        moves = chart.speed[n] > 0.0  # a frozen entry would divide zero by zero
        root_speed, root_slope = np.sqrt(chart.speed[n]), np.sqrt(slope)  # their product might underflow
        f.root[n] = chart.sign[n] * root_speed * root_slope
        f.down[n] = where(moves, root_slope / root_speed, 0.0)
        f.up[n] = where(moves, root_speed / root_slope, 0.0)
    law.hessian(
        model,
        f.theta[:first_mu].reshape(heads, blocks),
        f.theta[first_mu:].reshape(heads, tasks),
        f.scratch,
        f.factor,
    )
    return unrest


# Whether a state is one that the law says something of.
_LOST, _OUTSIDE = 1.0, 2.0


@inner()
def _strayed(model, work):
    """In every lane 0, or `_LOST` where the law has lost its meaning, or `_OUTSIDE` of its range."""
    lost = where(law.lost_meaning(model, work), everywhere(_LOST), everywhere(0.0))
    return where(law.left_range(model, work), everywhere(_OUTSIDE), lost)


@inner()
def _further(one, other):
    """The larger of two numbers in every lane."""
    return where(one > other, one, other)


@inner(fastmath=ALGEBRA)
def _combine(a, c, stage, f):
    """Fill ``trial`` and ``rhs`` with the combinations of earlier increments that a stage begins with."""
    size = f.x.size
    whole = size - size % 4
    zero = everywhere(0.0)
    for n in range(0, whole, 4):  # four entries at a time hide the latency of the sums
        t0, t1, t2, t3 = f.x[n], f.x[n + 1], f.x[n + 2], f.x[n + 3]
        r0, r1, r2, r3 = zero, zero, zero, zero
        for q in range(stage):
            row = f.increments[q]
            k0, k1, k2, k3 = row[n], row[n + 1], row[n + 2], row[n + 3]
            t0 += a[q] * k0
            t1 += a[q] * k1
            t2 += a[q] * k2
            t3 += a[q] * k3
            r0 += c[q] * k0
            r1 += c[q] * k1
            r2 += c[q] * k2
            r3 += c[q] * k3
        f.trial[n], f.trial[n + 1], f.trial[n + 2], f.trial[n + 3] = t0, t1, t2, t3
        f.rhs[n], f.rhs[n + 1], f.rhs[n + 2], f.rhs[n + 3] = r0, r1, r2, r3
    for n in range(whole, size):
        t0 = f.x[n]
        r0 = zero
        for q in range(stage):
            t0 += a[q] * f.increments[q, n]
            r0 += c[q] * f.increments[q, n]
        f.trial[n], f.rhs[n] = t0, r0


@inner(fastmath=ALGEBRA)
def _lanes_attempt(model, chart, tableau, shape, step, f, mixed):
    """One Rosenbrock step in every lane; the Hessian in ``factor`` is used up.

    Returns (error in units of the tolerance, mask of the lanes where the step made sense, mask of those where
    all was finite, how far a stage strayed from the law's range): `attempt` in lanes.
    """
    size = f.x.size
    stages = tableau.a.shape[0]
    gamma = tableau.gamma
    for i in range(size):
        row = gamma * step * f.root[i]
        for j in range(i, size):
            f.factor[i, j] *= row * f.root[j]
        f.factor[i, i] += 1.0
    definite = cholesky(f.factor, size)
    finite = step == step
    left = everywhere(0.0)
    error = everywhere(0.0)
    for s in range(stages):
        _combine(tableau.a[s], tableau.c[s], s, f)
        if s > 0:
            finite = finite & _lanes_field(model, chart, shape, f, mixed)
            left = _further(left, _strayed(model, f.new_scratch))
        slope = f.new_slope if s > 0 else f.slope
        for n in range(size):
            f.rhs[n] = (f.rhs[n] + step * slope[n]) * (gamma * f.down[n])
        cholesky_solve(f.factor, size, f.rhs)
        for n in range(size):
            f.increments[s, n] = f.rhs[n] * f.up[n]
    for n in range(size):
        f.trial[n] += f.increments[stages - 1, n]
        total = everywhere(0.0)
        for q in range(stages):
            if tableau.error[q] != 0.0:
                total += tableau.error[q] * f.increments[q, n]
        total = abs(total) * f.weights[n]
        finite = finite & (total < np.inf)
        error = where(total > error, total, error)
    finite = finite & _lanes_field(model, chart, shape, f, mixed)
    return error, definite, finite, _further(left, _strayed(model, f.new_scratch))


@inner(fastmath=ALGEBRA)
def _adopt(model, mask, f):
    """Make the new state the current one in the lanes of the mask. Returns its `law.largest_tilt`."""
    for n in range(f.x.size):
        f.x[n] = where(mask, f.trial[n], f.x[n])
        f.theta[n] = where(mask, f.new_theta[n], f.theta[n])
        f.slope[n] = where(mask, f.new_slope[n], f.slope[n])
    law.adopt(model, mask, f.scratch, f.new_scratch)
    return law.largest_tilt(model, f.new_scratch)


@inner()
def _lane_first_step(order, chart, f, lane, span):
    """`first_step` of the flow in one lane."""
    size = f.x.size
    speed, slope, root, weights = np.empty(size), np.empty(size), np.empty(size), np.empty(size)
    hess = np.empty((size, size))
    for i in range(size):
        speed[i] = pick(chart.speed[i], lane)
        slope[i] = pick(f.slope[i], lane)
        root[i] = pick(f.root[i], lane)
        weights[i] = pick(f.weights[i], lane)
        for j in range(i, size):
            hess[i, j] = pick(f.factor[i, j], lane)
    return first_step(order, speed, slope, root, hess, weights, np.empty(size), span)


@inner()
def _tie(twin, lane, f):
    """Keep equal heads equal to the last bit in a lane, as `integrate` does."""
    for n in range(twin.size):
        m = twin[n]
        f.x[n] = put(f.x[n], lane, pick(f.x[m], lane))
        f.theta[n] = put(f.theta[n], lane, pick(f.theta[m], lane))
        f.slope[n] = put(f.slope[n], lane, pick(f.slope[m], lane))


@inner(fastmath=ALGEBRA)
def _lanes_bend(dense, f):
    """Fill the coefficients of the continuous extension of the last step, as `_store` does."""
    for k in range(dense.shape[0]):
        for n in range(f.x.size):
            total = everywhere(0.0)
            for s in range(dense.shape[1]):
                total += dense[k, s] * f.increments[s, n]
            f.bend[k, n] = total


@inner()
def _histories(room, orders, size):
    """Room for the steps of the flow in every lane: times, states and continuous extensions.

    Apart, because numba's clean-up after a list comprehension drops assignments to the items of attributes
    (``f.x[n] = ...``) from the function that has it.
    """
    return (
        [np.empty(room + 1) for _ in range(WIDTH)],
        [np.empty((room + 1, size)) for _ in range(WIDTH)],
        [np.empty((room, orders, size)) for _ in range(WIDTH)],
    )


@inner()
def _with_room(steps, t, x, dense):
    """The arrays of a history, copied to twice their size if they are full."""
    if steps < dense.shape[0]:
        return t, x, dense
    more_t = np.empty(2 * steps + 1)
    more_x = np.empty((2 * steps + 1, x.shape[1]))
    more_dense = np.empty((2 * steps, dense.shape[1], dense.shape[2]))
    more_t[: steps + 1] = t
    more_x[: steps + 1] = x
    more_dense[:steps] = dense
    return more_t, more_x, more_dense


@inner(fastmath=ALGEBRA)
def _as_numbers(mask):
    """1 in the lanes of the mask, 0 in the others."""
    return where(mask, everywhere(1.0), everywhere(0.0))


# Rows of what is decided lane by lane and used by vector code, or the other way round.
_STEP, _RTOL, _UNREST, _ERROR, _DEFINITE, _FINITE, _LEFT, _CHOSEN, _TILT = range(9)


@entry(slow=True)
def integrate_many(
    systems: Systems,
    tableau: Tableau,
    limits: ManyLimits,
    first: int,
    stop: int,
    ends: Ends,
    recording: Recording,
) -> None:
    """Advance the flows ``first`` to ``stop`` to their ends: `integrate` for many, always implicit.

    As many flows are under way as there are lanes; a lane whose flow has ended takes the next one. What a
    flow does depends on nothing in the other lanes: arithmetic is lane by lane, and so is every decision.
    """
    size = ends.x.shape[1]
    order = tableau.order
    orders = tableau.dense.shape[0]
    models, charts, twins = systems.models, systems.charts, systems.twins
    shape = systems.shape
    store = law.lane_store(models)
    f = _lane_workspace(law.lane_model(store), shape, tableau.a.shape[0], orders)
    chart = lane_chart(size)
    per_lane = np.zeros((9, WIDTH))
    control = as_lanes(per_lane)
    member = np.full(WIDTH, -1)
    t, previous_error = np.zeros(WIDTH), np.ones(WIDTH)
    rejected = np.zeros(WIDTH, dtype=np.bool_)
    cause = np.zeros(WIDTH, dtype=np.int64)
    waiting = first
    under_way = 0
    mixed = False
    keep = recording.tasks.attainable.size > 0 or recording.times.size > 0
    room = 256 if keep else 1
    history_t, history_x, history_dense = _histories(room, orders, size)

    while True:
        loaded = False
        control[_CHOSEN] = 0.0
        for lane in range(WIDTH):
            if member[lane] >= 0 or waiting >= stop:
                continue
            p = waiting
            waiting += 1
            law.load_model(store, lane, models, p)
            load_chart(chart, lane, charts, p)
            for n in range(size):
                f.trial[n] = put(f.trial[n], lane, ends.x[p, n])
                mixed = mixed or charts.kind[p, n] != EXPONENTIAL
            member[lane] = p
            t[lane], previous_error[lane], rejected[lane], cause[lane] = 0.0, 1.0, False, REACHED_END
            per_lane[_STEP, lane], per_lane[_RTOL, lane], per_lane[_CHOSEN, lane] = 0.0, limits.rtol[p], 1.0
            ends.steps[p, 0] = 0
            ends.steps[p, 1] = 0
            if history_dense[lane].shape[0] > room:  # of a flow that took many steps
                history_t[lane], history_x[lane] = np.empty(room + 1), np.empty((room + 1, size))
                history_dense[lane] = np.empty((room, orders, size))
            history_t[lane][0] = 0.0
            history_x[lane][0] = ends.x[p]
            under_way += 1
            loaded = True
        if under_way == 0:
            return
        model = law.lane_model(store)
        if loaded:
            finite = _lanes_field(model, chart, shape, f, mixed)
            control[_FINITE] = _as_numbers(finite)
            control[_LEFT] = _strayed(model, f.new_scratch)
            control[_TILT] = _adopt(model, control[_CHOSEN] > 0.5, f)
            for lane in range(WIDTH):
                if per_lane[_CHOSEN, lane] < 0.5:
                    continue
                p = member[lane]
                ends.tilt[p] = per_lane[_TILT, lane]
                if per_lane[_FINITE, lane] < 0.5:
                    failed = LEFT_RANGE if per_lane[_LEFT, lane] == _OUTSIDE else OVERFLOW
                    ends.outcome[p] = failed if all_finite(ends.x[p]) else NON_FINITE
                    ends.t[p] = 0.0
                    member[lane] = -1
                    under_way -= 1

        control[_UNREST] = _lanes_prepare(model, chart, shape, control[_RTOL], f, mixed)
        for lane in range(WIDTH):
            p = member[lane]
            if p < 0:
                continue
            outcome = -1
            step = per_lane[_STEP, lane]
            remaining = limits.t_end[p] - t[lane]
            if not rejected[lane]:
                if remaining <= 0.0:
                    outcome = REACHED_END
                elif limits.stationary[p] > 0.0 and per_lane[_UNREST, lane] <= limits.stationary[p]:
                    outcome = STATIONARY
                elif step <= 0.0:
                    step = _lane_first_step(order, chart, f, lane, remaining)
            if outcome < 0:
                step = fitted(step, remaining)
                if ends.steps[p, 0] + ends.steps[p, 1] >= limits.max_steps[p]:
                    outcome = STEP_LIMIT
                elif too_small(step, t[lane]):
                    stalled = LEFT_RANGE if per_lane[_LEFT, lane] >= _LOST else STEP_UNDERFLOW
                    outcome = stalled if cause[lane] == REACHED_END else cause[lane]
            if outcome >= 0:
                ends.outcome[p] = outcome
                ends.t[p] = t[lane]
                for n in range(size):
                    ends.x[p, n] = pick(f.x[n], lane)
                if keep:
                    _keep(
                        p,
                        systems,
                        Nodes(
                            history_t[lane][: ends.steps[p, 0] + 1],
                            history_x[lane][: ends.steps[p, 0] + 1],
                            history_dense[lane][: ends.steps[p, 0]],
                        ),
                        outcome == STATIONARY,
                        recording,
                    )
                member[lane] = -1
                under_way -= 1
                step = 0.0
            per_lane[_STEP, lane] = step

        error, definite, finite, left = _lanes_attempt(model, chart, tableau, shape, control[_STEP], f, mixed)
        control[_ERROR] = error
        control[_DEFINITE] = _as_numbers(definite)
        control[_FINITE] = _as_numbers(finite)
        control[_LEFT] = left
        for lane in range(WIDTH):
            per_lane[_CHOSEN, lane] = 0.0
            p = member[lane]
            if p < 0:
                continue
            worst = per_lane[_ERROR, lane]
            if per_lane[_DEFINITE, lane] > 0.5 and per_lane[_FINITE, lane] > 0.5 and worst <= 1.0:
                per_lane[_CHOSEN, lane] = 1.0
                ends.steps[p, 0] += 1
                step = per_lane[_STEP, lane]
                t[lane] = limits.t_end[p] if step >= limits.t_end[p] - t[lane] else t[lane] + step
                worst = max(worst, 1e-8)
                per_lane[_STEP, lane] *= growth(order, worst, previous_error[lane], rejected[lane])
                previous_error[lane], rejected[lane], cause[lane] = worst, False, REACHED_END
                continue
            ends.steps[p, 1] += 1
            rejected[lane] = True
            if per_lane[_DEFINITE, lane] < 0.5:
                per_lane[_STEP, lane] *= 0.5
            elif per_lane[_FINITE, lane] < 0.5:
                per_lane[_STEP, lane] *= 0.1
                cause[lane] = (
                    LEFT_RANGE if per_lane[_LEFT, lane] == _OUTSIDE else OVERFLOW
                )  # x itself is finite
            else:
                per_lane[_STEP, lane] *= shrinkage(order, worst)
                cause[lane] = REACHED_END
        control[_TILT] = _adopt(model, control[_CHOSEN] > 0.5, f)
        if keep:
            _lanes_bend(tableau.dense, f)
        for lane in range(WIDTH):
            if per_lane[_CHOSEN, lane] < 0.5:
                continue
            p = member[lane]
            ends.tilt[p] = max(ends.tilt[p], per_lane[_TILT, lane])
            if systems.tied[p]:
                _tie(twins[p], lane, f)
            if keep:
                steps = ends.steps[p, 0]
                history_t[lane], history_x[lane], history_dense[lane] = _with_room(
                    steps - 1, history_t[lane], history_x[lane], history_dense[lane]
                )
                history_t[lane][steps] = t[lane]
                for n in range(size):
                    m = twins[p, n]
                    history_x[lane][steps, n] = pick(f.x[n], lane)
                    for k in range(orders):
                        history_dense[lane][steps - 1, k, n] = pick(f.bend[k, m], lane)
