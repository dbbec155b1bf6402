"""Prompts of sparse linear regression, drawn in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, choice, integer, sequence
from spectral_icl.io.renamed import renamed
from spectral_icl.sparse.covariance import applied, coloured, covariance_root
from spectral_icl.sparse.problem import PRIORS, SparseProblem, check_powers, check_sizes
from spectral_icl.sparse.rng import Random, generator

_MOST = 10**6
_WORK = 4 * 10**12  # products of two numbers
_METHODS = 100  # of these for a label and a feature, beside those of a decomposition


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


@renamed(B="prompts", sigma2="noise", v="signal")
def sample_prompts(
    prompts: int,
    d: int,
    s: int,
    n: int,
    noise: float,
    signal: float = 1.0,
    Sigma: ArrayLike | None = None,
    weights: str = "pm",
    rng: Random = None,
    support: Sequence[int] | None = None,
) -> Prompts:
    """Draw prompts of sparse linear regression, each with its own support and weights.

    Parameters
    ----------
    prompts, d, s, n : int
        Number of prompts, features, nonzero weights (s <= d), context pairs.
    noise : float
        Variance of the label noise.
    signal : float
        v = |w|^2, or its mean: nonzero weights are +-sqrt(v/s) for "pm", N(0, v/s) for "gauss". The `v` of
        a problem, not its ``signal``, where the features with weight have a variance of their own.
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
    count = integer("prompts", prompts, minimum=1, maximum=10**9)
    signal, noise = check_powers(signal, noise)
    root = covariance_root(Sigma, d)
    draws = generator(rng)
    w = sample_weights(count, d, s, signal, weights, draws, support)
    X = coloured(draws.standard_normal((count, n, d)), root)
    xq = coloured(draws.standard_normal((count, d)), root)
    y = np.matmul(X, w[:, :, None])[:, :, 0]
    if noise > 0.0:
        y += np.sqrt(noise) * draws.standard_normal((count, n))
    return Prompts(w, X, y, xq)


def sample_weights(
    prompts: int,
    d: int,
    s: int,
    signal: float,
    weights: str,
    rng: Random = None,
    support: Sequence[int] | None = None,
) -> Floats:
    """Weights (prompts, d) as `sample_prompts` draws them, whose arguments these are."""
    size = np.sqrt(check_powers(signal, 0.0)[0] / s)
    choice("weights", weights, PRIORS)
    draws = generator(rng)
    if support is None:
        chosen = np.argpartition(draws.random((prompts, d)), s - 1, axis=1)[:, :s]
    else:
        expected = f"{s} different features of 0 to {d - 1}"
        places = sequence("support", support, expected)
        listed = [integer("support", j, minimum=0, maximum=d - 1) for j in places]
        if len(listed) != s or len(set(listed)) != s:
            raise ProblemError("support", support, expected)
        chosen = np.broadcast_to(np.array(listed, dtype=np.intp), (prompts, s))
    if weights == "pm":
        nonzero = size * (2.0 * draws.integers(0, 2, (prompts, s)) - 1.0)
    else:
        nonzero = size * draws.standard_normal((prompts, s))
    w = np.zeros((prompts, d))
    np.put_along_axis(w, chosen, nonzero, axis=1)
    return w


def draw(problem: SparseProblem, prompts: int, rng: Random = None) -> Prompts:
    """Prompts of a problem, each with its own support unless this has a variance of its own."""
    return sample_prompts(
        prompts,
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


def most_prompts(problem: SparseProblem) -> int:
    """How many prompts of a problem all methods are tried on in about an hour of one core; 40 at least."""
    each = problem.n * problem.d * (min(problem.n, problem.d) + _METHODS)
    return min(_MOST, _WORK // each)


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
    found: Floats = (off * applied(Sigma, off)).sum(axis=-1)
    return found
