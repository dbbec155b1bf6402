"""Floating-point operations of a step of either method, counted from the algorithm.

That of `kernels.runge_kutta` for explicit steps, of `kernels.rosenbrock` for implicit ones. An addition, a
multiplication, a division and a square root are one operation each, a fused multiply-add two. Comparisons,
selections, sign changes, absolute values, loads and stores are none. Exponentials are counted apart; one is
worth `EXP` operations, those of the polynomial and its argument reduction in `kernels.elementary`. Counted is
the algorithm of one flow without zero coefficients, whatever the compiled code does with blocks and lanes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P

EXP = 31  # eleven fused multiply-adds of the polynomial, two of the reduction, five single operations


class Count(NamedTuple):
    """Operations and, apart from them, exponentials."""

    flops: int
    exps: int = 0

    @property
    def total(self) -> int:
        """Both, an exponential being worth `EXP` operations."""
        return self.flops + EXP * self.exps

    def times(self, number: int) -> Count:
        """The count of so many repetitions."""
        return Count(number * self.flops, number * self.exps)


def field(heads: int, blocks: int, tasks: int) -> Count:
    """The field in balanced dual coordinates: theta from x, the gradient, the speeds."""
    size = heads * (blocks + tasks)
    pairs = heads * (heads + 1) // 2
    tilts = heads * blocks + pairs * 2 * blocks
    pull = tasks * blocks * (2 * heads + 4)
    spread = pairs * (3 * tasks + 1)
    by_omega = heads * blocks * (2 * heads + 2 * tasks + 4)
    by_mu = heads * tasks * (2 * heads + 2 * blocks + 4)
    return Count(tilts + pull + spread + 1 + by_omega + by_mu + 3 * size, pairs + size)


def hessian(heads: int, blocks: int, tasks: int) -> Count:
    """The upper triangle of the Hessian, from what the gradient left."""
    pairs = heads * (heads + 1) // 2
    omega_omega = pairs * blocks * (6 + blocks + 3 * tasks) + heads * blocks * 2
    own_block = heads * blocks * (blocks + 1) // 2 * (3 * heads + 2)
    omega_mu = heads * blocks * heads * (3 + 4 * tasks) + heads * blocks * tasks * (3 * heads + 6)
    mu_mu = pairs * tasks * (5 * blocks + 4)
    return Count(1 + omega_omega + own_block + omega_mu + mu_mu)


def tolerances(size: int) -> Count:
    """Reciprocal tolerances of the state, and the error estimate in units of them."""
    return Count(4 * size)


def matrix(size: int) -> Count:
    """The upper triangle of 1 + gamma h Q S Q, Q = (P M)^(1/2), and its scalings."""
    return Count(size * (size + 1) + 6 * size)


def bound(size: int) -> Count:
    """The largest sum of a row of |Q S Q|, by which steps turn explicit."""
    return Count(2 * size * size + 2 * size)


def cholesky(size: int) -> Count:
    """A factorisation, with reciprocals on the diagonal."""
    return Count((size - 1) * size * (size + 1) // 3 + size * (size - 1) // 2 + 2 * size)


def solve(size: int) -> Count:
    """A forward and a backward substitution, and the scaling of what goes in and comes out."""
    return Count(2 * size * size + 2 * size)


def stages(size: int) -> Count:
    """The arguments and right-hand sides of the implicit stages, and the new state.

    The last two arguments and the new state are each the argument before plus an increment.
    """
    number = RODAS5P.c.shape[0]
    arguments = 2 * np.count_nonzero(RODAS5P.a[: number - 2]) + 3
    right_hand_sides = 2 * np.count_nonzero(RODAS5P.c) + 2 * number
    return Count(int(arguments + right_hand_sides) * size)


def combinations(size: int) -> Count:
    """Increments, arguments of the explicit stages, the last of which is the new state, and the estimate."""
    number = DORMAND_PRINCE.error.size
    sums = np.count_nonzero(DORMAND_PRINCE.a) + np.count_nonzero(DORMAND_PRINCE.error)
    return Count(int(number + 2 * sums - 1) * size)


def strain(size: int) -> Count:
    """Two squared distances, by which steps turn implicit."""
    return Count(6 * size)


def step(heads: int, blocks: int, tasks: int) -> dict[str, dict[str, Count]]:
    """One step of each method by its parts.

    Explicit: seven stages, of which the first one's field is the last of the step before. Implicit: eight
    stages and as many fields, that at the end included.
    """
    size = heads * (blocks + tasks)
    number = RODAS5P.c.shape[0]
    once = field(heads, blocks, tasks)
    return {
        "explicit": {
            "fields": once.times(DORMAND_PRINCE.error.size - 1),
            "combinations": combinations(size),
            "tolerances": tolerances(size),
            "strain": strain(size),
        },
        "implicit": {
            "fields": once.times(number),
            "Hessian": hessian(heads, blocks, tasks),
            "matrix": matrix(size),
            "bound": bound(size),
            "Cholesky": cholesky(size),
            "solves": solve(size).times(number),
            "stages": stages(size),
            "tolerances": tolerances(size),
        },
    }


def whole(parts: dict[str, Count]) -> Count:
    """All parts together."""
    return Count(sum(part.flops for part in parts.values()), sum(part.exps for part in parts.values()))
