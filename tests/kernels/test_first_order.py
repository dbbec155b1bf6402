"""Loss, gradient, Hessian and range of the first-order law, by its definition and by complex differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems, starts

import spectral_icl as si
from spectral_icl.multitask.flow.options import Outcome

KERNEL = "first-order"


def loss_by_definition(p: si.Problem, omega: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """Task losses, transcribed from the definition with NumPy broadcasting."""
    size, signal = np.array(p.block_sizes), np.array(p.signal)
    v = np.array(p.covariance) * omega
    u = v[:, None, :] * v[None, :, :]
    t = 1.0 / (1.0 - 2.0 * u)
    power = np.exp(-0.5 * (size * np.log(1.0 - 2.0 * u)).sum(axis=-1))
    noise = power[:, :, None] * (p.variance + np.einsum("ib,hkb->hki", signal, u * t))
    residual = 1.0 - mu.T @ v
    drift = np.einsum("hh,hhb,hb->hb", power, t, v)
    cross = 2.0 * (signal * residual * (mu.T @ drift)).sum(axis=1)
    spread = np.einsum("hi,ki,hki->i", mu, mu, noise)
    return (signal * residual**2).sum(axis=1) + (spread + cross) / p.context_length + np.array(p.noise)


@st.composite
def states(draw: st.DrawFn) -> tuple[si.Problem, np.ndarray, np.ndarray]:
    """A problem and a state inside the law's range: kappa omega within 0.65."""
    p = draw(problems())
    omega, mu = draw(starts(p))
    kappa = np.array(p.covariance)
    return p, 0.65 * np.tanh(omega * kappa) / kappa, mu


@given(states())
def test_loss_is_the_definition(state: tuple[si.Problem, np.ndarray, np.ndarray]) -> None:
    expected = loss_by_definition(*state)
    scale = abs(expected).max()
    np.testing.assert_allclose(si.task_loss(*state, kernel=KERNEL), expected, rtol=1e-10, atol=1e-11 * scale)


@given(states())
@settings(max_examples=60)
def test_gradient_and_hessian_by_complex_differences(
    state: tuple[si.Problem, np.ndarray, np.ndarray],
) -> None:
    """The complex step has no cancellation, so gradient and Hessian are checked to rounding."""
    p, omega, mu = state
    split, size = omega.size, omega.size + mu.size
    theta = np.concatenate([omega.ravel(), mu.ravel()])

    def total(z: np.ndarray) -> complex:
        return loss_by_definition(p, z[:split].reshape(omega.shape), z[split:].reshape(mu.shape)).sum()

    def by_complex_steps(z: np.ndarray) -> np.ndarray:
        return np.array([total(z + 1e-30j * e).imag / 1e-30 for e in np.eye(size)])

    slope = si.gradient(p, omega, mu, kernel=KERNEL)
    exact = by_complex_steps(theta)
    found = np.concatenate([slope.omega.ravel(), slope.mu.ravel()])
    parts = np.array(p.signal).max() * abs(theta).max()  # which at L = 1 nearly cancel
    np.testing.assert_allclose(found, exact, rtol=1e-9, atol=1e-11 * abs(exact).max() + 1e-14 * parts)
    hess = si.hessian(p, omega, mu, kernel=KERNEL)
    np.testing.assert_array_equal(hess, hess.T)
    step = 1e-6 * np.minimum(1.0, 0.708 - abs(theta[:split])).min() / 0.058
    rows = [
        (by_complex_steps(theta + step * e) - by_complex_steps(theta - step * e)) / (2.0 * step)
        for e in np.eye(size)
    ]
    np.testing.assert_allclose(hess, rows, rtol=1e-5, atol=1e-6 * abs(hess).max())


