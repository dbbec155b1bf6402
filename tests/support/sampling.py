"""Sampled prompts of sparse regression, and means that agree with what they should be."""

from __future__ import annotations

import numpy as np

Draws = tuple[np.ndarray, np.ndarray, np.ndarray]


def isotropic(rng: np.random.Generator, count: int, n: int, w: np.ndarray, s2: float) -> Draws:
    """Covariates, correlations and sample covariances of prompts with uncorrelated covariates."""
    X = rng.normal(size=(count, n, w.size))
    y = X @ w + np.sqrt(s2) * rng.normal(size=(count, n))
    return X, np.einsum("bni,bn->bi", X, y) / n, np.einsum("bni,bnj->bij", X, X) / n


def within_errors(sample: np.ndarray, expected: float) -> bool:
    """Whether the mean of a sample is what it should be, to four standard errors."""
    return bool(abs(sample.mean() - expected) < 4 * sample.std() / np.sqrt(sample.size))
