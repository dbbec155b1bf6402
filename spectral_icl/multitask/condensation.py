"""What laws in 1/L count too much of the overlap of attentions: softmax is bounded, exponentials are not.

Under a law in 1/L the overlap E p.r of the attentions of two heads, given the query, is e^gamma / L, with
alpha, beta and gamma the variances and the covariance of their logits. A pair with logit s has attention
e^s / (e^s + Z), where Z is the sum over the others, about (L - 1) e^(alpha / 2). The pairs that make the
overlap have logits of means alpha + gamma and beta + gamma, and there e^s is not small beside Z once alpha
is a good part of log L: for every head there is a factor below 1, the root of

    E [1 - 1/L + e^(alpha / 2 + gamma + sqrt(alpha) z) / L]^-2,   z standard normal.

That Z varies makes the overlap larger, by the relative variances of both Z and their covariance: E |p|^2,
E |r|^2 and E p.r, less 1 / L each. To first order in 1/L this is the series of `multitask.accuracy`, and
where that diverges it stays bounded. It is no expansion in anything small, but held against the exact law:
up to alpha = log L / 2 its E |p|^2 is within 1 % for L >= 1000, and within 5 % for L >= 40.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats

Z, WEIGHT = hermegauss(8)  # a rule for a standard normal variable
WEIGHT = WEIGHT / WEIGHT.sum()
_HIGHEST = 300.0  # exponents whose square overflows not yet


def condensed(alpha: ArrayLike, beta: ArrayLike, gamma: ArrayLike, length: float) -> Floats:
    """The part c of e^gamma / L that softmax attentions do not have: E p.r = (1 - c) e^gamma / L.

    Parameters
    ----------
    alpha, beta, gamma : array_like
        Variances of two heads' logits, >= 0, and their covariance, of shapes that fit together.
    length : float
        L >= 1.

    Returns
    -------
    ndarray
        At most 1; slightly negative where logits are small, since Z varies.
    """
    one, other, both = (np.asarray(values, dtype=np.float64) for values in (alpha, beta, gamma))
    held = np.sqrt(_held(one, both, length) * _held(other, both, length))
    alone = [np.exp(value) * _held(value, value, length) / length for value in (one, other)]
    varies = sum(np.minimum(overlap, 1.0) for overlap in (*alone, np.exp(both) * held / length))
    left: Floats = held * (1.0 + varies - 3.0 / length)
    return 1.0 - left


def spread(parts: Floats, sizes: Floats) -> Floats:
    """Values (..., Z) of sum_b parts_b chi^2_(d_b) at the nodes of the rule, all increasing with the node.

    By the cube of a normal variable, with the mean and the variance of the sum (Wilson and Hilferty 1931).
    """
    mean = parts @ sizes
    deviation = np.sqrt(2.0 * (parts**2 @ sizes))
    width = deviation / (3.0 * np.maximum(np.abs(mean), 1e-300))
    root = np.maximum(1.0 - width[..., None] ** 2 + width[..., None] * Z, 0.0)
    value: Floats = mean[..., None] * root**3
    return value


def _held(alpha: Floats, gamma: Floats, length: float) -> Floats:
    """The square of the factor of one head."""
    weight = (0.5 * alpha + gamma)[..., None] + np.sqrt(alpha)[..., None] * Z  # in place: there are many
    np.exp(np.minimum(weight, _HIGHEST, out=weight), out=weight)
    weight /= length
    weight += 1.0 - 1.0 / length
    weight *= weight
    held: Floats = (1.0 / weight) @ WEIGHT
    return held
