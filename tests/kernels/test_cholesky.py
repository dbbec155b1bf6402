"""The factorisation and the solves against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_icl.kernels.cholesky import cholesky, cholesky_solve


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 13, 32, 67])
def test_cholesky_solves_and_refuses(size: int) -> None:
    rng = np.random.default_rng(size)
    half = rng.normal(size=(size, size))
    matrix = np.eye(size) + half @ half.T / size
    rhs = rng.normal(size=size)
    expected = np.linalg.solve(matrix, rhs)
    factor, solution = np.triu(matrix), rhs.copy()
    assert cholesky.py_func(factor, size)
    cholesky_solve.py_func(factor, size, solution)
    np.testing.assert_allclose(solution, expected, rtol=1e-10)
    matrix[size // 2, size // 2] = -1.0
    with np.errstate(invalid="ignore"):
        assert not cholesky.py_func(np.triu(matrix), size)