def test_large_blocks_lose_no_digits() -> None:
    """In blocks of a billion coordinates 1 - 2 u rounds, and a plain logarithm loses seven digits."""
    d = 10**9
    p = si.Problem(block_sizes=(d, 5), signal=((1.0, 0.5),), noise=0.1, context_length=1e4)
    omega, mu = np.array([[d**-0.5, 0.3]]), np.array([[100.0]])
    u = omega[0] ** 2
    power = np.exp(-0.5 * (d * np.log1p(-2.0 * u[0]) + 5 * np.log1p(-2.0 * u[1])))
    t = 1.0 / (1.0 - 2.0 * u)
    residual = 1.0 - 100.0 * omega[0]
    noise = 1e4 * power * (1.6 + u[0] * t[0] + 0.5 * u[1] * t[1])
    cross = 200.0 * power * (np.array([1.0, 0.5]) * residual * t * omega[0]).sum()
    expected = (np.array([1.0, 0.5]) * residual**2).sum() + (noise + cross) / 1e4 + 0.1
    assert si.loss(p, omega, mu, KERNEL) == pytest.approx(expected, rel=1e-13)


def test_large_blocks_bring_the_asymptotic_law_back() -> None:
    """At fixed d omega^2 the difference falls as one over the size."""
    off = []
    for size in (10**3, 10**4, 10**5):
        p = si.Problem.multitask(
            task_sizes=(size, 2 * size), signal=(1.0, 2.0), noise=0.1, context_length=1e3 * size
        )
        omega = np.array([[0.9, 0.2], [-0.3, 0.5]]) / size**0.5
        mu = np.array([[0.8, 0.1], [0.2, 1.5]]) * size**0.5
        paper, first = (si.loss(p, omega, mu, kernel) for kernel in ("asymptotic", KERNEL))
        off.append((first / paper - 1.0) * size)
    assert off[2] == pytest.approx(off[1], rel=0.02)
    assert off[0] == pytest.approx(off[1], rel=0.1)


BLOCK = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)


def test_past_the_range_the_loss_is_infinite() -> None:
    at = np.array([[0.71, 0.1], [0.1, 0.3]])
    assert si.loss(BLOCK, at, np.ones((2, 2)), KERNEL) == np.inf
    assert not np.isfinite(si.gradient(BLOCK, at, np.ones((2, 2)), KERNEL).omega).all()
    assert np.isfinite(si.loss(BLOCK, 0.99 * at, np.ones((2, 2)), KERNEL))


@pytest.mark.parametrize("omega", [0.72, 0.69])
def test_a_flow_that_comes_to_the_edge_of_the_range_says_so(omega: float) -> None:
    """From beyond it, and from a state whose loss falls without bound towards it: a read-off above 2."""
    start = np.array([[omega, 0.1], [0.1, 0.3]]), np.array([[4.0, 0.1], [0.1, 2.0]])
    with pytest.raises(si.IntegrationError, match="left the range of the first-order law") as failed:
        si.gradient_flow(BLOCK, *start, kernel=KERNEL, t_end=10.0)
    solution = failed.value.solution
    assert solution is not None
    assert solution.outcome is Outcome.LEFT_RANGE
    other = np.array([[0.2, 0.1], [0.1, 0.3]])
    many = si.gradient_flow_ensemble(
        BLOCK, np.array([start[0], other]), np.array([start[1]] * 2), kernel=KERNEL, t_end=10.0
    )
    assert many.outcome.tolist() == [Outcome.LEFT_RANGE, Outcome.REACHED_END]
    assert many.t[0] == pytest.approx(solution.trajectory.t[-1], rel=1e-4)


def test_the_old_name_of_the_asymptotic_law_is_understood() -> None:
    start = si.initial.dominant(BLOCK, heads=2)
    assert (
        si.loss(BLOCK, *start, kernel="large-L")
        == si.loss(BLOCK, *start)
        == si.loss(BLOCK, *start, "asymptotic")
    )
    assert si.gradient_flow(BLOCK, *start, t_end=1.0, kernel="large-L").options.kernel == "asymptotic"
