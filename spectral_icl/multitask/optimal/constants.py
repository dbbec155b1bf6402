"""By which factors the head-per-task limit is better than one head, and worse than the best attention.

All of losses without query noise, for disjoint tasks under the asymptotic law.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats, integer
from spectral_icl.multitask.optimal.small import water_filling, worth
from spectral_icl.multitask.problem import Problem, disjoint_home


class Separation(NamedTuple):
    """What a head per task gains on the best single head.

    Attributes
    ----------
    factor : float
        The single head's excess over that of the head-per-task limit, in [1, I).
    least : float
        A bound below the factor in closed form; equal to it if the single head serves all tasks, p_i > 0.
    tasks : float
        The effective number of tasks J = (sum_i c_i^(1/2))^2 / sum_i c_i, c_i = s_i d_i, in [1, I].
    """

    factor: float
    least: float
    tasks: float


def separation(problem: Problem) -> Separation:
    """The factor by which the best single head has more excess than the head-per-task limit.

    With gamma_i = L / (e phi_i d_i) the factor of equal tasks is I (1 + gamma) / (I + gamma), which is I / 2
    or more exactly if gamma >= I - 2. For others the shares p_i of the single head are a water-filling
    (`benchmarks.single_head`), and by the inequality of Cauchy and Schwarz the factor is above
    J / (1 + sum_i 1 / gamma_i): of the order of the effective number of tasks J.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.

    Returns
    -------
    Separation

    Raises
    ------
    ProblemError
        The tasks overlap.
    """
    power, own = _disjoint(problem)
    own = own / np.e
    cost = power / own
    one = power / (1.0 + own * water_filling(power * own, own, 1.0))
    each = float((power / (1.0 + own)).sum())
    root = float(np.sqrt(cost).sum())
    return Separation(
        factor=float(one.sum()) / each,
        least=root**2 / (1.0 + float((1.0 / own).sum())) / each,
        tasks=root**2 / float(cost.sum()),
    )


def budget_factor(problem: Problem, heads: int) -> float:
    """A constant that the limit's excess over that of the best attention with H heads stays below.

    The largest p_i of `benchmarks.head_budget`, times e: e if H > I, e (1 - 1 / I) for equal tasks and H = I.
    For H = I >= 2 the ratio is above 1 too, since more than I / e heads' worth is there to be shared.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.
    heads : int
        H >= I, so that there is a head per task. One head for one task is the limit itself: 1.

    Raises
    ------
    ProblemError
        The tasks overlap, or there are fewer heads than tasks.
    """
    power, own = _disjoint(problem)
    heads = integer("heads", heads, minimum=problem.tasks, maximum=10**9)
    if heads == 1:
        return 1.0
    return float(np.e * water_filling(power * own, own, heads - 1.0).max())


def bayes_factor(problem: Problem) -> Floats:
    """Constants (I,) that the limit's excess over the Bayes risk stays below: e (1 + SNR_i).

    The ratio tends to them for long prompts: attention pays e for OV values of one sign, and takes the signal
    of other coordinates for noise. Infinite without label noise.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.

    Raises
    ------
    ProblemError
        The tasks overlap.
    """
    _disjoint(problem)
    with np.errstate(divide="ignore"):
        result: Floats = np.e * problem.variance / np.asarray(problem.noise)
    return result


def _disjoint(problem: Problem) -> tuple[Floats, Floats]:
    """Powers a_i and L / (phi_i d_i) of disjoint tasks, (I,) each."""
    disjoint_home(problem)
    return problem.power, worth(problem)
