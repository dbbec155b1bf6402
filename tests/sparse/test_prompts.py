"""Prompts of sparse regression, and their law given the labels, by moments with error bars."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

import spectral_icl as si
from spectral_icl.sparse.predictors import p2o
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import (
    Prompts,
    draw,
    excess_risk,
    sample_prompts,
    sample_weights,
)
from spectral_icl.sparse.risk import given_labels
from spectral_icl.sparse.risk.given_labels import sample_r, sample_shat

Array = NDArray[np.float64]

AR = 0.6 ** np.abs(np.subtract.outer(np.arange(5), np.arange(5)))
DIAGONAL = np.array([0.3, 2.0, 1.0, 0.5, 1.5])
DESIGNS = {"identity": None, "diagonal": DIAGONAL, "autoregressive": AR}


def dense(Sigma: Array | None, d: int = 5) -> Array:
    return np.eye(d) if Sigma is None else np.diag(Sigma) if Sigma.ndim == 1 else Sigma


def agrees(sample: Array, expected: Any, sigmas: float = 4.5) -> None:
    """The mean over the first axis is what is expected, entry by entry, within its error bars."""
    error = sample.std(axis=0, ddof=1) / np.sqrt(len(sample))
    off = np.abs(sample.mean(axis=0) - expected)
    assert (off <= sigmas * error + 1e-12).all(), (off / np.maximum(error, 1e-300)).max()


def same(one: Array, other: Array, sigmas: float = 4.5) -> None:
    """Two samples have one mean, entry by entry, within the error bars."""
    error = np.sqrt(one.var(axis=0, ddof=1) / len(one) + other.var(axis=0, ddof=1) / len(other))
    off = np.abs(one.mean(axis=0) - other.mean(axis=0))
    assert (off <= sigmas * error + 1e-12).all(), (off / np.maximum(error, 1e-300)).max()


@pytest.mark.parametrize("design", DESIGNS)
def test_features_have_the_covariance(design: str) -> None:
    Sigma = DESIGNS[design]
    w, X, y, xq = sample_prompts(20_000, 5, 2, 2, 0.4, 1.5, Sigma, rng=1)
    expected = dense(Sigma)
    for x in (X[:, 0], X[:, 1], xq):
        agrees(x, 0.0)
        agrees(x[:, :, None] * x[:, None], expected)
    for one, other in ((X[:, 0], X[:, 1]), (X[:, 0], xq), (X[:, 1], w), (xq, w)):  # all independent
        agrees(one[:, :, None] * other[:, None], 0.0)
    noise = y - (X * w[:, None]).sum(axis=2)
    agrees(noise, 0.0)
    agrees(noise[:, :, None] * noise[:, None], 0.4 * np.eye(2))
    agrees(noise[:, :, None, None] * X[:, None], 0.0)
    agrees(noise**4, 3 * 0.4**2)  # Gaussian
    agrees(X[:, 0] ** 4, 3 * np.diag(expected) ** 2)


def test_support_is_uniform() -> None:
    w = sample_weights(30_000, 6, 2, 1.0, "pm", 3)
    sets = list(combinations(range(6), 2))
    found = [tuple(np.flatnonzero(row).tolist()) for row in w]
    counts = [found.count(pair) for pair in sets]
    assert sum(counts) == 30_000
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("s", [1, 3, 7])
def test_weights_of_one_absolute_value(s: int) -> None:
    w = sample_weights(8_000, 7, s, 2.5, "pm", 4)
    np.testing.assert_allclose((w**2).sum(axis=1), 2.5)
    nonzero = w[w != 0.0].reshape(-1, s)
    np.testing.assert_allclose(np.abs(nonzero), np.sqrt(2.5 / s))
    signs = np.sign(nonzero)
    agrees(signs, 0.0)
    agrees(signs[:, :, None] * signs[:, None], np.eye(s))


def test_gaussian_weights() -> None:
    w = sample_weights(20_000, 7, 3, 2.5, "gauss", 5)
    assert ((w != 0.0).sum(axis=1) == 3).all()
    nonzero = w[w != 0.0].reshape(-1, 3)
    agrees(nonzero, 0.0)
    agrees(nonzero[:, :, None] * nonzero[:, None], 2.5 / 3 * np.eye(3))
    agrees(nonzero**4, 3 * (2.5 / 3) ** 2)
    assert stats.kstest(nonzero.ravel() / np.sqrt(2.5 / 3), "norm").pvalue > 1e-3


@pytest.mark.parametrize("weights", ["pm", "gauss"])
@pytest.mark.parametrize("support", [(4, 1), range(1, 3), np.array([0, 5])])
def test_a_given_support_is_used(weights: str, support: Any) -> None:
    w = sample_prompts(50, 6, 2, 1, 0.1, weights=weights, rng=0, support=support).w
    assert ((w != 0.0) == np.isin(np.arange(6), list(support))).all()
    assert len(np.unique(np.sign(w), axis=0)) == 4


def test_without_noise_labels_are_exact() -> None:
    w, X, y, _ = sample_prompts(10, 6, 2, 8, 0.0, rng=0)
    np.testing.assert_allclose(y, np.einsum("bnd,bd->bn", X, w), atol=1e-14)


def test_a_seed_is_a_generator_and_reproduces() -> None:
    def asked(rng: Any) -> Prompts:
        return sample_prompts(4, 6, 2, 3, 0.2, weights="gauss", rng=rng)

    generator = np.random.default_rng(8)
    first, second = asked(generator), asked(generator)
    for name in Prompts._fields:
        np.testing.assert_array_equal(getattr(asked(8), name), getattr(first, name))
        assert not np.array_equal(getattr(second, name), getattr(first, name))
        assert not np.array_equal(getattr(asked(9), name), getattr(first, name))


def test_draw_is_of_the_problem() -> None:
    """The support is first where it has a variance of its own; the signal is what labels have of it."""
    p = SparseProblem(6, 2, 4, 0.3, signal=2.0, support_variance=0.25)
    w, X, y, _ = draw(p, 20_000, 2)
    assert ((w != 0.0) == [True, True, False, False, False, False]).all()
    np.testing.assert_allclose((w**2).sum(axis=1), 8.0)
    agrees(X[:, 0] ** 2, [0.25, 0.25, 1.0, 1.0, 1.0, 1.0])
    agrees(y**2, 2.0 + 0.3)
    p = SparseProblem(6, 2, 4, 0.3, correlation=-0.5)
    w, X, _, _ = draw(p, 20_000, 2)
    agrees(X[:, 3, 2:4].prod(axis=1), -0.5)
    agrees(X[:, 3, 2] * X[:, 3, 4], 0.25)
    assert len(np.unique(w != 0.0, axis=0)) == 15


@pytest.mark.parametrize("design", DESIGNS)
def test_excess_risk_is_that_of_queries(design: str) -> None:
    """Of sampled queries; and of the noise-free label, so that the truth has none."""
    Sigma = DESIGNS[design]
    rng = np.random.default_rng(0)
    w, _, _, xq = sample_prompts(20_000, 5, 2, 1, 0.4, 1.0, Sigma, rng=1)
    beta, truth = rng.normal(size=5), w[0]
    agrees((xq @ (beta - truth)) ** 2, excess_risk(beta, truth, Sigma))
    assert excess_risk(truth, truth, Sigma) == 0.0
    many = rng.normal(size=(3, 4, 5))
    expected = [[(b - truth) @ dense(Sigma) @ (b - truth) for b in row] for row in many]
    np.testing.assert_allclose(excess_risk(many, truth, Sigma), expected)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "more weights than features": ({"s": 7}, "s: expected a whole number >= 1 and <= 6"),
    "no weights": ({"s": 0}, "s: expected"),
    "no pairs": ({"n": 0}, "n: expected a whole number >= 1"),
    "half a pair": ({"n": 2.5}, "n: expected a whole number"),
    "no features": ({"d": 0}, "d: expected"),
    "no prompts": ({"prompts": 0}, "prompts: expected"),
    "negative noise": ({"noise": -0.1}, "noise: expected a number >= 0"),
    "no signal": ({"signal": 0.0}, "signal: expected a number >= 1e-12"),
    "noise not a number": ({"noise": float("nan")}, "noise: expected"),
    "unknown weights": ({"weights": "laplace"}, "weights: expected one of 'pm', 'gauss'"),
    "covariance of another size": ({"Sigma": np.eye(5)}, "Sigma: expected an array of finite numbers"),
    "variances of another size": ({"Sigma": np.ones(5)}, "Sigma: expected an array of finite numbers"),
    "covariance of three axes": ({"Sigma": np.ones((6, 6, 6))}, "Sigma: expected an array"),
    "covariance with a hole": ({"Sigma": np.diag([np.nan] * 6)}, r"Sigma\[0, 0\]: expected a finite"),
    "negative variance": ({"Sigma": [1, 1, -1, 1, 1, 1]}, "Sigma: expected positive variances, got -1"),
    "no variance": ({"Sigma": [1, 1, 0, 1, 1, 1]}, "Sigma: expected positive variances"),
    "not positive definite": (
        {"Sigma": np.full((6, 6), -0.5) + 1.5 * np.eye(6)},
        "Sigma: expected a positive definite matrix",
    ),
    "not symmetric": ({"Sigma": np.eye(6) + np.eye(6, k=1) / 4}, "Sigma: expected a symmetric matrix"),
    "support too small": ({"support": [1]}, "support: expected 2 different features of 0 to 5"),
    "support repeats": ({"support": [1, 1]}, "support: expected 2 different features"),
    "support outside": ({"support": [1, 6]}, "support: expected a whole number >= 0 and <= 5"),
    "support negative": ({"support": [1, -1]}, "support: expected a whole number >= 0 and <= 5"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    changed, message = BAD[case]
    arguments: dict[str, Any] = {"prompts": 2, "d": 6, "s": 2, "n": 3, "noise": 0.1, "rng": 0} | changed
    with pytest.raises(si.ProblemError, match=message) as caught:
        sample_prompts(**arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.argument.split("[")[0] in changed


MALFORMED_SUPPORT: dict[str, Any] = {
    "repeats beside enough": [1, 1, 2],
    "halves": [0.5, 1.5],
    "text": "ab",
    "a number": 3,
}


@pytest.mark.parametrize("case", MALFORMED_SUPPORT)
def test_malformed_support_is_one_line(case: str) -> None:
    with pytest.raises(si.ProblemError, match="support: expected"):
        sample_prompts(2, 6, 2, 3, 0.1, rng=0, support=MALFORMED_SUPPORT[case])


def test_rounding_leaves_a_covariance_symmetric() -> None:
    """The inverse of an autoregressive covariance is tridiagonal: zero elsewhere but for rounding."""
    places = np.arange(8)
    precision = np.linalg.inv(0.7 ** np.abs(places[:, None] - places))
    assert np.abs(precision - precision.T).max() < 1e-14
    assert sample_prompts(1, 8, 2, 3, 0.1, Sigma=precision, rng=0).X.shape == (1, 3, 8)


# the law given the labels

W = np.array([0.8, 0.0, -0.5, 0.0, 0.3])
NOISE, PAIRS = 0.4, 7


def pairs(Sigma: Array | None, count: int, seed: int, n: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(count, n, 5)) @ np.linalg.cholesky(dense(Sigma)).T
    return X, X @ W + np.sqrt(NOISE) * rng.normal(size=(count, n))


def of_prompts(Sigma: Array | None, count: int, seed: int, n: int = PAIRS) -> tuple[Array, Array, Array]:
    """Correlations, squared labels and sample covariances of prompts that are drawn as prompts."""
    X, y = pairs(Sigma, count, seed, n)
    return np.einsum("bni,bn->bi", X, y) / n, (y**2).sum(axis=1), np.swapaxes(X, 1, 2) @ X / n


def of_the_law(Sigma: Array | None, count: int, seed: int, n: int = PAIRS) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(seed)
    r, y2 = sample_r(W, Sigma, NOISE, n, rng, count)
    return r, y2, sample_shat(r, y2, W, Sigma, NOISE, n, rng)


def joint_moments(r: Array, y2: Array, shat: Array) -> Array:
    """First and second moments of (r, |y|^2, Shat) together, (B, many)."""
    upper = shat[:, *np.triu_indices(5)]
    every = np.column_stack([r, y2 / PAIRS, upper])
    i, j = np.triu_indices(every.shape[1])
    return np.column_stack([every, every[:, i] * every[:, j]])


@pytest.mark.parametrize("design", DESIGNS)
def test_law_given_the_labels(design: str) -> None:
    Sigma, count = DESIGNS[design], 25_000
    drawn, law = of_prompts(Sigma, count, 1), of_the_law(Sigma, count, 2)
    one, other = joint_moments(*drawn), joint_moments(*law)
    assert one.shape[1] == 21 + 21 * 22 // 2
    same(one, other)
    full, tau2 = dense(Sigma), W @ dense(Sigma) @ W + NOISE
    agrees(law[0], full @ W)  # exactly
    agrees(law[1], PAIRS * tau2)
    agrees((law[1] - PAIRS * tau2) ** 2, 2 * PAIRS * tau2**2)
    agrees(law[2], full)


@pytest.mark.parametrize("design", DESIGNS)
def test_law_of_what_depends_on_all(design: str) -> None:
    """The risk of the flow of P2O, from prompts and from the law."""
    Sigma, count, n = DESIGNS[design], 6_000, 12
    X, y = pairs(Sigma, count, 5, n)
    T = np.array([1.0, 5.0, 30.0])
    drawn = excess_risk(p2o(X, y, times=T), W, Sigma)
    r, _, shat = of_the_law(Sigma, count, 6, n)
    values, vectors = np.linalg.eigh(r[:, :, None] * shat * r[:, None])
    values = np.maximum(values, 1e-12)
    seen = np.einsum("bij,bi->bj", vectors, r**2)
    f = -np.expm1(-T[:, None] * values[:, None]) / values[:, None]
    beta = r[:, None] * np.einsum("bij,btj->bti", vectors, f * seen[:, None])
    same(drawn, excess_risk(beta, W, Sigma), sigmas=4.0)
    assert (drawn.std(axis=0) / np.sqrt(count) < 0.02 * drawn.mean(axis=0)).all()  # so that it says much


def test_a_law_without_the_spike_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The moments tell a sample covariance that is independent of r from the right one."""
    drawn = joint_moments(*of_prompts(None, 25_000, 1))
    r, y2, _ = of_the_law(None, 25_000, 2)
    _, _, fresh = of_prompts(None, 25_000, 3)
    with pytest.raises(AssertionError):
        same(drawn, joint_moments(r, y2, fresh))
    monkeypatch.setattr(given_labels, "applied", lambda Sigma, x: x)  # C = Sigma - w w'/tau^2
    with pytest.raises(AssertionError):
        same(joint_moments(*of_prompts(AR, 25_000, 1)), joint_moments(*of_the_law(AR, 25_000, 2)))


