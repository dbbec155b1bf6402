"""One step of either method: the field, the Jacobian, the stages, the error and the size of the next step."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import slope, to_primal
from spectral_icl.kernels.cholesky import cholesky, cholesky_solve
from spectral_icl.kernels.compile import ALGEBRA, entry, inner
from spectral_icl.kernels.model import (
    EXPONENTIAL,
    LEFT_RANGE,
    LINEAR,
    NON_FINITE,
    OVERFLOW,
    REACHED_END,
    STEP_UNDERFLOW,
    Floats,
    Ints,
    System,
)


class Work(NamedTuple):
    """Scratch of one integration.

    ``theta``, ``slope``, ``scratch``, ``hess``, ``root`` and ``reach`` belong to the last accepted state x,
    ``trial`` and ``new_*`` to the step being tried.
    """

    theta: Floats  # (N,) the flat state (omega, mu)
    slope: Floats  # (N,) dx/dt
    trial: Floats  # (N,) arguments of the stages, and in the end the new x
    new_theta: Floats  # (N,)
    new_slope: Floats  # (N,)
    grad: Floats  # (N,) gradient of the loss where `field` was last asked
    increments: Floats  # (stages, N) of the stages, in x
    weights: Floats  # (N,) reciprocal tolerances of x
    root: Floats  # (N,) Q = s sqrt(P M), which makes the Jacobian similar to the symmetric -Q S Q
    reach: Floats  # (N,) largest entry of every column of the Jacobian
    rhs: Floats  # (N,) right-hand sides; between them, the argument of the last stage but one
    order: Ints  # (N,) coupled entries first, then idle ones
    hess: Floats  # (N, N) Hessian S, upper triangle
    factor: Floats  # (N, N) Cholesky factor of 1 + step Q S Q on the coupled entries
    idle_rows: Floats  # (N, N) rows of the idle entries against the coupled ones
    scratch: tuple[Floats, ...]  # of the law, see `spectral_icl.kernels.law.scratch`


@inner()
def workspace(system, size, stages):
    """Room for an integration of N = ``size`` numbers by methods of so many stages at most."""
    return Work(
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty((stages, size)),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size),
        np.empty(size, dtype=np.int64),
        np.zeros((size, size)),
        np.empty((size, size)),
        np.empty((size, size)),
        law.scratch(system.model, system.shape),
    )


@entry(forceinline=True)
def field(
    system: System, x: Floats, theta: Floats, grad: Floats, scratch: tuple[Floats, ...], out: Floats
) -> bool:
    """Fill dx/dt at x, and leave theta, the gradient and the law's work arrays behind.

    Returns whether every component is finite.
    """
    model, chart = system.model, system.chart
    heads, blocks, tasks = system.shape
    to_primal(chart, x, theta)
    first_mu = heads * blocks
    law.gradient(
        model,
        theta[:first_mu].reshape(heads, blocks),
        theta[first_mu:].reshape(heads, tasks),
        grad[:first_mu].reshape(heads, blocks),
        grad[first_mu:].reshape(heads, tasks),
        scratch,
    )
    finite = True
    for n in range(x.size):
        out[n] = -chart.speed[n] * chart.sign[n] * grad[n]
        finite = finite and np.isfinite(out[n])
    return finite


@inner()
def tolerances(chart, x, rtol, out):
    """Fill the reciprocal tolerances of the dual coordinates.

    An error dx of an exponential or hyperbolic entry is a relative error of theta, so the tolerance is
    rtol however small theta has become: an entry that decayed may grow again (the escape), and when it
    does is decided by its logarithm. For |x| > 4 it is relative to |x|, as that time is.
    """
    for n in range(x.size):
        size = abs(x[n])
        if chart.kind[n] == LINEAR:
            out[n] = 1.0 / (rtol * max(chart.scale[n], size))
        else:
            out[n] = 1.0 / (rtol * max(1.0, 0.25 * size))


@inner()
def all_finite(values):
    """Whether no value is infinite or NaN."""
    for n in range(values.size):
        if not np.isfinite(values[n]):
            return False
    return True


@inner()
def what_failed(system, x, work):
    """Why `field` was not finite at x, where it was asked last."""
    if not all_finite(x):
        return NON_FINITE
    return LEFT_RANGE if law.left_range(system.model, work.scratch) else OVERFLOW


@inner()
def what_stalled(system, cause, work):
    """Why the step shrank to rounding: ``cause`` if there is one, else the law if it has lost its meaning."""
    if cause != REACHED_END:
        return cause
    return LEFT_RANGE if law.lost_meaning(system.model, work.scratch) else STEP_UNDERFLOW


@inner()
def _norm(values, weights):
    """Largest weighted component; NaN if any component is NaN."""
    largest = 0.0
    for n in range(values.size):
        size = abs(values[n]) * weights[n]
        if not size <= largest:
            largest = size
            if np.isnan(size):
                return size
    return largest


@inner()
def is_stationary(chart, theta, speed, tolerance):
    """Whether every entry rests, or decays to zero where it may not leave (first-order optimality)."""
    for n in range(theta.size):
        if slope(chart, theta, n) * abs(speed[n]) > tolerance:
            return False
        if chart.kind[n] == EXPONENTIAL:
            if speed[n] > tolerance:
                return False
        elif abs(speed[n]) > tolerance:
            return False
    return True


@inner(fastmath=ALGEBRA)
def _scale_to_dual(chart, theta, hess, root, reach):
    """Fill what turns the Hessian S into the Jacobian in dual coordinates, and says which entries matter.

    dx/dt = -P s grad has the Jacobian J = -P s S s M: speeds P, signs s, M = |dtheta/dx|. It is similar to
    the symmetric -Q S Q. Fills ``root`` with the diagonal of Q = s sqrt(P M), and ``reach`` with the largest
    entry of each column of J, by which `factorise` finds the entries that act on nothing.
    """
    size = theta.size
    for n in range(size):
        reach[n] = 0.0
    for i in range(size):
        for j in range(i, size):
            entry = abs(hess[i, j])
            reach[i] = max(reach[i], chart.speed[j] * entry)
            reach[j] = max(reach[j], chart.speed[i] * entry)
    for n in range(size):
        steepness = slope(chart, theta, n)
        root[n] = chart.sign[n] * np.sqrt(chart.speed[n] * steepness)
        reach[n] *= steepness


@inner(fastmath=ALGEBRA)
def factorise(chart, step, work):
    """Factor I + step Q S Q on the entries that matter and return (how many matter, success).

    Entries whose column of the Jacobian is below rounding (the mu of losing heads, all but vanished) act
    on nothing and are followed by substitution: ``order`` lists the coupled entries first, then the idle
    ones, and ``idle_rows`` holds step * P s S Q of the idle ones against the coupled ones.
    """
    hess, root, order = work.hess, work.root, work.order
    factor, idle_rows = work.factor, work.idle_rows
    size = root.size
    coupled = np.int64(0)
    idle = size
    for n in range(size):
        if step * work.reach[n] > 1e-18:
            order[coupled] = n
            coupled += 1
        else:
            idle -= 1
            order[idle] = n
    for p in range(coupled):
        i = order[p]
        row = step * root[i]
        for r in range(p, coupled):
            j = order[r]
            factor[p, r] = row * hess[i, j] * root[j]
        factor[p, p] += 1.0
    for p in range(coupled, size):
        i = order[p]
        row = step * chart.speed[i] * chart.sign[i]
        for r in range(coupled):
            j = order[r]
            entry = hess[i, j] if i <= j else hess[j, i]
            idle_rows[p, r] = row * entry * root[j]
    return coupled, coupled == 0 or cholesky(factor, coupled)


@inner(fastmath=ALGEBRA)
def _solve_stage(chart, coupled, work, stage):
    """Solve (1 - step J) k = stage in place, with the factor and the rows that `factorise` left."""
    root, order, idle_rows, rhs = work.root, work.order, work.idle_rows, work.rhs
    size = root.size
    for p in range(coupled):
        n = order[p]
        rhs[p] = stage[n] * abs(root[n]) / chart.speed[n]
    cholesky_solve(work.factor, coupled, rhs)
    for p in range(coupled):
        n = order[p]
        stage[n] = rhs[p] * chart.speed[n] / abs(root[n])
    for p in range(coupled, size):
        pull = 0.0
        for r in range(coupled):
            pull += idle_rows[p, r] * rhs[r]
        stage[order[p]] -= pull


@inner()
def first_step(order, speed, slope, root, hess, weights, second, span):
    """A first step from the first two derivatives of the solution (the Jacobian is at hand).

    They give the rate at which the tightest component moves; a step of order p then makes an error of one
    tolerance where (step * rate)^p ~ that tolerance. ``second`` (N,) is scratch.
    """
    size = slope.size
    tightest = 0.0
    for i in range(size):
        bend = 0.0
        for j in range(size):
            entry = hess[i, j] if i <= j else hess[j, i]
            if speed[j] > 0.0:
                bend += entry * root[j] * abs(root[j]) / speed[j] * slope[j]
        second[i] = bend * speed[i]
        if weights[i] > tightest:
            tightest = weights[i]
    rate = max(_norm(slope, weights) / tightest, np.sqrt(_norm(second, weights) / tightest))
    if not rate > 0.0 or not np.isfinite(rate):
        return span if np.isfinite(span) else 1.0
    step = 0.5 * tightest ** (-1.0 / order) / rate
    return step if step < span else span


@inner()
def fitted(step, remaining):
    """The step, no further than the end, and not so that a sliver would be left."""
    if step >= remaining:
        return remaining
    return 0.5 * remaining if step > 0.5 * remaining else step


@inner()
def too_small(step, t):
    """Whether a step is lost in the rounding of the time."""
    return step <= 4e-16 * abs(t) or step < 1e-290


@inner()
def growth(order, error, previous_error, rejected):
    """Factor for the step after an accepted one, of ``error`` > 0 (a PI controller)."""
    growth = 0.9 * np.exp((0.2 * np.log(previous_error) - 0.9 * np.log(error)) / order)
    return min(1.0 if rejected else 10.0, max(0.2, growth))


@inner()
def shrinkage(order, error):
    """Factor for the step after one whose ``error`` was above 1."""
    return max(0.1, 0.9 * error ** (-1.0 / order))


@inner()
def prepare(system, work):
    """Build the Hessian at the last accepted state and what makes it the Jacobian, after `field` there."""
    heads, blocks, tasks = system.shape
    first_mu = heads * blocks
    law.hessian(
        system.model,
        work.theta[:first_mu].reshape(heads, blocks),
        work.theta[first_mu:].reshape(heads, tasks),
        work.scratch,
        work.hess,
    )
    _scale_to_dual(system.chart, work.theta, work.hess, work.root, work.reach)


@inner()
def attempt(system, tableau, x, step, coupled, work):
    """Fill the stage increments of one step, the new state and its field.

    Returns (error, field evaluations): the error in units of the tolerance, infinite if something on the
    way was not finite. That the field at the new state is finite is part of accepting the step; a
    Rosenbrock method evaluates it only if the error is acceptable.
    """
    trial, increments, new_slope = work.trial, work.increments, work.new_slope
    size = trial.size
    stages = tableau.a.shape[0]
    implicit = tableau.gamma > 0.0
    evaluations = 0
    error = 0.0
    for s in range(stages + 1 if implicit else stages):
        if s > 0:
            for n in range(size):
                trial[n] = x[n]
            row = min(s, stages - 1)
            for q in range(s):
                coefficient = tableau.a[row, q] if q < row else 1.0
                if coefficient != 0.0:
                    for n in range(size):
                        trial[n] += coefficient * increments[q, n]
            if not implicit and s == stages - 2:
                for n in range(size):
                    work.rhs[n] = trial[n]  # for `stiffness`
        if s == stages:
            error = _error(tableau, increments, work.weights, trial)
            if not error <= 1.0:
                return error, evaluations
        if s > 0:
            evaluations += 1
            if not field(system, trial, work.new_theta, work.grad, work.scratch, new_slope):
                return np.inf, evaluations
        if s < stages:
            slope = new_slope if s > 0 else work.slope
            for n in range(size):
                increments[s, n] = step * slope[n]
            if implicit:
                for q in range(s):
                    coefficient = tableau.c[s, q]
                    for n in range(size):
                        increments[s, n] += coefficient * increments[q, n]
                for n in range(size):
                    increments[s, n] *= tableau.gamma
                _solve_stage(system.chart, coupled, work, increments[s])
    if not implicit:
        error = _error(tableau, increments, work.weights, trial)
    return error, evaluations


@inner()
def _error(tableau, increments, weights, trial):
    """Largest weighted component of the error estimate; infinite if it or the new state is not finite."""
    stages = tableau.error.size
    largest = 0.0
    for n in range(trial.size):
        total = 0.0
        for q in range(stages):
            total += tableau.error[q] * increments[q, n]
        size = abs(total) * weights[n]
        if not size <= largest:
            largest = size
            if not np.isfinite(size):
                return np.inf
    return largest


@inner()
def stiffness(increments, stages, argument, trial):
    """Step times the Lipschitz constant of the field, seen between the last two stages (both at the end)."""
    field_change = 0.0
    state_change = 0.0
    for n in range(trial.size):
        change = increments[stages - 1, n] - increments[stages - 2, n]
        field_change += change * change
        change = trial[n] - argument[n]
        state_change += change * change
    return np.sqrt(field_change / state_change) if state_change > 0.0 else 0.0


@inner()
def stiffness_bound(step, work):
    """Upper bound of step times the spectral radius of the Jacobian, by the rows of its symmetric form."""
    root, hess = work.root, work.hess
    size = root.size
    largest = 0.0
    for i in range(size):
        row = 0.0
        for j in range(size):
            entry = hess[i, j] if i <= j else hess[j, i]
            row += abs(entry * root[j])
        largest = max(largest, row * abs(root[i]))
    return step * largest
