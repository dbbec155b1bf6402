"""The integrator of one flow, alternately explicit and implicit, and its dense output."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law, linear
from spectral_icl.kernels.charts import is_mixed, show_primal
from spectral_icl.kernels.compile import entry, inner, maker
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
from spectral_icl.kernels.field import INSIDE, Parts, failure, parts_of, slope_at, stall
from spectral_icl.kernels.model import (
    ALWAYS_IMPLICIT,
    BUFFER_FULL,
    EXPLICIT,
    IMPLICIT,
    LEFT_RANGE,
    NON_FINITE,
    REACHED_END,
    STATIONARY,
    STEP_LIMIT,
    Chart,
    Floats,
    Limits,
    Methods,
    Nodes,
    Progress,
    System,
)
from spectral_icl.kernels.rosenbrock import implicit_step
from spectral_icl.kernels.runge_kutta import combine, explicit_step
from spectral_icl.kernels.subnormals import floating_mode, flushing, set_floating_mode


class Work(NamedTuple):
    """Scratch of one integration.

    ``theta`` and ``slope`` belong to the last accepted state x, ``trial`` and ``new_*`` to the step being
    tried.
    """

    x: Floats  # (N,)
    theta: Parts  # the state (omega, mu)
    slope: Floats  # (N,) dx/dt
    trial: Floats  # (N,) arguments of the stages, and in the end the new x
    new_theta: Parts
    new_slope: Floats  # (N,)
    grad: Parts  # gradient of the loss where the field was last asked
    increments: Floats  # (stages, N) of the stages, in x
    weights: Floats  # (N,) reciprocal tolerances of x
    rhs: Floats  # (N,) sums
    linear: tuple[Floats, ...]  # of `spectral_icl.kernels.linear`
    scratch: tuple[Floats, ...]  # of `spectral_icl.kernels.law`, where the field was asked last
    new_scratch: tuple[Floats, ...]  # the same arrays


@maker
def workspace(system, size, stages):
    """Room for an integration of N = ``size`` numbers by methods of so many stages at most."""
    scratch = law.scratch(system.model, system.shape)
    return Work(
        np.empty(size),
        parts_of(np.empty(size), system.shape),
        np.zeros(size),
        np.empty(size),
        parts_of(np.empty(size), system.shape),
        np.empty(size),
        parts_of(np.empty(size), system.shape),
        np.zeros((stages, size)),
        np.zeros(size),
        np.empty(size),
        law.linear_room(system.model, system.shape),
        scratch,
        scratch,
    )


@entry(slow=True)
def integrate(
    system: System, methods: Methods, limits: Limits, progress: Progress, nodes: Nodes
) -> tuple[int, int]:
    """Advance the dual flow from ``nodes.x[0]``, and return (status, accepted steps in this call).

    Steps are explicit while accuracy limits them, as it does until the first emergence, and implicit (a
    Rosenbrock method with the exact Jacobian) where stability would. Error control is on the embedded
    solution in the largest weighted component. An implicit step that reaches past the pole of the stability
    function on a growing mode shows as a matrix that is not positive definite, and is rejected.

    ``progress`` is updated, so that a call that ends with BUFFER_FULL is continued by one with ``nodes.x[0]``
    set to the last state.
    """
    model, chart, twin = system.model, system.chart, system.twin
    explicit, implicit = methods.explicit, methods.implicit
    t_end, stationary = limits.t_end, limits.stationary
    size = nodes.x.shape[1]
    work = workspace(system, size, max(explicit.a.shape[0], implicit.a.shape[0]))
    capacity = nodes.t.size - 1
    mixed = is_mixed(chart)
    x = work.x
    tied = False
    for n in range(size):
        x[n] = nodes.x[0, n]
        tied = tied or twin[n] != n
    t, step, previous_error = progress.real
    mode, streak = progress.mode
    count = progress.counts
    nodes.t[0] = t
    accepted = 0
    known = False  # the field at x
    rejected = False  # the last attempt was
    cause = REACHED_END  # why the last attempt was not finite, if it was not
    far = INSIDE
    bound = 0.0
    last = explicit.error.size - 1
    status = -1
    floating = floating_mode()
    set_floating_mode(flushing(floating))

    while True:
        if known and not rejected:
            if t >= t_end:
                status = REACHED_END
                break
            if stationary > 0.0 and unrest(chart, work.theta.flat, work.slope, mixed) <= stationary:
                status = STATIONARY
                break
            if accepted == capacity:
                status = BUFFER_FULL
                break
            weigh(chart, x, limits.rtol, work.weights, mixed)
            if mode != EXPLICIT:
                bound = linear.prepare(work.linear, model, chart, work, mixed)
                count[3] += 1
            if step <= 0.0:
                step = first_step(explicit.order, work.slope, work.weights, t_end - t)
        remaining = t_end - t
        if known:
            if count[0] + count[1] >= limits.max_steps:
                status = STEP_LIMIT
                break
            step = fitted(step, remaining)
            if too_small(step, t):
                status = stall(cause, far)
                break

        if not known or mode == EXPLICIT:
            error, finite, far, strain = explicit_step(
                model,
                chart,
                explicit,
                x,
                step if known else 0.0,
                1 if known else last,
                work,
                mixed,
            )
            count[2] += last if known else 1
            otherwise = strain > STRAINED
            order = explicit.order
        else:
            count[4] += 1
            definite = linear.factorise(work.linear, model, chart, implicit.gamma * step, work)
            if definite:
                error, finite, far, definite = implicit_step(model, chart, implicit, x, step, work, mixed)
            if not definite:
                count[1] += 1
                step *= 0.5
                rejected = True
                continue
            count[2] += implicit.a.shape[0] - (1 if error > 1.0 else 0)  # or fewer, of a step that failed
            otherwise = bound * step < RELIEVED
            order = implicit.order
        if not known:
            known = True
            if not finite:
                status = failure(far) if all_finite(x) else NON_FINITE
                break
            for n in range(size):
                work.theta.flat[n] = work.new_theta.flat[n]
                work.slope[n] = work.new_slope[n]
            continue
        if not (finite and error <= 1.0):
            count[1] += 1
            rejected = True
            if finite:
                cause = REACHED_END
                step *= shrinkage(order, error)
            else:
                cause = failure(far)
                if cause == LEFT_RANGE and stands(step, work.slope, work.weights):
                    status = LEFT_RANGE
                    break
                step *= 0.1
            continue

        dense = explicit.dense if mode == EXPLICIT else implicit.dense  # both of one form
        streak = streak + 1 if otherwise else 0
        if streak >= PATIENCE and mode != ALWAYS_IMPLICIT:
            mode = EXPLICIT if mode == IMPLICIT else IMPLICIT
            streak = 0

        t = t_end if step >= remaining else t + step
        accepted += 1
        for n in range(size):
            x[n] = work.trial[twin[n]]  # equal heads are kept equal: rounding must not break their tie
            nodes.x[accepted, n] = x[n]
            work.theta.flat[n] = work.new_theta.flat[n]
            work.slope[n] = work.new_slope[n]
        if tied:  # the new field is of heads that rounding has parted, in long steps far
            slope_at(model, chart, x, work.theta, work.grad, work.scratch, work.slope, mixed)
            count[2] += 1
        nodes.t[accepted] = t
        _bend(dense, work.increments, twin, work.rhs, accepted - 1, nodes.dense)
        count[0] += 1
        error = max(error, 1e-8)
        step *= growth(order, error, previous_error, rejected)
        previous_error = error
        progress.real[0] = t
        progress.real[1] = step
        progress.real[2] = previous_error
        progress.mode[0] = mode
        progress.mode[1] = streak
        rejected = False
        cause = REACHED_END
    count[5] += linear.products(work.linear)
    set_floating_mode(floating)
    return status, accepted


@inner()
def _bend(dense, increments, twin, row, step, out):
    """Fill the coefficients of the continuous extension of an accepted step. ``row`` (N,) is scratch."""
    for k in range(dense.shape[0]):
        combine(row, dense[k], increments)
        for n in range(row.size):
            out[step, k, n] = row[twin[n]]


@inner()
def extension(chart, nodes, time, x, theta):
    """Fill x (N,) and theta (N,) with the continuous extension at a time inside the nodes' range."""
    step = min(max(np.searchsorted(nodes.t, time), 1), nodes.t.size - 1) - 1
    if step < 0:  # a flow that took no step
        show_primal(chart, nodes.x[0], theta)
        return
    width = nodes.t[step + 1] - nodes.t[step]
    s = (time - nodes.t[step]) / width
    start, end, dense = nodes.x[step], nodes.x[step + 1], nodes.dense[step]
    for n in range(x.size):
        bend = 0.0
        for k in range(dense.shape[0] - 1, -1, -1):
            bend = bend * s + dense[k, n]
        x[n] = (1.0 - s) * start[n] + s * (end[n] + (1.0 - s) * bend)
    show_primal(chart, x, theta)


@entry()
def evaluate(chart: Chart, nodes: Nodes, times: Floats, theta: Floats) -> None:
    """Fill ``theta`` (T, N) with the continuous extension at ``times`` (T,), inside the nodes' range."""
    x = np.empty(nodes.x.shape[1])
    for m in range(times.size):
        extension(chart, nodes, times[m], x, theta[m])
