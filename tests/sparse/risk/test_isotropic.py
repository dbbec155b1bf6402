"""Risks in closed form and the spectral mean behind them, against simulations and the derivation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.optimize import minimize_scalar

import spectral_icl as si
from spectral_icl.sparse.risk import isotropic as risk
from spectral_icl.sparse.risk import spectrum
from spectral_icl.sparse.risk.isotropic import (
    gd_risk,
    ols_risk,
    one_step_risk,
    one_step_scale,
    oracle_risk,
    ridge_opt_limit,
    ridge_opt_risk,
    ridge_risk,
    spectral_lower_bound,
)
from spectral_icl.sparse.risk.spectrum import mp_functional, upper_edge
from theory.sparse import least_squares, marchenko_pastur, one_step, spectral

Array = NDArray[np.float64]

# the mean over eigenvalues

FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "resolvent": lambda z: 1.0 / (z + 0.5),
    "exponential": lambda z: np.exp(-2.0 * z),
    "logarithm": lambda z: np.log1p(z),
    "flow": lambda z: z * np.exp(-z),
}
SIZES = {(16, 64): 5000, (40, 20): 2500, (16, 16): 5000, (64, 128): 400, (32, 200): 1500}


def eigenvalues(d: int, n: int, count: int, seed: int = 0) -> Array:
    """Of sampled covariances, all d of them."""
    X = np.random.default_rng(seed).normal(size=(count, n, d))
    return np.maximum(np.linalg.eigvalsh(np.swapaxes(X, 1, 2) @ X / n), 0.0)


@pytest.mark.parametrize(("d", "n"), SIZES)
def test_functional_is_the_mean_over_samples(d: int, n: int) -> None:
    """And only with its correction."""
    values = eigenvalues(d, n, SIZES[d, n])
    needed = 0
    for f in FUNCTIONS.values():
        sums = f(values).sum(axis=1)
        error = sums.std(ddof=1) / np.sqrt(len(sums))
        assert error < 2e-3 * sums.mean()
        assert abs(mp_functional(f, d, n) - sums.mean()) < 4 * error
        needed += abs(mp_functional(f, d, n, correct=False) - sums.mean()) > 6 * error
    assert needed >= 3


def test_correction_takes_five_percent_below_one() -> None:
    def f(z: Array) -> Array:
        return np.exp(-4.0 * z)

    sums = f(eigenvalues(16, 64, 8000, 1)).sum(axis=1)
    assert mp_functional(f, 16, 64, correct=False) / sums.mean() == pytest.approx(0.95, abs=0.01)
    assert mp_functional(f, 16, 64) / sums.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("d", "n"), [(16, 64), (64, 16), (9, 9), (3, 40), (40, 3), (1, 1), (1, 5)])
def test_moments_of_the_functional(d: int, n: int) -> None:
    """The first two moments are exact at every size; the third is off by what is of order 1/n."""
    assert mp_functional(np.ones_like, d, n) == pytest.approx(d, rel=1e-12)
    assert mp_functional(lambda z: z, d, n) == pytest.approx(d, rel=1e-12)
    assert mp_functional(lambda z: z**2, d, n) == pytest.approx(d + d * (d + 1) / n, rel=1e-12)
    third = d * (n**2 + 3 * n * (d + 1) + d**2 + 3 * d + 4) / n**2
    assert mp_functional(lambda z: z**3, d, n) == pytest.approx(third - 4 * d / n**2, rel=1e-12)


@pytest.mark.parametrize(("d", "n"), [(16, 64), (64, 16), (30, 100)])
def test_functional_without_correction_is_the_marchenko_pastur_law(d: int, n: int) -> None:
    g = d / n
    low, high = (1 - np.sqrt(g)) ** 2, (1 + np.sqrt(g)) ** 2
    for f in FUNCTIONS.values():
        density = quad(
            lambda x, f=f: f(x) * np.sqrt((high - x) * (x - low)) / (2 * np.pi * g * x), low, high, limit=200
        )[0]
        expected = d * density + max(0, d - n) * f(np.zeros(1))[0]
        assert mp_functional(f, d, n, correct=False) == pytest.approx(expected, rel=1e-7)
    assert upper_edge(d, n) == pytest.approx(high, rel=1e-14)


@given(st.integers(1, 60), st.integers(1, 60))
def test_functional_of_the_transpose(d: int, n: int) -> None:
    """X'X and XX' have the same nonzero eigenvalues."""

    def scaled(z: Array) -> Array:
        return np.exp(-z * d / n)  # of XX'/d, times d/n

    other = mp_functional(scaled, n, d) + (d - n)
    assert mp_functional(lambda z: np.exp(-z), d, n) == pytest.approx(other, rel=1e-10)


def test_singular_functions() -> None:
    """E tr Shat^-1 = d n/(n - d - 1); at d = n the correction is left out, below n = d it is infinite."""
    with np.errstate(divide="ignore"):
        assert mp_functional(lambda z: 1 / z, 64, 256) == pytest.approx(64 * 256 / 191, rel=1e-3)
        assert mp_functional(lambda z: z**-0.25, 8, 8) == mp_functional(lambda z: z**-0.25, 8, 8, False)
        assert mp_functional(lambda z: 1 / z, 20, 10) == np.inf


def test_functional_of_many_functions() -> None:
    powers = np.arange(4)
    found = mp_functional(lambda z: z ** powers[:, None], 12, 30)
    np.testing.assert_allclose(found, [mp_functional(lambda z, k=k: z**k, 12, 30) for k in powers])
    for d, n in ((0, 3), (3, 0), (2.5, 3)):
        with pytest.raises(si.ProblemError, match=r"(d|n): expected"):
            mp_functional(np.ones_like, d, n)  # type: ignore[arg-type]


# risks


def simulated(
    d: int, n: int, v: float, s2: float, estimate: Callable[[Array, Array], Array], count: int, seed: int = 0
) -> tuple[float, float]:
    """Mean and standard error of the risk of estimates (d,) from r and Shat, on drawn prompts."""
    rng = np.random.default_rng(seed)
    w = np.zeros(d)
    w[0], w[-1] = 0.8 * np.sqrt(v), 0.6 * np.sqrt(v)
    errors = np.empty(count)
    for start in range(0, count, 500):
        size = min(500, count - start)
        X = rng.normal(size=(size, n, d))
        y = X @ w + np.sqrt(s2) * rng.normal(size=(size, n))
        shat, r = np.swapaxes(X, 1, 2) @ X / n, np.einsum("bnd,bn->bd", X, y) / n
        errors[start : start + size] = ((estimate(shat, r) - w) ** 2).sum(axis=1)
    return float(errors.mean()), float(errors.std(ddof=1) / np.sqrt(count))


def solved(shat: Array, r: Array) -> Array:
    return np.linalg.solve(shat, r[:, :, None])[:, :, 0]


def descended(shat: Array, r: Array, eta: float, t: int) -> Array:
    beta = np.zeros_like(r)
    for _ in range(t):
        beta = beta + eta * (r - np.einsum("bij,bj->bi", shat, beta))
    return beta


def flowed(shat: Array, r: Array, T: float) -> Array:
    values, vectors = np.linalg.eigh(shat)
    values = np.maximum(values, 1e-14)
    seen = np.einsum("bij,bi->bj", vectors, r)
    return np.einsum("bij,bj->bi", vectors, (1 - np.exp(-T * values)) / values * seen)


def close(found: float, sample: tuple[float, float], precision: float) -> None:
    mean, error = sample
    assert error < precision * mean  # so that it says something
    assert abs(found - mean) < 4 * error


CASES = [(16, 64, 1.0, 0.25), (24, 16, 2.0, 0.5), (10, 10, 1.0, 1.0), (8, 40, 0.5, 0.0)]


@pytest.mark.parametrize(("d", "n", "v", "s2"), CASES)
def test_descent_and_flow_are_those_of_prompts(d: int, n: int, v: float, s2: float) -> None:
    eta = 0.8 / upper_edge(d, n)
    for t in (1, 3, 10):
        sample = simulated(d, n, v, s2, lambda shat, r, t=t: descended(shat, r, eta, t), 3000)
        close(float(gd_risk(d, n, v, s2, eta, t)), sample, 0.03)
    for T in (0.4, 3.0):
        sample = simulated(d, n, v, s2, lambda shat, r, T=T: flowed(shat, r, T), 3000)
        close(float(gd_risk(d, n, v, s2, times=T)), sample, 0.03)


@pytest.mark.parametrize(("d", "n", "v", "s2"), CASES[:3])
def test_ridge_is_that_of_prompts(d: int, n: int, v: float, s2: float) -> None:
    best = ridge_opt_risk(d, n, v, s2)
    for lam, expected in ((best.lam, best.risk), (0.3, float(ridge_risk(d, n, v, s2, 0.3)))):
        sample = simulated(
            d, n, v, s2, lambda shat, r, lam=lam: solved(shat + lam * np.eye(d), r), 3000, seed=1
        )
        close(expected, sample, 0.02)


@pytest.mark.parametrize(("d", "n", "v", "s2"), CASES)
def test_best_single_step(d: int, n: int, v: float, s2: float) -> None:
    """Exact; and the best of all single steps, on the same prompts."""
    a = one_step_scale(d, n, v, s2)
    close(one_step_risk(d, n, v, s2), simulated(d, n, v, s2, lambda shat, r: r / a, 8000), 0.01)
    found = minimize_scalar(
        lambda eta: simulated(d, n, v, s2, lambda shat, r: eta * r, 2000)[0], bounds=(0.0, 2.0 / a)
    )
    assert found.x == pytest.approx(1 / a, rel=0.05)
    if 1 / a < 2 / upper_edge(d, n):  # first and second moments are all it takes
        assert gd_risk(d, n, v, s2, 1 / a, 1) == pytest.approx(one_step_risk(d, n, v, s2), rel=1e-11)


def test_least_squares_of_prompts() -> None:
    """Exact: unique, of least norm, and on the support."""
    close(ols_risk(12, 40, 1.0, 0.3), simulated(12, 40, 1.0, 0.3, solved, 4000), 0.01)
    close(oracle_risk(3, 15, 0.3), simulated(3, 15, 1.0, 0.3, solved, 8000), 0.02)

    def shortest(shat: Array, r: Array) -> Array:
        return np.einsum("bij,bj->bi", np.linalg.pinv(shat, rcond=1e-10, hermitian=True), r)

    close(ols_risk(40, 12, 1.0, 0.3), simulated(40, 12, 1.0, 0.3, shortest, 3000), 0.01)


SYMBOLS = sp.symbols("d n v sigma2", positive=True)


def value(expression: sp.Expr, d: int, n: int, v: float, s2: float) -> float:
    return float(expression.subs(dict(zip(SYMBOLS, (d, n, sp.Rational(v), sp.Rational(s2)), strict=True))))


@pytest.mark.parametrize(("d", "n"), [(7, 30), (30, 7), (64, 64), (3, 5), (200, 1000), (9, 8)])
@pytest.mark.parametrize(("v", "s2"), [(1.0, 0.25), (0.5, 4.0), (3.0, 0.01)])
def test_closed_forms_are_the_derivations(d: int, n: int, v: float, s2: float) -> None:
    def derived(make: Callable[..., sp.Expr]) -> float:
        return value(make(*SYMBOLS), d, n, v, s2)

    assert one_step_risk(d, n, v, s2) == pytest.approx(derived(one_step.one_step_risk), rel=1e-13)
    assert one_step_scale(d, n, v, s2) == pytest.approx(1 / derived(one_step.one_step_size), rel=1e-13)
    best = ridge_opt_risk(d, n, v, s2)
    assert best.lam == pytest.approx(derived(spectral.ridge_penalty), rel=1e-14)
    limit = derived(marchenko_pastur.marchenko_pastur_ridge)
    assert ridge_opt_limit(d / n, v, s2) == pytest.approx(limit, rel=1e-9)
    hidden = v * max(0.0, 1 - n / d)
    bound = max(derived(spectral.spectral_lower_bound), hidden)
    assert spectral_lower_bound(d, n, v, s2) == pytest.approx(bound, rel=1e-14)
    if n > d + 1:
        exact = value(least_squares.ols_risk(SYMBOLS[0], SYMBOLS[1], SYMBOLS[3]), d, n, v, s2)
        assert ols_risk(d, n, v, s2) == pytest.approx(exact, rel=1e-14)
        assert oracle_risk(d, n, s2) == pytest.approx(exact, rel=1e-14)
    elif n < d - 1:
        assert ols_risk(d, n, v, s2) == pytest.approx(derived(least_squares.min_norm_risk), rel=1e-13)
    else:
        assert ols_risk(d, n, v, s2) == np.inf
        assert oracle_risk(min(d, n), n, s2) == np.inf


@pytest.mark.parametrize(("d", "n"), [(16, 64), (40, 20)])
def test_risks_are_means_of_the_derived_ones(d: int, n: int) -> None:
    """Over sampled eigenvalues, of what theory/sparse/spectral.py proves an eigenvalue to add."""
    v, s2, eta, t, T, lam = 1.5, 0.4, 0.1, 12, 2.5, 0.2
    ell, h = sp.symbols("l h", positive=True)
    added = sp.lambdify((ell, h), spectral.filter_risk(h, ell, d, n, v, s2))
    best = sp.lambdify(ell, spectral.ridge_filter_risk(ell, d, n, v, s2))
    values = np.maximum(eigenvalues(d, n, 4000), 1e-13)
    for found, sums in (
        (gd_risk(d, n, v, s2, eta, t), added(values, (1 - (1 - eta * values) ** t) / values)),
        (gd_risk(d, n, v, s2, times=T), added(values, -np.expm1(-T * values) / values)),
        (ridge_risk(d, n, v, s2, lam), added(values, 1 / (values + lam))),
        (ridge_opt_risk(d, n, v, s2).risk, best(values)),
    ):
        risks = sums.sum(axis=1)
        close(float(found), (risks.mean(), risks.std(ddof=1) / np.sqrt(len(risks))), 0.005)


SIZES_ST = st.integers(1, 300)
LEVELS = st.floats(-4.0, 3.0).map(lambda x: float(np.exp(x)))


@given(SIZES_ST, SIZES_ST, LEVELS, LEVELS, st.floats(0.02, 0.99))
@settings(max_examples=60)
def test_ridge_is_never_beaten(d: int, n: int, v: float, s2: float, share: float) -> None:
    """By descent of any step and length, the flow, least squares, another penalty; nor does it go below.

    Where one of them is not known there is nothing to compare.
    """
    best = ridge_opt_risk(d, n, v, s2)
    least = best.risk * (1 - 1e-10)
    eta = share * 2 / upper_edge(d, n)
    assert not (gd_risk(d, n, v, s2, eta, [0, 1, 2, 5, 20, 100, 1000]) < least).any()
    assert not (gd_risk(d, n, v, s2, times=np.geomspace(1e-3, 1e3, 25)) < least).any()
    assert not ols_risk(d, n, v, s2) < least
    assert not one_step_risk(d, n, v, s2) < least
    assert not (ridge_risk(d, n, v, s2, best.lam * np.geomspace(0.01, 100, 9)) < least).any()
    assert ridge_risk(d, n, v, s2, best.lam) == pytest.approx(best.risk, rel=1e-10, nan_ok=True)
    assert not least > v
    assert not best.risk < spectral_lower_bound(d, n, v, s2) * (1 - 1e-10)
    if min(d, n) >= 8 and s2 >= 0.1 * v:
        assert np.isfinite(best.risk)


@given(SIZES_ST, SIZES_ST, LEVELS, LEVELS, LEVELS)
@settings(max_examples=30)
def test_risks_scale(d: int, n: int, v: float, s2: float, c: float) -> None:
    for found in (one_step_risk, ols_risk, spectral_lower_bound, lambda *a: ridge_opt_risk(*a).risk):
        assert found(d, n, c * v, c * s2) == pytest.approx(c * found(d, n, v, s2), rel=1e-9, nan_ok=True)
    flow = gd_risk(d, n, v, s2, times=[0.5, 5.0])
    np.testing.assert_allclose(gd_risk(d, n, c * v, c * s2, times=[0.5, 5.0]), c * flow, rtol=1e-11)


@pytest.mark.parametrize(("g", "s2"), [(0.3, 0.25), (1.0, 1.0), (2.5, 0.1)])
def test_limit_of_ridge(g: float, s2: float) -> None:
    """The finite risk tends to it like 1/n."""
    limit = ridge_opt_limit(g, 1.3, s2)
    gaps = [ridge_opt_risk(round(g * n), n, 1.3, s2).risk - limit for n in (200, 400, 800)]
    assert abs(gaps[0]) < 0.01 * limit
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.05)
    assert gaps[1] / gaps[2] == pytest.approx(2.0, rel=0.05)


@given(st.floats(1e-6, 1e6), LEVELS, st.floats(1e-8, 1e8))
def test_limit_of_ridge_keeps_its_digits(g: float, v: float, s2: float) -> None:
    exact = marchenko_pastur.marchenko_pastur_ridge(sp.Rational(g), 1, sp.Rational(v), sp.Rational(s2))
    assert ridge_opt_limit(g, v, s2) == pytest.approx(float(sp.N(exact, 15, maxn=200)), rel=1e-12)


@pytest.mark.parametrize("signal", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("n", [1, 5, 6, 7, 8, 20])
@pytest.mark.parametrize("d", [1, 6, 7])
def test_benchmarks_without_noise_are_the_derived_limits(d: int, n: int, signal: float) -> None:
    """Nearly square designs included, where the least noise makes the mean of least squares infinite."""
    limit = float(least_squares.noiseless_risk(sp.Integer(d), sp.Integer(n), sp.Float(signal)))
    expected = pytest.approx(limit, rel=1e-15)
    assert ols_risk(d, n, signal, 0.0) == expected
    assert oracle_risk(d, n, 0.0, signal) == expected
    assert ridge_opt_risk(d, n, signal, 0.0).risk == expected
    assert spectral_lower_bound(d, n, signal, 0.0) == expected
    if abs(n - d) <= 1:
        assert ols_risk(d, n, signal, 5e-324) == oracle_risk(d, n, 5e-324, signal) == np.inf
    else:
        assert ols_risk(d, n, signal, 5e-324) == oracle_risk(d, n, 5e-324, signal) == expected


@pytest.mark.parametrize(("d", "n"), [(6, 5), (6, 6), (6, 7), (6, 2)])
def test_least_squares_of_prompts_without_noise(d: int, n: int) -> None:
    def shortest(shat: Array, r: Array) -> Array:
        return np.einsum("bij,bj->bi", np.linalg.pinv(shat, rcond=1e-14, hermitian=True), r)

    mean, error = simulated(d, n, 2.0, 0.0, shortest, 2000)
    assert abs(mean - ols_risk(d, n, 2.0, 0.0)) < 4 * error + 1e-6


def test_oracle_of_few_pairs() -> None:
    """Fewer than there are weights: the interpolator of least norm on the support."""
    assert oracle_risk(12, 4, 0.3, 2.0) == ols_risk(12, 4, 2.0, 0.3) < np.inf


@pytest.mark.parametrize("noise", [5e-324, 1e-300, 1e-17])
@pytest.mark.parametrize(("d", "n"), [(22, 16), (16, 22)])
def test_ridge_at_the_least_noise_is_its_limit(d: int, n: int, noise: float) -> None:
    best = ridge_opt_risk(d, n, 1e6, noise)
    assert best.risk == pytest.approx(1e6 * max(0.0, 1 - n / d), abs=1e-9)
    if best.lam > 0.0:
        assert ridge_risk(d, n, 1e6, noise, best.lam) == pytest.approx(best.risk, rel=1e-6, abs=1e-9)


def test_without_noise() -> None:
    for d, n in ((8, 20), (20, 8), (8, 8)):
        hidden = max(0.0, 1 - n / d)
        assert ridge_opt_risk(d, n, 2.0, 0.0) == (0.0, 2.0 * hidden)
        assert spectral_lower_bound(d, n, 2.0, 0.0) == 2.0 * hidden
    assert ols_risk(8, 20, 2.0, 0.0) == 0.0
    assert ols_risk(20, 8, 2.0, 0.0) == pytest.approx(2.0 * 0.6)
    assert gd_risk(8, 20, 2.0, 0.0, times=1e4) < 1e-12
    assert gd_risk(20, 8, 2.0, 0.0, times=1e5) == pytest.approx(1.2, rel=1e-6)


@pytest.mark.parametrize(("d", "n"), [(8, 20), (20, 8), (16, 40)])
def test_little_noise_is_nearly_none(d: int, n: int) -> None:
    """The best risk is continuous in the noise."""
    at_none = ridge_opt_risk(d, n, 2.0, 0.0).risk
    assert ridge_opt_risk(d, n, 2.0, 1e-9).risk == pytest.approx(at_none, abs=1e-3)


@pytest.mark.parametrize(("d", "n"), [(16, 15), (16, 16), (16, 17)])
def test_no_number_where_the_smallest_eigenvalue_decides(d: int, n: int) -> None:
    """Little noise in a square design: the functional would be off by a fifth at 1e-3, and more below."""
    assert np.isnan(ridge_opt_risk(d, n, 1.0, 1e-3).risk)
    assert np.isnan(ridge_risk(d, n, 1.0, 1e-3, [1e-3, 1e-2, 0.1])).tolist() == [True, True, False]
    assert np.isnan(gd_risk(d, n, 1.0, 1e-3, times=[1.0, 10.0, 100.0])).tolist() == [False, False, True]
    assert np.isfinite(ridge_opt_risk(d, n, 1.0, 0.05).risk)


@pytest.mark.parametrize(("d", "n"), [(4, 6), (6, 12), (10, 12), (16, 16), (16, 20), (20, 16), (16, 40)])
def test_what_is_given_is_within_a_few_percent(d: int, n: int) -> None:
    """Whatever the noise: what would be off by more is NaN."""
    X = np.random.default_rng(d * n).standard_normal((4000, n, d))
    values = np.maximum(np.linalg.eigvalsh(np.swapaxes(X, 1, 2) @ X / n), 0.0)
    for s2 in (1e-6, 1e-3, 0.02, 0.1, 1.0):
        given = ridge_opt_risk(d, n, 1.0, s2)
        sampled = ((s2 / n) / (values + given.lam)).sum(axis=1)
        error = sampled.std() / np.sqrt(len(sampled))
        assert not abs(given.risk - sampled.mean()) > 0.02 * sampled.mean() + 4.0 * error, s2


def test_shapes() -> None:
    assert np.shape(gd_risk(8, 20, 1.0, 0.1, times=1.0)) == np.shape(gd_risk(8, 20, 1.0, 0.1, 0.1, 3)) == ()
    assert (
        gd_risk(8, 20, 1.0, 0.1, times=[1.0, 2.0]).shape
        == gd_risk(8, 20, 1.0, 0.1, 0.1, [3, 4]).shape
        == (2,)
    )
    assert gd_risk(8, 20, 1.0, 0.1, 0.1, 0) == gd_risk(8, 20, 1.0, 0.1, times=0.0) == pytest.approx(1.0)
    assert np.shape(ridge_risk(8, 20, 1.0, 0.1, 0.3)) == ()
    assert ridge_risk(8, 20, 1.0, 0.1, [[0.3, 1.0]]).shape == (1, 2)


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("ridge_opt_risk", lambda: test_risks_are_means_of_the_derived_ones(16, 64)),
        ("gd_risk", lambda: test_descent_and_flow_are_those_of_prompts(16, 64, 1.0, 0.25)),
        ("one_step_scale", lambda: test_closed_forms_are_the_derivations(7, 30, 1.0, 0.25)),
    ],
)
def test_wrong_risks_are_noticed(
    name: str, check: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tenth more noise than there is."""
    sound = getattr(risk, name)
    monkeypatch.setitem(globals(), name, lambda d, n, v, s2, *a, **k: sound(d, n, v, 1.1 * s2, *a, **k))
    with pytest.raises(AssertionError):
        check()


