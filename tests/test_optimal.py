"""Benchmarks: closed forms, optimality by independent search, and their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from strategies import problems, starts

import spectral_icl as si


def closed_form(p: si.Problem, dimensions: list[float]) -> float:
    """Sum of a / (1 + L / (phi X)) + noise for disjoint tasks with effective dimensions X."""
    total = 0.0
    for i, dimension in enumerate(dimensions):
        a = max(p.signal[i])
        phi = p.variance[i] / a
        total += a / (1.0 + p.context_length / (phi * dimension)) + p.noise[i]
    return total


def test_equal_tasks(two_tasks: si.Problem) -> None:
    e = np.e
    assert si.optimal.single_head(two_tasks).loss == pytest.approx(closed_form(two_tasks, [20 * e] * 2))
    assert si.optimal.head_per_task(two_tasks).loss == pytest.approx(closed_form(two_tasks, [10 * e] * 2))
    assert si.optimal.lower_bound(two_tasks).loss == pytest.approx(closed_form(two_tasks, [10] * 2))
    limit = si.optimal.head_per_task(two_tasks).weights
    assert limit is not None
    assert limit.omega[0, 0] == pytest.approx(10**-0.5)
    phi = 1 + 0.09 / 10
    assert limit.mu[1, 1] == pytest.approx(10**0.5 / (1 + e * 10 * phi / 100))


def test_covariance_only_rescales_disjoint_tasks() -> None:
    plain = si.Problem.multitask(task_sizes=(3, 8), signal=(1, 2), noise=0.2, context_length=50)
    stretched = si.Problem.multitask(
        task_sizes=(3, 8), signal=(1, 2), noise=0.2, context_length=50, covariance=(0.4, 2.5)
    )
    for name in ("single_head", "head_per_task", "lower_bound"):
        benchmark = getattr(si.optimal, name)
        assert benchmark(stretched).loss == pytest.approx(benchmark(plain).loss, rel=1e-7)


@given(st.data())
@settings(max_examples=40)
def test_weights_have_the_loss_that_is_claimed(data: st.DataObject) -> None:
    p = data.draw(problems())
    for benchmark in (si.optimal.single_head(p), si.optimal.head_per_task(p)):
        assert benchmark.weights is not None
        np.testing.assert_allclose(si.task_loss(p, *benchmark.weights), benchmark.task_loss, rtol=1e-9)


@given(st.data())
def test_nothing_beats_the_lower_bound(data: st.DataObject) -> None:
    p = data.draw(problems())
    bound = si.optimal.lower_bound(p).task_loss
    omega, mu = data.draw(starts(p, most=1.0))
    # the best mu for this omega, task by task, is the hardest test for the bound
    assert (si.task_loss(p, omega, mu) >= bound - 1e-12).all()
    for benchmark in (si.optimal.single_head(p), si.optimal.head_per_task(p)):
        assert (benchmark.task_loss >= bound - 1e-12).all()


def test_lower_bound_is_approached_with_one_head_more() -> None:
    """H = B + 1 heads orthogonal to the all-ones vector, at a vanishing scale, on overlapping tasks."""
    p = si.Problem(
        block_sizes=(4, 6), signal=((1.0, 0.5), (0.0, 2.0)), noise=0.3, context_length=80, covariance=(1, 0.7)
    )
    basis = np.linalg.qr(np.column_stack([np.ones(3), np.eye(3)[:, :2]]))[0][:, 1:]
    gaps = []
    for scale in (1e-1, 1e-2, 1e-3):
        omega = scale * basis
        signal, kappa = np.array(p.signal), np.array(p.covariance)
        gain = p.context_length * signal / (p.variance[:, None] * np.array(p.block_sizes))
        target = gain / (1.0 + gain) / kappa  # T_ib / kappa_b
        mu = (target / scale**2 @ omega.T).T
        gaps.append(si.loss(p, omega, mu) - si.optimal.lower_bound(p).loss)
    assert gaps[0] > gaps[1] > gaps[2] > 0.0
    assert gaps[2] < 1e-5


@pytest.mark.parametrize("seed", range(6))
def test_single_head_is_optimal(seed: int) -> None:
    """No local search over (omega, mu) from random starts finds a better head."""
    rng = np.random.default_rng(seed)
    p = si.Problem(
        block_sizes=tuple(rng.integers(2, 12, 3).tolist()),
        signal=rng.lognormal(0, 1, (3, 3)) * (rng.random((3, 3)) < 0.7) + 0.1 * np.eye(3),
        noise=0.2,
        context_length=float(rng.uniform(20, 300)),
        covariance=tuple(rng.uniform(0.5, 1.5, 3)),
    )
    best = si.optimal.single_head(p).loss

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        slope = si.gradient(p, z[None, :3], z[None, 3:])
        value = si.loss(p, z[None, :3], z[None, 3:])
        return float(value), np.concatenate([slope.omega[0], slope.mu[0]])

    for _ in range(10):
        z0 = np.concatenate([rng.normal(0, 0.3, 3), rng.normal(0, 1, 3)])
        with np.errstate(all="ignore"):  # trial points of the search may overflow
            found = minimize(objective, z0, jac=True, method="BFGS")
        assert found.fun >= best - 1e-7


def test_flow_is_within_e_of_optimal_and_beats_one_head(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.dominant(two_tasks, heads=3), t_end=1e6)
    noise = sum(two_tasks.noise)
    ratio = (sol.loss[-1] - noise) / (si.optimal.lower_bound(two_tasks).loss - noise)
    assert 1.0 < ratio < np.e
    assert sol.loss[-1] < si.optimal.single_head(two_tasks).loss
    assert sol.loss[-1] == pytest.approx(si.optimal.head_per_task(two_tasks).loss, rel=1e-6)
