"""What heads read of their tasks in the limit of long prompts, degree by degree."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.nonlinear import hermite
from spectral_icl.multitask.nonlinear.problem import SingleIndex


def read_by(problem: SingleIndex, omega: Floats) -> Floats:
    """Hermite coefficients of the head outputs t -> m_i(omega_hi t) on task i, (I, H, K + 1)."""
    k = np.arange(problem.degree + 1)
    terms = problem.tilted[:, None, :] * omega.T[:, :, None] ** k
    found: Floats = terms @ hermite.projections(problem.degree)
    return found


def slope_by(problem: SingleIndex, omega: Floats) -> Floats:
    """Derivatives of `read_by` by the head's own omega_hi, (I, H, K + 1)."""
    k = np.arange(problem.degree + 1)
    powers = np.zeros((*omega.T.shape, k.size))
    powers[:, :, 1:] = omega.T[:, :, None] ** k[:-1]
    terms = problem.tilted[:, None, :] * k * powers
    found: Floats = terms @ hermite.projections(problem.degree)
    return found


def residual(problem: SingleIndex, omega: Floats, mu: Floats) -> Floats:
    """What all heads together leave of the coefficients, c_ik - F_ik, (I, K + 1)."""
    found: Floats = problem.c - np.einsum("hi,ihk->ik", mu, read_by(problem, omega))
    return found
