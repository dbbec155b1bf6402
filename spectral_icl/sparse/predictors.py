"""Estimates of the weights from a prompt: preprocess-then-optimize, gradient descent, ridge and the rest.

Each takes a prompt, X (n, d) and y (n,), or a batch with the same leading axes in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import (
    LARGEST,
    Floats,
    ProblemError,
    array,
    floats,
    integer,
    number,
    sequence,
)
from spectral_icl.io.renamed import renamed
from spectral_icl.sparse import filters
from spectral_icl.sparse.descent import descended
from spectral_icl.sparse.filters import Flow, Spectrum
from spectral_icl.sparse.partition import partition


class Spectral(NamedTuple):
    """The linear filters of a batch of prompts: beta = basis @ (f(eigenvalues) * coefficients).

    Attributes
    ----------
    eigenvalues : ndarray, (..., p)
        Of M = F'F/n, or of FF'/n, which has the same nonzero ones and is smaller if n < d; p = min(d, n).
    basis : ndarray, (..., d, p)
    coefficients : ndarray, (..., p)
    """

    eigenvalues: Floats
    basis: Floats
    coefficients: Floats

    def apply(self, values: Spectrum) -> Floats:
        """Estimates (..., J, d) of filter values (..., J, p) at the eigenvalues."""
        return (values * self.coefficients[..., None, :]) @ np.swapaxes(self.basis, -1, -2)


def spectral(X: Floats, y: Floats, metric: Floats | None = None) -> Spectral:
    """Decompose prompts, or with a ``metric`` (..., d) their features metric * x, for all linear filters.

    Parameters
    ----------
    X : ndarray, (..., n, d)
    y : ndarray, (..., n)
    metric : ndarray, (..., d), optional
        Diagonal of the preprocessing, applied to features and, in ``basis``, to estimates: r for P2O.
    """
    n, d = X.shape[-2:]
    F = X if metric is None else X * metric[..., None, :]
    Ft = np.swapaxes(F, -1, -2)
    if n >= d:
        eigenvalues, basis = np.linalg.eigh(Ft @ F / n)
        coefficients = (np.swapaxes(basis, -1, -2) @ (Ft @ y[..., None]))[..., 0] / n
    else:
        eigenvalues, U = np.linalg.eigh(F @ Ft / n)
        basis = Ft @ U
        coefficients = (np.swapaxes(U, -1, -2) @ y[..., None])[..., 0] / n
    if metric is not None:
        basis = basis * metric[..., None]
    return Spectral(np.maximum(eigenvalues, 0.0), basis, coefficients)


def correlations(X: Floats, y: Floats) -> Floats:
    """R = X'y/n, (..., d): the metric of preprocess-then-optimize."""
    found: Floats = np.einsum("...n,...nd->...d", y, X) / X.shape[-2]
    return found


@renamed(T="times")
def p2o(
    X: ArrayLike,
    y: ArrayLike,
    eta: ArrayLike | None = None,
    t: int | None = None,
    *,
    times: ArrayLike | None = None,
) -> Floats:
    """Estimates by preprocess-then-optimize: gradient descent with the diagonal metric r_j^2, r = X'y/n.

    u_{k+1} = u_k + eta F'(y - F u_k)/n with F = X diag(r) and u_0 = 0, and beta = r * u; the flow is its
    limit eta -> 0 at time T = eta t (Chen, Zhao and Zou 2024, arXiv 2408.04532).

    Parameters
    ----------
    X : array_like, (..., n, d)
    y : array_like, (..., n)
    eta : float or array_like (...), optional
        Step, one for all prompts or one for each, below 2 over the largest eigenvalue of F'F/n.
    t : int, optional
        Steps; ``eta`` and ``t`` are given together, or ``times`` alone.
    times : float or array_like (J,), optional
        Time or times T of the flow.

    Returns
    -------
    ndarray
        (..., t + 1, d), beta after 0 to t steps; or (..., J, d), (..., d) if ``times`` is one number.

    Raises
    ------
    ProblemError
        An argument is malformed, or ``eta`` is past stability for a prompt.
    """
    X, y = check_prompts(X, y)
    r = correlations(X, y)
    return _optimized(X, y, r, r, eta, t, times)


@renamed(T="times")
def gd(
    X: ArrayLike,
    y: ArrayLike,
    eta: ArrayLike | None = None,
    t: int | None = None,
    *,
    times: ArrayLike | None = None,
) -> Floats:
    """Estimates by gradient descent, or gradient flow, from 0 on the least squares of the prompt.

    Arguments and result are those of `p2o`, of which this is the case of metric 1.
    """
    X, y = check_prompts(X, y)
    return _optimized(X, y, correlations(X, y), None, eta, t, times)


