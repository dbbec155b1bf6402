"""Spectral filters and their contours, against mpmath at forty digits and the derivation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy as sp
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import spectral_icl as si
from spectral_icl.sparse import filters
from spectral_icl.sparse.filters import Filters, Flow, Steps
from spectral_icl.sparse.risk import contour
from spectral_icl.sparse.risk.contour import contours
from theory.sparse import filters as derived

Array = NDArray[Any]

DIGITS = 40
REAL = [0.0, 1e-300, 1e-17, 1e-13, 1e-9, 3e-7, 1e-6, 1e-4, 0.01, 0.3, 0.5, 1.0, 1.6, 2.9]
COMPLEX = [
    *(10.0**k * np.exp(1j * angle) for k in (-3, -1, 0) for angle in (0.3, 1.5, 3.0, -2.0)),
    0.5 + 1e-3j,
    -0.2 + 0j,
]
NEAR_ZERO = [10.0**k * np.exp(1j * angle) for k in (-12, -8, -5) for angle in (0.3, 1.5, 3.0)]


def exact_flow(T: float, z: complex) -> complex:
    with mpmath.workdps(DIGITS):
        if z == 0:
            return T
        z = mpmath.mpmathify(z)
        return complex(-mpmath.expm1(-mpmath.mpf(T) * z) / z)


def exact_steps(eta: float, t: int, z: complex) -> complex:
    with mpmath.workdps(350 if abs(z) < 1e-30 else DIGITS + 20):
        if z == 0:
            return eta * t
        z = mpmath.mpmathify(z)
        return complex((1 - (1 - mpmath.mpf(eta) * z) ** t) / z)


def check(found: Array, exact: Callable[[complex], complex], z: list[complex], tolerance: float) -> None:
    expected = np.array([exact(x) for x in z])
    error = np.abs(found - expected) / np.abs(expected)
    assert error.max() <= tolerance, (z[int(error.argmax())], error.max())


@pytest.mark.parametrize("T", [1e-6, 0.3, 1.0, 70.0, 1e4, 1e8])
@pytest.mark.parametrize("z", [REAL, COMPLEX, NEAR_ZERO], ids=["real", "complex", "near zero"])
def test_flow_to_twelve_digits(T: float, z: list[complex]) -> None:
    z = [x for x in z if (T * x).real > -300.0]  # where it is finite
    check(Flow(T)(np.array(z))[0], lambda x: exact_flow(T, x), z, 1e-12)


@pytest.mark.parametrize("t", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("eta", [1e-3, 0.3, 0.68])
def test_steps_to_twelve_digits(eta: float, t: int) -> None:
    real = [x for x in REAL if eta * x < 1.95]
    check(Steps(eta, t)(np.array(real))[0], lambda x: exact_steps(eta, t, x), real, 1e-12)
    plane = [1.2 * x / eta for x in COMPLEX if t * np.log(abs(1 - 1.2 * x)) < 500.0]
    check(Steps(eta, t)(np.array(plane))[0], lambda x: exact_steps(eta, t, x), plane, 1e-12)


@pytest.mark.parametrize("t", [1, 7, 64])
def test_steps_near_zero_in_the_plane(t: int) -> None:
    """None loses digits beside 0, and all take complex numbers."""
    found = Steps(0.3, t)(np.array(NEAR_ZERO))[0]
    check(found, lambda x: exact_steps(0.3, t, x), NEAR_ZERO, 1e-12)


def test_steps_past_stability_are_as_large_as_they_are() -> None:
    z = np.array([10.0, 50.0])
    found = Steps(1.0, [3, 4])(z)
    np.testing.assert_allclose(found, [(1 - (1 - z) ** 3) / z, (1 - (1 - z) ** 4) / z], rtol=1e-14)


def test_filters_are_the_derivations() -> None:
    """The expressions that theory/sparse/filters.py proves to solve descent and flow."""
    z, T, eta = sp.Rational(7, 10), sp.Rational(13, 10), sp.Rational(2, 5)
    at = np.array([0.7])
    assert Flow(1.3)(at)[0, 0] == pytest.approx(float(derived.flow_filter(z, T)), rel=1e-14)
    for t in (0, 1, 5, 40):
        expected = float(derived.gradient_filter(z, eta, sp.Integer(t)))
        assert Steps(0.4, t)(at)[0, 0] == pytest.approx(expected, rel=1e-14)


@given(st.floats(0.0, 5.0), st.floats(1e-3, 0.39), st.integers(0, 200))
@example(5e-324, 0.25, 0)
def test_steps_are_a_recursion(z: float, eta: float, t: int) -> None:
    """f_{t+1} = f_t + eta (1 - z f_t), from 0."""
    f = Steps(eta, [0, t, t + 1])(np.array([z]))[:, 0]
    assert f[0] == 0.0
    assert f[2] == pytest.approx(f[1] + eta * (1 - z * f[1]), rel=1e-11)


@given(st.just(0.0) | st.floats(1e-100, 20.0), st.floats(0.0, 50.0))
def test_flow_is_between_its_bounds(z: float, T: float) -> None:
    f = float(Flow(T)(np.array([z]))[0, 0])
    assert 0.0 <= f <= T * (1 + 1e-12)
    assert z * f <= 1.0
    assert float(Flow(1.1 * T)(np.array([z]))[0, 0]) >= f * (1 - 1e-12)
    fine = float(Steps(max(T, 1e-9) / 10**6, 10**6)(np.array([z]))[0, 0])
    assert fine == pytest.approx(float(Flow(max(T, 1e-9))(np.array([z]))[0, 0]), rel=3e-4)


def test_shapes() -> None:
    z = np.ones((3, 2, 5))
    assert Flow([1.0, 2.0, 3.0])(z).shape == (3, 2, 3, 5)
    assert Steps(0.1, [1, 2])(z).shape == (3, 2, 2, 5)
    assert Flow(1.0)(z).shape == Steps(0.1, 1)(z).shape == (3, 2, 1, 5)
    penalties = filters.ridge([0.5, 2.0], z + np.arange(5))
    assert penalties.shape == (3, 2, 2, 5)
    np.testing.assert_allclose(penalties[0, 0], 1 / (1 + np.arange(5) + np.array([[0.5], [2.0]])))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Flow(-1.0), "times: expected times >= 0"),
        (lambda: Flow([]), "times: expected"),
        (lambda: Flow([[1.0]]), "times: expected"),
        (lambda: Flow([1.0, np.nan]), "times: expected"),
        (lambda: Flow(np.inf), "times: expected"),
        (lambda: Steps(0.0, 3), "eta: expected a number > 0"),
        (lambda: Steps(np.nan, 3), "eta: expected"),
        (lambda: Steps(0.1, -1), "t: expected a whole number >= 0"),
        (lambda: Steps(0.1, [1, 2.5]), "t: expected a whole number"),  # type: ignore[list-item]
        (lambda: Steps(0.1, []), "t: expected"),
    ],
)
def test_bad_filters(call: Callable[[], object], message: str) -> None:
    with pytest.raises(si.ProblemError, match=message):
        call()


# contours

SPECTRUM = np.concatenate([[0.0], np.geomspace(1e-9, 1.0, 60)])  # over the top


def through(wanted: Filters, top: float, a: Array, refined: int = 1) -> Array:
    """The filters at real a (K,) by Cauchy's integral: (J, K)."""
    found = np.full((wanted(a).shape[0], a.size), np.nan)
    for which, z, values in contours(wanted, top, refined):
        assert np.isnan(found[which]).all()  # each filter has one contour
        found[which] = 2.0 * (values @ (1.0 / (z[:, None] - a))).real
    return found


