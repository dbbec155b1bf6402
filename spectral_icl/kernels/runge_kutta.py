"""One explicit step, of a flow or of one flow in every lane."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.control import larger, norm
from spectral_icl.kernels.field import slope_at, strayed
from spectral_icl.kernels.lanes import where


@inner(fastmath=ALGEBRA)
def accumulate(out, coefficients, rows, count):
    """Add the combination of the first ``count`` rows, four at a time, to ``out``."""
    whole = count - count % 4
    for q in range(0, whole, 4):
        a, b, c, d = coefficients[q], coefficients[q + 1], coefficients[q + 2], coefficients[q + 3]
        row0, row1, row2, row3 = rows[q], rows[q + 1], rows[q + 2], rows[q + 3]
        for n in range(out.size):
            out[n] += (a * row0[n] + b * row1[n]) + (c * row2[n] + d * row3[n])
    for q in range(whole, count):
        a, row = coefficients[q], rows[q]
        for n in range(out.size):
            out[n] += a * row[n]


@inner(fastmath=ALGEBRA)
def combine(out, coefficients, rows):
    """Fill ``out`` with the combination of rows, one for each coefficient."""
    for n in range(out.size):
        out[n] = 0.0
    accumulate(out, coefficients, rows, coefficients.size)


@inner(fastmath=ALGEBRA)
def explicit_step(model, chart, tableau, x, step, first, work, mixed):
    """Fill the increments of one step, the new state (``trial``), theta and the field there.

    ``first`` is the stage to begin with: 1, or the last one of a step of 0, which just asks for the field.

    Returns
    -------
    error
        In units of the tolerance.
    finite
        Whether all on the way was, `error` included; in lanes a mask.
    far
        The furthest that `strayed` found.
    strain
        Step times the Lipschitz constant of the field, as seen between the last two stages, which are both at
        the end of the step.
    """
    trial, increments, rate, before = work.trial, work.increments, work.new_slope, work.rhs
    stages = tableau.error.size
    last = stages - 1
    for n in range(trial.size):
        increments[0, n] = step * work.slope[n]
    finite = step == step
    far = 0.0 * step
    for s in range(first, stages):
        if s == last:
            for n in range(trial.size):
                before[n] = trial[n]
        for n in range(trial.size):
            trial[n] = x[n]
        accumulate(trial, tableau.a[s], increments, s)
        finite = finite & slope_at(
            model, chart, trial, work.new_theta, work.grad, work.new_scratch, rate, mixed
        )
        far = larger(strayed(model, work.new_scratch), far)
        for n in range(trial.size):
            increments[s, n] = step * rate[n]
    state_change, field_change = 0.0 * step, 0.0 * step
    for n in range(trial.size):
        change = trial[n] - before[n]
        state_change += change * change
        change = increments[last, n] - increments[last - 1, n]
        field_change += change * change
    strain = np.sqrt(field_change / where(state_change > 0.0, state_change, 1.0))
    combine(before, tableau.error, increments)
    error, all_finite = norm(before, work.weights)
    return error, finite & all_finite, far, strain