def test_sample_r_one_and_many() -> None:
    r, y2 = sample_r(W, None, NOISE, PAIRS, 3)
    assert r.shape == (5,)
    assert np.ndim(y2) == 0
    many = sample_r(W, None, NOISE, PAIRS, 3, 1)
    np.testing.assert_array_equal(many.r[0], r)
    np.testing.assert_array_equal(many.y2, [y2])
    assert sample_r(W, None, NOISE, PAIRS, 3, 4).r.shape == (4, 5)


def test_sample_shat_explains_r() -> None:
    """Without noise y = X w, so that Shat w = r and w' Shat w = |y|^2/n for every draw."""
    for n in (1, 3, 9):
        r, y2 = sample_r(W, AR, 0.0, n, 1, 20)
        shat = sample_shat(r, y2, W, AR, 0.0, n, 2)
        np.testing.assert_allclose(shat @ W, r, atol=1e-12)
        np.testing.assert_allclose(np.einsum("i,bij,j->b", W, shat, W), y2 / n, rtol=1e-10)
        assert (np.linalg.matrix_rank(shat, tol=1e-8) == min(n, 5)).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sample_r(np.ones((2, 3)), None, 0.1, 5), "w: expected an array"),
        (lambda: sample_r(np.ones(3), np.eye(4), 0.1, 5), "Sigma: expected an array"),
        (lambda: sample_r(np.ones(3), None, -0.1, 5), "noise: expected"),
        (lambda: sample_r(np.ones(3), None, 0.1, 0), "n: expected"),
        (lambda: sample_r(np.ones(3), None, 0.1, 5, prompts=0), "prompts: expected"),
        (lambda: sample_r(np.zeros(3), None, 0.0, 5), "w: expected a weight that is not 0, or noise"),
    ],
)
def test_bad_input_of_the_law(call: Callable[[], object], message: str) -> None:
    with pytest.raises(si.ProblemError, match=message):
        call()
