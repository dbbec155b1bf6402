"""Risks that no method goes below which is linear in the labels, gradient descent and ridge among them."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import draw
from spectral_icl.sparse.rng import Random
from spectral_icl.sparse.simulation import Estimate
from spectral_icl.theorems.claim import UnmeasurableError


def eigenvalues(problem: SparseProblem) -> Floats:
    """Eigenvalues (d,) of the covariance of the features, the largest first."""
    Sigma = problem.Sigma
    if Sigma is None:
        return np.ones(problem.d)
    values: Floats = np.sort(Sigma if Sigma.ndim == 1 else np.asarray(np.linalg.eigvalsh(Sigma)))
    return values[::-1]


def linear_lower_bound(problem: SparseProblem) -> float:
    """Risk that no estimate A(X) y goes below, averaged over the weights: exact for every d and n.

    The larger of (s2/n) sum_i l_i/(l_i + s2 d/(n v)) over the eigenvalues l_i of the covariance, which is
    s2 d v/(n v + s2 d) for isotropic features, and v/d times the sum of the d - n smallest of them, v (1 -
    n/d) then. Weights of different features must be uncorrelated and of one mean square v/d, as those on a
    random support with random signs are; for isotropic features and A that turn with them, such as gradient
    descent and ridge, any weights will do.

    Raises
    ------
    UnmeasurableError
        The features that have weight are always the same, as with a variance of their own: a method may know
        them.
    """
    p = problem
    if p.support_variance != 1.0:
        raise UnmeasurableError("of weights that are always on the same features it is another bound")
    values = eigenvalues(p)
    shown = 0.0
    if p.noise > 0.0:
        shown = p.noise / p.n * float((values / (values + p.noise * p.d / (p.n * p.v))).sum())
    hidden = p.v / p.d * float(values[p.n :].sum())
    return max(shown, hidden)


def spectral_bound(problem: SparseProblem, prompts: int, rng: Random = 0) -> Estimate:
    """Risk that no spectral filter goes below, of gradient descent and ridge that know all but the labels.

    Over sampled prompts X, the mean of the least risk over all filters h(X'X/n), each eigenvalue's own and
    chosen for X. With the eigenvectors U, W = U' E[w w'] U and Z = U' Sigma U the risk is quadratic in what
    the filter leaves of the components, b_i = 1 - l_i h_i: b' (W o Z) b + sum_i s2 Z_ii (1 - b_i)^2/(n l_i),
    entrywise product, and b_i = 1 where l_i = 0.

    Parameters
    ----------
    problem : SparseProblem
        Of any covariance. Signs of the weights are random; their places too, unless the features that have
        weight have a variance of their own.
    prompts : int
    rng : Generator or int, optional

    Returns
    -------
    Estimate
        The mean and its standard error.
    """
    p = problem
    known = p.support_variance != 1.0
    power = np.where(np.arange(p.d) < p.s, p.v / p.s, 0.0) if known else np.full(p.d, p.v / p.d)
    Sigma = np.eye(p.d) if p.Sigma is None else p.Sigma if p.Sigma.ndim == 2 else np.diag(p.Sigma)
    return mean_of(np.array([least_filtered(X, power, Sigma, p.noise) for X in draw(p, prompts, rng).X]))


def mean_of(risks: Floats) -> Estimate:
    """Mean of risks (B,) and its standard error."""
    return Estimate(float(risks.mean()), float(risks.std(ddof=1) / np.sqrt(len(risks))))


def least_filtered(X: Floats, power: Floats, Sigma: Floats, noise: float) -> float:
    """Least risk of any spectral filter on one prompt's features X (n, d), averaged over labels and weights.

    Parameters
    ----------
    X : ndarray, (n, d)
    power : ndarray, (d,)
        Mean squares of the weights, which are uncorrelated.
    Sigma : ndarray, (d, d)
    noise : float
        Variance of the label noise.
    """
    n = len(X)
    values, U = np.linalg.eigh(X.T @ X / n)
    Z = U.T @ Sigma @ U
    Q = (U.T * power @ U) * Z
    shown = values > 1e-10 * values[-1]
    pull = Q.sum(axis=1)[shown]
    stiff = Q[np.ix_(shown, shown)] + np.diag(noise * np.diag(Z)[shown] / (n * values[shown]))
    return float(Q.sum() - pull @ np.linalg.lstsq(stiff, pull, rcond=None)[0])
