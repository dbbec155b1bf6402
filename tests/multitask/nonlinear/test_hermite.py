"""Hermite series against NumPy's polynomials and against integrals."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.polynomial import hermite_e

from spectral_icl.multitask.nonlinear import hermite

DEGREE = 12
C = np.random.default_rng(1).normal(size=(2, DEGREE + 1))
X = np.linspace(-3.0, 3.0, 41)
Z, W = hermite_e.hermegauss(60)
W = W / W.sum()


def test_values_are_the_normalised_polynomials() -> None:
    found = hermite.values(X, DEGREE)
    for k in range(DEGREE + 1):
        wanted = hermite_e.hermeval(X, np.eye(DEGREE + 1)[k]) / math.sqrt(math.factorial(k))
        np.testing.assert_allclose(found[k], wanted, rtol=1e-10, atol=1e-12)


def test_they_are_orthonormal_and_their_sums_are_combined() -> None:
    found = hermite.values(Z, DEGREE)
    np.testing.assert_allclose((found * W) @ found.T, np.eye(DEGREE + 1), atol=1e-10)
    both = hermite.combined(C, np.stack([X, X]))
    np.testing.assert_allclose(both, C @ hermite.values(X, DEGREE), rtol=1e-12, atol=1e-12)


def test_lowered_coefficients_are_the_derivative() -> None:
    step = 1e-5
    ends = (hermite.combined(C[:1, :5], np.array([X + s])) for s in (step, -step))
    rise = np.subtract(*ends) / (2 * step)
    np.testing.assert_allclose(
        hermite.combined(hermite.lowered(C[:1, :5]), X[None]), rise, rtol=1e-7, atol=1e-7
    )


@pytest.mark.parametrize("degree", [1, 2, 5])
@pytest.mark.parametrize("theta", [0.0, 0.7, -1.6])
def test_moments_under_a_tilt(degree: int, theta: float) -> None:
    c, at = C[:, : degree + 1], np.full((2, 1), theta)
    f = hermite.combined(c, np.stack([Z + theta] * 2))
    mean = f @ W
    np.testing.assert_allclose(hermite.evaluated(hermite.tilted(c), at)[:, 0], mean, rtol=1e-10, atol=1e-12)
    variance = (f - mean[:, None]) ** 2 @ W
    np.testing.assert_allclose(hermite.evaluated(hermite.spread(c), at)[:, 0], variance, rtol=1e-10)


def test_projections_are_means_of_powers() -> None:
    values = hermite.values(Z, 6)
    wanted = [[(W * Z**k * values[j]).sum() for j in range(7)] for k in range(7)]
    np.testing.assert_allclose(hermite.projections(6), wanted, rtol=1e-11, atol=1e-10)


def test_nodes_average_what_the_laws_ask_of_them() -> None:
    z, w = hermite.nodes(4)
    assert z.size == 5
    for power in range(9):  # 2 K
        wanted = 0.0 if power % 2 else math.prod(range(power - 1, 0, -2))
        assert (w * z**power).sum() == pytest.approx(wanted, abs=1e-11)


def test_a_constant_has_no_derivative() -> None:
    np.testing.assert_array_equal(hermite.derivative(np.ones((2, 1))), np.zeros((2, 1)))
