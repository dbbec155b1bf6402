"""Rules for the average over the query, of which only the norm in each block matters.

The squared norm of the white query in a block of d coordinates is a chi-square with d degrees of freedom.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from math import comb, prod
from typing import NamedTuple

import numpy as np
from scipy.linalg import eigh_tridiagonal

from spectral_icl.io.checks import Floats

NEGLIGIBLE = 1e-12  # weight of the nodes that are left out
_FEW = 3  # blocks, up to which a product without what weighs nothing has no more nodes than Smolyak's rule


class Rule(NamedTuple):
    """Nodes and weights of an average over the query.

    Attributes
    ----------
    rho : ndarray, (Q, B)
        Squared norms of the white query in each block.
    weight : ndarray, (Q,)
        They sum to 1, and may be negative.
    """

    rho: Floats
    weight: Floats


@lru_cache(maxsize=256)
def gauss(size: int, nodes: int) -> tuple[Floats, Floats]:
    """Nodes and weights of the Gauss rule for a chi-square with ``size`` degrees of freedom, (nodes,) each.

    The generalised Laguerre rule by the eigenvalues of its recurrence (Golub and Welsch 1969), for blocks of
    any size.
    """
    shape, n = 0.5 * size - 1.0, np.arange(nodes, dtype=np.float64)
    values, vectors = eigh_tridiagonal(2.0 * n + 1.0 + shape, np.sqrt(n[1:] * (n[1:] + shape)))
    return np.asarray(2.0 * values, dtype=np.float64), np.asarray(vectors[0] ** 2, dtype=np.float64)


def rule(sizes: Sequence[int], level: int, negligible: float = NEGLIGIBLE) -> Rule:
    """The rule of a level for blocks of these sizes: of a higher level it is more exact.

    Up to three blocks a product of Gauss rules of 2 level + 2 nodes; otherwise Smolyak's combination of them
    (Gerstner and Griebel 1998), in which a block may have up to level + 1 nodes.

    Parameters
    ----------
    sizes : sequence of int, (B,)
    level : int
        >= 1.
    negligible : float
        Weight of all nodes of a product that are left out together, the lightest first.
    """
    return _rule(tuple(sizes), level, negligible)


@lru_cache(maxsize=64)
def _rule(sizes: tuple[int, ...], level: int, negligible: float) -> Rule:
    blocks, nodes = len(sizes), 2 * level + 2
    if blocks <= _FEW:
        found = _product([gauss(size, nodes) for size in sizes], negligible)
    else:
        found = _smolyak(sizes, level)
    for values in found:
        values.setflags(write=False)
    return found


def _product(rules: Sequence[tuple[Floats, Floats]], negligible: float) -> Rule:
    """The product of rules in one variable, without what weighs nothing."""
    rho = np.array(list(itertools.product(*(nodes for nodes, _ in rules))))
    weight = np.array([prod(weights) for weights in itertools.product(*(weights for _, weights in rules))])
    order = np.argsort(weight)
    kept = np.sort(order[np.cumsum(weight[order]) > negligible])
    return Rule(rho[kept], weight[kept] / weight[kept].sum())


def _smolyak(sizes: Sequence[int], level: int) -> Rule:
    """Sums of products of rules with level_b + 1 nodes in block b, over levels that sum up to ``level``."""
    blocks = len(sizes)
    total: dict[tuple[float, ...], float] = {}
    for below in range(min(level, blocks - 1) + 1):
        sign = (-1.0) ** below * comb(blocks - 1, below)
        for levels in _compositions(level - below, blocks):
            raised = [b for b in range(blocks) if levels[b] > 0]
            centre = [float(size) for size in sizes]  # the rule with one node
            rules = [gauss(sizes[b], levels[b] + 1) for b in raised]
            for nodes in itertools.product(*(zip(*one, strict=True) for one in rules)):
                point = list(centre)
                for b, (rho, _) in zip(raised, nodes, strict=True):
                    point[b] = rho
                key = tuple(point)
                total[key] = total.get(key, 0.0) + sign * prod(weight for _, weight in nodes)
    return Rule(np.array(list(total)), np.array(list(total.values())))


def _compositions(total: int, parts: int) -> list[tuple[int, ...]]:
    """All tuples of so many whole numbers >= 0 that sum to ``total``."""
    found = []
    for chosen in itertools.combinations_with_replacement(range(parts), total):
        levels = [0] * parts
        for part in chosen:
            levels[part] += 1
        found.append(tuple(levels))
    return found
