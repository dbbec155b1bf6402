"""The risks of least squares against sampled prompts."""

from __future__ import annotations

import numpy as np
import pytest
from sampling import within_errors

from theory.sparse.least_squares import min_norm_risk, noiseless_risk, ols_risk, oracle_risk


@pytest.mark.parametrize(("d", "n"), [(3, 14), (1, 8), (14, 3), (20, 8)])
def test_least_squares(d: int, n: int) -> None:
    rng = np.random.default_rng(d)
    w, s2 = rng.normal(size=d), 0.5
    X = rng.normal(size=(20_000, n, d))
    y = X @ w + np.sqrt(s2) * rng.normal(size=(20_000, n))
    errors = ((np.einsum("bdn,bn->bd", np.linalg.pinv(X), y) - w) ** 2).sum(1)
    expected = ols_risk(d, n, s2) if n > d else min_norm_risk(d, n, float(w @ w), s2)
    assert within_errors(errors, expected)


@pytest.mark.parametrize(("d", "n"), [(5, 4), (5, 5), (5, 6), (6, 2)])
def test_without_noise(d: int, n: int) -> None:
    """Nearly square designs included, where noise would make the mean infinite."""
    rng = np.random.default_rng(d)
    w = rng.normal(size=d)
    X = rng.normal(size=(4_000, n, d))
    errors = ((np.einsum("bdn,bn->bd", np.linalg.pinv(X), X @ w) - w) ** 2).sum(1)
    expected = float(noiseless_risk(d, n, float(w @ w)))
    assert within_errors(errors, expected) if expected else errors.max() < 1e-12


def test_oracle() -> None:
    """Least squares on the support: all coordinates of a smaller problem."""
    assert oracle_risk(4, 50, 0.3) == ols_risk(4, 50, 0.3)
    assert oracle_risk(4, 50, 0.3) < ols_risk(40, 50, 0.3)
