"""Prompts of sparse linear regression, drawn in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, array, choice, integer, number, sequence
from spectral_icl.sparse.problem import PRIORS, SparseProblem, check_sizes

_ROUNDING = 1e-10

Random = np.random.Generator | int | None  # what `numpy.random.default_rng` takes


class Prompts(NamedTuple):
    """B prompts, y = X w + eps, with a query each.

    Attributes
    ----------
    w : ndarray, (B, d)
        Weights, s of them nonzero.
    X : ndarray, (B, n, d)
        Context features.
    y : ndarray, (B, n)
        Their labels, with noise.
    xq : ndarray, (B, d)
        Query features.
    """

    w: Floats
    X: Floats
    y: Floats
    xq: Floats


def sample_prompts(
    B: int,
    d: int,
    s: int,
    n: int,
    sigma2: float,
    v: float = 1.0,
    Sigma: ArrayLike | None = None,
    weights: str = "pm",
    rng: Random = None,
    support: Sequence[int] | None = None,
) -> Prompts:
    """Draw prompts of sparse linear regression, each with its own support and weights.

    Parameters
    ----------
    B, d, s, n : int
        Prompts, features, nonzero weights (s <= d), context pairs.
    sigma2 : float
        Variance of the label noise.
    v : float
        |w|^2, or its mean: nonzero weights are +-sqrt(v/s) for "pm", N(0, v/s) for "gauss".
    Sigma : array_like, (d,) or (d, d), optional
        Covariance of the features, or its diagonal; the identity by default.
    weights : {"pm", "gauss"}
    rng : Generator or int, optional
        Source of randomness, or its seed.
    support : sequence of int, (s,), optional
        The features that have weight, the same for all prompts; by default uniform for each.

    Returns
    -------
    Prompts

    Raises
    ------
    ProblemError
        An argument is malformed: n < 1, s > d, a covariance that is not positive definite, ...
    """
    d, s, n = check_sizes(d, s, n)
    count = integer("B", B, minimum=1, maximum=10**9)
    sigma2 = number("sigma2", sigma2, minimum=0.0)
    root = covariance_root(Sigma, d)
    generator = np.random.default_rng(rng)
    w = sample_weights(count, d, s, v, weights, generator, support)
    X = coloured(generator.standard_normal((count, n, d)), root)
    xq = coloured(generator.standard_normal((count, d)), root)
    y = np.matmul(X, w[:, :, None])[:, :, 0]
    if sigma2 > 0.0:
        y += np.sqrt(sigma2) * generator.standard_normal((count, n))
    return Prompts(w, X, y, xq)


def sample_weights(
    B: int, d: int, s: int, v: float, weights: str, rng: Random = None, support: Sequence[int] | None = None
) -> Floats:
    """The weights (B, d) of `sample_prompts`, with its arguments."""
    size = np.sqrt(number("v", v, minimum=0.0, above=True) / s)
    choice("weights", weights, PRIORS)
    generator = np.random.default_rng(rng)
    if support is None:
        chosen = np.argpartition(generator.random((B, d)), s - 1, axis=1)[:, :s]
    else:
        expected = f"{s} different features of 0 to {d - 1}"
        places = list(support) if isinstance(support, range) else sequence("support", support, expected)
        listed = [integer("support", j, minimum=0, maximum=d - 1) for j in places]
        if len(listed) != s or len(set(listed)) != s:
            raise ProblemError("support", support, expected)
        chosen = np.broadcast_to(np.array(listed, dtype=np.intp), (B, s))
    if weights == "pm":
        nonzero = size * (2.0 * generator.integers(0, 2, (B, s)) - 1.0)
    else:
        nonzero = size * generator.standard_normal((B, s))
    w = np.zeros((B, d))
    np.put_along_axis(w, chosen, nonzero, axis=1)
    return w


def draw(problem: SparseProblem, B: int, rng: Random = None) -> Prompts:
    """``B`` prompts of a problem."""
    return sample_prompts(
        B,
        problem.d,
        problem.s,
        problem.n,
        problem.noise,
        problem.v,
        problem.Sigma,
        problem.weights,
        rng,
        support=range(problem.s) if problem.support_variance != 1.0 else None,
    )


def covariance(Sigma: ArrayLike | None, d: int) -> Floats | None:
    """A checked covariance: None, its diagonal (d,), or the symmetric matrix (d, d)."""
    if Sigma is None:
        return None
    flat = np.ndim(Sigma) == 1
    checked = array("Sigma", Sigma, (d,) if flat else (d, d))
    if flat and not (checked > 0.0).all():
        raise ProblemError("Sigma", float(checked.min()), "positive variances")
    if not flat:
        if np.abs(checked - checked.T).max() > _ROUNDING * np.abs(checked).max():
            raise ProblemError("Sigma", float(np.abs(checked - checked.T).max()), "a symmetric matrix")
        checked = 0.5 * (checked + checked.T)
    return checked


def covariance_root(Sigma: ArrayLike | None, d: int) -> Floats | None:
    """The Cholesky factor (d, d) of a covariance, or the standard deviations (d,) of a diagonal one."""
    checked = covariance(Sigma, d)
    if checked is None or checked.ndim == 1:
        return None if checked is None else np.sqrt(checked)
    try:
        factor: Floats = np.asarray(np.linalg.cholesky(checked), dtype=np.float64)
    except np.linalg.LinAlgError:
        least = float(np.linalg.eigvalsh(checked)[0])
        expected = "a positive definite matrix (this is its least eigenvalue)"
        raise ProblemError("Sigma", least, expected) from None
    return factor


def coloured(white: Floats, root: Floats | None) -> Floats:
    """Standard normal rows (..., d) with the covariance of a `covariance_root`."""
    if root is None:
        return white
    return white * root if root.ndim == 1 else white @ root.T


def times(Sigma: Floats | None, x: Floats) -> Floats:
    """Sigma x along the last axis of ``x``."""
    if Sigma is None:
        return x
    return x * Sigma if Sigma.ndim == 1 else x @ Sigma


def excess_risk(beta: Floats, w: Floats, Sigma: Floats | None = None) -> Floats:
    """Mean squared error of the prediction <beta, x_q> for the noise-free <w, x_q>, over queries.

    Parameters
    ----------
    beta : ndarray, (..., d)
    w : ndarray, (..., d)
        Broadcast against ``beta``.
    Sigma : ndarray, (d,) or (d, d), optional

    Returns
    -------
    ndarray, (...)
        (beta - w)' Sigma (beta - w).
    """
    off = beta - w
    found: Floats = (off * times(Sigma, off)).sum(axis=-1)
    return found
