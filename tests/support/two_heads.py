"""The loss of two softmax heads in one coordinate, by quadrature from the definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def normal(points: int, variance: float) -> tuple[NDArray[Any], NDArray[Any]]:
    """Gauss-Hermite nodes and weights of a normal variable of mean zero."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    return nodes * np.sqrt(variance), weights / weights.sum()


def exact_loss(
    length: float, omega: NDArray[Any], mu: NDArray[Any], *, power: float, noise: float, kappa: float
) -> float:
    """The loss of one task on one coordinate, query noise included.

    A normaliser in a denominator is the integral of exp(-z Z) over z > 0, under which the pairs are
    independent; so they need one mean each, over the covariate. The range of z fits small omega.
    """
    (x, of_x), (q, of_q) = normal(50, kappa), normal(16, kappa)
    z = np.exp(np.arange(-30, 5, 0.35)) / length
    dz = 0.35 * z
    share = power / kappa  # variance of the coefficient
    total = power + noise
    for query, weight in zip(q, of_q, strict=True):
        tilts = np.exp(np.outer(omega * query, x))
        for h, k in ((0, 0), (0, 1), (1, 0), (1, 1)):
            exponent = -z[:, None, None] * tilts[h] - z[:, None] * tilts[k]
            damped, both = np.exp(exponent) * of_x, tilts[h] * tilts[k]
            alone = damped @ (share * x**2 * both + noise * both)  # a pair with itself
            apart = share * (damped @ (x * tilts[h])) * (damped @ (x * tilts[k]))
            others = damped.sum(-1)
            parts = length * (alone * others + (length - 1) * apart) * others ** (length - 2)
            total += weight * mu[h] * mu[k] * dz @ parts @ dz
        for h in range(2):
            damped = np.exp(-np.outer(z, tilts[h])) * of_x
            read = length * np.sum(dz * (damped @ (x * tilts[h])) * damped.sum(-1) ** (length - 1))
            total -= 2 * mu[h] * weight * share * query * read
    return float(total)
