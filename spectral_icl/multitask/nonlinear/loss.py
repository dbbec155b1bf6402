"""Loss and gradient of decomposable attention on single-index tasks."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.nonlinear.laws import law_of
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.nonlinear.reading import read_by, residual, slope_by
from spectral_icl.multitask.state import FINITE, State, check_state


def task_loss(problem: SingleIndex, omega: ArrayLike, mu: ArrayLike, kernel: str = DEFAULT) -> Floats:
    """Population loss of every task, query noise included.

        loss_i = sum_k (c_ik - F_ik)^2 + (what prompts of length L add) + sigma_i^2

    with the Hermite coefficients F_i of what the heads read in long prompts; the term between is in
    `spectral_icl.multitask.nonlinear.asymptotic` and `first_order`.

    Parameters
    ----------
    problem : SingleIndex
    omega : array_like, (H, I)
    mu : array_like, (H, I)
    kernel : str
        Law of the context, "asymptotic" or "first-order".

    Returns
    -------
    ndarray, (I,)
        In the units of the label variance; NaN past the range of the first-order law, 2 omega^2 < 1.

    Raises
    ------
    ProblemError
        If a shape does not fit, an entry is not finite, or there is no such law.
    """
    return task_loss_at(problem, check_state(problem.frame, omega, mu, FINITE), kernel)


def loss(problem: SingleIndex, omega: ArrayLike, mu: ArrayLike, kernel: str = DEFAULT) -> float:
    """Population loss: the sum of `task_loss` over tasks (no factor 1/2)."""
    return float(task_loss(problem, omega, mu, kernel).sum())


def gradient(problem: SingleIndex, omega: ArrayLike, mu: ArrayLike, kernel: str = DEFAULT) -> State:
    """Gradient of `loss`, dloss/domega and dloss/dmu, both (H, I).

    As for linear tasks, that by one feature's KQ entry is dloss/domega_hb / d_b. Raises as `task_loss`.
    """
    return gradient_at(problem, check_state(problem.frame, omega, mu, FINITE), kernel)


def task_loss_at(problem: SingleIndex, at: State, kernel: str) -> Floats:
    """`task_loss` of a state that nobody gave, such as one of a flow."""
    square, pull = law_of(kernel).noise(problem, at.omega)
    left = residual(problem, *at)
    with np.errstate(over="ignore", invalid="ignore"):  # of states far outside the laws
        added = np.einsum("hi,ihk,ki->i", at.mu, square, at.mu) - 2.0 * np.einsum("hi,ih->i", at.mu, pull)
        found: Floats = (left**2).sum(axis=1) + added + np.array(problem.noise)
    return found


def gradient_at(problem: SingleIndex, at: State, kernel: str) -> State:
    """`gradient` at a state that nobody gave."""
    square, pull, by_noise = law_of(kernel).slope(problem, *at)
    read = read_by(problem, at.omega)
    left = problem.c - np.einsum("hi,ihk->ik", at.mu, read)
    by_omega = by_noise - 2.0 * at.mu * np.einsum("ik,ihk->hi", left, slope_by(problem, at.omega))
    of_noise = np.einsum("ihk,ki->hi", square, at.mu) - pull.T
    return State(by_omega, 2.0 * (of_noise - np.einsum("ik,ihk->hi", left, read)))
