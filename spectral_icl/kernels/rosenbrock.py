"""One implicit step of a flow, by the exact Jacobian, on the entries that are coupled to others."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import slope
from spectral_icl.kernels.cholesky import cholesky, cholesky_solve
from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.control import larger, norm
from spectral_icl.kernels.field import slope_at, strayed
from spectral_icl.kernels.runge_kutta import accumulate

# An entry whose column of step times the Jacobian is below this acts on nothing.
_NEGLIGIBLE = 1e-18


@inner(fastmath=ALGEBRA)
def prepare(model, chart, work, mixed):
    """Build the Hessian S at the last accepted state and what makes it the Jacobian, after `slope_at` there.

    dx/dt = -P s grad has the Jacobian J = -P s S s M: speeds P, signs s, M = |dtheta/dx|. It is similar to
    the symmetric -Q S Q. Fills ``root`` with the diagonal of Q = s sqrt(P M), and ``reach`` with the sum of
    each column of |J|. Returns an upper bound of the spectral radius of J, by the rows of |Q S Q|.
    """
    hess, root, reach, rows = work.hess, work.root, work.reach, work.rhs
    size = root.size
    law.hessian(model, work.theta.omega, work.theta.mu, work.scratch, hess)
    for n in range(size):
        root[n] = chart.sign[n] * np.sqrt(chart.speed[n] * slope(chart, work.theta.flat, n, mixed))
        reach[n] = 0.0
        rows[n] = 0.0
    for i in range(size):
        row, size_i, speed_i = hess[i], abs(root[i]), chart.speed[i]
        by_speed, by_root = speed_i * abs(row[i]), size_i * abs(row[i])
        for j in range(i + 1, size):
            entry = abs(row[j])
            by_speed += chart.speed[j] * entry
            by_root += abs(root[j]) * entry
            reach[j] += speed_i * entry
            rows[j] += size_i * entry
        reach[i] += by_speed
        rows[i] += by_root
    largest = 0.0
    for n in range(size):
        reach[n] *= slope(chart, work.theta.flat, n, mixed)
        largest = max(largest, rows[n] * abs(root[n]))
    return largest


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
        # of a speed and a slope so small that their product is zero, the root is
        if root[n] != 0.0 and step * work.reach[n] > _NEGLIGIBLE:
            order[coupled] = n
            coupled += 1
        else:
            idle -= 1
            order[idle] = n
    for p in range(coupled):
        i = order[p]
        row, from_row = factor[p], hess[i]
        scale = step * root[i]
        for r in range(p, coupled):
            j = order[r]
            row[r] = scale * from_row[j] * root[j]
        row[p] += 1.0
        work.down[p] = abs(root[i]) / chart.speed[i]
    for p in range(coupled, size):
        i = order[p]
        scale = step * chart.speed[i] * chart.sign[i]
        for r in range(coupled):
            j = order[r]
            entry = hess[i, j] if i <= j else hess[j, i]
            idle_rows[p, r] = scale * entry * root[j]
    return coupled, coupled == 0 or cholesky(factor, coupled)


@inner(fastmath=ALGEBRA)
def solve_stage(coupled, work, stage):
    """Solve (1 - step J) k = stage in place, with the factor and the rows that `factorise` left."""
    order, down, idle_rows, rhs = work.order, work.down, work.idle_rows, work.rhs
    for p in range(coupled):
        rhs[p] = stage[order[p]] * down[p]
    cholesky_solve(work.factor, coupled, rhs)
    for p in range(coupled):
        stage[order[p]] = rhs[p] / down[p]
    for p in range(coupled, order.size):
        row = idle_rows[p]
        pull = 0.0
        for r in range(coupled):
            pull += row[r] * rhs[r]
        stage[order[p]] -= pull


@inner(fastmath=ALGEBRA)
def implicit_step(model, chart, tableau, x, step, coupled, work, mixed):
    """Fill the increments of one step, the new state (``trial``), theta and the field there.

    Returns
    -------
    error
        In units of the tolerance. If it is above 1, the new state and its field are not made.
    finite
        Whether all on the way was.
    far
        The furthest that `strayed` found.
    """
    trial, increments, rate = work.trial, work.increments, work.new_slope
    stages = tableau.a.shape[0]
    finite = True
    far, error = 0.0, 0.0
    for s in range(stages + 1):
        if s > 0:
            for n in range(trial.size):
                trial[n] = x[n]
            accumulate(trial, tableau.a[min(s, stages - 1)], increments, min(s, stages - 1))
        if s == stages:
            for n in range(trial.size):
                trial[n] += increments[stages - 1, n]  # which is the error estimate too
            error, all_finite = norm(increments[stages - 1], work.weights)
            finite = finite and all_finite
            if not (finite and error <= 1.0):
                break
        if s > 0:
            finite = slope_at(model, chart, trial, work.new_theta, work.grad, work.scratch, rate, mixed)
            far = larger(strayed(model, work.scratch), far)
            if not finite:
                break
        if s < stages:
            stage, by = increments[s], rate if s > 0 else work.slope
            for n in range(trial.size):
                stage[n] = step * by[n]
            accumulate(stage, tableau.c[s], increments, s)
            for n in range(trial.size):
                stage[n] *= tableau.gamma
            solve_stage(coupled, work, stage)
    return error, finite, far
