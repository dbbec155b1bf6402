"""Estimates from prompts, against recursions, differential equations, solvers and their invariances."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.linalg import expm

import spectral_icl as si
from spectral_icl.kernels import sparse as kernels
from spectral_icl.sparse import predictors
from spectral_icl.sparse.predictors import (
    gd,
    group_p2o,
    lasso,
    lasso_cd,
    ols,
    oracle,
    p2o,
    partial_p2o,
    ridge,
)

Array = NDArray[np.float64]

SHAPES = [(9, 4), (3, 6), (5, 5), (1, 1), (1, 3), (11, 1)]  # n > d, n < d, n = d, and the smallest
TIMES = np.array([0.0, 0.3, 2.0, 25.0])


def prompt(n: int, d: int, seed: int = 0, batch: tuple[int, ...] = ()) -> tuple[Array, Array]:
    """Any features and labels: nothing of a linear model."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(*batch, n, d)), rng.normal(size=(*batch, n)) + 0.5


def recursion(X: Array, y: Array, metric: Array, eta: float, t: int) -> Array:
    """(t + 1, d): beta <- beta + eta metric X'(y - X beta)/n, with plain NumPy."""
    path = [np.zeros(X.shape[1])]
    for _ in range(t):
        path.append(path[-1] + eta * metric @ X.T @ (y - X @ path[-1]) / len(y))
    return np.array(path)


def flowed(X: Array, y: Array, metric: Array, T: float) -> Array:
    """The solution of beta' = metric X'(y - X beta)/n at time T by one matrix exponential."""
    d = X.shape[1]
    generator = np.zeros((d + 1, d + 1))
    generator[:d, :d], generator[:d, d] = -metric @ X.T @ X / len(y), metric @ X.T @ y / len(y)
    return expm(T * generator)[:d, d]


def metric_of(X: Array, y: Array) -> Array:
    return np.diag((X.T @ y / len(y)) ** 2)


def edge(X: Array, y: Array, metric: Array) -> float:
    """2 over the largest eigenvalue of descent in the metric."""
    return 2.0 / float(np.linalg.eigvals(metric @ X.T @ X / len(y)).real.max())


