"""One head by functions of one variable: what quadrature over pairs of heads finds, and its derivatives."""

from __future__ import annotations

import numpy as np
import pytest
from exact_law import of_head
from numpy.testing import assert_allclose

import spectral_icl as si
from spectral_icl.multitask.exact.alone import FARTHEST, Alone
from spectral_icl.multitask.exact.evaluate import quadrature
from spectral_icl.multitask.exact.overlaps import FINE, spread
from spectral_icl.multitask.exact.queries import rule
from spectral_icl.multitask.state import State


def problem(length: float) -> si.Problem:
    signal = [[1.0, 0.5], [0.0, 2.0]]
    return si.Problem(
        block_sizes=[3, 2], signal=signal, noise=[0.1, 0.3], context_length=length, covariance=[1.5, 0.7]
    )


@pytest.mark.parametrize("length", [1.0, 2.0, 40.0, 1e4])
def test_the_spread_is_that_of_another_quadrature(length: float) -> None:
    for al in (0.0, 0.3, 4.0, 20.0):
        assert spread(al, length) == pytest.approx(of_head(al, length).Q, rel=1e-9, abs=1e-11)


@pytest.mark.parametrize("length", [2.0, 12.0, 1000.0])
def test_a_head_alone_is_one_of_pairs_with_itself(length: float) -> None:
    """Excess, its gradient at the best mu, and no slope by mu there."""
    p, omega = problem(length), np.array([[0.25, -0.4]])
    v = np.array(p.covariance) * omega[0]
    excess, mu, slope = Alone(p, rule(p.block_sizes, 2)).excess(v)
    losses, gradient, _ = quadrature(p, State(omega, mu[None]), 1, 2, FINE)
    assert gradient is not None
    assert_allclose(excess, losses - np.array(p.noise), rtol=1e-10)
    assert_allclose(slope * np.array(p.covariance), gradient.omega[0], atol=1e-9)
    assert abs(gradient.mu).max() < 1e-9


def test_logits_may_be_larger_than_those_of_any_table() -> None:
    p = problem(12.0)
    alone = Alone(p, rule(p.block_sizes, 1))
    v = np.array([1.5, 1.0]) * np.sqrt(200.0 / alone.reaches(np.array([1.5, 1.0])))
    assert 64.0 < alone.reaches(v) < FARTHEST
    step = 1e-5
    for n in range(2):
        way = step * np.eye(2)[n]
        by_difference = (alone.excess(v + way)[0].sum() - alone.excess(v - way)[0].sum()) / (2.0 * step)
        assert alone.excess(v)[2][n] == pytest.approx(by_difference, abs=1e-8)