@pytest.mark.parametrize("top", [1e-3, 0.2, 40.0])
@pytest.mark.parametrize("shortest", [1e-2, 1.0, 300.0])
def test_contours_of_flows(shortest: float, top: float) -> None:
    """Times over four decades at once. What a risk depends on is a f(a), besides f itself."""
    T, a = shortest * np.geomspace(1.0, 1e4, 23), top * SPECTRUM
    exact = Flow(T)(a)
    once, twice = through(Flow(T), top, a), through(Flow(T), top, a, refined=2)
    assert (a * np.abs(once - exact)).max() < 1e-6
    assert (np.abs(once - exact) / T[:, None]).max() < 1e-4
    assert (np.abs(twice - exact) / exact).max() < 1e-9


@pytest.mark.parametrize("T", [1e-2, 3.0, 2e4])
def test_contour_of_one_time(T: float) -> None:
    a = SPECTRUM / T * 100
    exact = Flow(T)(a)
    np.testing.assert_allclose(through(Flow(T), 1.0, a), exact, rtol=2e-6, atol=0.0)
    np.testing.assert_allclose(through(Flow(T), 1.0, a, refined=2), exact, rtol=1e-10, atol=0.0)


def test_contours_of_flows_do_not_depend_on_their_order() -> None:
    T = np.array([40.0, 0.1, 3.0, 900.0, 3.0])
    a = np.array([0.0, 0.1, 2.0])
    order = np.argsort(T)
    np.testing.assert_allclose(through(Flow(T), 2.0, a)[order], through(Flow(T[order]), 2.0, a), rtol=1e-14)


def test_time_zero_has_no_contour() -> None:
    assert [c.which.tolist() for c in contours(Flow([0.0, 1.0]), 1.0)] == [[1]]
    assert not list(contours(Flow(0.0), 1.0))


@pytest.mark.parametrize("top", [0.1, 3.0, 6.0, 20.0])
@pytest.mark.parametrize("t", [[1], [0, 1, 2, 5, 16], [64]])
def test_contours_of_steps(t: list[int], top: float) -> None:
    """Spectra inside of what the step is stable for, at its edge and beyond."""
    a = top * SPECTRUM
    wanted = Steps(0.3, t)
    exact = wanted(a)
    scale = np.maximum(np.abs(exact).max(axis=1, keepdims=True), 1e-300)
    assert (np.abs(through(wanted, top, a) - exact) / scale).max() < 1e-6
    assert (np.abs(through(wanted, top, a, refined=2) - exact) / scale).max() < 1e-11


def test_too_few_nodes_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contour, "_DIGITS", 8.0)
    with pytest.raises(AssertionError):
        test_contours_of_flows(1.0, 0.2)
    monkeypatch.setattr(contour, "_PER_STEP", 4)
    with pytest.raises(AssertionError):
        test_contours_of_steps([64], 3.0)


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e2), st.integers(1, 3))
@settings(max_examples=20)
def test_contour_of_a_matrix(T: float, top: float, size: int) -> None:
    """The same sum over resolvents of a matrix is the filter of the matrix."""
    rng = np.random.default_rng(size)
    Q, _ = np.linalg.qr(rng.normal(size=(size, size)))
    values = rng.uniform(0.0, top, size)
    M = (Q * values) @ Q.T
    ((_, z, weights),) = contours(Flow(T), top, 2)
    inverse = np.linalg.inv(z[:, None, None] * np.eye(size) - M)
    found = 2.0 * np.einsum("k,kij->ij", weights[0], inverse).real
    expected = (Q * Flow(T)(values)[0]) @ Q.T
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-8 * T)