@renamed(T="times")
def partial_p2o(X: ArrayLike, y: ArrayLike, J: Sequence[int], alpha: float, *, times: ArrayLike) -> Floats:
    """Estimates by the flow with metric r_j on features J, which |J| heads preprocess, ``alpha`` on others.

    Arguments and result are those of `p2o`.
    """
    X, y = check_prompts(X, y)
    features = sequence("J", J, "features", least=0)
    chosen = np.asarray(
        sorted({integer("J", j, minimum=0, maximum=X.shape[-1] - 1) for j in features}), dtype=np.intp
    )
    metric = np.full(X.shape[:-2] + X.shape[-1:], number("alpha", alpha, minimum=0.0))
    r = correlations(X, y)
    metric[..., chosen] = r[..., chosen]
    return _optimized(X, y, r, metric, None, None, times)


@renamed(T="times")
def group_p2o(X: ArrayLike, y: ArrayLike, groups: Sequence[Sequence[int]], *, times: ArrayLike) -> Floats:
    """Estimates by the flow on one feature sum_{j in g} r_j x_j for each group g, as fewer heads make them.

    Arguments and result are those of `p2o`; with a group for each feature it is `p2o` itself.
    """
    X, y = check_prompts(X, y)
    d = X.shape[-1]
    listed = partition(groups, d, f"a partition of the features 0 to {d - 1}")
    members = np.zeros((d, len(listed)))
    for g, group in enumerate(listed):
        members[group, g] = 1.0
    mixing = correlations(X, y)[..., None] * members  # (..., d, H)
    flow, found = Flow(times), spectral(X @ mixing, y)
    return _squeezed(found.apply(flow(found.eigenvalues)) @ np.swapaxes(mixing, -1, -2), times)


def ridge(X: ArrayLike, y: ArrayLike, lam: ArrayLike) -> Floats:
    """Estimates by ridge regression: the minimiser of |y - X beta|^2/n + lam |beta|^2.

    Parameters
    ----------
    X : array_like, (..., n, d)
    y : array_like, (..., n)
    lam : float or array_like (J,)
        Penalty, >= 1e-12.

    Returns
    -------
    ndarray, (..., J, d), or (..., d) if ``lam`` is one number
    """
    X, y = check_prompts(X, y)
    penalties = _penalties(lam)
    found = spectral(X, y)
    return _squeezed(found.apply(filters.ridge(penalties, found.eigenvalues)), lam)


def ols(X: ArrayLike, y: ArrayLike) -> Floats:
    """Estimates (..., d) by least squares, of smallest norm where there are many."""
    X, y = check_prompts(X, y)
    found: Floats = (np.linalg.pinv(X) @ y[..., None])[..., 0]
    return found


def oracle(X: ArrayLike, y: ArrayLike, S: ArrayLike) -> Floats:
    """Estimates (..., d) by least squares on the true support, 0 elsewhere.

    Parameters
    ----------
    X : array_like, (..., n, d)
    y : array_like, (..., n)
    S : array_like of int, (s,) or (..., s)
        The features that have weight, of all prompts or of each.
    """
    X, y = check_prompts(X, y)
    expected = f"different features of 0 to {X.shape[-1] - 1}, of all prompts or of each"
    given = floats("S", S, expected)
    try:
        if given.ndim == 0 or given.size == 0:
            raise ValueError
        chosen = np.broadcast_to(given, (*X.shape[:-2], given.shape[-1]))
    except ValueError:
        raise ProblemError("S", S, expected) from None
    known = np.isin(chosen, np.arange(X.shape[-1])).all()
    if not known or (np.diff(np.sort(chosen, axis=-1), axis=-1) == 0).any():
        raise ProblemError("S", S, expected)
    support = chosen.astype(np.intp)
    inner = ols(np.take_along_axis(X, support[..., None, :], axis=-1), y)
    beta = np.zeros((*X.shape[:-2], X.shape[-1]))
    np.put_along_axis(beta, support, inner, axis=-1)
    return beta


