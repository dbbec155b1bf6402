"""Benchmarks that a trained attention is measured against.

Every function takes a `Problem` and returns a `Benchmark` in the units of `spectral_icl.loss`: the sum over
tasks, query noise included. The effective dimension X_i of a task with one block of power a_i is defined by
loss_i - sigma_i^2 = a_i / (1 + L / (phi_i X_i)) with phi_i = s_i / a_i.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_icl.problem import Problem
from spectral_icl.reduced import State
from spectral_icl.validation import Floats

_STARTS = 8  # of the numerical searches; the best is kept


@dataclass(frozen=True, eq=False)
class Benchmark:
    """A reference loss.

    Attributes
    ----------
    name : str
    loss : float
        Sum over tasks, query noise included.
    task_loss : ndarray, (I,)
    attained : bool
        Whether some finite weights have this loss; False for an infimum.
    weights : State or None
        Weights that have it.
    """

    name: str
    loss: float
    task_loss: Floats
    attained: bool
    weights: State | None


def lower_bound(problem: Problem) -> Benchmark:
    """A loss that no decomposable attention, whatever its number of heads, can go below.

    E_hk >= sum_b d_b kappa_b^2 omega_hb omega_kb as matrices (Schur: the entrywise exponential of a positive
    semi-definite matrix exceeds the matrix), so with T_ib = kappa_b sum_h mu_hi omega_hb

        loss_i >= sigma_i^2 + sum_b A_ib (1 - T_ib)^2 + (s_i / L) sum_b d_b T_ib^2
               >= sigma_i^2 + sum_b A_ib / (1 + L A_ib / (s_i d_b)).

    For disjoint tasks this is X_i = d_i. It is an infimum, approached from H = B + 1 heads on.
    """
    signal = np.asarray(problem.signal)
    sizes = np.asarray(problem.block_sizes, dtype=np.float64)
    gain = problem.context_length * signal / (problem.variance[:, None] * sizes)
    losses = (signal / (1.0 + gain)).sum(axis=1) + np.asarray(problem.noise)
    return Benchmark("lower bound", float(losses.sum()), losses, False, None)


def head_per_task(problem: Problem) -> Benchmark:
    """The loss when every task has a head to itself, optimal for that task alone.

    For disjoint tasks this is the limit of the balanced flow (Chen, Sheen, Wang and Yang 2024):
    omega = 1 / (kappa_i sqrt(d_i)) on the task's own block, mu = sqrt(d_i) / (1 + e d_i phi_i / L), all else
    zero, X_i = e d_i. A task on several blocks is optimised numerically over its head's omega.
    """
    weights = State(np.zeros((problem.tasks, problem.blocks)), np.zeros((problem.tasks, problem.tasks)))
    losses = np.empty(problem.tasks)
    for task in range(problem.tasks):
        omega, mu, best = _one_head(problem, [task])
        weights.omega[task] = omega
        weights.mu[task, task] = mu[0]
        losses[task] = best[0]
    return Benchmark("head-per-task limit", float(losses.sum()), losses, True, weights)


def single_head(problem: Problem) -> Benchmark:
    """The best loss of one head that serves all tasks.

    Given omega the optimal mu is explicit; what remains is a search over omega in R^B. For equal disjoint
    tasks it is omega_b = 1 / (kappa_b sqrt(d)) with X_i = e d, d = sum_b d_b; for one task, X = e d_1.
    """
    omega, mu, losses = _one_head(problem, list(range(problem.tasks)))
    weights = State(omega[None, :], mu[None, :])
    return Benchmark("best single head", float(losses.sum()), losses, True, weights)


def _one_head(problem: Problem, tasks: list[int]) -> tuple[Floats, Floats, Floats]:
    """Return omega (B,), mu and task losses of the best single head for ``tasks``."""
    signal = np.asarray(problem.signal)[tasks]
    used: NDArray[np.bool_] = np.asarray(signal.any(axis=0))
    sizes = np.asarray(problem.block_sizes, dtype=np.float64)
    kappa = np.asarray(problem.covariance)
    variance = problem.variance[tasks]
    total = signal.sum(axis=1)

    def fit(direction: Floats) -> tuple[Floats, Floats]:
        """Profiled mu and task losses (no query noise) at kappa * omega = direction."""
        pull = signal @ direction
        tilt = np.exp(sizes @ direction**2) / problem.context_length
        mu = pull / (signal @ direction**2 + variance * tilt)
        return mu, total - mu * pull

    own = np.count_nonzero(used) == 1
    if own or _interchangeable(signal[:, used], sizes[used], variance):
        direction = np.where(used, 1.0 / np.sqrt(sizes[used].sum()), 0.0)
    else:
        direction = np.zeros(problem.blocks)
        direction[used] = _search(fit, signal, sizes, used)
    mu, losses = fit(direction)
    return direction / kappa, mu, losses + np.asarray(problem.noise)[tasks]


def _interchangeable(signal: Floats, sizes: Floats, variance: Floats) -> bool:
    """Whether the tasks are equal, disjoint and one block each, so that symmetry gives the optimum."""
    if signal.shape[0] != signal.shape[1] or np.ptp(sizes) or np.ptp(variance):
        return False
    ordered = signal[signal.argmax(axis=0)]
    return bool(np.array_equal(ordered, np.eye(len(sizes)) * ordered[0, 0]))


def _search(
    fit: Callable[[Floats], tuple[Floats, Floats]], signal: Floats, sizes: Floats, used: NDArray[np.bool_]
) -> Floats:
    """The best direction on the used blocks, from several deterministic starts."""
    from scipy.optimize import minimize  # slow to import, and only needed here

    def objective(values: Floats) -> float:
        direction = np.zeros(used.size)
        direction[used] = values
        with np.errstate(over="ignore", invalid="ignore"):
            losses = fit(direction)[1]
        return float(np.nan_to_num(losses, nan=np.inf).sum() / signal.sum())

    count = int(np.count_nonzero(used))
    total = sizes[used].sum()
    rng = np.random.default_rng(0)
    starts = [np.full(count, total**-0.5)]
    for task in signal[:, used]:
        starts.append(np.where(task > 0, (sizes[used][task > 0].sum()) ** -0.5, 0.01 * total**-0.5))
    starts += [rng.normal(0.0, total**-0.5, count) for _ in range(_STARTS)]
    found = [
        minimize(objective, start, method="BFGS", options={"gtol": 1e-10, "maxiter": 500}) for start in starts
    ]
    best: Floats = min(found, key=lambda result: float(result.fun)).x
    return best
