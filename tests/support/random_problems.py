"""Random flows over six decades of everything, each by its number."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

import spectral_icl as si
from spectral_icl.multitask.parametrization import Parametrization


class Flow(NamedTuple):
    """The arguments of a flow."""

    problem: si.Problem
    start: si.State
    parametrization: Parametrization
    kernel: str
    t_end: float
    rtol: float
    stationary: float | None


def decades(rng: np.random.Generator, low: float, high: float, size: tuple[int, ...] = ()) -> np.ndarray:
    """Numbers that are uniform in their logarithm, between two powers of ten."""
    return np.asarray(10.0 ** rng.uniform(low, high, size))


def random_problem(rng: np.random.Generator) -> si.Problem:
    """Tasks that may overlap or lack noise, on blocks of any size and variance."""
    tasks, blocks = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    signal = decades(rng, -3, 3, (tasks, blocks)) * (rng.random((tasks, blocks)) < 0.5)
    signal[np.arange(tasks), rng.integers(0, blocks, tasks)] += float(decades(rng, -3, 3))
    if rng.random() < 0.3:  # disjoint
        blocks = tasks
        signal = np.diag(decades(rng, -3, 3, (tasks,)))
    return si.Problem(
        block_sizes=tuple(decades(rng, 0, 6, (blocks,)).astype(int).tolist()),
        signal=signal.tolist(),
        noise=tuple((decades(rng, -3, 3, (tasks,)) * (rng.random(tasks) < 0.8)).tolist()),
        context_length=float(decades(rng, 0, 6)),
        covariance=tuple(decades(rng, -3, 3, (blocks,)).tolist()),
    )


def random_start(rng: np.random.Generator, problem: si.Problem) -> si.State:
    """Entries of either sign and any size, a tenth of them zero; now and then two equal heads."""
    heads = int(rng.integers(1, 5))
    top = rng.uniform(-6, 0)

    def entries(columns: int) -> np.ndarray:
        sizes = decades(rng, top - 1.5, top, (heads, columns))
        return sizes * rng.choice([-1.0, 0.0, 1.0], (heads, columns), p=[0.2, 0.1, 0.7])

    # logits of a size that does not overflow, whatever the covariates; of one in ten they saturate
    scale = np.asarray(problem.block_sizes) * np.asarray(problem.covariance) ** 2
    unit = min(float(scale.sum()) ** -0.5, 1.0)
    omega, mu = unit * entries(problem.blocks), entries(problem.tasks)
    if rng.random() < 0.1 and omega.any():
        omega *= unit * decades(rng, 0, 1.4) / abs(omega).max()
    if heads > 1 and rng.random() < 0.1:
        omega[1], mu[1] = omega[0], mu[0]
    return si.State(omega, mu)


def random_flow(number: int, root: int = 0) -> Flow:
    """The flow of that number: one in four goes on until it rests."""
    rng = np.random.default_rng([root, number])
    problem = random_problem(rng)
    start = random_start(rng, problem)
    imbalances = decades(rng, -6, 0, (2,)) * (rng.random(2) < 0.8)
    scale = None if rng.random() < 0.7 else float(decades(rng, -3, 1))
    parametrization = [si.Balanced(scale), si.Factored(*map(float, imbalances), scale), si.Merged()][
        rng.integers(3)
    ]
    rests = rng.random() < 0.25
    pace = float(np.max(problem.variance))  # of the fastest task, in labels of any unit
    return Flow(
        problem,
        start,
        parametrization,
        str(rng.choice(["asymptotic", "first-order"])),
        math.inf if rests else float(decades(rng, -1, 5)) / pace,
        float(decades(rng, -10, -5)),
        pace * float(decades(rng, -16 if rng.random() < 0.1 else -9, -4)) if rests else None,
    )
