"""Loss, gradient, Hessian, field and linear algebra against their definition, differences and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from strategies import problems, starts

import spectral_icl as si
from spectral_icl.io.checks import ProblemError
from spectral_icl.kernels import integrator as kernels
from spectral_icl.multitask.parametrization import to_dual


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


@given(st.data(), st.sampled_from(["balanced", "factored", "merged"]))
@settings(max_examples=60)
def test_field_is_the_primal_flow(data: st.DataObject, name: str) -> None:
    """dtheta/dt through the dual coordinates equals the flow written in omega and mu."""
    p = data.draw(problems())
    omega, mu = data.draw(starts(p))
    c, D = 0.3, 0.02
    parametrization = {
        "balanced": si.Balanced(c),
        "factored": si.Factored(D, 3 * D, c),
        "merged": si.Merged(),
    }
    chart = parametrization[name].chart(p, si.State(omega, mu))
    x = to_dual(chart, si.State(omega, mu))
    heads, size = omega.shape[0], x.size
    theta, grad, speed = np.empty(size), np.empty(size), np.empty(size)
    shape = heads, p.blocks, p.tasks
    work = kernels.Overlaps.empty(*shape)
    finite = kernels.field(p.model(), chart, shape, x, theta, grad, work, speed)
    assert finite
    np.testing.assert_allclose(theta, np.concatenate([omega.ravel(), mu.ravel()]), rtol=1e-13)
    slope = si.gradient(p, omega, mu)
    g = slope.omega / np.array(p.block_sizes)
    expected = {
        "balanced": (-2 * c * abs(omega) * g, -2 * abs(mu) * slope.mu),
        "factored": (
            -c * np.sqrt((c * D) ** 2 + 4 * omega**2) * g,
            -np.sqrt((3 * D) ** 2 + 4 * mu**2) * slope.mu,
        ),
        "merged": (-g, -slope.mu),
    }[name]
    step = 1e-6
    ahead, behind = np.empty(size), np.empty(size)
    kernels.to_primal(chart, x + step * speed, ahead)
    kernels.to_primal(chart, x - step * speed, behind)
    moved = (ahead - behind) / (2 * step)
    scale = max(1e-3, *(float(abs(part).max()) for part in expected))
    flat = np.concatenate([part.ravel() for part in expected])
    np.testing.assert_allclose(moved, flat, rtol=1e-5, atol=1e-6 * scale)


def test_states_may_be_stacked(two_tasks: si.Problem) -> None:
    rng = np.random.default_rng(0)
    omega, mu = rng.normal(0, 0.1, (3, 5, 2, 2)), rng.normal(0, 1, (3, 5, 2, 2))
    stacked = si.task_loss(two_tasks, omega, mu)
    assert stacked.shape == (3, 5, 2)
    np.testing.assert_array_equal(stacked[1, 4], si.task_loss(two_tasks, omega[1, 4], mu[1, 4]))
    with pytest.raises(ProblemError, match="mu"):
        si.loss(two_tasks, omega, mu[0])


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13, 32, 67])
def test_cholesky_solves_and_refuses(size: int) -> None:
    rng = np.random.default_rng(size)
    half = rng.normal(size=(size, size))
    matrix = np.eye(size) + half @ half.T / size
    rhs = rng.normal(size=size)
    expected = np.linalg.solve(matrix, rhs)
    factor, solution = np.triu(matrix), rhs.copy()
    assert kernels._cholesky.py_func(factor, size)
    kernels._cholesky_solve.py_func(factor, size, solution)
    np.testing.assert_allclose(solution, expected, rtol=1e-10)
    matrix[size // 2, size // 2] = -1.0
    with np.errstate(invalid="ignore"):
        assert not kernels._cholesky.py_func(np.triu(matrix), size)


@njit
def _stage_solve(chart, theta, x, work, step, rhs):  # type: ignore[no-untyped-def]
    kernels._measure_jacobian(chart, theta, x, work.hess, work.root, work.reach)
    coupled, definite = kernels._factorise(chart, step, work)
    kernels._solve_stage(chart, coupled, work, rhs)
    return coupled, definite


@pytest.mark.parametrize("faded", [0, 1, 9])
def test_stage_systems_are_solved_with_idle_entries_too(faded: int) -> None:
    """(1 - step J) y = r with J from the chart's own derivative, when losing heads have all but vanished."""
    rng = np.random.default_rng(faded)
    p = si.Problem.multitask(task_sizes=(3, 5, 9), signal=(1, 2, 3), noise=0.2, context_length=60)
    at = si.State(rng.choice([-1, 1], (4, 3)) * rng.uniform(0.05, 0.3, (4, 3)), rng.normal(0, 1, (4, 3)))
    at.mu.ravel()[:faded] = 1e-40
    at.omega[3, 0] = 0.0  # frozen
    chart = si.Balanced(0.2).chart(p, at)
    x = to_dual(chart, at)
    theta = np.concatenate([at.omega.ravel(), at.mu.ravel()])
    size, step = x.size, 0.05
    hess = si.hessian(p, *at)
    jacobian = -(chart.speed * chart.sign)[:, None] * hess * theta
    rhs = rng.normal(size=size)
    work = kernels.Work(
        *(np.empty(size) for _ in range(6)),
        np.empty((8, size)),
        *(np.empty(size) for _ in range(4)),
        np.empty(size, dtype=np.int64),
        *(np.empty((size, size)) for _ in range(3)),
        kernels.Overlaps.empty(1, 1, 1),
    )
    work.hess[:] = hess
    found = rhs.copy()
    coupled, definite = _stage_solve(chart, theta, x, work, step, found)
    assert coupled == size - faded - 1
    assert definite
    np.testing.assert_allclose(found, np.linalg.solve(np.eye(size) - step * jacobian, rhs), rtol=1e-9)
