"""The Bayes risk of in-context regression: what the best use of L pairs leaves unexplained.

With Gaussian coefficients the posterior mean is ridge regression, and the risk (query noise excluded) is the
trace of the posterior covariance against that of the covariates,

    R = E tr T (I + Z^T Z T / sigma^2)^-1,   T = diag(A_b / d_b on the d_b coordinates of block b),

a mean over normal Z (L, d). `exact` has it for equal prior variances, `equivalent` for any in large
dimensions, and `approximate` says which of the latter and a sampled mean to trust.
"""

from __future__ import annotations

from functools import lru_cache
from math import factorial

import numpy as np
from numpy.polynomial.chebyshev import chebval
from numpy.polynomial.polynomial import polyval
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats

LARGEST = 400  # min(d, L) up to which the exact mean is used; beyond, the equivalent is as good (1e-5)
_BENT = [1.0 / factorial(k) for k in range(2, 12)]  # the series of e^z - 1 - z from z^2 on
_TAIL = 9.0  # standard deviations of a chi-square variable that count
_LEFT = 40.0  # minus the logarithm of a weight in its left tail that does not
_CONVERGED = 1e-12  # relative range of means
_NOTHING = 1e-15  # range of log u below which all its values are one
_FAINT = 1e-10  # ridge penalty below which the risk follows its asymptote
_TRUSTED = 0.05  # relative error up to which the equivalent is taken
_WORK = 2e9  # multiplications of a sampled risk


def approximate(power: Floats, noise: float, sizes: Floats, length: int) -> tuple[float, float]:
    """The risk for any block powers, and the size of its error: `equivalent` where it is good, else sampled.

    It is not where L is close to d and the noise weak, so that single directions of the prompt decide.
    """
    risk, error = equivalent(power, noise, sizes, length)
    if error <= _TRUSTED * risk or _seen(sizes[power > 0.0], length).sum() > LARGEST:
        return risk, min(error, float(power.sum()))
    return _sampled(power, noise, sizes, length)


def _sampled(power: Floats, noise: float, sizes: Floats, length: int) -> tuple[float, float]:
    """Mean of the posterior's trace over drawn covariates, and three standard errors."""
    used = power > 0.0
    prior, sizes = power[used] / sizes[used], sizes[used]
    seen = _seen(sizes, length)
    unseen = float(prior @ (sizes - seen))
    first = np.cumsum(seen) - seen  # column of every block
    each = np.repeat(prior, seen)
    draws = int(np.clip(_WORK / (each.size**2 * (each.size + length)), 100, 20_000))
    rng = np.random.default_rng(0)
    noise = max(noise, 1e-14 * float(power.sum()))
    traces = np.empty(draws)
    for k in range(draws):
        z = rng.normal(size=(length, each.size))
        for block in np.flatnonzero(sizes > length):
            z[:, first[block] : first[block] + length] = _turned(rng, int(sizes[block]), length)
        z *= np.sqrt(each)
        traces[k] = unseen + each @ np.diag(np.linalg.inv(np.eye(each.size) + z.T @ z / noise))
    return float(traces.mean()), float(3.0 * traces.std() / np.sqrt(draws))


def _seen(sizes: Floats, length: int) -> NDArray[np.int64]:
    """Directions of every block that so many pairs can see, if it is turned to them."""
    return np.minimum(sizes, length).astype(np.int64)


def _turned(rng: np.random.Generator, size: int, length: int) -> Floats:
    """A normal (L, d) matrix, d > L, turned to be triangular, without the d - L columns of zeros."""
    z = np.tril(rng.normal(size=(length, length)), -1)
    np.fill_diagonal(z, np.sqrt(rng.chisquare(size - np.arange(length))))
    return z


def _fainter(power: float, penalty: float, size: int, length: int) -> float:
    """`exact` below its smallest penalty, from there by how the risk vanishes with it.

    The smallest eigenvalue x of the Gram matrix has density x^((L - d - 1) / 2) near 0: the risk is
    proportional to the penalty for L > d + 1, to its square root for L = d, and constant for L < d.
    """
    least = _integrated(power, _FAINT, size, length)
    ratio = penalty / _FAINT
    if length < size:
        return least
    if length == size:
        return least * float(np.sqrt(ratio))
    logarithm = np.log(penalty) / np.log(_FAINT) if length == size + 1 else 1.0
    return float(least * ratio * logarithm)


@lru_cache(maxsize=4096)  # equal tasks, and curves along which only some of them change
def exact(power: float, noise: float, size: int, length: int) -> float:
    """The risk for ``size`` coordinates of equal prior variance with signal ``power``, to 9 digits.

    By symmetry R = a E lambda [(Z^T Z + lambda I)^-1]_11 with the ridge penalty lambda = d sigma^2 / a.
    Householder reflections make Z bidiagonal with independent chi-distributed entries (Dumitriu and Edelman
    2002), and of a bidiagonal matrix that entry is a continued fraction,

        u_0 = 1 / (1 + (chi^2_L / lambda) u_1),  u_1 = 1 / (1 + (chi^2_{d-1} / lambda) u_2),
        u_2 = 1 / (1 + (chi^2_{L-1} / lambda) u_3),  ...   until the degrees of freedom are used up: u = 1.

    So E[u_0 | u_k] is a function of log u_k that one quadrature over a chi-square variable carries to k + 1.
    """
    if noise == 0.0:
        return power * max(0.0, 1.0 - length / size)
    penalty = size * noise / power
    if penalty < _FAINT:
        return _fainter(power, penalty, size, length)
    return _integrated(power, penalty, size, length)


