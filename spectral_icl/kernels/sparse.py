"""Gradient descent on many prompts, compiled: each is a problem too small for BLAS."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, entry
from spectral_icl.kernels.model import Floats


@entry(fastmath=ALGEBRA)
def descent(X: Floats, y: Floats, metric: Floats, eta: Floats, t: int) -> Floats:
    """Iterates of gradient descent with a diagonal metric on |y - X beta|^2/(2n), for every prompt.

    Residual and gradient are made in one pass over the pairs, four at a time, so that a step reads the prompt
    once.

    Parameters
    ----------
    X : ndarray, (B, n, d)
        C-contiguous.
    y : ndarray, (B, n)
    metric : ndarray, (B, d)
        Factor of every coordinate of the gradient: r^2 for preprocess-then-optimize.
    eta : ndarray, (B,)
    t : int

    Returns
    -------
    ndarray, (B, t + 1, d)
        beta after 0 to t steps.
    """
    B, n, d = X.shape
    path = np.zeros((B, t + 1, d))
    gradient = np.empty(d)
    for b in range(B):
        scale = eta[b] / n
        for k in range(t):
            beta = path[b, k]
            gradient[:] = 0.0
            i = 0
            while i + 4 <= n:
                x0, x1, x2, x3 = X[b, i], X[b, i + 1], X[b, i + 2], X[b, i + 3]
                p0 = p1 = p2 = p3 = 0.0
                for j in range(d):
                    p0 += x0[j] * beta[j]
                    p1 += x1[j] * beta[j]
                    p2 += x2[j] * beta[j]
                    p3 += x3[j] * beta[j]
                p0, p1, p2, p3 = y[b, i] - p0, y[b, i + 1] - p1, y[b, i + 2] - p2, y[b, i + 3] - p3
                for j in range(d):
                    gradient[j] += p0 * x0[j] + p1 * x1[j] + p2 * x2[j] + p3 * x3[j]
                i += 4
            while i < n:
                row = X[b, i]
                rest = 0.0
                for j in range(d):
                    rest += row[j] * beta[j]
                rest = y[b, i] - rest
                for j in range(d):
                    gradient[j] += rest * row[j]
                i += 1
            for j in range(d):
                path[b, k + 1, j] = beta[j] + scale * metric[b, j] * gradient[j]
    return path


@entry(fastmath=ALGEBRA)
def gram_descent(gram: Floats, r: Floats, metric: Floats, eta: Floats, t: int) -> Floats:
    """Iterates of `descent` from X'X/n and X'y/n instead of the prompts: cheaper steps if d <= n.

    Parameters
    ----------
    gram : ndarray, (B, d, d)
        X'X/n.
    r : ndarray, (B, d)
        X'y/n.
    metric, eta, t
        As for `descent`.

    Returns
    -------
    ndarray, (B, t + 1, d)
    """
    B, d = r.shape
    path = np.zeros((B, t + 1, d))
    for b in range(B):
        for k in range(t):
            beta = path[b, k]
            for i in range(d):
                row = gram[b, i]
                rest = 0.0
                for j in range(d):
                    rest += row[j] * beta[j]
                path[b, k + 1, i] = beta[i] + eta[b] * metric[b, i] * (r[b, i] - rest)
    return path
