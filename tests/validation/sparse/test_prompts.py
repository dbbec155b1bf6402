"""Prompts and reference predictors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spectral_icl.sparse import predictors

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from linear_attention import PROBLEM, prompts  # noqa: E402

from validation.sparse import prompts as sparse_prompts  # noqa: E402


def test_prompts_have_the_problem_s_law() -> None:
    data = prompts(20_000)
    assert (data.coefficients.ne(0.0).sum(dim=1) == 2).all()
    torch.testing.assert_close((data.coefficients**2).sum(dim=1), torch.ones(20_000, dtype=torch.float64))
    residual = data.y - (data.x @ data.coefficients[:, :, None])[:, :, 0]
    for squares, expected in (
        (data.x[:, 0] ** 2, 1.0),
        (data.query**2, 1.0),
        (residual[:, 0] ** 2, PROBLEM.noise),
        (data.coefficients**2, 1.0 / PROBLEM.d),
        (data.target**2, PROBLEM.signal),
    ):
        error = squares.std(dim=0) / 20_000**0.5
        assert ((squares.mean(dim=0) - expected).abs() < 4.5 * error).all()
    assert 0.45 < (data.coefficients > 0).sum() / 40_000 < 0.55
    gauss = prompts(20_000, problem=replace(PROBLEM, weights="gauss"))
    assert float((gauss.coefficients**2).sum(dim=1).mean()) == pytest.approx(1.0, abs=0.05)


def test_reference_predictors_are_the_package_s() -> None:
    data = prompts()
    x, y = data.x.numpy(), data.y.numpy()
    penalty = sparse_prompts.best_penalty(PROBLEM)
    assert penalty == 0.25 * 4 / 20
    np.testing.assert_allclose(
        sparse_prompts.ridge(data, penalty), predictors.ridge(x, y, penalty), rtol=1e-9
    )
    support = np.array([np.flatnonzero(w) for w in data.coefficients.numpy()])
    np.testing.assert_allclose(sparse_prompts.oracle(data), predictors.oracle(x, y, support), atol=1e-12)