def test_a_wrong_correction_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of complex entries, which is none."""
    sound = spectrum.mp_functional
    monkeypatch.setitem(globals(), "mp_functional", lambda f, d, n, correct=True: sound(f, d, n, False))
    with pytest.raises(AssertionError):
        test_functional_is_the_mean_over_samples(16, 64)
    with pytest.raises(AssertionError):
        test_moments_of_the_functional(16, 64)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "step past stability": (
        lambda: gd_risk(16, 64, 1.0, 0.1, 0.9, 3),
        r"eta: expected a step below 0.888889, the edge of stability 2/\(1 \+ sqrt\(d/n\)\)\^2",
    ),
    "steps and time": (
        lambda: gd_risk(16, 64, 1.0, 0.1, 0.3, 3, times=1.0),
        "times: expected eta and t, or times alone",
    ),
    "neither": (lambda: gd_risk(16, 64, 1.0, 0.1), "times: expected eta and t"),
    "step alone": (lambda: gd_risk(16, 64, 1.0, 0.1, 0.3), "times: expected eta and t"),
    "no signal": (lambda: ridge_opt_risk(16, 64, 0.0, 0.1), "signal: expected a number >= 1e-12"),
    "negative noise": (lambda: ols_risk(16, 64, 1.0, -0.1), "noise: expected a number >= 0"),
    "hardly any signal": (lambda: ridge_opt_risk(16, 64, 5e-324, 0.1), "signal: expected a number >= 1e-12"),
    "no pairs": (lambda: one_step_risk(16, 0, 1.0, 0.1), "n: expected"),
    "no features": (lambda: spectral_lower_bound(0, 3, 1.0, 0.1), "d: expected"),
    "no penalty": (lambda: ridge_risk(16, 64, 1.0, 0.1, 0.0), "lam: expected penalties > 0"),
    "no ratio": (lambda: ridge_opt_limit(0.0, 1.0, 0.1), "g: expected a number >= 1e-12"),
    "oracle without pairs": (lambda: oracle_risk(3, 0, 0.1), "n: expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(si.ProblemError, match=message):
        call()


def test_step_below_stability_is_accepted() -> None:
    assert np.isfinite(gd_risk(16, 64, 1.0, 0.1, 0.8888, 1000))
