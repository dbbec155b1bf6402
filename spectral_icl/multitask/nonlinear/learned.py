"""What heads learn of a task: its Hermite degrees, one by one, and what they make of its intercept."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.nonlinear.reading import residual
from spectral_icl.multitask.state import State, check_state


class Learned(NamedTuple):
    """What heads learn of every degree, in the limit of long prompts.

    Attributes
    ----------
    read : ndarray, (I, K + 1)
        Hermite coefficients F_ik of what the heads say of task i.
    left : ndarray, (I, K + 1)
        Part of the loss that is left of the degree, (c_ik - F_ik)^2.
    share : ndarray, (I, K + 1)
        1 - left / c_ik^2: 1 learned, 0 untouched, below 0 made worse; NaN of a degree that the task has not.
    gain : ndarray, (I,)
        sum_h mu_hi, by which every head's output is multiplied where labels are constant: an intercept is
        passed on by this factor.
    """

    read: Floats
    left: Floats
    share: Floats
    gain: Floats


def learned(problem: SingleIndex, omega: ArrayLike, mu: ArrayLike) -> Learned:
    """What heads omega (H, I), mu (H, I) learn of every Hermite degree of every task.

    A head reads m(omega t) = sum_k c_k (omega t)^k / sqrt(k!) of a query t: its terms of degree k have parts
    in the Hermite degrees k, k - 2, ..., so that an even function with E f = 0 is read with an intercept.

    Raises
    ------
    ProblemError
        If a shape does not fit or an entry is not finite.
    """
    return learned_at(problem, check_state(problem.frame, omega, mu))


def learned_at(problem: SingleIndex, at: State) -> Learned:
    """`learned` of a state that nobody gave."""
    rest = residual(problem, *at)
    power = problem.c**2
    share = np.full(power.shape, np.nan)
    np.divide(rest**2, power, out=share, where=power > 0.0)
    return Learned(problem.c - rest, rest**2, 1.0 - share, at.mu.sum(axis=0))
