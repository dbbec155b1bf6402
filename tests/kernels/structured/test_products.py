"""Sums over pairs of rows, tiled, against matrix products: every number of rows that tiles leave over."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from spectral_icl.kernels.structured.products import even_pair_sums, mixed_rows, pair_sums


@njit(error_model="numpy")
def _all(left, right, even, matrix, out):  # type: ignore[no-untyped-def]
    pair_sums(left, right, out[0])
    even_pair_sums(left, even, out[1])
    mixed_rows(matrix, left, right)


@pytest.mark.parametrize("heads", [1, 2, 3, 4, 5, 7, 8, 11])
@pytest.mark.parametrize("size", [1, 6, 33])
def test_tiled_products_are_matrix_products(heads: int, size: int) -> None:
    rng = np.random.default_rng(heads)
    left, right = rng.normal(size=(2, heads, size))
    weight, matrix = rng.normal(size=size), rng.normal(size=(heads, heads))
    out, added = np.empty((2, heads, heads)), right.copy()
    _all(left, added, left * weight, matrix, out)
    np.testing.assert_allclose(out[0], left @ right.T, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(out[1], (left * weight) @ left.T, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(added, right + matrix @ left, rtol=1e-13, atol=1e-13)
