"""The derivation of preprocess-then-optimize: it proves itself, can fail to, and agrees with simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp

from theory import sparse
from theory.__main__ import derivation
from theory.derivation import Derivation, ProofError

Draws = tuple[np.ndarray, np.ndarray, np.ndarray]

SIGMA = np.array([[1.0, 0.4, 0.2], [0.4, 0.8, 0.3], [0.2, 0.3, 1.2]])
WEIGHTS = np.array([0.8, -0.5, 0.0])
NOISE, PAIRS = 0.3, 7
TAU2 = WEIGHTS @ SIGMA @ WEIGHTS + NOISE


def test_it_is_proved_and_printed() -> None:
    made = derivation("sparse")
    assert sum(step.proved for step in made.steps) >= 60
    text, latex = " ".join(made.to_text().split()), made.to_latex()
    for claim in (
        "H >= d",
        "beta = R*u",
        "S = (n/Y)*r*r.T + 1/n*G.T*G",
        "risk_l - sigma**2/(n*(l + lambda)) >= 0",
        "d*sigma**2/(-d + n - 1)",
    ):
        assert claim in text
    assert r"\section{Preprocess, then optimize}" in latex
    assert latex.count(r"\begin{equation}") == latex.count(r"\end{equation}") >= 60


BROKEN: dict[str, tuple[str, str, Callable[..., Any]]] = {
    "the query is a key too": (
        "_preprocessing",
        "layer",
        lambda E, heads: E + sum((V * E * (K * E).T * Q * E for V, K, Q in heads), sp.zeros(*E.shape)) / 2,
    ),
    "one head is missing": (
        "_preprocessing",
        "preprocessing_heads",
        lambda size, step=0: sparse.preprocessing_heads(size, step)[1:],
    ),
    "factors exchanged": ("_descent", "gradient_head", lambda size, a, b: sparse.gradient_head(size, b, a)),
    "one step more": (
        "_filter",
        "gradient_filter",
        lambda z, eta, t: sparse.gradient_filter(z, eta, t + 1),
    ),
    "flow too fast": ("_filter", "flow_filter", lambda z, T: sparse.flow_filter(z, 2 * T)),
    "covariance not conditioned": ("_given_the_labels", "conditional_covariance", lambda Sigma, w, s2: Sigma),
    "variance without noise": (
        "_given_the_labels",
        "label_variance",
        lambda Sigma, w, s2: (w.T * Sigma * w)[0],
    ),
    "penalty doubled": ("_spectral", "ridge_penalty", lambda d, n, v, s2: 2 * s2 * d / (n * v)),
    "bound too high": ("_spectral", "spectral_lower_bound", lambda d, n, v, s2: s2 * d / n),
    "other root": (
        "_marchenko_pastur",
        "marchenko_pastur_ridge",
        lambda d, n, v, s2: v - sparse.marchenko_pastur_ridge(d, n, v, s2),
    ),
    "one coordinate too many": ("_one_step", "one_step_size", lambda d, n, v, s2: 1 / (1 + (d + 2) / n)),
    "a degree of freedom too many": ("_least_squares", "ols_risk", lambda d, n, s2: s2 * d / (n - d)),
}


@pytest.mark.parametrize("wrong", BROKEN)
def test_broken_variants_are_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    section, name, broken = BROKEN[wrong]
    sound = getattr(sparse, name)
    called = []

    def variant(*arguments: Any) -> Any:
        monkeypatch.setattr(sparse, name, sound)  # it may call the sound one
        try:
            called.append(name)
            return broken(*arguments)
        finally:
            monkeypatch.setattr(sparse, name, variant)

    monkeypatch.setattr(sparse, name, variant)
    with pytest.raises(ProofError):
        getattr(sparse, section)(Derivation("A wrong one", "nowhere"))
    assert called


def test_a_broken_variant_stops_the_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sparse, "gradient_filter", lambda z, eta, t: (1 - (1 + eta * z) ** t) / z)
    with pytest.raises(ProofError, match="which is not zero"):
        sparse.derive()


def test_layers_compute_gradient_descent_on_the_features() -> None:
    """Constructed heads at d = 3, as attention, against the weights in the metric of the correlations."""
    rng = np.random.default_rng(0)
    d, n, free, steps = 3, 5, 0.2, ((0.3, 0.7), (0.0, 0.9), (0.1, 0.5))
    X, query = rng.normal(size=(n, d)), rng.normal(size=d)
    y = X @ [1.0, 0.0, -0.7] + 0.2 * rng.normal(size=n)
    E = sp.Matrix(np.vstack([np.column_stack([X.T, query]), np.zeros((d, n + 1)), np.append(y, 0.0)]))
    r = X.T @ y / n
    E = sparse.layer(E, sparse.preprocessing_heads(d, free))
    features = np.array(E[d : 2 * d, :], dtype=float)
    np.testing.assert_allclose(features, r[:, None] * np.column_stack([X.T, query]), atol=1e-13)
    beta = free * r
    for a, b in steps:
        E = sparse.layer(E, [sparse.gradient_head(d, a, b)])
        beta = beta + (a + b * r**2) * (r - X.T @ X @ beta / n)
        labels = np.array(E[-1, :], dtype=float).ravel()
        np.testing.assert_allclose(labels, np.append(y - X @ beta, -query @ beta), atol=1e-12)


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
    shares = [float(sparse.gradient_filter(z, eta, steps)) for z in values]
    np.testing.assert_allclose(r * (vectors @ (shares * (vectors.T @ r**2))), beta, rtol=1e-10)
    for z in values:
        many = sparse.gradient_filter(z, 1e-6 * steps, 10**6)
        assert float(sparse.flow_filter(z, steps)) == pytest.approx(float(many), rel=1e-4)


def sampled_prompts(rng: np.random.Generator, count: int) -> Draws:
    """Squared labels, correlations and sample covariances of prompts."""
    X = rng.normal(size=(count, PAIRS, 3)) @ np.linalg.cholesky(SIGMA).T
    y = X @ WEIGHTS + np.sqrt(NOISE) * rng.normal(size=(count, PAIRS))
    return (y**2).sum(1), np.einsum("bni,bn->bi", X, y) / PAIRS, np.einsum("bni,bnj->bij", X, X) / PAIRS


def sampled_law(rng: np.random.Generator, count: int, covariance: np.ndarray) -> Draws:
    """The same from their law, with a fresh Wishart matrix of this covariance."""
    power = TAU2 * rng.chisquare(PAIRS, count)
    g = rng.normal(size=(count, 3)) @ np.linalg.cholesky(SIGMA).T
    e = np.sqrt(NOISE) * rng.normal(size=count)
    xi = g - np.outer((g @ WEIGHTS + e) / TAU2, SIGMA @ WEIGHTS)
    r = np.outer(power, SIGMA @ WEIGHTS) / (PAIRS * TAU2) + np.sqrt(power)[:, None] / PAIRS * xi
    G = rng.normal(size=(count, PAIRS - 1, 3)) @ np.linalg.cholesky(covariance).T
    spike = PAIRS / power[:, None, None] * r[:, :, None] * r[:, None, :]
    return power, r, spike + np.einsum("bni,bnj->bij", G, G) / PAIRS


def statistics(draws: Draws) -> np.ndarray:
    """One row each: moments of the correlations and the covariance, and the risk of the preprocessed flow."""
    power, r, S = draws
    M = r[:, :, None] * S * r[:, None, :]
    values, vectors = np.linalg.eigh(M)
    modes = np.einsum("bij,bi->bj", vectors, r**2)
    flow = r * np.einsum("bij,bj->bi", vectors, -np.expm1(-8 * values) / values * modes)
    wrong = flow - WEIGHTS
    square = np.einsum("bi,bij,bj->b", r, S, r)
    return np.vstack(
        [
            power,
            *r.T,
            *(r[:, i] * r[:, j] for i in range(3) for j in range(i + 1)),
            *(S[:, i, j] for i in range(3) for j in range(i + 1)),
            *(S[:, i, i] * r[:, j] for i in range(3) for j in range(3)),
            *(S[:, i, i] ** 2 for i in range(3)),
            power * r[:, 0],
            square,
            power * square,
            np.linalg.slogdet(S)[1],
            np.einsum("bi,ij,bj->b", wrong, SIGMA, wrong),
        ]
    )


def deviations(first: Draws, second: Draws) -> np.ndarray:
    """Differences of the means of the statistics, in standard errors."""
    left, right = statistics(first), statistics(second)
    errors = np.sqrt(left.var(1) / left.shape[1] + right.var(1) / right.shape[1])
    return np.abs(left.mean(1) - right.mean(1)) / errors


def test_law_of_the_correlations_and_the_sample_covariance() -> None:
    rng = np.random.default_rng(3)
    derived = sparse.conditional_covariance(sp.Matrix(SIGMA), sp.Matrix(WEIGHTS), NOISE)
    covariance = np.array(derived, dtype=float)
    assert float(sparse.label_variance(sp.Matrix(SIGMA), sp.Matrix(WEIGHTS), NOISE)) == pytest.approx(TAU2)
    prompts = sampled_prompts(rng, 60_000)
    assert deviations(prompts, sampled_law(rng, 60_000, covariance)).max() < 4.5
    assert deviations(prompts, sampled_law(rng, 60_000, SIGMA)).max() > 15  # what a wrong law looks like


def isotropic(rng: np.random.Generator, count: int, n: int, w: np.ndarray, s2: float) -> Draws:
    """Covariates, correlations and sample covariances of prompts with uncorrelated covariates."""
    X = rng.normal(size=(count, n, w.size))
    y = X @ w + np.sqrt(s2) * rng.normal(size=(count, n))
    return X, np.einsum("bni,bn->bi", X, y) / n, np.einsum("bni,bnj->bij", X, X) / n


def within_errors(sample: np.ndarray, expected: float) -> bool:
    """Whether the mean of a sample is what it should be, to four standard errors."""
    return bool(abs(sample.mean() - expected) < 4 * sample.std() / np.sqrt(sample.size))


@pytest.mark.parametrize(("d", "n", "s2"), [(6, 15, 0.4), (9, 4, 0.1), (2, 3, 3.0)])
def test_one_step_risk(d: int, n: int, s2: float) -> None:
    rng = np.random.default_rng(d)
    w = np.zeros(d)
    w[:2] = 0.9, -0.7
    v = float(w @ w)
    _, r, _ = isotropic(rng, 40_000, n, w, s2)
    best = sparse.one_step_size(d, n, v, s2)
    errors = {factor: ((factor * best * r - w) ** 2).sum(1) for factor in (0.8, 1.0, 1.2)}
    assert within_errors(errors[1.0], sparse.one_step_risk(d, n, v, s2))
    for factor in (0.8, 1.2):  # the risk is quadratic in the size
        assert within_errors(errors[factor] - errors[1.0], v * best * (factor - 1) ** 2)


@pytest.mark.parametrize(("d", "n"), [(5, 12), (8, 4)])
def test_spectral_filters_and_the_ridge_bound(d: int, n: int) -> None:
    """Each filter's errors against the sum over the same prompts' eigenvalues; ridge has the least."""
    rng = np.random.default_rng(n)
    w, s2 = rng.normal(size=d), 0.6
    v = float(w @ w)
    penalty = sparse.ridge_penalty(d, n, v, s2)
    _, r, S = isotropic(rng, 20_000, n, w, s2)
    values, vectors = np.linalg.eigh(S)
    values = np.maximum(values, 1e-12)
    modes = np.einsum("bij,bi->bj", vectors, r)
    least = sparse.ridge_filter_risk(values, d, n, v, s2).sum(1)
    filters = {
        "ridge": 1 / (values + penalty),
        "weaker": 1 / (values + penalty / 3),
        "descent": sparse.gradient_filter(values, 0.2, 6),
        "flow": -np.expm1(-1.5 * values) / values,
    }
    for name, h in filters.items():
        errors = ((np.einsum("bij,bj->bi", vectors, h * modes) - w) ** 2).sum(1)
        risks = sparse.filter_risk(h, values, d, n, v, s2).sum(1)
        assert within_errors(errors - risks, 0.0), name
        if name == "ridge":
            np.testing.assert_allclose(risks, least, rtol=1e-8)
        else:
            assert (risks > least).all(), name
    bound = max(sparse.spectral_lower_bound(d, n, v, s2), v * (1 - n / d))
    assert least.mean() > bound


@pytest.mark.parametrize(("d", "n"), [(150, 250), (200, 200), (250, 150)])
def test_marchenko_pastur_ridge(d: int, n: int) -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(4):
        X = rng.normal(size=(n, d))
        found.append(sparse.ridge_filter_risk(np.linalg.eigvalsh(X.T @ X / n), d, n, 1.3, 0.4).sum())
    assert np.mean(found) == pytest.approx(float(sparse.marchenko_pastur_ridge(d, n, 1.3, 0.4)), rel=0.01)
    assert sparse.marchenko_pastur_ridge(d, n, 1.3, 0.4) > sparse.spectral_lower_bound(d, n, 1.3, 0.4)


@pytest.mark.parametrize(("d", "n"), [(3, 14), (1, 8), (14, 3), (20, 8)])
def test_least_squares(d: int, n: int) -> None:
    rng = np.random.default_rng(d)
    w, s2 = rng.normal(size=d), 0.5
    X = rng.normal(size=(20_000, n, d))
    y = X @ w + np.sqrt(s2) * rng.normal(size=(20_000, n))
    errors = ((np.einsum("bdn,bn->bd", np.linalg.pinv(X), y) - w) ** 2).sum(1)
    expected = sparse.ols_risk(d, n, s2) if n > d else sparse.min_norm_risk(d, n, float(w @ w), s2)
    assert within_errors(errors, expected)


def test_oracle() -> None:
    """Least squares on the support: all coordinates of a smaller problem."""
    assert sparse.oracle_risk(4, 50, 0.3) == sparse.ols_risk(4, 50, 0.3)
    assert sparse.oracle_risk(4, 50, 0.3) < sparse.ols_risk(40, 50, 0.3)
