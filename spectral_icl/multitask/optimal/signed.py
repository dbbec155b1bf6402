"""The best attention whose OV values are of positive sign, searched over all its weights.

Under the asymptotic law that is the head-per-task limit, X_i = e d_i, whatever the number of heads: the
exponential lies above its tangent, e^z >= e z, and weights of one sign keep that. Derived in theory.
"""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.loss import gradient_at, losses_at
from spectral_icl.multitask.optimal.benchmarks import head_per_task
from spectral_icl.multitask.optimal.search import BAD, check_searched
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_heads

MOST_SEARCHED = 200  # variables H (B + I)
_STARTS = 3  # random ones
_AGREE = 2e-6  # relative difference of the excess of two searches, at which no further start is tried
_MOVED = 0.2  # relative size of the changes of the head-per-task limit that a search starts from


def one_signed(problem: Problem, heads: int, kernel: str = DEFAULT, seed: int = 0) -> float:
    """The least loss found, query noise included, over omega of any sign and mu >= 0 (the positive sign).

    With mu <= 0 on all tasks, or on some, the bound is the same, but that is not searched. Searches start
    from changed weights of the head-per-task limit, in which all entries take part, and from random ones, in
    turn, until two of them end at the least loss: it is above the infimum, and comes close to it.

    Parameters
    ----------
    problem : Problem
    heads : int
        H >= I.
    kernel : str
        Law of the context.
    seed : int
        Of the starts.
    """
    from scipy.optimize import minimize  # slow to import, and only needed here

    heads = check_heads(problem, heads)
    check_searched(problem, heads)
    rng = np.random.default_rng(seed)
    shapes = (heads, problem.blocks), (heads, problem.tasks)
    first = heads * problem.blocks
    at = head_per_task(problem, kernel).weights
    assert at is not None
    units = np.abs(at.omega).max(axis=0), np.abs(at.mu).max(axis=0)  # in which all weights are of order one
    units = np.where(units[0] > 0.0, units[0], units[0].max()), units[1]

    def split(flat: Floats) -> State:
        return State(flat[:first].reshape(shapes[0]) * units[0], flat[first:].reshape(shapes[1]) * units[1])

    def objective(flat: Floats) -> tuple[float, Floats]:
        state = split(flat)
        loss = float(losses_at(problem, state, kernel).sum()) - noise
        if not np.isfinite(loss):
            return BAD, np.zeros_like(flat)
        slope = gradient_at(problem, state, kernel)
        return loss / scale, np.concatenate(
            [(slope.omega * units[0]).ravel(), (slope.mu * units[1]).ravel()]
        ) / scale

    noise = float(np.sum(problem.noise))
    scale = float(losses_at(problem, at, kernel).sum()) - noise
    limit = State(np.zeros(shapes[0]), np.zeros(shapes[1]))
    limit.omega[: problem.tasks] = at.omega / units[0]
    limit.mu[: problem.tasks] = at.mu / units[1]
    flat = np.concatenate([limit.omega.ravel(), limit.mu.ravel()])
    near = [flat + _MOVED * rng.normal(size=flat.size) for _ in range(2)]
    drawn = [rng.normal(0.0, 0.5, flat.size) for _ in range(_STARTS)]
    bounds = [(None, None)] * first + [(0.0, None)] * (flat.size - first)
    found: list[float] = []
    for start in (near[0], drawn[0], near[1], *drawn[1:]):
        start[first:] = np.abs(start[first:])
        with np.errstate(all="ignore"):  # trial points may overflow
            end = minimize(
                objective,
                start,
                jac=True,
                method="L-BFGS-B",
                bounds=bounds,
                options={"gtol": 1e-9, "ftol": 1e-11, "maxiter": 2000, "maxfun": 3000},
            )
        found = sorted([*found, float(end.fun)])
        if len(found) > 1 and found[1] - found[0] <= _AGREE * abs(found[0]):
            break
    return found[0] * scale + noise
