"""The state of decomposable attention: its semi-singular values omega and mu, checked against a problem."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import LARGEST, Floats, ProblemError, array, dimensions, integer
from spectral_icl.multitask.problem import Problem

MOST_ENTRIES = 2**22  # H (B + I) of any state: 32 MiB
MOST_HEADS = 4096  # every pair of which enters the loss
MOST_DENSE = 4096  # of what makes a Hessian, which would take over 128 MiB for a larger state
# bounds what follows from the user's numbers, such as an omega ~ 1 / kappa
FINITE = float(np.finfo(np.float64).max)


class State(NamedTuple):
    """Semi-singular values of decomposable attention.

    ``omega`` (H, B) are the entries of the KQ circuits, ``mu`` (H, I) those of the OV circuits.
    """

    omega: Floats
    mu: Floats


def check_state(problem: Problem, omega: ArrayLike, mu: ArrayLike, largest: float = LARGEST) -> State:
    """``omega`` and ``mu`` as checked float64 arrays that fit the problem and each other."""
    omega = array("omega", omega, (None, problem.blocks), largest=largest)
    mu = array("mu", mu, (None, problem.tasks), largest=largest)
    heads = omega.shape[0]
    if heads == 0 or mu.shape[0] != heads:
        raise ProblemError(
            "mu", f"{mu.shape[0]} heads", f"as many heads as omega, which has {heads}, and >= 1"
        )
    if heads > _most_heads(problem):
        raise ProblemError("omega", f"{heads} heads", f"H <= {_most_heads(problem)}")
    return State(omega, mu)


def check_heads(problem: Problem, heads: int) -> int:
    """``heads`` if a state with that many fits in memory; `ProblemError` otherwise."""
    return integer("heads", heads, minimum=1, maximum=_most_heads(problem))


def _most_heads(problem: Problem) -> int:
    return max(1, min(MOST_HEADS, MOST_ENTRIES // (problem.blocks + problem.tasks)))


def check_dense(argument: str, problem: Problem, heads: int) -> None:
    """Refuse states of so many heads where a Hessian, or what takes as much, is made of them.

    Raises
    ------
    ProblemError
        Naming the argument that has the heads.
    """
    if heads * (problem.blocks + problem.tasks) > MOST_DENSE:
        raise ProblemError(argument, f"{heads} heads", f"H (B + I) <= {MOST_DENSE}")


def depth(values: ArrayLike) -> int:
    """Number of dimensions, 2 for what is no array at all (so that the complaint is about the state)."""
    return max(2, dimensions(values))


def flat(at: State) -> Floats:
    """Omega, then mu, both head-major, (..., N)."""
    lead = at.omega.shape[:-2]
    return np.concatenate([at.omega.reshape(*lead, -1), at.mu.reshape(*lead, -1)], axis=-1)


def unflattened(theta: Floats, shape: tuple[int, int, int]) -> State:
    """The states (..., H, B) and (..., H, I) of flat ones (..., N): the inverse of `flat`."""
    heads, blocks, tasks = shape
    lead, split = theta.shape[:-1], heads * blocks
    return State(
        theta[..., :split].reshape(*lead, heads, blocks), theta[..., split:].reshape(*lead, heads, tasks)
    )


def mu_entry(problem: Problem, heads: int, head: int, task: int) -> int:
    """Index of mu_hi in the flat state of so many heads."""
    return heads * problem.blocks + head * problem.tasks + task
