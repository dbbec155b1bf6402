"""Whether the features of a block become equal, and how fast: measured on a flow beside what is derived.

Under the balanced flow of the asymptotic law all features of a block obey one equation, whose coefficients
depend on time alone. For the only head of a block it is linear in the reciprocals, see
`theory/multitask/general_starts.py`:

    (1 / omega_j)' = Q - P (1 / omega_j),   P = 4 c kappa mu A / d_b,

so that differences of reciprocals fall as exp(-integral of P), whatever the state; in the limit, where omega
is one over kappa d_b^(1/2), so do those of omega. While omega is small Q omega is nothing against P: ratios
persist, and the mean of a block moves as a block that is equal. Features of the other sign vanish.

``problem`` is the problem in blocks throughout, of disjoint tasks, and flows are those of its `by_feature`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, array, number
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.features import averaged
from spectral_icl.multitask.flow.emergence import head_limit, rates
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.flow.trajectory import Trajectory
from spectral_icl.multitask.parametrization import Balanced, key_scale_of
from spectral_icl.multitask.problem import Problem, disjoint_home
from spectral_icl.multitask.state import State

FALLEN = 0.01  # of its start, to which unevenness is followed: below, what is left of rivals shows
LEAST = 1e-4  # unevenness that is followed down to that: 100 times the tolerance of steps by default
_LARGEST_EXPONENT = 600.0  # of what rivals could do: more is as good as infinite
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(4)  # of an integral over a step


@dataclass(frozen=True)
class Equality:
    """How the features of a task's block became equal under the head that took the task.

    Attributes
    ----------
    task, head : int
    share : float
        Share of the block's features that have the sign of the head's mu. The others vanish.
    unevenness : float
        Standard deviation of |omega| over its mean, of those features, at the start.
    end : float
        When that had fallen to a hundredth, or the end of the flow.
    folds : float
        Logarithm of the standard deviation of 1 / omega at the start, over that at ``end``.
    predicted_folds : float
        The integral of 4 c kappa mu A / d_b until then, which it is if the head is alone on the block.
    rivals : float
        How much of a difference other heads on the block can make: rho, with ``folds`` between
        ``predicted_folds`` - log(1 + rho) and, if rho < 1, ``predicted_folds`` - log(1 - rho).
    """

    task: int
    head: int
    share: float
    unevenness: float
    end: float
    folds: float
    predicted_folds: float
    rivals: float

    @property
    def within(self) -> tuple[float, float]:
        """The least and the largest ``folds`` that rivals leave possible."""
        most = -np.log1p(-self.rivals) if self.rivals < 1.0 else np.inf
        return self.predicted_folds - float(np.log1p(self.rivals)), self.predicted_folds + float(most)


def equalities(problem: Problem, solution: Solution) -> tuple[Equality, ...]:
    """What became of the differences within the block of every task that emerged.

    Parameters
    ----------
    problem : Problem
        The problem in blocks, of disjoint tasks.
    solution : Solution
        A balanced flow of ``problem.by_feature()`` under the asymptotic law whose steps are kept. Tasks with
        less than two features of their head's sign, or with equal ones, are left out.

    Raises
    ------
    ProblemError
        The solution is no such flow.
    """
    trajectory = _kept(problem, solution)
    theta = trajectory(trajectory.t)
    made = rates(problem, solution.key_scale)
    assert problem.home is not None
    edges = np.concatenate([[0], np.cumsum(problem.block_sizes)])
    found = []
    for emergence in solution.phases.tasks:
        task, head = emergence.task, emergence.head
        if head is None:
            continue
        block = slice(edges[problem.home[task]], edges[problem.home[task] + 1])
        served = theta.omega[0, head, block] * theta.mu[0, head, task] > 0.0
        omega = np.abs(theta.omega[:, head, block][:, served])
        if served.sum() < 2:
            continue
        uneven = omega.std(axis=1) / omega.mean(axis=1)
        if uneven[0] <= LEAST:
            continue
        below = np.flatnonzero(uneven < FALLEN * uneven[0])
        last = int(below[0]) if below.size else len(uneven) - 1
        spreads = (1.0 / omega[[0, last]]).std(axis=1)
        passed = made.c1[task] * _integral(trajectory, head, task)[: last + 1]
        pushed = pull_of_rivals(problem, solution.key_scale, theta, head, task)[: last + 1]
        uneven_push = (pushed[:, block][:, served] / omega[: last + 1]).std(axis=1)
        push = np.exp(np.minimum(passed, _LARGEST_EXPONENT)) * uneven_push
        by_rivals = 0.5 * np.diff(trajectory.t[: last + 1]) @ (push[1:] + push[:-1])
        found.append(
            Equality(
                task=task,
                head=head,
                share=float(served.mean()),
                unevenness=float(uneven[0]),
                end=float(trajectory.t[last]),
                folds=float(np.log(spreads[0] / spreads[1])),
                predicted_folds=float(passed[-1]),
                rivals=float(by_rivals / spreads[0]),
            )
        )
    return tuple(found)


def pull_of_rivals(problem: Problem, key_scale: float, at: State, head: int, task: int) -> Floats:
    """The sum over other heads k of Q_k omega_kj, (T, d): what they take from (log omega_j)' of a head.

    Without them (log omega_j)' = P - Q omega_j on the block of the task, P and Q the same for its features.

    Parameters
    ----------
    problem : Problem
        The problem in blocks, of disjoint tasks.
    key_scale : float
    at : State
        States of features (T, H, d) and (T, H, I).
    head, task : int
    """
    assert problem.home is not None
    block = problem.home[task]
    kappa, alpha = problem.covariance[block], problem.power[task] / problem.block_sizes[block]
    weight = np.repeat(problem.covariance, problem.block_sizes) ** 2
    overlap = np.exp(np.einsum("td,tkd->tk", weight * at.omega[:, head], at.omega))
    coupling = np.einsum("ti,tki->tk", at.mu[:, head] * problem.variance, at.mu)
    signal = alpha * at.mu[:, head, task, None] * at.mu[:, :, task]
    pull = 4.0 * key_scale * kappa**2 * (signal + coupling * overlap / problem.context_length)
    pull[:, head] = 0.0
    summed: Floats = np.einsum("tk,tkd->td", pull, at.omega)
    return summed


def _integral(trajectory: Trajectory, head: int, task: int) -> Floats:
    """The integral of a |mu| from the start to every node, (n + 1,)."""
    nodes = trajectory.t
    step = np.diff(nodes)
    times = nodes[:-1, None] + 0.5 * step[:, None] * (1.0 + _POINTS)
    mu = np.abs(trajectory(times).mu[..., head, task])
    return np.concatenate([[0.0], np.cumsum(0.5 * step * (mu @ _WEIGHTS))])


def equalising_rate(problem: Problem, key_scale: float | None = None) -> Floats:
    """Rate at which features of a task's block become equal in the head-per-task limit, (I,).

    4 c kappa a mu^* / d = 4 c kappa a / (d^(1/2) (1 + e d phi / L)): an eigenvalue, d - 1 times, of the
    balanced flow linearised there.

    Raises
    ------
    ProblemError
        Tasks overlap or span several blocks, or the limit is no number.
    """
    disjoint_home(problem)
    made = rates(problem, key_scale_of(problem, key_scale))
    limit = head_limit(problem, made)
    if limit is None:
        raise ProblemError("problem", problem, "one whose head-per-task limit is finite")
    rate: Floats = made.c1 * limit.mu
    return rate


def catch_up_time(
    problem: Problem, ratio: float, key_scale: float | None = None, served: float = 1.0
) -> Floats:
    """How much later than its block a feature is learned that starts ``ratio`` times as large, (I,).

    log(1 / ratio) over the rate f^(1/2) 4 c kappa a mu^* / d at which it grows once the head has its limit
    on the share f of the block: that of `equalising_rate` if only few features are missing. A feature that
    is late enough has this to leading order; others come while the fall is on, and sooner.

    Parameters
    ----------
    problem : Problem
    ratio : float
        Within (0, 1].
    key_scale : float, optional
    served : float
        Share f of the features that are learned by then, within (0, 1].

    Raises
    ------
    ProblemError
        ``ratio`` or ``served`` is not within (0, 1], or as `equalising_rate`.
    """
    ratio = number("ratio", ratio, minimum=0.0, maximum=1.0, above=True)
    served = number("served", served, minimum=0.0, maximum=1.0, above=True)
    late: Floats = -np.log(ratio) / (np.sqrt(served) * equalising_rate(problem, key_scale))
    return late


def served_plateau(problem: Problem, shares: Floats) -> Floats:
    """Loss of every task, query noise included, if its only head serves a share f of its features, (I,).

    a (1 - f) + f a / (1 + L / (phi e d)) + sigma^2 under the asymptotic law: what features of the wrong sign
    had to say is lost, and the others are learned as if all were. That is 1 - f of the way from the plateau
    of `optimal.head_per_task` back to zero weights.

    Parameters
    ----------
    problem : Problem
    shares : array_like, (I,)
        Between 0 and 1.

    Raises
    ------
    ProblemError
        There is not one share for each task, within [0, 1], or tasks overlap or span several blocks.
    """
    disjoint_home(problem)
    f = array("shares", shares, (problem.tasks,), minimum=0.0, largest=1.0)
    size = np.asarray(problem.block_sizes, dtype=np.float64)[list(problem.home or ())]
    worth = problem.context_length * problem.power / (np.e * problem.variance * size)
    plateau: Floats = problem.power * (1.0 - f + f / (1.0 + worth)) + np.array(problem.noise)
    return plateau


def equivalent_flow(problem: Problem, solution: Solution) -> Solution:
    """The flow in blocks that starts from the means of a flow's features, with the options of that flow.

    It emerges when that flow does, to leading order in a small start of one sign, and has forecasts of it.

    Raises
    ------
    ProblemError
        The solution is no balanced flow of ``problem.by_feature()`` under the asymptotic law.
    """
    _check(problem, solution)
    start = averaged(problem, State(*solution(0.0)))
    options = solution.options
    return gradient_flow(
        problem,
        *start,
        parametrization=Balanced(solution.key_scale),
        t_end=options.t_end,
        rtol=options.rtol,
        stationary=options.stationary,
        max_steps=options.max_steps,
    )


def _kept(problem: Problem, solution: Solution) -> Trajectory:
    _check(problem, solution)
    if not isinstance(solution.trajectory, Trajectory):
        raise ProblemError("solution", "an outline", "a flow whose steps are kept (dense_output=True)")
    return solution.trajectory


def _check(problem: Problem, solution: Solution) -> None:
    disjoint_home(problem)
    if solution.problem != problem.by_feature():
        raise ProblemError("solution", "a flow of another problem", "a flow of problem.by_feature()")
    if solution.options.kernel != DEFAULT:
        raise ProblemError("solution", f"a flow of the {solution.options.kernel} law", f"the {DEFAULT} law")
    if not isinstance(solution.parametrization, Balanced):
        raise ProblemError("solution", f"a flow of {solution.parametrization}", "a flow of Balanced weights")
