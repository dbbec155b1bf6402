"""States with an entry for every feature: to and from blocks, and how unequal a block is.

``problem`` is the problem in blocks throughout, and ``problem.by_feature()`` the one whose states are meant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, floats
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State


def spread(problem: Problem, at: State) -> State:
    """The state of features (..., H, d) that have what their block has in a state (..., H, B).

    Raises
    ------
    ProblemError
        omega has no entry for every block.
    """
    omega = _checked(at.omega, problem.blocks)
    return State(np.repeat(omega, problem.block_sizes, axis=-1), np.array(at.mu))


def averaged(problem: Problem, at: State) -> State:
    """The state of blocks (..., H, B) that have the mean of their features in a state (..., H, d).

    From a small start of balanced weights it leads to the same warm-up, to leading order.

    Raises
    ------
    ProblemError
        omega has no entry for every feature.
    """
    return State(block_means(problem, at.omega), np.array(at.mu))


def block_means(problem: Problem, values: ArrayLike) -> Floats:
    """Means over the features of every block, (..., B), of values (..., d)."""
    means: Floats = _sums(problem, _checked(values, problem.dimension)) / problem.block_sizes
    return means


def unevenness(problem: Problem, omega: ArrayLike) -> Floats:
    """Standard deviation over the features of every block, over their mean, (..., B), of omega (..., d).

    Infinite, or NaN, where the mean is zero.
    """
    values = _checked(omega, problem.dimension)
    with np.errstate(divide="ignore", invalid="ignore"):
        uneven: Floats = _deviation(problem, values) / np.abs(block_means(problem, values))
    return uneven


def reciprocal_spread(problem: Problem, omega: ArrayLike) -> Floats:
    """Standard deviation of 1 / omega over the features of every block, (..., B), of omega (..., d).

    Under the balanced flow that of a block's only head falls at the rate 4 c kappa mu A / d_b exactly.
    """
    with np.errstate(divide="ignore"):
        reciprocals = 1.0 / _checked(omega, problem.dimension)
    with np.errstate(invalid="ignore"):  # of entries that are zero
        return _deviation(problem, reciprocals)


def _deviation(problem: Problem, values: Floats) -> Floats:
    centred = values - np.repeat(block_means(problem, values), problem.block_sizes, axis=-1)
    deviation: Floats = np.sqrt(block_means(problem, centred**2))
    return deviation


def _sums(problem: Problem, values: Floats) -> Floats:
    sizes = np.array(problem.block_sizes)
    sums: Floats = np.add.reduceat(values, np.cumsum(sizes) - sizes, axis=-1)
    return sums


def _checked(omega: ArrayLike, size: int) -> Floats:
    values = floats("omega", omega)
    if values.ndim == 0 or values.shape[-1] != size:
        raise ProblemError("omega", f"shape {values.shape}", f"an array of shape (..., {size})")
    return values
