"""What heads learn of every degree, against projections by quadrature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.polynomial import hermite_e

from spectral_icl.multitask.nonlinear.learned import learned
from spectral_icl.multitask.nonlinear.loss import task_loss
from spectral_icl.multitask.nonlinear.problem import SingleIndex

P = SingleIndex(
    task_sizes=(9, 6),
    coefficients=[(0.3, 1.0, 0.5, -0.4), (0.0, 0.8, 0.0, 0.7)],
    noise=(0.1, 0.0),
    context_length=1e12,
)
OMEGA = np.array([[0.5, -0.3], [-0.2, 0.4], [0.1, 0.0]])
MU = np.array([[1.5, 0.4], [-1.9, 2.0], [0.2, -0.3]])


def test_coefficients_are_projections_of_what_heads_say() -> None:
    z, w = hermite_e.hermegauss(40)
    w = w / w.sum()
    found = learned(P, OMEGA, MU)
    for i, c in enumerate(P.coefficients):
        said = sum(
            mu * sum(c[k] * (omega * z) ** k / math.sqrt(math.factorial(k)) for k in range(4))
            for omega, mu in zip(OMEGA[:, i], MU[:, i], strict=True)
        )
        for k in range(4):
            h = hermite_e.hermeval(z, np.eye(4)[k]) / math.sqrt(math.factorial(k))
            assert found.read[i, k] == pytest.approx((w * said * h).sum(), abs=1e-12)


def test_what_is_left_of_the_degrees_is_the_loss_of_endless_prompts() -> None:
    found = learned(P, OMEGA, MU)
    np.testing.assert_allclose(found.left.sum(axis=1) + P.noise, task_loss(P, OMEGA, MU), rtol=1e-9)


def test_shares_and_gains() -> None:
    found = learned(P, OMEGA, MU)
    np.testing.assert_allclose(found.gain, MU.sum(axis=0))
    assert np.isnan(found.share[1, [0, 2]]).all()
    np.testing.assert_allclose(found.share[0], 1.0 - found.left[0] / P.c[0] ** 2)
    nothing = learned(P, OMEGA, 0.0 * MU)
    np.testing.assert_array_equal(nothing.share[0], 0.0)


def test_heads_of_sum_zero_remove_an_intercept() -> None:
    """A head that reads the linear part multiplies an intercept by sqrt(d), a pair of sum zero by nothing."""
    d = 50
    p = SingleIndex(task_sizes=(d,), coefficients=(0.3, 1.0), noise=0.1, context_length=5000)
    one = learned(p, [[d**-0.5]], [[d**0.5]])
    np.testing.assert_allclose(one.read, [[0.3 * d**0.5, 1.0]])
    pair = learned(p, [[0.1], [-0.1]], [[5.0], [-5.0]])
    np.testing.assert_allclose(pair.read, [[0.0, 1.0]], atol=1e-15)
