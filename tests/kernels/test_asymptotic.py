"""Loss, gradient and Hessian against their definition and complex differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems, starts

import spectral_icl as si
from spectral_icl.io.checks import ProblemError


def loss_by_definition(p: si.Problem, omega: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Task losses, transcribed from the definition with NumPy broadcasting."""
    kappa, d = np.array(p.covariance), np.array(p.block_sizes)
    tilt = np.exp(np.einsum("b,hb,kb->hk", d * kappa**2, omega, omega))
    residual = 1.0 - kappa * (mu.T @ omega)
    bias = (np.array(p.signal) * residual**2).sum(axis=1)
    spread = np.einsum("hi,ki,hk->i", mu, mu, tilt)
    return bias + p.variance / p.context_length * spread + np.array(p.noise)


@given(st.data())
def test_loss_is_the_definition(data: st.DataObject) -> None:
    p = data.draw(problems())
    omega, mu = data.draw(starts(p))
    expected = loss_by_definition(p, omega, mu)
    np.testing.assert_allclose(si.task_loss(p, omega, mu), expected, rtol=1e-12)
    assert si.loss(p, omega, mu) == pytest.approx(expected.sum(), rel=1e-12)


@given(st.data())
@settings(max_examples=60)
def test_gradient_and_hessian_by_complex_differences(data: st.DataObject) -> None:
    """The complex step has no cancellation, so gradient and Hessian are checked to rounding."""
    p = data.draw(problems())
    omega, mu = data.draw(starts(p))
    split, size = omega.size, omega.size + mu.size
    theta = np.concatenate([omega.ravel(), mu.ravel()])

    def total(z: np.ndarray) -> complex:
        return loss_by_definition(p, z[:split].reshape(omega.shape), z[split:].reshape(mu.shape)).sum()

    def slope(z: np.ndarray) -> np.ndarray:
        g = si.gradient(p, z[:split].reshape(omega.shape), z[split:].reshape(mu.shape))
        return np.concatenate([g.omega.ravel(), g.mu.ravel()])

    exact = np.array([total(theta + 1e-30j * np.eye(size)[n]).imag / 1e-30 for n in range(size)])
    np.testing.assert_allclose(slope(theta), exact, rtol=1e-9, atol=1e-11 * abs(exact).max())
    hess = si.hessian(p, omega, mu)
    np.testing.assert_array_equal(hess, hess.T)
    step = 1e-6
    differences = np.array(
        [(slope(theta + step * e) - slope(theta - step * e)) / (2 * step) for e in np.eye(size)]
    )
    np.testing.assert_allclose(hess, differences, rtol=1e-5, atol=1e-7 * abs(hess).max())


def test_states_may_be_stacked(two_tasks: si.Problem) -> None:
    rng = np.random.default_rng(0)
    omega, mu = rng.normal(0, 0.1, (3, 5, 2, 2)), rng.normal(0, 1, (3, 5, 2, 2))
    stacked = si.task_loss(two_tasks, omega, mu)
    assert stacked.shape == (3, 5, 2)
    np.testing.assert_array_equal(stacked[1, 4], si.task_loss(two_tasks, omega[1, 4], mu[1, 4]))
    with pytest.raises(ProblemError, match="mu"):
        si.loss(two_tasks, omega, mu[0])
