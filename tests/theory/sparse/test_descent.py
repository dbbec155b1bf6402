"""The layers as attention, against gradient descent in the metric of the correlations."""

from __future__ import annotations

import numpy as np
import sympy as sp

from theory.sparse.attention import layer
from theory.sparse.descent import gradient_head
from theory.sparse.preprocessing import preprocessing_heads


def test_layers_compute_gradient_descent_on_the_features() -> None:
    """Constructed heads at d = 3, as attention, against the weights in the metric of the correlations."""
    rng = np.random.default_rng(0)
    d, n, free, steps = 3, 5, 0.2, ((0.3, 0.7), (0.0, 0.9), (0.1, 0.5))
    X, query = rng.normal(size=(n, d)), rng.normal(size=d)
    y = X @ [1.0, 0.0, -0.7] + 0.2 * rng.normal(size=n)
    E = sp.Matrix(np.vstack([np.column_stack([X.T, query]), np.zeros((d, n + 1)), np.append(y, 0.0)]))
    r = X.T @ y / n
    E = layer(E, preprocessing_heads(d, free))
    features = np.array(E[d : 2 * d, :], dtype=float)
    np.testing.assert_allclose(features, r[:, None] * np.column_stack([X.T, query]), atol=1e-13)
    beta = free * r
    for a, b in steps:
        E = layer(E, [gradient_head(d, a, b)])
        beta = beta + (a + b * r**2) * (r - X.T @ X @ beta / n)
        labels = np.array(E[-1, :], dtype=float).ravel()
        np.testing.assert_allclose(labels, np.append(y - X @ beta, -query @ beta), atol=1e-12)
