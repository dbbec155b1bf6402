"""The overlap of attentions where no series in 1/L has it, held against quadrature."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_icl.multitask.condensation import WEIGHT, condensed, spread
from spectral_icl.multitask.exact.overlaps import MEDIUM, concentration, overlap
from spectral_icl.multitask.exact.queries import gauss


@pytest.mark.parametrize(
    ("length", "within"), [(10.0, 0.16), (40.0, 0.05), (1e3, 0.01), (1e4, 0.01), (1e6, 0.01)]
)
def test_a_head_with_itself(length: float, within: float) -> None:
    """E |p|^2 up to where e^alpha / L is one and a half times that."""
    for share in (0.01, 0.1, 0.2, 0.35, 0.5):
        alpha = share * np.log(length)
        exact = concentration(alpha, length, MEDIUM)[0]
        laws = np.exp(alpha) / length
        assert (1.0 - condensed(alpha, alpha, alpha, length)) * laws == pytest.approx(exact, rel=within)
    assert laws > 1.25 * exact


@pytest.mark.parametrize("length", [100.0, 1e4])
def test_two_heads(length: float) -> None:
    log = np.log(length)
    for one, two, cosine in [(0.4, 0.4, -0.8), (0.4, 0.1, 0.6), (0.5, 0.3, 0.0), (0.3, 0.2, 0.9)]:
        al, be = one * log, two * log
        ga = cosine * np.sqrt(al * be)
        exact = overlap(al, be, ga, length, 1, MEDIUM).k[""]
        found = (1.0 - condensed(al, be, ga, length)) * np.exp(ga) / length
        assert found == pytest.approx(exact, rel=0.06), (one, two, cosine)


def test_long_prompts_have_the_first_term_of_the_series() -> None:
    al, be, ga, length = 0.7, 0.4, 0.3, 1e9
    bracket = np.exp([al, be, ga]).sum() - np.exp(al + ga) - np.exp(be + ga) - 1.0
    assert length * condensed(al, be, ga, length) == pytest.approx(-bracket, rel=1e-5)


def test_one_pair_has_all_of_the_attention() -> None:
    found = (1.0 - condensed([0.1, 0.5], [0.1, 0.5], [0.1, 0.5], 1.0)) * np.exp([0.1, 0.5])
    np.testing.assert_allclose(found, 1.0, rtol=1e-4)


@pytest.mark.parametrize("sizes", [(1,), (2, 5), (30,)])
def test_spread_has_the_mean_of_functions(sizes: tuple[int, ...]) -> None:
    """Of bounded ones, by the Gauss rules of the chi-squares."""
    parts = np.array([0.3, 0.1])[: len(sizes)]
    nodes = [gauss(size, 24) for size in sizes]
    total = parts[0] * nodes[0][0]
    weight = nodes[0][1]
    for part, (rho, more) in zip(parts[1:], nodes[1:], strict=True):
        total = np.add.outer(total, part * rho).ravel()
        weight = np.outer(weight, more).ravel()
    found = spread(parts, np.array(sizes, dtype=float))
    for function in (np.tanh, lambda x: x / (1.0 + x) ** 2, lambda x: np.exp(-0.5 * x)):
        assert WEIGHT @ function(found) == pytest.approx(weight @ function(total), rel=0.04)
