"""One implicit step of a flow, by the exact Jacobian."""

from __future__ import annotations

from spectral_icl.kernels import linear
from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.control import larger, norm
from spectral_icl.kernels.field import slope_at, strayed
from spectral_icl.kernels.runge_kutta import accumulate


@inner(fastmath=ALGEBRA)
def implicit_step(model, chart, tableau, x, step, work, mixed):
    """Fill the increments of one step, the new state (``trial``), theta and the field there.

    Returns
    -------
    error
        In units of the tolerance. If it is above 1, the new state and its field are not made.
    finite
        Whether all on the way was.
    far
        The furthest that `strayed` found.
    definite
        Whether the matrix was, as far as its solutions tell.
    """
    trial, increments, rate = work.trial, work.increments, work.new_slope
    stages = tableau.a.shape[0]
    finite, definite = True, True
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
            definite = linear.solve(work.linear, model, work, stage)
            if not definite:
                break
    return error, finite, far, definite
