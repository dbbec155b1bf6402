"""Rules for the query: their degree of exactness, by moments of chi-squares."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from spectral_icl.multitask.exact.queries import gauss, rule


def moment(size: int, power: int) -> float:
    """E rho^power of a chi-square, over size^power: a product of (1 + 2 k / size)."""
    return math.prod(1.0 + 2.0 * k / size for k in range(power))


@pytest.mark.parametrize("size", [1, 2, 3, 10, 1000, 10**9])
@pytest.mark.parametrize("nodes", [1, 2, 6, 18])
def test_gauss_rules_are_exact_to_their_degree(size: int, nodes: int) -> None:
    """All polynomials of degree 2 n - 1, and not of 2 n."""
    rho, weight = gauss(size, nodes)
    assert (rho > 0.0).all()
    assert (weight > 0.0).all()
    for power in range(2 * nodes):
        found = weight @ (rho / size) ** power
        assert found == pytest.approx(moment(size, power), rel=1e-11 * (1 + power)), power
    if size <= 10 and nodes <= 6:  # otherwise the next moment too is right to some digits
        assert weight @ (rho / size) ** (2 * nodes) < (1.0 - 1e-6) * moment(size, 2 * nodes)


@pytest.mark.parametrize("sizes", [(4,), (1, 7), (2, 10**9, 3), (3, 1, 2, 5), (2,) * 7])
@pytest.mark.parametrize("level", [1, 2, 3])
def test_rules_are_exact_to_their_degree(sizes: tuple[int, ...], level: int) -> None:
    """A product in every block to degree 4 level + 3, Smolyak's rule to 2 level + 1 in all."""
    nodes = rule(sizes, level, negligible=0.0)
    assert nodes.weight.sum() == pytest.approx(1.0, abs=1e-12)
    assert (nodes.rho > 0.0).all()
    most = 2 * level + 1
    for powers in itertools.product(range(most + 1), repeat=len(sizes)):
        if sum(powers) > most:
            continue
        found = nodes.weight @ np.prod((nodes.rho / sizes) ** powers, axis=1)
        exact = math.prod(moment(size, power) for size, power in zip(sizes, powers, strict=True))
        assert found == pytest.approx(exact, rel=1e-9), powers
    if len(sizes) <= 3:
        assert (nodes.weight > 0.0).all()
        for b, size in enumerate(sizes):
            found = nodes.weight @ (nodes.rho[:, b] / size) ** (4 * level + 3)
            assert found == pytest.approx(moment(size, 4 * level + 3), rel=1e-9)


@pytest.mark.parametrize("sizes", [(5,), (5, 3), (5, 3, 2), (5, 3, 2, 2)])
def test_higher_levels_are_more_exact(sizes: tuple[int, ...]) -> None:
    """At all the levels that states use, of three blocks too."""
    powers = 0.5 * np.ones(len(sizes))

    def mean(level: int) -> float:
        nodes = rule(sizes, level)
        return float(nodes.weight @ np.exp(-nodes.rho @ (0.3 * powers)))

    exact = math.prod(1.3 ** (-size / 2.0) for size in sizes)
    off = [abs(mean(level) - exact) for level in (1, 2, 3, 4, 5, 6, 8)]
    assert all(after < max(before, 1e-10) for before, after in itertools.pairwise(off)), off


def test_what_is_left_out_weighs_nothing() -> None:
    whole, part = rule((5, 3), 4, 0.0), rule((5, 3), 4, 1e-8)
    assert part.weight.size < whole.weight.size
    assert part.weight.sum() == pytest.approx(1.0, abs=1e-14)
    left = ~(whole.rho[:, None] == part.rho[None]).all(axis=2).any(axis=1)
    assert 0.0 < whole.weight[left].sum() <= 1e-8 < whole.weight[left].sum() + part.weight.min()
    with pytest.raises(ValueError, match="read-only"):
        part.weight[0] = 0.0
