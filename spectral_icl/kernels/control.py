"""What decides the size of steps: tolerances, the next step after one, and when a flow is at rest."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.charts import slope
from spectral_icl.kernels.compile import ALGEBRA, inner
from spectral_icl.kernels.lanes import where
from spectral_icl.kernels.model import HYPERBOLIC, LINEAR

# Steps turn implicit where step * |Jacobian| strains the explicit method, whose interval of stability ends at
# 3.3, and explicit where an upper bound of it is well below; either must last for some steps.
STRAINED, RELIEVED, PATIENCE = 2.6, 0.9, 3
_STANDS = 1e-3


@inner()
def larger(one, other):
    """The larger of two numbers, in every lane; ``other`` if ``one`` is NaN."""
    return where(one > other, one, other)


@inner()
def all_finite(values):
    """Whether no number is infinite or NaN."""
    finite = True
    for n in range(values.size):
        finite = finite & np.isfinite(values[n])
    return finite


@inner(fastmath=ALGEBRA)
def weigh(chart, x, rtol, out, mixed):
    """Fill the reciprocal tolerances of the dual coordinates.

    An error dx of an exponential or hyperbolic entry is a relative error of theta, so the tolerance is
    rtol however small theta has become: an entry that decayed may grow again (the escape), and when it
    does is decided by its logarithm. For |x| > 4 it is relative to |x|, as that time is.
    """
    for n in range(x.size):
        size = abs(x[n])
        bound = larger(0.25 * size, 1.0)
        if mixed:
            bound = where(chart.kind[n] == LINEAR, larger(size, chart.scale[n]), bound)
        out[n] = 1.0 / (rtol * bound)


@inner(fastmath=ALGEBRA)
def unrest(chart, theta, rate, mixed):
    """What must be small at rest: every |dtheta/dt|, and every rate dx/dt but decay where it may not end.

    An exponential entry may decay for ever: only its growth counts (first-order optimality).
    """
    largest = abs(rate[0]) * 0.0
    for n in range(theta.size):
        speed, drift = abs(rate[n]), rate[n]
        if mixed:
            drift = where((chart.kind[n] == HYPERBOLIC) | (chart.kind[n] == LINEAR), speed, drift)
        largest = larger(slope(chart, theta, n, mixed) * speed, largest)
        largest = larger(drift, largest)
    return largest


@inner(fastmath=ALGEBRA)
def norm(values, weights):
    """Largest weighted component, and whether all are finite, in every lane."""
    largest = abs(values[0]) * weights[0]
    finite = largest < np.inf
    for n in range(1, values.size):
        size = abs(values[n]) * weights[n]
        finite = finite & (size < np.inf)
        largest = larger(size, largest)
    return largest, finite


@inner()
def first_step(order, speed, weights, span):
    """A first step, from the rate of change at the start and the tolerances.

    The tightest component may move by what makes an error of one tolerance in a step of that order, were all
    derivatives as large.
    """
    tightest, rate = 0.0, 0.0
    for n in range(speed.size):
        tightest = max(tightest, weights[n])
        rate = max(rate, abs(speed[n]) * weights[n])
    if not rate > 0.0 or not np.isfinite(rate):
        return span if np.isfinite(span) else 1.0
    return min(0.5 * tightest ** (1.0 - 1.0 / order) / rate, span)


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
def stands(step, slope, weights):
    """Whether a step moves a flow by so little of its tolerance that it stands.

    One that leaves the range of the law even so is at the end of that range, however slowly it came there:
    with its speed, steps to the end may stay above the rounding of the time for ever.
    """
    size, _ = norm(slope, weights)
    return step * size < _STANDS


@inner()
def growth(order, error, previous_error, rejected):
    """Factor for the step after an accepted one, of ``error`` > 0 (a PI controller)."""
    growth = 0.9 * np.exp((0.2 * np.log(previous_error) - 0.9 * np.log(error)) / order)
    return min(1.0 if rejected else 10.0, max(0.2, growth))


@inner()
def shrinkage(order, error):
    """Factor for the step after one whose ``error`` was above 1."""
    return max(0.1, 0.9 * error ** (-1.0 / order))
