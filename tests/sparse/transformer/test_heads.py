"""How many heads preprocessing needs, and what fewer cost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import check_grad

import spectral_icl as si
from spectral_icl.sparse.predictors import group_p2o
from spectral_icl.sparse.prompts import excess_risk, sample_prompts
from spectral_icl.sparse.transformer.construction import build_preprocess_heads
from spectral_icl.sparse.transformer.heads import (
    group_heads_risk,
    head_mismatch,
    head_mismatch_conjecture,
    min_heads_exact,
    mismatch,
    partial_risk,
)
from spectral_icl.sparse.transformer.model import LinTF

Array = NDArray[np.float64]
PAIR = 2.0 * np.sqrt(2.0) - 2.0


def flat(A: Array, C: Array, v: Array, om: Array) -> Array:
    return np.concatenate([part.ravel() for part in (A, C, v, om)])


def test_what_a_layer_writes() -> None:
    """The expansion that the bound starts from, on the rows of a model with any embedding and heads."""
    model, p = LinTF(3, 7, [4], 5), sample_prompts(2, 3, 2, 9, 0.3, rng=0)
    written = np.diff(model.query_maps(p.X, p.y), axis=0)[0]
    layer, W = model.layers[0], model.embedding
    for X, y, found in zip(p.X, p.y, written, strict=True):
        S, r, q = X.T @ X / 9, X.T @ y / 9, y @ y / 9
        expected = np.zeros((7, 3))
        for V, K, Q in zip(*layer, strict=True):
            A, v = np.split(V @ W, [3], axis=1)
            C, om = np.split(W.T @ K.T @ Q @ W[:, :3], [3])
            expected += A @ S @ C + A @ np.outer(r, om) + v @ (r @ C)[None] + q * v @ om
        np.testing.assert_allclose(found, expected, atol=1e-14)


def test_constructed_heads_have_no_mismatch() -> None:
    V, K, Q = build_preprocess_heads(3)
    rows, W = V[:, 3:6], np.einsum("hri,hrj->hij", K, Q)
    value, gradient = mismatch(flat(rows[:, :, :3], W[:, :3, :3], rows[:, :, 6], W[:, 6, :3]), 3, 3)
    assert value == 0.0
    assert not gradient.any()


@pytest.mark.parametrize(("H", "d"), [(1, 1), (2, 3), (3, 2)])
def test_gradient_of_the_mismatch(H: int, d: int) -> None:
    at = np.random.default_rng(H).normal(size=2 * H * d * (d + 1))
    error = check_grad(lambda z: mismatch(z, H, d)[0], lambda z: mismatch(z, H, d)[1], at)
    assert error < 1e-5 * np.linalg.norm(mismatch(at, H, d)[1])


def test_mismatch_is_that_of_the_coefficients() -> None:
    """The coefficients read off what heads write when one of S, r, q is varied at a time."""
    rng = np.random.default_rng(5)
    A, C, v, om = (rng.normal(size=shape) for shape in ((2, 3, 3), (2, 3, 3), (2, 3), (2, 3)))

    def written(S: Array, r: Array, q: float) -> Array:
        return sum(
            a @ S @ c + np.outer(a @ r, w) + np.outer(u, r @ c) + q * np.outer(u, w)
            for a, c, u, w in zip(A, C, v, om, strict=True)
        )

    none, e = np.zeros((3, 3)), np.eye(3)
    total = (written(none, none[0], 1.0) ** 2).sum()
    for k in range(3):
        total += ((written(none, e[k], 0.0) - np.diag(e[k])) ** 2).sum()
        for m in range(3):  # half of S_km + S_mk
            total += (written((np.outer(e[k], e[m]) + np.outer(e[m], e[k])) / 2, none[0], 0.0) ** 2).sum()
    assert mismatch(flat(A, C, v, om), 2, 3)[0] == pytest.approx(total)


@pytest.mark.parametrize(("H", "d"), [(H, d) for d in (1, 2, 3, 4) for H in range(1, d + 1)])
def test_fewer_heads_than_features_do_not_preprocess(H: int, d: int) -> None:
    """The rank argument, numerically: nothing at H = d, and the observed gap below."""
    found = head_mismatch(H, d, restarts=6)
    assert min_heads_exact(d) == d
    assert found == pytest.approx(head_mismatch_conjecture(H, d), abs=1e-7)
    assert found < 1e-7 if min_heads_exact(d) <= H else found > 0.8


@given(st.integers(1, 7), st.data())
def test_observed_mismatch_is_attained(d: int, data: st.DataObject) -> None:
    """Heads of one coordinate, of two (the pair of the docstring), and coordinates without a head."""
    H = data.draw(st.integers(1, d))
    A, C, v, om = (np.zeros(shape) for shape in ((H, d, d), (H, d, d), (H, d), (H, d)))
    a = 2.0 / (2.0 + np.sqrt(2.0))
    scale = np.sqrt(a / 2.0**0.25)  # equates the coefficients of q and S
    pairs = min(H, d - H)
    for h in range(H):
        i = min(2 * h, h + pairs)  # the first pairs take two coordinates each
        if h < pairs:
            A[h, i, i] = C[h, i + 1, i + 1] = a / scale
            v[h, i + 1] = om[h, i] = scale
        else:
            A[h, i, i] = om[h, i] = 1.0
    value, gradient = mismatch(flat(A, C, v, om), H, d)
    assert value == pytest.approx(head_mismatch_conjecture(H, d), abs=1e-12)
    assert np.abs(gradient).max() < 1e-12


def test_conjecture_values() -> None:
    assert head_mismatch_conjecture(1, 2) == pytest.approx(PAIR)
    assert head_mismatch_conjecture(1, 5) == pytest.approx(PAIR + 3)
    assert head_mismatch_conjecture(3, 4) == pytest.approx(PAIR)
    assert head_mismatch_conjecture(4, 4) == head_mismatch_conjecture(7, 4) == 0.0


def test_risk_of_groups_is_tabulated() -> None:
    risks = [[group_heads_risk(16, 4, n, 1.0, 0.25, H) for H in (2, 4, 8, 16)] for n in (256, 64)]
    expected = [[0.0629, 0.0435, 0.0208, 0.0039], [0.2097, 0.1547, 0.0796, 0.0156]]
    np.testing.assert_allclose(risks, expected, atol=6e-5)
    assert group_heads_risk(16, 4, 256, 2.0, 0.5, 16) == pytest.approx(4 * 0.5 / 256)


def test_risk_of_groups_on_sampled_prompts() -> None:
    """Best times of the flow: the formula is low by the leak, and more heads are better."""
    p = sample_prompts(1500, 16, 4, 256, 0.25, rng=3)
    times = np.geomspace(1.0, 100.0, 20)
    best = []
    for H in (2, 4, 8):
        beta = group_p2o(p.X, p.y, np.arange(16).reshape(H, -1).tolist(), times=times)
        risks = excess_risk(beta, p.w[:, None])
        chosen = risks[:, risks.mean(axis=0).argmin()]
        best.append(chosen.mean())
        noise = 3.0 * chosen.std() / np.sqrt(1500)
        formula = group_heads_risk(16, 4, 256, 1.0, 0.25, H)
        assert formula < best[-1] + noise
        assert best[-1] - noise < formula + 0.004
    assert best[0] > best[1] > best[2]


def test_risk_of_one_group_is_one_step() -> None:
    """The mean of |beta - w|^2 for beta = X^T y / (n a), on sampled prompts."""
    p = sample_prompts(20_000, 8, 2, 12, 0.5, signal=2.0, rng=1)
    a = 1 + 9 / 12 + 0.5 * 8 / (12 * 2.0)
    r = np.einsum("bnd,bn->bd", p.X, p.y) / 12
    risks = excess_risk(r / a, p.w)
    expected = group_heads_risk(8, 2, 12, 2.0, 0.5, 1)
    assert abs(risks.mean() - expected) < 3.5 * risks.std() / np.sqrt(20_000)
    for other in (0.9 * a, 1.1 * a):
        assert excess_risk(r / other, p.w).mean() > risks.mean()


def test_partial_preprocessing_is_linear_in_heads() -> None:
    assert partial_risk(0, 16, 0.005, 0.016) == 0.016
    assert partial_risk(16, 16, 0.005, 0.016) == 0.005
    assert partial_risk(4, 16, 0.005, 0.016) == pytest.approx(0.25 * 0.005 + 0.75 * 0.016)


def test_bad_arguments() -> None:
    for call, message in (
        (lambda: min_heads_exact(0), "d: expected a whole number >= 1"),
        (lambda: head_mismatch(0, 2), "H: expected a whole number >= 1"),
        (lambda: head_mismatch(1, 13), "d: expected a whole number >= 1 and <= 12"),
        (lambda: head_mismatch(1, 2, restarts=0), "restarts: expected a whole number >= 1"),
        (lambda: head_mismatch(1, 2, rng=-1), "rng: expected a whole number >= 0"),
        (lambda: head_mismatch_conjecture(0, 2), "H: expected a whole number >= 1"),
        (lambda: group_heads_risk(16, 4, 64, 1.0, 0.25, 3), "H: expected a divisor of d = 16, got 3"),
        (lambda: group_heads_risk(4, 5, 64, 1.0, 0.25, 2), "s: expected a whole number >= 1 and <= 4"),
        (lambda: group_heads_risk(4, 2, 64, 0.0, 0.25, 2), "signal: expected a number >= 1e-12"),
        (lambda: group_heads_risk(4, 2, 64, 1.0, -0.1, 2), "noise: expected a number >= 0"),
        (lambda: partial_risk(5, 4, 0.1, 0.2), "H: expected a whole number >= 0 and <= 4"),
        (lambda: partial_risk(2, 4, -0.1, 0.2), "R_p2o: expected a number >= 0"),
    ):
        with pytest.raises(si.ProblemError, match=message):
            call()
