"""The field dx/dt of the flow in dual coordinates, of numbers and of lanes alike."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels import law
from spectral_icl.kernels.charts import map_to_primal
from spectral_icl.kernels.compile import ALGEBRA, inner, maker
from spectral_icl.kernels.lanes import where
from spectral_icl.kernels.model import LEFT_RANGE, OVERFLOW, REACHED_END, STEP_UNDERFLOW, Floats


class Parts(NamedTuple):
    """A flat array of N = H (B + I) numbers, or lanes, and views of its two parts."""

    flat: Floats  # (N,)
    omega: Floats  # (H, B)
    mu: Floats  # (H, I)


@maker
def parts_of(flat, shape):
    """The parts of a flat array."""
    heads, blocks, tasks = shape
    first_mu = heads * blocks
    return Parts(flat, flat[:first_mu].reshape(heads, blocks), flat[first_mu:].reshape(heads, tasks))


@inner(fastmath=ALGEBRA)
def slope_at(model, chart, x, theta, grad, scratch, out, mixed):
    """Fill dx/dt at x, and leave theta, the gradient (both `Parts`) and the law's work arrays behind.

    Returns whether every component is finite, in lanes a mask. ``mixed`` as in `map_to_primal`.
    """
    map_to_primal(chart, x, theta.flat, mixed)
    law.gradient(model, theta.omega, theta.mu, grad.omega, grad.mu, scratch)
    slopes = grad.flat
    finite = abs(slopes[0]) < np.inf
    for n in range(x.size):
        rate = -(chart.speed[n] * chart.sign[n]) * slopes[n]
        out[n] = rate
        finite = finite & (abs(rate) < np.inf)
    return finite


# Whether a state is one that the law says something of.
INSIDE, LOST, OUTSIDE = 0.0, 1.0, 2.0


@inner()
def strayed(model, scratch):
    """`INSIDE` the law's range, `LOST` where it has lost its meaning, or `OUTSIDE`; in every lane.

    Of the state where `slope_at` was asked last.
    """
    lost = where(law.lost_meaning(model, scratch), LOST, INSIDE)
    return where(law.left_range(model, scratch), OUTSIDE, lost)


@inner()
def failure(far):
    """Why a field was not finite, by how far its state had strayed."""
    return LEFT_RANGE if far == OUTSIDE else OVERFLOW


@inner()
def stall(cause, far):
    """Why steps shrank to rounding: ``cause``, the last failure, or how far the law was strayed from."""
    if cause != REACHED_END:
        return cause
    return LEFT_RANGE if far >= LOST else STEP_UNDERFLOW
