"""The filters against steps one by one."""

from __future__ import annotations

import numpy as np
import pytest

from theory.sparse.filters import flow_filter, gradient_filter


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_filters(steps: int) -> None:
    """Steps one by one, and the flow as their limit, on the preprocessed covariance."""
    rng = np.random.default_rng(steps)
    X = rng.normal(size=(9, 4))
    y = X @ [1.0, 0.0, 0.0, -1.0] + 0.5 * rng.normal(size=9)
    r, S = X.T @ y / 9, X.T @ X / 9
    M, eta = r[:, None] * S * r, 0.4
    beta = np.zeros(4)
    for _ in range(steps):
        beta = beta + eta * r**2 * (r - S @ beta)
    values, vectors = np.linalg.eigh(M)
    shares = [float(gradient_filter(z, eta, steps)) for z in values]
    np.testing.assert_allclose(r * (vectors @ (shares * (vectors.T @ r**2))), beta, rtol=1e-10)
    for z in values:
        many = gradient_filter(z, 1e-6 * steps, 10**6)
        assert float(flow_filter(z, steps)) == pytest.approx(float(many), rel=1e-4)
