"""Both methods against their order conditions, tree by tree (Hairer and Wanner, II.2 and IV.7)."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from spectral_icl.kernels.control import RELIEVED, STRAINED
from spectral_icl.kernels.model import Floats, Rosenbrock, RungeKutta
from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P

Method = RungeKutta | Rosenbrock
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


def undone(method: Method) -> tuple[Floats, Floats, Floats, Floats]:
    """alpha, beta, and what turns weights of increments into weights of stages, with the solution's.

    For a Rosenbrock method a = alpha Gamma^-1 and c = diag(1/gamma) - Gamma^-1; explicit ones have Gamma = 0.
    """
    stages = len(method.a)
    if isinstance(method, RungeKutta):
        return method.a, method.a, np.eye(stages), method.a[-1]
    gamma = np.linalg.inv(np.eye(stages) / method.gamma - method.c)
    alpha = method.a @ gamma
    return alpha, alpha + gamma, gamma, method.a[-1] + np.eye(stages)[-1]


def estimate(method: Method) -> Floats:
    """Weights of the increments in the error estimate: of a Rosenbrock method it is the last one."""
    return method.error if isinstance(method, RungeKutta) else np.eye(len(method.a))[-1]


def elementary_weight(method: Method, tree: Tree) -> np.ndarray:
    """The stages' weight of a tree: Jacobian couplings count where a vertex has a single child."""
    alpha, beta, _, _ = undone(method)
    factors = [(beta if len(tree) == 1 else alpha) @ elementary_weight(method, child) for child in tree]
    return np.prod(factors, axis=0) if factors else np.ones(len(method.a))


def weights(method: Method, theta: float) -> np.ndarray:
    """Weights of the stages in the continuous extension at ``theta``."""
    _, _, transform, final = undone(method)
    bend = sum(theta**k * row for k, row in enumerate(method.dense))
    return theta * (final + (1.0 - theta) * bend) @ transform


def defects(method: Method, stage_weights: np.ndarray, order: int, theta: float = 1.0) -> list[float]:
    """By how much the weights miss the conditions of an order, tree by tree."""
    return [
        abs(stage_weights @ elementary_weight(method, tree) - theta**order / density(tree))
        for tree in trees(order)
    ]


both = pytest.mark.parametrize("method", [DORMAND_PRINCE, RODAS5P], ids=["explicit", "rosenbrock"])


@both
@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_order_five(method: Method, order: int) -> None:
    assert len(trees(order)) == [1, 1, 2, 4, 9][order - 1]
    assert max(defects(method, weights(method, 1.0), order)) < 2e-14


@both
def test_not_order_six(method: Method) -> None:
    assert max(defects(method, weights(method, 1.0), 6)) > 1e-4


@both
@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("theta", [0.1, 0.37, 0.5, 0.81, 1.0])
def test_dense_output_of_order_four_everywhere(method: Method, order: int, theta: float) -> None:
    """Local error h^5, so that with nodes of order 5 the dense solution converges with order 5 too."""
    assert max(defects(method, weights(method, theta), order, theta)) < 2e-13


@both
@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_embedded_solution_of_order_four(method: Method, order: int) -> None:
    _, _, transform, final = undone(method)
    embedded = (final - estimate(method)) @ transform
    assert max(defects(method, embedded, order)) < 2e-14
    assert max(defects(method, embedded, 5)) > 1e-5  # else the difference would estimate nothing


def test_the_explicit_method_has_its_first_stage_for_free() -> None:
    """The last stage is at the solution, where the next step begins."""
    np.testing.assert_allclose(DORMAND_PRINCE.a[-1], weights(DORMAND_PRINCE, 1.0))


def test_the_explicit_method_is_left_before_it_is_unstable() -> None:
    """|R| <= 1 on the negative axis up to 3.3, and not beyond."""
    b = weights(DORMAND_PRINCE, 1.0)

    def stability(z: float) -> float:
        stages = np.eye(len(b)) - z * DORMAND_PRINCE.a
        return abs(1.0 + z * (b @ np.linalg.solve(stages, np.ones(len(b)))))

    assert max(stability(-z) for z in np.linspace(0.0, 3.3, 400)) <= 1.0
    assert stability(-3.4) > 1.0
    assert RELIEVED < STRAINED < 3.3


def test_l_stable_and_stiffly_accurate() -> None:
    """R(infinity) = 0, |R| <= 1 on the imaginary axis, and the last stage is the solution."""
    _, beta, _, _ = undone(RODAS5P)
    b = weights(RODAS5P, 1.0)

    def stability(z: complex) -> complex:
        return 1.0 + z * (b @ np.linalg.solve(np.eye(len(b)) - z * beta, np.ones(len(b))))

    assert abs(stability(-1e9)) < 1e-6
    assert max(abs(stability(1j * y)) for y in np.geomspace(1e-2, 1e4, 400)) <= 1.0 + 1e-9
    np.testing.assert_allclose(beta[-1], b, atol=1e-14)
