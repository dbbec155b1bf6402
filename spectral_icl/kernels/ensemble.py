"""The integrator of many flows at once, one in each lane of the processor's vectors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import is_mixed, lane_chart, load_chart, pick_chart
from spectral_icl.kernels.compile import ALGEBRA, entry, inner, maker
from spectral_icl.kernels.control import (
    PATIENCE,
    RELIEVED,
    STRAINED,
    all_finite,
    first_step,
    fitted,
    growth,
    shrinkage,
    stands,
    too_small,
    unrest,
    weigh,
)
from spectral_icl.kernels.field import failure, slope_at, stall
from spectral_icl.kernels.lane_steps import attempt, lane_workspace
from spectral_icl.kernels.lanes import WIDTH, as_lanes, everywhere, lane_array, pick, put, where
from spectral_icl.kernels.log import with_room, write
from spectral_icl.kernels.model import (
    EXPLICIT,
    IMPLICIT,
    LEFT_RANGE,
    NON_FINITE,
    REACHED_END,
    STATIONARY,
    STEP_LIMIT,
    Ends,
    Flights,
    Log,
    ManyLimits,
    Rosenbrock,
    RungeKutta,
    Systems,
)
from spectral_icl.kernels.runge_kutta import combine
from spectral_icl.kernels.subnormals import floating_mode, flushing, set_floating_mode

# Rows of what is decided lane by lane and used by vector code, or the other way round.
_STEP, _TRIED, _RTOL, _UNREST, _ERROR, _DEFINITE, _FINITE, _FAR, _STRAIN, _CHOSEN, _TILT, _TIED = range(12)

# What is chosen: nothing, the field where a flow is, or a step.
_NOTHING, _FIELD, _ACCEPTED = 0.0, 1.0, 2.0


class Lanes(NamedTuple):
    """What each lane is at: arrays (WIDTH,)."""

    member: np.ndarray  # the flow, -1 for none
    t: np.ndarray
    previous_error: np.ndarray
    streak: np.ndarray  # for how many steps the other method has looked better
    known: np.ndarray  # whether the field at x is
    rejected: np.ndarray  # whether the last attempt was
    cause: np.ndarray  # why it was not finite, if it was not


@maker
def _empty_lanes():
    return Lanes(
        np.full(WIDTH, -1),
        np.zeros(WIDTH),
        np.ones(WIDTH),
        np.zeros(WIDTH, dtype=np.int64),
        np.zeros(WIDTH, dtype=np.bool_),
        np.zeros(WIDTH, dtype=np.bool_),
        np.zeros(WIDTH, dtype=np.int64),
    )


@inner(fastmath=ALGEBRA)
def _as_numbers(mask):
    """1 in the lanes of the mask, 0 in the others."""
    return where(mask, everywhere(1.0), everywhere(0.0))


@inner(fastmath=ALGEBRA)
def _adopt(model, mask, f):
    """Make the new state the current one in the lanes of the mask."""
    for n in range(f.x.size):
        f.x[n] = where(mask, f.trial[n], f.x[n])
        f.theta.flat[n] = where(mask, f.new_theta.flat[n], f.theta.flat[n])
        f.slope[n] = where(mask, f.new_slope[n], f.slope[n])
    law.adopt(model, mask, f.scratch, f.new_scratch)


@inner()
def _lane_first_step(order, f, lane, span, speed, weights):
    """`first_step` of the flow in one lane."""
    for n in range(speed.size):
        speed[n] = pick(f.slope[n], lane)
        weights[n] = pick(f.weights[n], lane)
    return first_step(order, speed, weights, span)


@inner()
def _tie(twin, lane, f):
    """Keep equal heads equal to the last bit in a lane, as `integrate` does."""
    for n in range(twin.size):
        f.x[n] = put(f.x[n], lane, pick(f.x[twin[n]], lane))


@inner(fastmath=ALGEBRA)
def _bend(dense, f, out):
    """Fill the coefficients of the continuous extension of the last step."""
    for k in range(dense.shape[0]):
        combine(out[k], dense[k], f.increments)


@inner()
def _start(systems, chart, store, lanes, per_lane, f, limits, flights, ends, lane, p):
    """Put a flow into a lane, where the next step is one of 0: it asks for the field."""
    law.load_model(store, lane, systems.models, p)
    load_chart(chart, lane, systems.charts, p)
    for n in range(f.x.size):
        f.x[n] = put(f.x[n], lane, ends.x[p, n])
        f.slope[n] = put(f.slope[n], lane, 0.0)
        f.theta.flat[n] = put(f.theta.flat[n], lane, 1.0)  # any that is none of a flow before, nor zero
    lanes.member[lane] = p
    lanes.t[lane], lanes.previous_error[lane] = ends.t[p], flights.previous_error[p]
    lanes.streak[lane], lanes.known[lane], lanes.rejected[lane] = 0, False, False
    lanes.cause[lane] = REACHED_END
    per_lane[_STEP, lane], per_lane[_RTOL, lane] = flights.step[p], limits.rtol[p]
    per_lane[_FAR, lane] = 0.0


@inner()
def _leave(lanes, per_lane, f, flights, ends, lane):
    """Take the flow out of a lane."""
    p = lanes.member[lane]
    ends.t[p] = lanes.t[lane]
    flights.step[p], flights.previous_error[p] = per_lane[_STEP, lane], lanes.previous_error[lane]
    for n in range(f.x.size):
        ends.x[p, n] = pick(f.x[n], lane)
    lanes.member[lane] = -1


@inner()
def _outcome(limits, lanes, per_lane, ends, lane):
    """How the flow of a lane has ended, or -1; and its next step."""
    p, t = lanes.member[lane], lanes.t[lane]
    remaining = limits.t_end[p] - t
    step = per_lane[_STEP, lane]
    if not lanes.rejected[lane]:
        if remaining <= 0.0:
            return REACHED_END, step
        if limits.stationary[p] > 0.0 and per_lane[_UNREST, lane] <= limits.stationary[p]:
            return STATIONARY, step
    step = fitted(step, remaining)
    if ends.steps[p, 0] + ends.steps[p, 1] >= limits.max_steps[p]:
        return STEP_LIMIT, step
    if too_small(step, t):
        return stall(lanes.cause[lane], per_lane[_FAR, lane]), step
    return -1, step


@inner()
def _stands(f, lane, step, speed, weights):
    """Whether the flow of a lane `stands` at a step."""
    for n in range(speed.size):
        speed[n], weights[n] = pick(f.slope[n], lane), pick(f.weights[n], lane)
    return stands(step, speed, weights)


@inner()
def _judge(order, limits, lanes, per_lane, ends, lane):
    """Accept the step of a lane or refuse it, and choose the next. Returns whether it is accepted."""
    p, step, error = lanes.member[lane], per_lane[_STEP, lane], per_lane[_ERROR, lane]
    definite, finite = per_lane[_DEFINITE, lane] > 0.5, per_lane[_FINITE, lane] > 0.5
    if definite and finite and error <= 1.0:
        ends.steps[p, 0] += 1
        remaining = limits.t_end[p] - lanes.t[lane]
        lanes.t[lane] = limits.t_end[p] if step >= remaining else lanes.t[lane] + step
        error = max(error, 1e-8)
        per_lane[_STEP, lane] *= growth(order, error, lanes.previous_error[lane], lanes.rejected[lane])
        lanes.previous_error[lane], lanes.rejected[lane] = error, False
        lanes.cause[lane] = REACHED_END
        return True
    ends.steps[p, 1] += 1
    lanes.rejected[lane] = True
    if not definite:
        per_lane[_STEP, lane] *= 0.5
    elif finite:
        per_lane[_STEP, lane] *= shrinkage(order, error)
        lanes.cause[lane] = REACHED_END
    else:
        per_lane[_STEP, lane] *= 0.1
        lanes.cause[lane] = failure(per_lane[_FAR, lane])
    return False


@entry(slow=True)
def advance_many(
    systems: Systems,
    method: RungeKutta | Rosenbrock,
    mode: int,
    limits: ManyLimits,
    first: int,
    stop: int,
    flights: Flights,
    ends: Ends,
    log: Log,
) -> Log:
    """Advance those of the flows ``first`` to ``stop`` that are in a mode by its method, until it ends.

    As many flows are under way as there are lanes; a lane whose flow has ended, or turns to the other mode,
    takes the next one. What a flow does depends on nothing in the other lanes: arithmetic is lane by lane,
    and so is every decision.

    Returns the log of all steps, which may have been given more room; no steps are kept if it has none. Once
    it is past its limit, flows that it has nothing of are left for a call with another one.
    """
    size = ends.x.shape[1]
    order = method.order
    shape = systems.shape
    store = law.lane_store(systems.models)
    model = law.lane_model(store)
    f = lane_workspace(model, shape, method.a.shape[0], 0 if mode == EXPLICIT else size)
    chart = lane_chart(size)
    bend = lane_array((method.dense.shape[0], size))
    per_lane = np.zeros((12, WIDTH))
    control = as_lanes(per_lane)
    lanes = _empty_lanes()
    speed, weights = np.empty(size), np.empty(size)
    mixed, rests, keep = False, False, log.t.size > 0
    for p in range(first, stop):
        mixed = mixed or is_mixed(pick_chart(systems.charts, p))
        rests = rests or limits.stationary[p] > 0.0
    waiting, under_way = first, 0
    control[_RTOL] = everywhere(1.0)
    floating = floating_mode()
    set_floating_mode(flushing(floating))

    while True:
        for lane in range(WIDTH):
            while lanes.member[lane] < 0 and waiting < stop:
                p = waiting
                waiting += 1
                has_room = not keep or log.last[p - log.first] >= 0 or log.used[0] < log.limit
                if has_room and ends.outcome[p] < 0 and flights.mode[p] == mode:
                    _start(systems, chart, store, lanes, per_lane, f, limits, flights, ends, lane, p)
                    under_way += 1
        if under_way == 0:
            break
        model = law.lane_model(store)
        weigh(chart, f.x, control[_RTOL], f.weights, mixed)
        if rests:
            control[_UNREST] = unrest(chart, f.theta.flat, f.slope, mixed)

        control[_TRIED] = everywhere(0.0)
        for lane in range(WIDTH):
            p = lanes.member[lane]
            if p < 0 or not lanes.known[lane]:
                continue
            if per_lane[_STEP, lane] <= 0.0:
                span = limits.t_end[p] - lanes.t[lane]
                per_lane[_STEP, lane] = _lane_first_step(order, f, lane, span, speed, weights)
            outcome, per_lane[_STEP, lane] = _outcome(limits, lanes, per_lane, ends, lane)
            if outcome >= 0:
                ends.outcome[p] = outcome
                _leave(lanes, per_lane, f, flights, ends, lane)
                under_way -= 1
            else:
                per_lane[_TRIED, lane] = per_lane[_STEP, lane]

        error, definite, finite, far, strain = attempt(method, model, chart, control[_TRIED], f, mixed)
        control[_ERROR] = error
        control[_DEFINITE] = _as_numbers(definite)
        control[_FINITE] = _as_numbers(finite)
        control[_FAR] = far
        control[_STRAIN] = strain
        control[_TILT] = law.largest_tilt(model, f.new_scratch)
        control[_CHOSEN] = everywhere(_NOTHING)
        control[_TIED] = everywhere(0.0)
        tied = False
        for lane in range(WIDTH):
            p = lanes.member[lane]
            if p < 0:
                continue
            if lanes.known[lane]:
                tried = per_lane[_STEP, lane]
                if _judge(order, limits, lanes, per_lane, ends, lane):
                    per_lane[_CHOSEN, lane] = _ACCEPTED
                elif lanes.cause[lane] == LEFT_RANGE and _stands(f, lane, tried, speed, weights):
                    ends.outcome[p] = LEFT_RANGE
                    _leave(lanes, per_lane, f, flights, ends, lane)
                    under_way -= 1
            elif per_lane[_FINITE, lane] > 0.5:
                lanes.known[lane] = True
                per_lane[_CHOSEN, lane] = _FIELD
            else:
                ends.outcome[p] = failure(per_lane[_FAR, lane]) if all_finite(ends.x[p]) else NON_FINITE
                ends.tilt[p] = per_lane[_TILT, lane]
                _leave(lanes, per_lane, f, flights, ends, lane)
                under_way -= 1
        _adopt(model, control[_CHOSEN] > _NOTHING, f)
        if keep:
            log = with_room(log, WIDTH)
            _bend(method.dense, f, bend)
        for lane in range(WIDTH):
            p = lanes.member[lane]
            if per_lane[_CHOSEN, lane] == _NOTHING:
                continue
            ends.tilt[p] = max(ends.tilt[p], per_lane[_TILT, lane])
            if per_lane[_CHOSEN, lane] == _FIELD:
                if keep and log.last[p - log.first] < 0:
                    row = write(log, p, lanes.t[lane])
                    for n in range(size):
                        log.x[row, n] = ends.x[p, n]
                continue
            if systems.tied[p]:
                _tie(systems.twins[p], lane, f)
                per_lane[_TIED, lane] = 1.0
                tied = True
            if keep:
                row = write(log, p, lanes.t[lane])
                for n in range(size):
                    m = systems.twins[p, n]
                    log.x[row, n] = pick(f.x[n], lane)
                    for k in range(bend.shape[0]):
                        log.dense[row, k, n] = pick(bend[k, m], lane)
            strained = per_lane[_STRAIN, lane]
            otherwise = strained > STRAINED if mode == EXPLICIT else strained < RELIEVED
            lanes.streak[lane] = lanes.streak[lane] + 1 if otherwise else 0
            if lanes.streak[lane] >= PATIENCE:
                flights.mode[p] = IMPLICIT if mode == EXPLICIT else EXPLICIT
                _leave(lanes, per_lane, f, flights, ends, lane)
                under_way -= 1
        if tied:  # the new field is of heads that rounding has parted, in long steps far
            for n in range(size):
                f.trial[n] = f.x[n]
            slope_at(model, chart, f.trial, f.new_theta, f.grad, f.new_scratch, f.new_slope, mixed)
            _adopt(model, control[_TIED] > 0.0, f)
    set_floating_mode(floating)
    return log
