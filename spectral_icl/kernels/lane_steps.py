"""One step of either method in lanes: of as many flows at once, each with a step of its own."""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import slope
from spectral_icl.kernels.cholesky import cholesky, cholesky_solve
from spectral_icl.kernels.compile import ALGEBRA, inner, maker
from spectral_icl.kernels.control import larger, norm
from spectral_icl.kernels.field import Parts, parts_of, slope_at, strayed
from spectral_icl.kernels.lanes import everywhere, lane_array, where
from spectral_icl.kernels.law import serves
from spectral_icl.kernels.model import Floats, Rosenbrock, RungeKutta
from spectral_icl.kernels.runge_kutta import explicit_step


class LaneWork(NamedTuple):
    """Scratch of `spectral_icl.kernels.ensemble.advance_many`: an entry is one number for every lane.

    Unprefixed arrays belong to the last accepted state, ``trial`` and ``new_*`` to the step being tried;
    `spectral_icl.kernels.integrator.Work` has the meaning of those that are not explained here.
    """

    x: Floats  # (N,)
    theta: Parts
    slope: Floats
    scratch: tuple[Floats, ...]
    trial: Floats
    new_theta: Parts
    new_slope: Floats
    new_scratch: tuple[Floats, ...]
    grad: Parts
    increments: Floats
    weights: Floats
    root: Floats
    down: Floats  # (N,) diagonal map into the coordinates in which the Jacobian is symmetric
    up: Floats  # (N,) and back
    rhs: Floats
    factor: Floats  # (N, N) the Hessian, then the Cholesky factor that is made of it


@maker
def lane_workspace(model, shape, stages, coupled):
    """Room for flows of a shape by a method of so many stages; with matrices of so many rows."""
    heads, blocks, tasks = shape
    size = heads * (blocks + tasks)
    return LaneWork(
        lane_array((size,)),
        parts_of(lane_array((size,)), shape),
        lane_array((size,)),
        law.scratch(model, shape),
        lane_array((size,)),
        parts_of(lane_array((size,)), shape),
        lane_array((size,)),
        law.scratch(model, shape),
        parts_of(lane_array((size,)), shape),
        lane_array((stages, size)),
        lane_array((size,)),
        lane_array((size,)),
        lane_array((size,)),
        lane_array((size,)),
        lane_array((size,)),
        lane_array((coupled, coupled)),
    )


@singledispatch
def attempt(method, model, chart, step, f, mixed):
    """Fill increments, new state and field of one step of the method in every lane.

    Returns
    -------
    error
        In units of the tolerance.
    definite : mask
        Where the step made sense: not past the pole of an implicit method.
    finite : mask
        Where all on the way was.
    far
        How far a stage strayed from the law's range.
    strain
        Step times the size of the Jacobian.
    """
    raise NotImplementedError(f"no steps of {type(method).__name__} in lanes")


@serves(attempt, RungeKutta, fastmath=ALGEBRA)
def _explicit(method, model, chart, step, f, mixed):
    error, finite, far, strain = explicit_step(model, chart, method, f.x, step, 1, f, mixed)
    return error, step == step, finite, far, strain


@inner(fastmath=ALGEBRA)
def _combine(x, a, c, stage, f):
    """Fill ``trial`` and ``rhs`` with the combinations of earlier increments that a stage begins with."""
    size = x.size
    whole = size - size % 4
    zero = everywhere(0.0)
    for n in range(0, whole, 4):  # four entries at a time hide the latency of the sums
        t0, t1, t2, t3 = x[n], x[n + 1], x[n + 2], x[n + 3]
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
        t0 = x[n]
        r0 = zero
        for q in range(stage):
            t0 += a[q] * f.increments[q, n]
            r0 += c[q] * f.increments[q, n]
        f.trial[n], f.rhs[n] = t0, r0


@inner(fastmath=ALGEBRA)
def _matrix(method, model, chart, step, f, mixed):
    """Fill 1 + gamma step Q S Q (in ``factor``) and its scalings, and return a bound of step |J|.

    `spectral_icl.kernels.rosenbrock.prepare` says what these are.
    """
    law.hessian(model, f.theta.omega, f.theta.mu, f.scratch, f.factor)
    size = f.x.size
    for n in range(size):
        steepness = slope(chart, f.theta.flat, n, mixed)
        free = chart.speed[n] > 0.0  # a frozen entry would divide zero by zero
        root_speed, root_slope = np.sqrt(chart.speed[n]), np.sqrt(steepness)  # their product might underflow
        f.root[n] = chart.sign[n] * root_speed * root_slope
        f.down[n] = where(free, root_slope / root_speed, 0.0)
        f.up[n] = where(free, root_speed / root_slope, 0.0)
        f.rhs[n] = everywhere(0.0)
    moves = step > 0.0  # a step of 0 finds the work arrays of another flow here
    for i in range(size):
        row, scale = f.factor[i], method.gamma * step * f.root[i]
        total = everywhere(0.0)
        for j in range(i, size):
            entry = where(moves, row[j] * (scale * f.root[j]), 0.0)
            row[j] = entry
            total += abs(entry)
            f.rhs[j] += abs(entry)
        f.rhs[i] += total - abs(row[i])  # the diagonal was counted twice
        row[i] += 1.0
    largest = everywhere(0.0)
    for n in range(size):
        largest = larger(f.rhs[n], largest)
    return largest / method.gamma


@serves(attempt, Rosenbrock, fastmath=ALGEBRA)
def _implicit(method, model, chart, step, f, mixed):
    size = f.x.size
    stages = method.a.shape[0]
    gamma = method.gamma
    strain = _matrix(method, model, chart, step, f, mixed)
    definite = cholesky(f.factor, size)
    finite = step == step
    far, error = everywhere(0.0), everywhere(0.0)
    for s in range(stages + 1):
        if s < stages:
            _combine(f.x, method.a[s], method.c[s], s, f)
        else:
            for n in range(size):  # the last increment is the error estimate too
                f.trial[n] += f.increments[stages - 1, n]
            error, all_finite = norm(f.increments[stages - 1], f.weights)
            finite = finite & all_finite
        if s > 0:
            finite = finite & slope_at(
                model, chart, f.trial, f.new_theta, f.grad, f.new_scratch, f.new_slope, mixed
            )
            far = larger(strayed(model, f.new_scratch), far)
        if s < stages:
            rate = f.new_slope if s > 0 else f.slope
            for n in range(size):
                f.rhs[n] = (f.rhs[n] + step * rate[n]) * (gamma * f.down[n])
            cholesky_solve(f.factor, size, f.rhs)
            for n in range(size):
                f.increments[s, n] = f.rhs[n] * f.up[n]
    return error, definite, finite, far, strain
