"""Compiled sums of a quadrature; `spectral_icl.multitask.exact.overlaps` says what they are for."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, entry
from spectral_icl.kernels.elementary import exponential
from spectral_icl.kernels.lanes import where
from spectral_icl.kernels.model import Floats, Ints

_MOST = 800.0  # e^-u is nothing above, and 0 times infinity no number
_SMALL = 0.1  # below which 1 - e^-u is summed as a series


@entry(fastmath=ALGEBRA)
def smoothed_powers(
    points: Floats, shifts: Floats, factors: Floats, weights: Floats, off: Floats, out: Floats
) -> None:
    """Fill ``off`` (Z, Y) with the means of 1 - e^-u and ``out`` (R, Z, Y) with those of u^r e^-u.

    At u = shift_z point_y factor_m, over m with the ``weights`` (M,).
    """
    count = factors.size
    size, term = np.empty(count), np.empty(count)
    for z in range(shifts.size):
        for y in range(points.size):
            scale = shifts[z] * points[y]
            lost = 0.0
            for m in range(count):
                u = scale * factors[m]
                u = where(u < _MOST, u, _MOST)
                left = exponential(-u)
                series = 1.0 - u * (1.0 / 6.0) * (1.0 - u * (1.0 / 7.0) * (1.0 - u * 0.125))
                series = 1.0 - u * (1.0 / 3.0) * (1.0 - u * 0.25 * (1.0 - u * 0.2 * series))
                small = u * (1.0 - 0.5 * u * series)
                lost += weights[m] * where(u < _SMALL, small, 1.0 - left)
                size[m] = u
                term[m] = weights[m] * left
            off[z, y] = lost
            for r in range(out.shape[0]):
                total = 0.0
                for m in range(count):
                    total += term[m]
                    term[m] *= size[m]
                out[r, z, y] = total


@entry(fastmath=ALGEBRA)
def sums_of_products(weights: Floats, values: Floats, terms: Ints, factors: Floats, out: Floats) -> None:
    """Add to ``out`` sums over N points of weighted products of up to four values.

    Parameters
    ----------
    weights : ndarray, (W, N)
    values : ndarray, (V, N)
    terms : ndarray of int, (T, 6)
        The entry of ``out`` that a term belongs to, its row of ``weights``, and its rows of ``values``, -1
        for none.
    factors : ndarray, (T,)
    out : ndarray
    """
    count = weights.shape[1]
    for t in range(terms.shape[0]):
        weight, first = weights[terms[t, 1]], values[terms[t, 2]]
        total = 0.0
        if terms[t, 3] < 0:
            for n in range(count):
                total += weight[n] * first[n]
        elif terms[t, 4] < 0:
            second = values[terms[t, 3]]
            for n in range(count):
                total += weight[n] * first[n] * second[n]
        elif terms[t, 5] < 0:
            second, third = values[terms[t, 3]], values[terms[t, 4]]
            for n in range(count):
                total += weight[n] * first[n] * second[n] * third[n]
        else:
            second, third, fourth = values[terms[t, 3]], values[terms[t, 4]], values[terms[t, 5]]
            for n in range(count):
                total += weight[n] * first[n] * second[n] * third[n] * fourth[n]
        out[terms[t, 0]] += factors[t] * total
