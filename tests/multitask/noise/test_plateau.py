"""Stationary losses against iterated covariances, and the edge of stability against steps that are taken."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.noise.factors import factors_of
from spectral_icl.multitask.noise.moments import gradient_noise
from spectral_icl.multitask.noise.plateau import _modes, stationary_cost
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.state import State


def stationary(bend: Floats, covariance: Floats, stretch: list[Floats], step: float) -> float:
    """The loss of C = (1 - step A) C (1 - step A)' + step^2 S, iterated over factors, as descent does it."""
    move = np.concatenate([np.diag(each) for each in stretch], axis=1)
    curvature, noise = move.T @ bend @ move, move.T @ covariance @ move
    keep = np.eye(len(curvature)) - step * curvature
    spread = np.zeros_like(curvature)
    for _ in range(4000):
        spread = keep @ spread @ keep.T + step**2 * noise
    return float(0.5 * np.trace(curvature @ spread))


def test_a_mode_s_loss_is_that_of_the_iterated_covariance() -> None:
    rng = np.random.default_rng(0)
    bend, covariance = (part @ part.T for part in rng.normal(size=(2, 3, 3)))
    stretch = [rng.uniform(0.5, 1.0, 3), rng.uniform(0.5, 1.0, 3)]
    whole = np.concatenate([np.diag(each) for each in stretch], axis=1)
    sharpest = np.linalg.eigvalsh(whole.T @ bend @ whole)[-1]
    for over in (0.1, 0.5, 0.9):
        step = over * 2.0 / sharpest
        lost, largest = _modes(bend, covariance, whole, step)
        assert largest == pytest.approx(sharpest)
        assert lost == pytest.approx(stationary(bend, covariance, stretch, step), rel=1e-6)
    assert _modes(bend, covariance, whole, 2.01 / sharpest)[0] == np.inf


@pytest.mark.parametrize("weights", [si.Balanced(), si.Factored(1e-2, 0.3), si.Merged()], ids=repr)
def test_the_edge_is_where_steps_on_the_diagonals_cease_to_be_stable(weights: Parametrization) -> None:
    """A single task of one head: all that is sharp is on the diagonal, whose map is differentiated here."""
    problem = si.Problem.multitask(task_sizes=(5,), signal=1.0, noise=0.1, context_length=40)
    best = si.optimal.single_head(problem).weights
    assert best is not None
    best = State(0.8 * best.omega, 0.7 * best.mu)  # where the gradient bends what two factors span
    noise = gradient_noise(problem, State(best.omega[None], best.mu[None]))
    found = stationary_cost(problem, weights, State(best.omega[None], best.mu[None]), noise, 1.0, 100.0)
    scale, merged = weights.scale(problem), not weights.trains_factors
    start = np.concatenate([values.ravel() for values in factors_of(problem, weights, best)])
    length = np.array([5.0**0.5, 5.0**0.5, 1.0, 1.0])  # of a block's entries together

    def field(y: Floats) -> Floats:
        key, query, value, output = y / length
        if merged:
            query = output = 1.0
        product = key if merged else scale * key * query
        slope = si.gradient(problem, np.array([[product]]), np.array([[value * output]]))
        by_entry, by_mu = slope.omega[0, 0] / 5.0, slope.mu[0, 0]
        if merged:
            return np.array([by_entry, 0.0, by_mu, 0.0]) * length
        return (
            np.array([scale * query * by_entry, scale * key * by_entry, output * by_mu, value * by_mu])
            * length
        )

    h = 1e-5
    jacobian = np.array(
        [(field(start * length + e) - field(start * length - e)) / (2.0 * h) for e in h * np.eye(4)]
    )
    sharpest = np.linalg.eigvalsh(0.5 * (jacobian + jacobian.T))[-1]
    assert found.edge[0] == pytest.approx(0.5 * sharpest, rel=1e-4)
    assert found.loss[0] == found.kq[0] + found.ov[0]
    assert found.ov[0] == 0.0


def test_the_cost_is_that_of_the_factors_of_either_circuit() -> None:
    """Of O V by an entry of V and of O, of c K' Q by one of Q and of K, where they differ."""
    problem = si.Problem.multitask(task_sizes=(3, 2), signal=1.0, noise=0.1, context_length=40)
    at = State(np.array([[0.3, 0.1], [-0.2, 0.25]]), np.array([[1.0, -0.4], [0.5, 0.8]]))
    weights, stack = si.Factored(0.4, 0.6), State(at.omega[None], at.mu[None])
    noise = gradient_noise(problem, stack)
    found = stationary_cost(problem, weights, stack, noise, 0.5, 100.0)
    key, query, value, output = factors_of(problem, weights, at)
    scale, expected = weights.scale(problem), [0.0, 0.0]
    for b, c in np.ndindex(2, 2):
        entries = problem.block_sizes[b] * problem.block_sizes[c] - (b == c)
        moves = [scale * key[:, b], scale * query[:, c]]
        lost = stationary(noise.bend[0, b, c], noise.stray[0, b, c], moves, 0.5)
        expected[0] += entries * lost / 100.0
    for i, j in ((0, 1), (1, 0)):
        moves = [output[:, i], value[:, j]]
        expected[1] += stationary(noise.curvature[0, j], noise.crossed[0, i, j], moves, 0.5) / 100.0
    assert found.kq[0] == pytest.approx(expected[0], rel=1e-4)
    assert found.ov[0] == pytest.approx(expected[1], rel=1e-4)


def test_a_block_of_one_coordinate_costs_nothing() -> None:
    problem = si.Problem.multitask(task_sizes=(1,), signal=1.0, noise=0.1, context_length=40)
    at = State(np.array([[[0.4]]]), np.array([[[1.0]]]))
    found = stationary_cost(problem, si.Balanced(), at, gradient_noise(problem, at), 0.01, 100.0)
    assert found.loss[0] == 0.0
    assert found.edge[0] > 0.0


def test_the_cost_falls_with_the_step_and_the_batch() -> None:
    problem = si.Problem.multitask(task_sizes=(4, 4), signal=4.0, noise=0.1, context_length=200)
    best = si.optimal.head_per_task(problem).weights
    assert best is not None
    at = State(best.omega[None], best.mu[None])
    noise = gradient_noise(problem, at)

    def cost(step: float, batch: float) -> float:
        return float(stationary_cost(problem, si.Balanced(), at, noise, step, batch).loss[0])

    assert cost(1e-3, 100.0) == pytest.approx(10.0 * cost(1e-3, 1000.0))
    assert cost(1e-4, 100.0) == pytest.approx(0.1 * cost(1e-3, 100.0), rel=0.01)
    assert cost(0.02, 100.0) > 20.0 * cost(1e-3, 100.0)  # nearer to the edge
