"""Means over the eigenvalues of a sample covariance, by the Marchenko-Pastur law and its first correction."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import check_length, check_sizes

_NODES = 4000

Function = Callable[[Floats], Floats]


def mp_functional(f: Function, d: int, n: int, correct: bool = True) -> Floats:
    """E sum_{j <= d} f(lambda_j) over the eigenvalues of Shat = X'X/n, X of n rows N(0, I_d).

    The Marchenko-Pastur law gives the mean to leading order, and what real Gaussian entries add to it in
    order 1 (the mean in the central limit theorem for linear statistics; Bai and Silverstein 2004) takes the
    error for smooth f at d = 16, n = 64 from 5 % to below 1 %. The traces of Shat and Shat^2 come out exact.
    An f that falls by e across the spacing of eigenvalues, such as exp(-16 z) there, still has 5 %.

    Parameters
    ----------
    f : callable
        Takes eigenvalues (K,) and returns (..., K).
    d, n : int
    correct : bool
        Whether to add the term of order 1. It is left out where f has no finite value at the lower edge
        (d = n and f singular at 0).

    Returns
    -------
    ndarray, (...)

    Raises
    ------
    ProblemError
        d or n is not a whole number >= 1.
    """
    d, _, n = check_sizes(d, 1, n)
    small, large = min(d, n), max(d, n)
    c, scale = small / large, max(1.0, d / n)
    angle = (np.arange(_NODES) + 0.5) * np.pi / _NODES
    x = 1.0 + c + 2.0 * np.sqrt(c) * np.cos(angle)
    values = f(scale * x)
    density = 4.0 * c * np.sin(angle) ** 2 / (2.0 * np.pi * c * x) * (np.pi / _NODES)
    found: Floats = small * (values @ density)
    if correct:
        edges = scale * np.array([(1.0 - np.sqrt(c)) ** 2, (1.0 + np.sqrt(c)) ** 2])
        with np.errstate(divide="ignore", invalid="ignore"):
            at_edges = f(edges)
        extra = 0.25 * at_edges.sum(axis=-1) - 0.5 * values.mean(axis=-1)
        found = found + np.where(np.isfinite(at_edges).all(axis=-1), extra, 0.0)
    if d > n:
        found = found + (d - n) * f(np.zeros(1))[..., 0]
    return found


def upper_edge(d: int, n: int) -> float:
    """(1 + sqrt(d/n))^2, where the largest eigenvalue of Shat is in the limit."""
    return float((1.0 + np.sqrt(d / check_length(n))) ** 2)
