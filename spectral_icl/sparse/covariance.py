"""Covariances of the features: None for the identity, a diagonal (d,), or a matrix (d, d)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, array, dimensions

_ROUNDING = 1e-10


def covariance(Sigma: ArrayLike | None, d: int) -> Floats | None:
    """The covariance of d features: None for the identity, its diagonal (d,), or the symmetric matrix (d, d).

    Raises
    ------
    ProblemError
        ``Sigma`` has another shape, a variance that is not positive, or is not symmetric.
    """
    if Sigma is None:
        return None
    flat = dimensions(Sigma) == 1
    checked = array("Sigma", Sigma, (d,) if flat else (d, d))
    if flat and not (checked > 0.0).all():
        raise ProblemError("Sigma", float(checked.min()), "positive variances")
    if not flat:
        if np.abs(checked - checked.T).max() > _ROUNDING * np.abs(checked).max():
            raise ProblemError("Sigma", float(np.abs(checked - checked.T).max()), "a symmetric matrix")
        checked = 0.5 * (checked + checked.T)
    return checked


def covariance_root(Sigma: ArrayLike | None, d: int) -> Floats | None:
    """The Cholesky factor (d, d) of a covariance, or the standard deviations (d,) of a diagonal one.

    Raises
    ------
    ProblemError
        ``Sigma`` is no covariance, or not positive definite.
    """
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
    """Rows (..., d) with the covariance of a `covariance_root`, made of standard normal ones."""
    if root is None:
        return white
    return white * root if root.ndim == 1 else white @ root.T


def applied(Sigma: Floats | None, x: Floats) -> Floats:
    """Products Sigma x (..., d) along the last axis of ``x`` (..., d)."""
    if Sigma is None:
        return x
    return x * Sigma if Sigma.ndim == 1 else x @ Sigma
