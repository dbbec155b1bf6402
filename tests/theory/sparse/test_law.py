"""The exact law against sampled prompts."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

from theory.sparse.given_labels import conditional_covariance, label_variance

Draws = tuple[np.ndarray, np.ndarray, np.ndarray]

SIGMA = np.array([[1.0, 0.4, 0.2], [0.4, 0.8, 0.3], [0.2, 0.3, 1.2]])
WEIGHTS = np.array([0.8, -0.5, 0.0])
NOISE, PAIRS = 0.3, 7
TAU2 = WEIGHTS @ SIGMA @ WEIGHTS + NOISE


def sampled_prompts(rng: np.random.Generator, count: int) -> Draws:
    """Squared labels, correlations and sample covariances of prompts."""
    X = rng.normal(size=(count, PAIRS, 3)) @ np.linalg.cholesky(SIGMA).T
    y = X @ WEIGHTS + np.sqrt(NOISE) * rng.normal(size=(count, PAIRS))
    return (y**2).sum(1), np.einsum("bni,bn->bi", X, y) / PAIRS, np.einsum("bni,bnj->bij", X, X) / PAIRS


def sampled_law(rng: np.random.Generator, count: int, covariance: np.ndarray) -> Draws:
    """The same from their law, with a fresh Wishart matrix of this covariance."""
    power = TAU2 * rng.chisquare(PAIRS, count)
    g = rng.normal(size=(count, 3)) @ np.linalg.cholesky(SIGMA).T
    e = np.sqrt(NOISE) * rng.normal(size=count)
    xi = g - np.outer((g @ WEIGHTS + e) / TAU2, SIGMA @ WEIGHTS)
    r = np.outer(power, SIGMA @ WEIGHTS) / (PAIRS * TAU2) + np.sqrt(power)[:, None] / PAIRS * xi
    G = rng.normal(size=(count, PAIRS - 1, 3)) @ np.linalg.cholesky(covariance).T
    spike = PAIRS / power[:, None, None] * r[:, :, None] * r[:, None, :]
    return power, r, spike + np.einsum("bni,bnj->bij", G, G) / PAIRS


def statistics(draws: Draws) -> np.ndarray:
    """One row each: moments of the correlations and the covariance, and the risk of the preprocessed flow."""
    power, r, S = draws
    M = r[:, :, None] * S * r[:, None, :]
    values, vectors = np.linalg.eigh(M)
    modes = np.einsum("bij,bi->bj", vectors, r**2)
    flow = r * np.einsum("bij,bj->bi", vectors, -np.expm1(-8 * values) / values * modes)
    wrong = flow - WEIGHTS
    square = np.einsum("bi,bij,bj->b", r, S, r)
    return np.vstack(
        [
            power,
            *r.T,
            *(r[:, i] * r[:, j] for i in range(3) for j in range(i + 1)),
            *(S[:, i, j] for i in range(3) for j in range(i + 1)),
            *(S[:, i, i] * r[:, j] for i in range(3) for j in range(3)),
            *(S[:, i, i] ** 2 for i in range(3)),
            power * r[:, 0],
            square,
            power * square,
            np.linalg.slogdet(S)[1],
            np.einsum("bi,ij,bj->b", wrong, SIGMA, wrong),
        ]
    )


def deviations(first: Draws, second: Draws) -> np.ndarray:
    """Differences of the means of the statistics, in standard errors."""
    left, right = statistics(first), statistics(second)
    errors = np.sqrt(left.var(1) / left.shape[1] + right.var(1) / right.shape[1])
    return np.abs(left.mean(1) - right.mean(1)) / errors


def test_law_of_the_correlations_and_the_sample_covariance() -> None:
    rng = np.random.default_rng(3)
    derived = conditional_covariance(sp.Matrix(SIGMA), sp.Matrix(WEIGHTS), NOISE)
    covariance = np.array(derived, dtype=float)
    assert float(label_variance(sp.Matrix(SIGMA), sp.Matrix(WEIGHTS), NOISE)) == pytest.approx(TAU2)
    prompts = sampled_prompts(rng, 60_000)
    assert deviations(prompts, sampled_law(rng, 60_000, covariance)).max() < 4.5
    assert deviations(prompts, sampled_law(rng, 60_000, SIGMA)).max() > 15  # what a wrong law looks like