METHODS: dict[str, tuple[Callable[..., Array], Callable[[Array, Array], Array]]] = {
    "p2o": (p2o, metric_of),
    "gd": (gd, lambda X, y: np.eye(X.shape[1])),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_steps_are_the_recursion(name: str, n: int, d: int) -> None:
    method, metric = METHODS[name]
    X, y = prompt(n, d)
    D = metric(X, y)
    eta = 0.4 * edge(X, y, D)
    expected = recursion(X, y, D, eta, 12)
    np.testing.assert_allclose(method(X, y, eta, 12), expected, atol=1e-12)
    batch, labels = prompt(n, d, 1, (2, 3))
    steps = np.array(
        [
            [0.4 * edge(*one, metric(*one)) for one in zip(*row, strict=True)]
            for row in zip(batch, labels, strict=True)
        ]
    )
    found = method(batch, labels, steps, 5)
    assert found.shape == (2, 3, 6, d)
    for k in np.ndindex(2, 3):
        one = recursion(batch[k], labels[k], metric(batch[k], labels[k]), steps[k], 5)
        np.testing.assert_allclose(found[k], one, atol=1e-12)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_flow_is_its_differential_equation(name: str, n: int, d: int) -> None:
    method, metric = METHODS[name]
    X, y = prompt(n, d)
    D = metric(X, y)
    T = TIMES * edge(X, y, D)
    expected = [flowed(X, y, D, time) for time in T]
    np.testing.assert_allclose(method(X, y, times=T), expected, atol=1e-10)
    np.testing.assert_allclose(method(X, y, times=float(T[2])), expected[2], atol=1e-10)
    batch, labels = prompt(n, d, 1, (2, 3))
    found = method(batch, labels, times=T)
    assert found.shape == (2, 3, 4, d)
    one = flowed(batch[1, 2], labels[1, 2], metric(batch[1, 2], labels[1, 2]), T[1])
    np.testing.assert_allclose(found[1, 2, 1], one, atol=1e-10)


def test_flow_against_an_integrator() -> None:
    """In the weights u of the features, as it is defined, not in those of the covariates."""
    X, y = prompt(8, 3)
    r = X.T @ y / 8
    F = X * r
    sol = solve_ivp(lambda t, u: F.T @ (y - F @ u) / 8, (0, 7), np.zeros(3), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(p2o(X, y, times=7.0), r * sol.y[:, -1], rtol=1e-7)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("n", "d"), [(9, 4), (3, 6)])
def test_flow_is_the_limit_of_small_steps(name: str, n: int, d: int) -> None:
    """The error of steps falls like their size."""
    method, metric = METHODS[name]
    X, y = prompt(n, d)
    T = 1.5 * edge(X, y, metric(X, y))
    limit = method(X, y, times=T)
    coarse, fine = (np.abs(method(X, y, T / t, t)[-1] - limit).max() for t in (200, 400))
    assert 0.0 < coarse < 0.02 * np.abs(limit).max()
    assert coarse / fine == pytest.approx(2.0, rel=0.05)


def test_long_descent_is_least_squares() -> None:
    X, y = prompt(40, 4, 3)
    y = y + X @ [2.0, -1.5, 1.0, 1.2]  # no correlation is small
    solution = np.linalg.lstsq(X, y)[0]
    eta = 0.9 * edge(X, y, metric_of(X, y))
    np.testing.assert_allclose(p2o(X, y, eta, 2000)[-1], solution, rtol=1e-9)
    np.testing.assert_allclose(p2o(X, y, times=1e6), solution, rtol=1e-9)
    np.testing.assert_allclose(gd(X, y, times=1e6), solution, rtol=1e-9)
    np.testing.assert_allclose(ols(X, y), solution, rtol=1e-9)


def test_long_flow_with_few_pairs_interpolates() -> None:
    """With the least norm in the metric: r^2 X'(X r^2 X')^-1 y for P2O, the pseudo-inverse for the flow."""
    X, y = prompt(3, 6)
    D = metric_of(X, y)
    expected = D @ X.T @ np.linalg.solve(X @ D @ X.T, y)
    np.testing.assert_allclose(p2o(X, y, times=1e9), expected, rtol=1e-8)
    np.testing.assert_allclose(gd(X, y, times=1e9), np.linalg.lstsq(X, y)[0], rtol=1e-8)
    np.testing.assert_allclose(ols(X, y), np.linalg.lstsq(X, y)[0], rtol=1e-10)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_ridge_is_the_normal_equations(n: int, d: int) -> None:
    X, y = prompt(n, d, 2, (3,))
    penalties = [0.01, 0.7, 30.0]
    found = ridge(X, y, penalties)
    for b in range(3):
        for j, lam in enumerate(penalties):
            one = np.linalg.solve(X[b].T @ X[b] / n + lam * np.eye(d), X[b].T @ y[b] / n)
            np.testing.assert_allclose(found[b, j], one, rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(ridge(X, y, 0.7), found[:, 1], rtol=1e-14)


@pytest.mark.parametrize("n", [9, 2])
def test_oracle_is_least_squares_on_the_support(n: int) -> None:
    X, y = prompt(n, 6, 4, (3,))
    supports = np.array([[4, 0, 2], [1, 2, 3], [5, 3, 0]])
    found = oracle(X, y, supports)
    for b, S in enumerate(supports):
        expected = np.zeros(6)
        expected[S] = np.linalg.lstsq(X[b][:, S], y[b])[0]
        np.testing.assert_allclose(found[b], expected, atol=1e-12)
    np.testing.assert_allclose(oracle(X, y, [4, 0, 2])[0], found[0], atol=1e-14)
    np.testing.assert_allclose(oracle(X[1], y[1], (1, 2, 3)), found[1], atol=1e-14)


@pytest.mark.parametrize(("n", "d"), [(30, 6), (8, 12)])
def test_lasso_is_optimal(n: int, d: int) -> None:
    """The conditions of Karush, Kuhn and Tucker; and the dual's bound, below which no risk is."""
    pytest.importorskip("sklearn")
    X, y = prompt(n, d, 5, (2,))
    y = y + 2.0 * X[..., 0] - X[..., 1]
    penalties = np.array([0.05, 0.4, 0.15])  # in any order
    found = lasso(X, y, penalties)
    assert found.shape == (2, 3, d)
    kept = 0
    for b in range(2):
        for lam, beta in zip(penalties, found[b], strict=True):
            rest = y[b] - X[b] @ beta
            slope = X[b].T @ rest / n
            active = beta != 0.0
            kept += int(active.sum())
            np.testing.assert_allclose(slope[active], lam * np.sign(beta[active]), atol=0.01 * lam)
            assert (np.abs(slope) <= 1.01 * lam).all()
            dual = rest * min(1.0, lam / np.abs(slope).max()) / n  # feasible: |X'dual| <= lam
            bound = y[b] @ dual - n / 2 * dual @ dual
            reached = rest @ rest / (2 * n) + lam * np.abs(beta).sum()
            assert 0.0 <= reached - bound + 1e-12 <= 1e-4 * (y[b] @ y[b]) / n
    assert 6 < kept < 6 * d  # neither all nor nothing
    np.testing.assert_allclose(lasso(X, y, 0.4), found[:, 1], atol=2e-3)
    assert not lasso(X, y, 1e3).any()


def test_the_lasso_of_moments_is_that_of_prompts() -> None:
    """Also of fewer pairs than features, where Shat is singular."""
    pytest.importorskip("sklearn")
    for n in (40, 5):
        X, y = prompt(n, 8)
        lam = np.array([0.3, 0.1, 0.03])
        found = lasso_cd(X.T @ X / n, X.T @ y / n, lam)
        np.testing.assert_allclose(found, lasso(X, y, lam), atol=2e-3)
        assert (found != 0.0).any()


def test_lasso_without_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(si.ProblemError, match="the package 'scikit-learn'"):
        lasso(*prompt(4, 2), 0.1)


@pytest.mark.parametrize(("n", "d"), [(9, 4), (3, 6)])
def test_partial_preprocessing(n: int, d: int) -> None:
    X, y = prompt(n, d, 6, (2,))
    J, alpha = [d - 1, 1], 0.6
    T = np.array([0.4, 6.0])
    found = partial_p2o(X, y, J, alpha, times=T)
    for b in range(2):
        metric = np.full(d, alpha**2)
        metric[J] = ((X[b].T @ y[b] / n) ** 2)[J]
        for j in range(2):
            np.testing.assert_allclose(found[b, j], flowed(X[b], y[b], np.diag(metric), T[j]), atol=1e-11)
    np.testing.assert_allclose(partial_p2o(X, y, range(d), alpha, times=T), p2o(X, y, times=T), rtol=1e-12)
    np.testing.assert_allclose(
        partial_p2o(X, y, [], alpha, times=T), gd(X, y, times=alpha**2 * T), rtol=1e-10
    )


@pytest.mark.parametrize(("n", "d"), [(9, 4), (3, 6)])
def test_group_preprocessing(n: int, d: int) -> None:
    """A feature for each group: its weights descend by themselves."""
    X, y = prompt(n, d, 7, (2,))
    groups = [[2, 0], [1], list(range(3, d))]
    T = np.array([0.4, 6.0])
    found = group_p2o(X, y, groups, times=T)
    for b in range(2):
        r = X[b].T @ y[b] / n
        mixing = np.zeros((d, 3))
        for g, members in enumerate(groups):
            mixing[members, g] = r[members]
        for j in range(2):
            u = flowed(X[b] @ mixing, y[b], np.eye(3), T[j])
            np.testing.assert_allclose(found[b, j], mixing @ u, atol=1e-11)
    singletons = [[j] for j in reversed(range(d))]
    np.testing.assert_allclose(
        group_p2o(X, y, singletons, times=T), p2o(X, y, times=T), rtol=1e-9, atol=1e-13
    )
    np.testing.assert_allclose(group_p2o(X, y, groups, times=0.4), found[:, 0], rtol=1e-14)


@given(st.integers(1, 8), st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(0.1, 10.0))
@settings(max_examples=40)
def test_invariances(n: int, d: int, seed: int, c: float) -> None:
    """Labels c times as large are flown to c times the weights, in 1/c^2 of the time.

    Features permuted, reflected or scaled take the weights along: scaled by a, P2O takes 1/a^4 of the time.
    """
    X, y = prompt(n, d, seed)
    rng = np.random.default_rng(seed)
    T = np.array([0.3, 4.0])
    beta, tolerance = p2o(X, y, times=T), {"rtol": 1e-8, "atol": 1e-10}
    np.testing.assert_allclose(p2o(X, c * y, times=T / c**2), c * beta, **tolerance)
    np.testing.assert_allclose(gd(X, c * y, times=T), c * gd(X, y, times=T), **tolerance)
    order, signs = rng.permutation(d), rng.choice([-1.0, 1.0], d)
    np.testing.assert_allclose(p2o(X[:, order] * signs, y, times=T), beta[:, order] * signs, **tolerance)
    np.testing.assert_allclose(p2o(c * X, y, times=T / c**4), beta / c, **tolerance)
    np.testing.assert_allclose(gd(c * X, y, times=T / c**2), gd(X, y, times=T) / c, **tolerance)
    again = rng.permutation(n)
    np.testing.assert_allclose(p2o(X[again], y[again], times=T), beta, **tolerance)
    np.testing.assert_allclose(p2o(X, -y, times=T), -beta, **tolerance)
    turn, _ = np.linalg.qr(rng.normal(size=(n, n)))  # of the pairs
    np.testing.assert_allclose(p2o(turn @ X, turn @ y, times=T), beta, **tolerance)


@given(st.integers(2, 8), st.integers(2, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_steps_are_equivariant_too(n: int, d: int, seed: int) -> None:
    X, y = prompt(n, d, seed)
    rng = np.random.default_rng(seed)
    eta = 0.5 * edge(X, y, metric_of(X, y))
    order, signs = rng.permutation(d), rng.choice([-1.0, 1.0], d)
    path = p2o(X, y, eta, 6)
    np.testing.assert_allclose(p2o(X[:, order] * signs, y, eta, 6), path[:, order] * signs, atol=1e-9)
    np.testing.assert_allclose(p2o(X, 3.0 * y, eta / 9.0, 6), 3.0 * path, atol=1e-9)
    errors = ((y - path @ X.T) ** 2).sum(axis=1)
    assert (np.diff(errors) <= 1e-12 * errors[0]).all()  # descent descends


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize(("n", "d"), [(9, 4), (3, 6)])
def test_steps_past_stability_are_refused(name: str, n: int, d: int) -> None:
    method, metric = METHODS[name]
    X, y = prompt(n, d, 8, (3,))
    edges = np.array([edge(*one, metric(*one)) for one in zip(X, y, strict=True)])
    least = float(edges.min())
    with pytest.raises(si.ProblemError, match=f"eta: expected a step of at most {least:.6g}, the edge"):
        method(X, y, 1.0001 * least, 3)
    assert np.isfinite(method(X, y, 0.9999 * least, 500)).all()
    assert np.isfinite(method(X, y, 0.9999 * edges, 500)).all()
    over = 0.5 * edges
    over[1] = 1.001 * edges[1]
    with pytest.raises(si.ProblemError, match=f"at most {edges[1]:.6g}"):
        method(X, y, over, 3)


@pytest.mark.parametrize("shape", [(1, 4, 3), (5, 7, 3), (3, 2, 9), (2, 13, 13), (2, 1, 1), (2, 8, 5)])
@pytest.mark.parametrize("preprocessed", [True, False])
def test_compiled_kernels_are_numpy(shape: tuple[int, int, int], preprocessed: bool) -> None:
    """Pairs are taken four at a time: every remainder is among the shapes."""
    B, n, d = shape
    X, y = prompt(n, d, 9, (B,))
    r = np.einsum("bnd,bn->bd", X, y) / n
    metric = r**2 if preprocessed else np.ones((B, d))
    eta = np.array([0.4 * edge(X[b], y[b], np.diag(metric[b])) for b in range(B)])
    expected = [recursion(X[b], y[b], np.diag(metric[b]), eta[b], 9) for b in range(B)]
    np.testing.assert_allclose(kernels.descent(X, y, metric, eta, 9), expected, atol=1e-12)
    gram = np.swapaxes(X, 1, 2) @ X / n
    np.testing.assert_allclose(kernels.gram_descent(gram, r, metric, eta, 9), expected, atol=1e-12)


def test_kernels_keep_what_is_not_finite() -> None:
    X, y = prompt(6, 3, 0, (2,))
    X[1, 4, 1] = np.nan
    found = kernels.descent(X, y, np.ones((2, 3)), np.full(2, 0.1), 3)
    assert np.isfinite(found[0]).all()
    assert np.isnan(found[1, 1:]).any(axis=1).all()


def test_wrong_descent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = predictors.correlations
    monkeypatch.setattr(predictors, "correlations", lambda X, y: 1.001 * sound(X, y))
    for check in (test_steps_are_the_recursion, test_flow_is_its_differential_equation):
        with pytest.raises(AssertionError):
            check("p2o", 9, 4)


X0, Y0 = prompt(5, 3)
BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "labels of another number": (lambda: p2o(X0, Y0[:4], times=1.0), "y: expected an array"),
    "one axis": (lambda: p2o(Y0, Y0, times=1.0), "X: expected an array of shape"),
    "no pairs": (lambda: gd(X0[:0], Y0[:0], times=1.0), "X: expected an array of shape"),
    "a hole": (lambda: ols(np.where(X0 > 1, np.nan, X0) * np.nan, Y0), r"X\[0, 0\]: expected a finite"),
    "time and steps": (lambda: p2o(X0, Y0, 0.1, 3, times=1.0), "times: expected no eta and t beside it"),
    "neither": (lambda: p2o(X0, Y0), "times: expected a value"),
    "no number of steps": (lambda: p2o(X0, Y0, 0.1), "t: expected a value"),
    "no step": (lambda: gd(X0, Y0, t=3), "eta: expected a value"),
    "negative step": (lambda: gd(X0, Y0, -0.1, 3), "eta: expected steps > 0"),
    "steps of another shape": (lambda: gd(X0, Y0, [0.1, 0.2], 3), "eta: expected a number, or one for each"),
    "half a step": (lambda: gd(X0, Y0, 0.1, 2.5), "t: expected a whole number"),  # type: ignore[arg-type]
    "negative time": (lambda: gd(X0, Y0, times=[1.0, -1.0]), "times: expected times >= 0"),
    "no penalty": (lambda: ridge(X0, Y0, 0.0), "lam: expected penalties >= 1e-12"),
    "penalties of two axes": (lambda: ridge(X0, Y0, [[1.0]]), "lam: expected penalties"),
    "feature outside": (lambda: partial_p2o(X0, Y0, [3], 1.0, times=1.0), "J: expected a whole number"),
    "negative alpha": (lambda: partial_p2o(X0, Y0, [0], -1.0, times=1.0), "alpha: expected a number >= 0"),
    "feature in no group": (lambda: group_p2o(X0, Y0, [[0], [2]], times=1.0), "groups: expected a partition"),
    "feature in two groups": (
        lambda: group_p2o(X0, Y0, [[0, 1], [1, 2]], times=1.0),
        "groups: expected a part",
    ),
    "group outside": (
        lambda: group_p2o(X0, Y0, [[0, 1], [2, 3]], times=1.0),
        r"groups\[1\]: expected a whole number >= 0 and <= 2",
    ),
    "support outside": (lambda: oracle(X0, Y0, [0, 3]), "S: expected different features of 0 to 2"),
    "support of halves": (lambda: oracle(X0, Y0, [0.5]), "S: expected different features"),
    "support is a number": (lambda: oracle(X0, Y0, 1), "S: expected"),
    "support of another batch": (lambda: oracle(X0, Y0, [[0, 1], [1, 2]]), "S: expected"),
    "support repeats": (lambda: oracle(X0, Y0, [1, 1]), "S: expected"),
    "ragged features": (lambda: p2o([[1.0, 2.0], [3.0]], [1.0, 2.0], times=1.0), "X: expected"),
    "time is text": (lambda: p2o(X0, Y0, times="long"), "times: expected"),
    "step is text": (lambda: p2o(X0, Y0, "small", 3), "eta: expected"),
    "penalty is text": (lambda: ridge(X0, Y0, "small"), "lam: expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(si.ProblemError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
