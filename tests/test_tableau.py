"""The Rosenbrock tableau against its order conditions, tree by tree (Hairer and Wanner, II.4 and IV.7)."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from spectral_icl.tableau import RODAS5P

Tree = tuple  # a rooted tree is the sorted tuple of its root's subtrees


def trees(order: int) -> list[Tree]:
    """All rooted trees with ``order`` vertices."""
    if order == 1:
        return [()]
    found = set()
    for sizes in _partitions(order - 1):
        pools = [trees(size) for size in sizes]
        for picks in _products(pools):
            found.add(tuple(sorted(picks)))
    return sorted(found)


def _partitions(total: int, largest: int | None = None) -> list[tuple[int, ...]]:
    largest = total if largest is None else largest
    if total == 0:
        return [()]
    return [
        (first, *rest)
        for first in range(min(total, largest), 0, -1)
        for rest in _partitions(total - first, first)
    ]


def _products(pools: list[list[Tree]]) -> list[tuple[Tree, ...]]:
    if not pools:
        return [()]
    return [(first, *rest) for first in pools[0] for rest in _products(pools[1:])]


def vertices(tree: Tree) -> int:
    return 1 + sum(vertices(child) for child in tree)


def density(tree: Tree) -> int:
    return vertices(tree) * prod(density(child) for child in tree)


# The transformed coefficients undone: a = alpha Gamma^-1, c = diag(1/gamma) - Gamma^-1.
STAGES = RODAS5P.a.shape[0]
GAMMA = np.linalg.inv(np.eye(STAGES) / RODAS5P.gamma - RODAS5P.c)
ALPHA = RODAS5P.a @ GAMMA
BETA = ALPHA + GAMMA


def elementary_weight(tree: Tree) -> np.ndarray:
    """The stages' weight of a tree: Jacobian couplings count where a vertex has a single child."""
    factors = [(BETA if len(tree) == 1 else ALPHA) @ elementary_weight(child) for child in tree]
    return np.prod(factors, axis=0) if factors else np.ones(STAGES)


def weights(theta: float) -> np.ndarray:
    """Weights of the stages in the continuous extension at ``theta``, for the undone coefficients."""
    final = RODAS5P.a[-1] + np.eye(STAGES)[-1]
    bend = sum(theta**k * row for k, row in enumerate(RODAS5P.dense))
    return theta * (final + (1.0 - theta) * bend) @ GAMMA


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_order_five(order: int) -> None:
    assert len(trees(order)) == [1, 1, 2, 4, 9][order - 1]
    for tree in trees(order):
        assert weights(1.0) @ elementary_weight(tree) == pytest.approx(1.0 / density(tree), abs=2e-14)


def test_not_order_six() -> None:
    errors = [weights(1.0) @ elementary_weight(tree) - 1.0 / density(tree) for tree in trees(6)]
    assert max(map(abs, errors)) > 1e-4


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("theta", [0.1, 0.37, 0.5, 0.81, 1.0])
def test_dense_output_of_order_four_everywhere(order: int, theta: float) -> None:
    """Local error h^5, so that with nodes of order 5 the dense solution converges with order 5 too."""
    for tree in trees(order):
        assert weights(theta) @ elementary_weight(tree) == pytest.approx(
            theta**order / density(tree), abs=2e-13
        )


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_embedded_solution_of_order_four(order: int) -> None:
    embedded = RODAS5P.a[-1] @ GAMMA
    for tree in trees(order):
        assert embedded @ elementary_weight(tree) == pytest.approx(1.0 / density(tree), abs=2e-14)
    fifth = [embedded @ elementary_weight(tree) - 1.0 / density(tree) for tree in trees(5)]
    assert max(map(abs, fifth)) > 1e-5  # else the difference would estimate nothing


def test_l_stable_and_stiffly_accurate() -> None:
    """R(infinity) = 0, |R| <= 1 on the imaginary axis, and the last stage is the solution."""
    b = weights(1.0)

    def stability(z: complex) -> complex:
        return 1.0 + z * (b @ np.linalg.solve(np.eye(STAGES) - z * BETA, np.ones(STAGES)))

    assert abs(stability(-1e9)) < 1e-6
    assert max(abs(stability(1j * y)) for y in np.geomspace(1e-2, 1e4, 400)) <= 1.0 + 1e-9
    np.testing.assert_allclose(BETA[-1], b, atol=1e-14)