def _integrated(power: float, penalty: float, size: int, length: int) -> float:
    """`exact` by its recursion, for the penalty that goes with the noise."""
    most = max(size, length)
    span = float(np.log1p((most + _TAIL * np.sqrt(2.0 * most) + _TAIL**2) / penalty))
    if span < _NOTHING:  # nothing is learned, to rounding
        return power
    count = int(24 + 5 * span)  # resolves the logistic functions of log u that appear
    order = np.arange(count)
    cosines = np.cos(np.pi * np.outer(order, order) / (count - 1.0))
    ends = np.where((order == 0) | (order == count - 1), 0.5, 1.0)
    to_series = 2.0 / (count - 1.0) * ends[:, None] * cosines * ends
    log_u = -0.5 * span * (1.0 - cosines[1])  # at Chebyshev points; the first is u = 1
    log_mean = log_u  # the logarithm, since means of very different size follow from each other
    for step in range(2 * most):
        freedom = length - step // 2 if step % 2 == 0 else size - 1 - step // 2
        if freedom <= 0:
            break
        y, weights = _log_chi_square(freedom)
        outer = -np.logaddexp(0.0, (y - np.log(penalty))[:, None] + log_u)
        log_mean = np.log(weights @ np.exp(chebval(1.0 + 2.0 * outer / span, to_series @ log_mean)))
        if np.ptp(log_mean) <= _CONVERGED:  # what lies deeper no longer matters
            break
    return power * float(np.exp(log_mean[0]))


def equivalent(power: Floats, noise: float, sizes: Floats, length: float) -> tuple[float, float]:
    """The risk for block powers A_b on blocks of d_b coordinates, and the size of its error.

    The deterministic equivalent solves R = sum_b A_b / (1 + L A_b / (d_b (sigma^2 + R))). Of the mean over
    real Gaussian matrices it misses the term of relative order 1 / d, which follows from that of the mean
    log determinant, log(1 - gamma) / 2 (Bai and Silverstein 2004), and is added. What remains is of second
    order.
    """
    used = power > 0.0
    prior, sizes = power[used] / sizes[used], sizes[used]  # eigenvalues of T
    if noise == 0.0 and length >= sizes.sum():
        return 0.0, 0.0
    risk = _fixed_point(prior, sizes, noise, length)
    m = 1.0 / (noise + risk)
    q = 1.0 + prior * length * m
    gamma = length * m**2 * (sizes * prior**2 / q**2).sum()
    by_m = 2.0 * gamma / m - 2.0 * length**2 * m**2 * (sizes * prior**3 / q**3).sum()
    m_by_prior = -(m**2) / ((1.0 - gamma) * q**2)
    by_prior = 2.0 * length * m**2 * prior / q**3 + by_m * m_by_prior
    correction = float(0.5 * (sizes * prior**2 * by_prior).sum() / (1.0 - gamma))
    depth = min(float(sizes.sum()), length)
    return risk + correction, correction**2 * 3.0 / risk + abs(correction) / depth


def _fixed_point(prior: Floats, sizes: Floats, noise: float, length: float) -> float:
    """The R of the deterministic equivalent, the only root in (0, sum_b A_b)."""
    from scipy.optimize import brentq  # slow to import, and only needed here

    total = float((sizes * prior).sum())

    def excess(log_risk: float) -> float:
        risk = float(np.exp(log_risk))
        return float((sizes * prior / (noise + risk + length * prior)).sum()) * (noise + risk) / risk - 1.0

    low = float(np.log(total)) - 1.0
    while excess(low) < 0.0:
        low -= 10.0
    return float(np.exp(brentq(excess, low, float(np.log(total)) + 1e-9, xtol=1e-14)))


def _log_chi_square(freedom: int) -> tuple[Floats, Floats]:
    """Nodes and weights of the trapezoidal rule for a mean over y = log chi^2, exponentially accurate."""
    width = np.sqrt(2.0 / freedom)
    # in z = y - log freedom, so that no digits are lost; e^-x - 1 + x >= x^2 / (2 + x) bounds the left tail
    low = -(_LEFT + np.sqrt(_LEFT**2 + 4.0 * _LEFT * freedom)) / freedom
    high = np.log1p(_TAIL * width + _TAIL**2 / freedom)
    z = np.arange(low, high, min(0.25, 0.3 * width))
    bent = np.where(np.abs(z) < 0.1, z * z * polyval(z, _BENT), np.expm1(z) - z)
    weights = np.exp(-0.5 * freedom * bent)
    kept: NDArray[np.bool_] = weights > 1e-17
    return np.log(freedom) + z[kept], weights[kept] / weights[kept].sum()
