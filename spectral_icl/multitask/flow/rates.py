"""How fast weights come to the head-per-task limit, in closed form, under the asymptotic law.

For disjoint tasks and balanced weights. The covariance enters through w = kappa omega alone, whose flow is
that of unit covariance with the key scale kappa c. With y = e d phi / L the winner of a task ends at
w = 1 / sqrt(d), mu = sqrt(d) / (1 + y).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats, array, floats, number
from spectral_icl.multitask.problem import Problem, disjoint_home


class WinnerRates(NamedTuple):
    """The two rates at which winners relax to the limit, fast >= slow > 0, (I,) each."""

    fast: Floats
    slow: Floats


def winner_rates(problem: Problem, key_scale: float) -> WinnerRates:
    """Rates at which winners relax to the limit: minus the eigenvalues of the flow's Jacobian there.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.
    key_scale : float
        The factor c in front of the logits.

    Raises
    ------
    ProblemError
        Tasks are not disjoint, or the key scale is not positive.
    """
    at = _limit(problem)
    key_scale = number("key_scale", key_scale, minimum=0.0, above=True)
    c = at.kappa * key_scale
    m = c * (1.0 + 3.0 * at.y) / (1.0 + at.y) ** 2
    spread = 1.0 + m + np.sqrt((1.0 - m) ** 2 + 4.0 * c / (1.0 + at.y))
    pace = at.power / np.sqrt(at.size)
    return WinnerRates(2.0 * pace * spread, 16.0 * pace * c * at.y / ((1.0 + at.y) ** 2 * spread))


def losing_rates(problem: Problem, reading: Floats) -> Floats:
    """Rates of the decay mu' = -rate mu of heads without the task, next to winners at the limit.

    The rate is 4 a sqrt(d) phi (e^z - e z) / (L (1 + y)). It vanishes at z = 1 alone, where a head reads as
    the winner does.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.
    reading : ndarray, (..., I)
        z = kappa sqrt(d) omega of heads on the block of every task.

    Returns
    -------
    ndarray, (..., I)
        Infinite from z = 710 on.

    Raises
    ------
    ProblemError
        Tasks are not disjoint, or the readings are no finite numbers of that shape.
    """
    at = _limit(problem)
    reading = floats("reading", reading)
    reading = array("reading", reading, (*reading.shape[:-1], problem.tasks))
    with np.errstate(over="ignore"):
        found: Floats = 4.0 * at.noise * at.mu * (np.exp(reading) - np.e * reading)
    return found


def stray_coefficients(problem: Problem, key_scale: float) -> Floats:
    """Coefficients k of the decay omega' = -k omega^2 of winners' small omega on blocks of no use to them.

    1 / omega grows at the constant rate k = 4 e c kappa_b^2 a_i phi_i mu_i^2 / L.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.
    key_scale : float
        The factor c in front of the logits.

    Returns
    -------
    ndarray, (I, B)
        For the winner of every task, on every block; without a meaning on its own block.

    Raises
    ------
    ProblemError
        Tasks are not disjoint, or the key scale is not positive.
    """
    at = _limit(problem)
    key_scale = number("key_scale", key_scale, minimum=0.0, above=True)
    taken = 4.0 * np.e * key_scale * at.noise * at.mu**2
    found: Floats = np.outer(taken, np.asarray(problem.covariance) ** 2)
    return found


class _Limit(NamedTuple):
    """The head-per-task limit by task, (I,) each."""

    power: Floats
    noise: Floats  # s / L, the noise that an average over the context has
    size: Floats
    kappa: Floats
    y: Floats
    mu: Floats


def _limit(problem: Problem) -> _Limit:
    home = disjoint_home(problem)
    size = np.asarray(problem.block_sizes, dtype=np.float64)[home]
    noise = problem.variance / problem.context_length
    y = np.e * size * noise / problem.power
    kappa = np.asarray(problem.covariance)[home]
    return _Limit(problem.power, noise, size, kappa, y, np.sqrt(size) / (1.0 + y))
