"""Heads at equal angles: attention that treats equal tasks, and as many heads, alike.

In units of 1 / (kappa_i sqrt(d_i)) head h has omega = alpha + beta on its own task and alpha on others.
With u = beta^2 and v = (I alpha + beta)^2 / I the effective dimension of every task is d / p,

    p = e^(u / I - v) [(1 - 1/I) u / (e^u - 1) + v / (e^u + I - 1)],

for the best mu. It is least at v = 0, where heads point to the corners of a simplex, and as u -> 0:
d / (1 - 1/I).
Derived in theory, under the asymptotic law.
"""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats, integer, number
from spectral_icl.multitask.optimal.search import Attention, Found, search, with_best_mu
from spectral_icl.multitask.problem import Problem, disjoint_home
from spectral_icl.multitask.state import State

_ALIKE = 1e-12  # relative difference of equal tasks
_LARGEST = 30.0  # of alpha and beta: weights hold the exponentials of their squares


def alike(problem: Problem) -> bool:
    """Whether tasks are disjoint and equal, in size, power and noise."""
    if problem.home is None:
        return False
    sizes = np.asarray(problem.block_sizes, dtype=np.float64)[list(problem.home)]
    facts = (sizes, problem.power, problem.variance)
    return all(bool(np.ptp(fact) <= _ALIKE * fact.max()) for fact in facts)


def share(tasks: int, alpha: float, beta: float) -> float:
    """The share p = d / X of each of I equal tasks, with the best mu, in [0, 1 - 1 / I].

    It is positive, and 0 where it is below the smallest number.

    Parameters
    ----------
    tasks : int
        I >= 2, and as many heads.
    alpha, beta : float
        omega on all blocks, and what a head has more on its own, in units of 1 / (kappa sqrt(d)).

    Raises
    ------
    ProblemError
        There are fewer than two tasks, or alpha or beta is above 30 in size.
    """
    tasks = integer("tasks", tasks, minimum=2, maximum=10**9)
    alpha = number("alpha", alpha, minimum=-_LARGEST, maximum=_LARGEST)
    beta = number("beta", beta, minimum=-_LARGEST, maximum=_LARGEST)
    u, v = beta**2, (tasks * alpha + beta) ** 2 / tasks
    # e^u, which may overflow, is taken out of both denominators
    own = (1.0 - 1.0 / tasks) * (u / -np.expm1(-u) if u > 0.0 else 1.0)
    rest = v / (1.0 + (tasks - 1.0) * np.exp(-u))
    return float(np.exp(u / tasks - v - u) * (own + rest))


def weights(problem: Problem, alpha: float, beta: float) -> State:
    """Heads at equal angles, one per task, with the best mu for them.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks, equal or not.
    alpha, beta : float
        As of `share`.

    Raises
    ------
    ProblemError
        The tasks overlap, or alpha or beta is above 30 in size.
    """
    alpha = number("alpha", alpha, minimum=-_LARGEST, maximum=_LARGEST)
    beta = number("beta", beta, minimum=-_LARGEST, maximum=_LARGEST)
    return with_best_mu(problem, _heads(problem, alpha, beta))


def searched(problem: Problem) -> float:
    """The least excess found over heads at equal angles, by a search over alpha and beta.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks, equal or not; I (B + I) I is limited as in `benchmarks.minimise`.

    Raises
    ------
    ProblemError
        The tasks overlap, or are too many.
    """
    attention = Attention(problem, problem.tasks)
    own = _heads(problem, 0.0, 1.0)
    used = own.any(axis=0)

    def objective(at: Floats) -> tuple[float, Floats]:
        heads = at[0] * used + at[1] * own
        loss, slope = attention.objective(heads.ravel())
        slope = slope.reshape(heads.shape)
        return loss, np.array([float(slope[:, used].sum()), float((slope * own).sum())])

    starts = [np.array(at) for at in ((0.0, 1.0), (0.5, 0.1), (-0.3, 0.8), (0.0, 0.1), (0.1, -0.5))]
    best: Found = search(objective, attention.unit, starts)[0]
    return best.loss


def _heads(problem: Problem, alpha: float, beta: float) -> Floats:
    """Heads w (I, B), in units of which every block has noise of one size."""
    home = disjoint_home(problem)
    heads = np.zeros((problem.tasks, problem.blocks))
    heads[:, home] = alpha + beta * np.eye(problem.tasks)
    return heads