def lasso(X: ArrayLike, y: ArrayLike, lam: ArrayLike) -> Floats:
    """Estimates by the Lasso, with scikit-learn's coordinate descent: |y - X beta|^2/(2n) + lam |beta|_1.

    Parameters
    ----------
    X : array_like, (..., n, d)
    y : array_like, (..., n)
    lam : float or array_like (J,)
        Penalty, >= 1e-12.

    Returns
    -------
    ndarray, (..., J, d), or (..., d) if ``lam`` is one number

    Raises
    ------
    ProblemError
        An argument is malformed, or scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import lasso_path
    except ImportError:
        needed = "the package 'scikit-learn' (pip install 'spectral-icl[sparse]')"
        raise ProblemError("lasso", None, needed) from None
    X, y = check_prompts(X, y)
    penalties = _penalties(lam)
    order = np.argsort(-penalties)  # each starts where the one before ended
    flat = X.reshape(-1, *X.shape[-2:])
    found = np.empty((len(flat), penalties.size, X.shape[-1]))
    for b, (one, labels) in enumerate(zip(flat, y.reshape(len(flat), -1), strict=True)):
        _, path, _ = lasso_path(one, labels, alphas=penalties[order], max_iter=10_000)
        found[b, order] = path.T
    return _squeezed(found.reshape(*X.shape[:-2], penalties.size, X.shape[-1]), lam)


def lasso_cd(Shat: ArrayLike, r: ArrayLike, lam: ArrayLike) -> Floats:
    """Estimates by the Lasso from X'X/n and X'y/n: minimisers of beta' Shat beta/2 - r' beta + lam |beta|_1.

    Parameters
    ----------
    Shat : array_like, (d, d)
    r : array_like, (d,)
        In the range of ``Shat``, as X'y/n is.
    lam : float or array_like (J,)
        Penalty, >= 1e-12.

    Returns
    -------
    ndarray, (J, d), or (d,) if ``lam`` is one number
    """
    gram = array("Shat", Shat, (None, None))
    size = gram.shape[:1]
    values, vectors = np.linalg.eigh(gram)
    kept = values > filters.RANK * values[-1]
    root = np.sqrt(values[kept])[:, None] * vectors[:, kept].T  # root' root = Shat
    labels = (vectors[:, kept].T @ array("r", r, size)) / np.sqrt(values[kept])
    pairs = np.sqrt(len(root))
    return lasso(pairs * root, pairs * labels, lam)


def _penalties(lam: ArrayLike) -> Floats:
    """Penalties (J,), all positive."""
    penalties = np.atleast_1d(floats("lam", lam))
    least = 1.0 / LARGEST  # beside rounding in an eigenvalue that is 0, less would be no penalty
    if penalties.ndim != 1 or not ((penalties >= least) & (penalties <= LARGEST)).all():
        raise ProblemError("lam", lam, f"penalties >= {least:g} and <= {LARGEST:g}")
    return penalties


def check_prompts(X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Features (..., n, d) and labels (..., n) of prompts as float arrays.

    Raises
    ------
    ProblemError
        They are not finite numbers of fitting shapes.
    """
    features = _checked("X", X, None)
    if features.ndim < 2 or 0 in features.shape:
        raise ProblemError("X", f"shape {features.shape}", "an array of shape (..., n, d)")
    return features, _checked("y", y, features.shape[:-1])


def _checked(argument: str, value: ArrayLike, shape: tuple[int, ...] | None) -> Floats:
    """Finite floats of ``shape`` (any if None), not copied if they are that: batches of prompts are large."""
    if type(value) is np.ndarray and value.dtype == np.float64 and value.shape == (shape or value.shape):
        whole = np.ascontiguousarray(value)
        flat = whole.reshape(-1)
        if np.dot(flat, flat) <= LARGEST**2:  # one pass, and all that is needed if nothing is wrong
            return whole
    found = floats(argument, value)
    return array(argument, found, found.shape if shape is None else shape)


def _squeezed(found: Floats, asked: ArrayLike) -> Floats:
    """Estimates (..., J, d), or (..., d) if one time or penalty was ``asked`` for and no array of them."""
    return found[..., 0, :] if np.ndim(asked) == 0 else found


def _optimized(
    X: Floats,
    y: Floats,
    r: Floats,
    metric: Floats | None,
    eta: ArrayLike | None,
    t: int | None,
    times: ArrayLike | None,
) -> Floats:
    """Estimates of `p2o` and its like: ``metric`` (..., d) scales the features, ``r`` is X'y/n."""
    if times is not None:
        if eta is not None or t is not None:
            raise ProblemError("times", times, "no eta and t beside it: a time of the flow or steps")
        flow = Flow(times)
        found = spectral(X, y, metric)
        return _squeezed(found.apply(flow(found.eigenvalues)), times)
    if eta is None or t is None:
        missing = "t" if eta is not None else "times" if t is None else "eta"
        raise ProblemError(missing, None, "a value: eta and t, or times")
    steps = integer("t", t, minimum=0, maximum=10**6)
    size = floats("eta", eta)
    if not ((size > 0.0) & (size <= LARGEST)).all():
        raise ProblemError("eta", eta, f"steps > 0 and <= {LARGEST:g}")
    try:
        size = np.broadcast_to(size, X.shape[:-2])
    except ValueError:
        expected = f"a number, or one for each of {X.shape[:-2]}"
        raise ProblemError("eta", f"shape {size.shape}", expected) from None
    return descended(X, y, r, metric, size, steps)
