"""Covariances: their roots, and products with vectors."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_icl.sparse.covariance import applied, covariance_root


@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_root_and_product_of_a_covariance(d: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(d, d + 2))
    Sigma, x = A @ A.T, rng.normal(size=(3, d))
    root = covariance_root(Sigma, d)
    assert root is not None
    np.testing.assert_allclose(root @ root.T, Sigma, atol=1e-12)
    np.testing.assert_allclose(applied(Sigma, x), x @ Sigma, atol=1e-12)
    flat = rng.uniform(0.1, 2.0, d)
    np.testing.assert_allclose(applied(flat, x), x @ np.diag(flat))
    np.testing.assert_allclose(covariance_root(flat, d), np.sqrt(flat))
