"""The Bayes risk of in-context regression: what the best use of L pairs leaves unexplained.

With Gaussian coefficients the posterior mean is ridge regression, and the risk (query noise excluded) is the
trace of the posterior covariance against that of the covariates,

    R = E tr T (I + Z^T Z T / sigma^2)^-1,   T = diag(A_b / d_b on the d_b coordinates of block b),

a mean over normal Z (L, d). `exact` has it for equal prior variances, `equivalent` for any in large
dimensions, and `approximate` says which of the latter and a sampled mean to trust.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats

LARGEST = 400  # min(d, L) up to which the exact mean is used; beyond, the equivalent is as good (1e-5)
_TAIL = 9.0  # standard deviations of a chi-square variable that count
_CONVERGED = 1e-15
_FAINT = 1e-10  # ridge penalty below which the risk follows its asymptote
_TRUSTED = 0.05  # relative error up to which the equivalent is taken
_WORK = 2e9  # multiplications of a sampled risk


def approximate(power: Floats, noise: float, sizes: Floats, length: int) -> tuple[float, float]:
    """The risk for any block powers, and the size of its error: `equivalent` where it is good, else sampled.

    It is not where L is close to d and the noise weak, so that single directions of the prompt decide.
    """
    risk, error = equivalent(power, noise, sizes, length)
    if error <= _TRUSTED * risk or min(float(sizes[power > 0.0].sum()), length) > LARGEST:
        return risk, min(error, float(power.sum()))
    return _sampled(power, noise, sizes, length)


def _sampled(power: Floats, noise: float, sizes: Floats, length: int) -> tuple[float, float]:
    """Mean of the posterior's trace over drawn covariates, and three standard errors."""
    used = power > 0.0
    prior = np.repeat(power[used] / sizes[used], sizes[used].astype(int))
    draws = int(np.clip(_WORK / (prior.size**2 * (prior.size + length)), 100, 20_000))
    rng = np.random.default_rng(0)
    noise = max(noise, 1e-14 * float(power.sum()))
    traces = np.empty(draws)
    for k in range(draws):
        z = rng.normal(size=(length, prior.size)) * np.sqrt(prior)
        traces[k] = prior @ np.diag(np.linalg.inv(np.eye(prior.size) + z.T @ z / noise))
    return float(traces.mean()), float(3.0 * traces.std() / np.sqrt(draws))


def _fainter(power: float, penalty: float, size: int, length: int) -> float:
    """`exact` below its smallest penalty, from there by how the risk vanishes with it.

    The smallest eigenvalue x of the Gram matrix has density x^((L - d - 1) / 2) near 0: the risk is
    proportional to the penalty for L > d + 1, to its square root for L = d, and constant for L < d.
    """
    least = exact(power, _FAINT * power / size, size, length)
    ratio = penalty / _FAINT
    if length < size:
        return least
    if length == size:
        return least * float(np.sqrt(ratio))
    logarithm = np.log(penalty) / np.log(_FAINT) if length == size + 1 else 1.0
    return float(least * ratio * logarithm)


@lru_cache(maxsize=4096)  # equal tasks, and curves along which only some of them change
def exact(power: float, noise: float, size: int, length: int) -> float:
    """The risk for ``size`` coordinates of equal prior variance with signal ``power``, to 12 digits.

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
    most = max(size, length)
    span = float(np.log1p((most + _TAIL * np.sqrt(2.0 * most) + _TAIL**2) / penalty))
    count = int(24 + 5 * span)  # resolves the logistic functions of log u that appear
    nodes = np.cos(np.pi * np.arange(count) / (count - 1.0))  # Chebyshev points; the first is u = 1
    log_u = -0.5 * span * (1.0 - nodes)
    mean = np.exp(log_u)
    for step in range(2 * most):
        freedom = length - step // 2 if step % 2 == 0 else size - 1 - step // 2
        if freedom <= 0:
            break
        y, weights = _log_chi_square(freedom)
        outer = -np.logaddexp(0.0, (y - np.log(penalty))[:, None] + log_u)
        mean = weights @ _interpolated(nodes, mean, 1.0 + 2.0 * outer / span)
        if np.ptp(mean) <= _CONVERGED * mean.max():  # what lies deeper no longer matters
            break
    return power * float(mean[0])


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
    low = np.log(freedom) - max(_TAIL * width, 72.0 / freedom + 3.0)
    high = np.log(freedom + _TAIL * np.sqrt(2.0 * freedom) + _TAIL**2)
    y = np.arange(low, high, min(0.25, 0.3 * width))
    logarithm = 0.5 * freedom * y - 0.5 * np.exp(y)
    weights = np.exp(logarithm - logarithm.max())
    kept: NDArray[np.bool_] = weights > 1e-17
    return y[kept], weights[kept] / weights[kept].sum()


def _interpolated(nodes: Floats, values: Floats, at: Floats) -> Floats:
    """The polynomial through ``values`` at the Chebyshev points, evaluated (barycentric formula)."""
    signs = (-1.0) ** np.arange(nodes.size)
    signs[[0, -1]] *= 0.5
    distance = np.clip(at, -1.0, 1.0)[..., None] - nodes
    distance[distance == 0.0] = 1e-300
    weight = signs / distance
    result: Floats = (weight @ values) / weight.sum(axis=-1)
    return result
