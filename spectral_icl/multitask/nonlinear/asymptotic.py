"""The asymptotic law of single-index tasks: L and d large.

    loss_i = sum_k (c_ik - F_ik)^2 + (V_i / L) sum_hk mu_hi mu_ki E_hk + sigma_i^2

with what heads read in long prompts, F_ik, the overlap E_hk = exp(sum_b d_b omega_hb omega_kb) of the linear
tasks' law, and V_i = sum_(k >= 1) c_ik^2 + sigma_i^2. An intercept makes no noise: attention weights sum to
one, so that it passes every head as it is.
"""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.nonlinear.problem import SingleIndex


def noise(problem: SingleIndex, omega: Floats) -> tuple[Floats, Floats]:
    """What prompts of finite length add, mu^T N mu - 2 n^T mu: N (I, H, H) and n (I, H), which is zero."""
    scale = problem.variance / problem.context_length
    square = scale[:, None, None] * _overlap(problem, omega)
    return square, np.zeros(square.shape[:2])


def slope(problem: SingleIndex, omega: Floats, mu: Floats) -> tuple[Floats, Floats, Floats]:
    """N and n of `noise`, and derivatives by omega (H, I) of what they add, summed over tasks."""
    square, pull = noise(problem, omega)
    joint = np.einsum("ihk,hi,ki->hk", square, mu, mu)
    return square, pull, 2.0 * (joint @ omega) * problem.sizes


def _overlap(problem: SingleIndex, omega: Floats) -> Floats:
    with np.errstate(over="ignore"):  # infinite is what it is
        found: Floats = np.exp((omega * problem.sizes) @ omega.T)
    return found
