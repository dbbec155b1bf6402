"""Normalised Hermite polynomials: values, what a tilt makes of a sum of them, and averages.

A normal t of mean theta and variance 1 has E h_k(t) = theta^k / sqrt(k!), so the tilted mean of
f = sum_k c_k h_k is a power series, m(theta) = sum_k c_k theta^k / sqrt(k!). All that a law of the context
needs is made of it.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from spectral_icl.io.checks import Floats


def values(x: Floats, degree: int) -> Floats:
    """h_0, ..., h_K at ``x``, (K + 1, ...), by their recurrence."""
    found = np.empty((degree + 1, *x.shape))
    found[0] = 1.0
    if degree:
        found[1] = x
    for k in range(1, degree):
        found[k + 1] = (x * found[k] - math.sqrt(k) * found[k - 1]) / math.sqrt(k + 1)
    return found


def combined(c: Floats, x: Floats) -> Floats:
    """f_i(x) = sum_k c_ik h_k(x), for coefficients (I, K + 1) and points (I, ...)."""
    found: Floats = np.einsum("ik,ki...->i...", c, values(x, c.shape[1] - 1))
    return found


def lowered(c: Floats) -> Floats:
    """Coefficients of f', since h_k' = sqrt(k) h_(k-1), (I, K)."""
    return c[:, 1:] * np.sqrt(np.arange(1, c.shape[1]))


def tilted(c: Floats) -> Floats:
    """The power series m of the tilted mean, c_k / sqrt(k!), (I, K + 1)."""
    return c / root_factorials(c.shape[1] - 1)


def spread(c: Floats) -> Floats:
    """The variance of f under a tilt as a power series in the tilt theta, (I, 2 K - 1).

    sum_(j >= 1) m^(j)(theta)^2 / j!: of white noise the derivatives of the mean are all that the variance
    is made of. At theta = 0 it is sum_(k >= 1) c_k^2.
    """
    tasks, terms = c.shape
    total, series = np.zeros((tasks, max(1, 2 * terms - 3))), tilted(c)
    for j in range(1, terms):
        series = derivative(series)
        for i in range(tasks):
            square = np.convolve(series[i], series[i])
            total[i, : square.size] += square / math.factorial(j)
    return total


def derivative(series: Floats) -> Floats:
    """The derivative of power series (I, n), (I, n - 1), or of one term zero, (I, 1)."""
    if series.shape[1] == 1:
        return np.zeros_like(series)
    return series[:, 1:] * np.arange(1, series.shape[1])


def evaluated(series: Floats, x: Floats) -> Floats:
    """Power series (I, n) at points (I, ...), each task's own."""
    each = series.reshape(*series.shape, *(1,) * (x.ndim - 1))
    total = np.zeros_like(x) + each[:, -1]
    for k in range(series.shape[1] - 2, -1, -1):
        total = total * x + each[:, k]
    return total


@cache
def projections(degree: int) -> Floats:
    """E t^k h_j(t) over a standard normal t, (K + 1, K + 1): k in the rows, j in the columns."""
    found = np.zeros((degree + 1, degree + 1))
    for k in range(degree + 1):
        for j in range(k, -1, -2):
            m = (k - j) // 2
            found[k, j] = math.factorial(k) / (2.0**m * math.factorial(m) * math.sqrt(math.factorial(j)))
    found.setflags(write=False)
    return found


@cache
def nodes(degree: int) -> tuple[Floats, Floats]:
    """Points and weights of the mean over a standard normal that is exact up to the degree 2 K."""
    z, w = np.polynomial.hermite_e.hermegauss(degree + 1)
    w /= w.sum()
    z.setflags(write=False)
    w.setflags(write=False)
    return z, w


def root_factorials(most: int) -> Floats:
    """sqrt(k!) for k = 0, ..., ``most``."""
    return np.sqrt([float(math.factorial(k)) for k in range(most + 1)])
