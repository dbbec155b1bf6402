"""Elementary functions of numbers, alone and in loops, and of lanes: accurate, and of the same bits."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
from numba import njit

from spectral_icl.kernels.compile import ALGEBRA
from spectral_icl.kernels.elementary import exponential, fused, hyperbolic_sine, log_one_plus
from spectral_icl.kernels.lanes import WIDTH, as_lanes
from spectral_icl.kernels.model import Floats

FUNCTIONS = {"exponential": exponential, "sinh": hyperbolic_sine, "log1p": log_one_plus}
LIBERTIES = {"strict": frozenset[str](), "algebra": ALGEBRA}

every_function = pytest.mark.parametrize("name", FUNCTIONS)
every_liberty = pytest.mark.parametrize("liberty", LIBERTIES)


class Ways(NamedTuple):
    """A function as it is compiled for a number, for a loop over numbers and for lanes."""

    alone: Callable[[float], float]
    loop: Any
    lanes: Callable[[Floats, Floats], None]

    def of_each(self, x: Floats) -> Floats:
        """The values of numbers, one by one."""
        return np.array([self.alone(value) for value in x])

    def of_all(self, x: Floats) -> Floats:
        """The values of numbers, in one loop."""
        out = np.empty_like(x)
        self.loop(x, out)
        return out

    def in_lanes(self, x: Floats) -> Floats:
        """The values of numbers, each in some lane."""
        rows = -(-x.size // WIDTH)
        out = np.empty((rows, WIDTH))
        self.lanes(np.resize(x, (rows, WIDTH)), out)
        return out.ravel()[: x.size]


_compiled: dict[tuple[str, str], Ways] = {}


def ways(name: str, liberty: str) -> Ways:
    """The function, compiled under the liberties that its callers take, or under none."""
    if (name, liberty) not in _compiled:
        function = FUNCTIONS[name]
        options: dict[str, Any] = {"error_model": "numpy", "fastmath": set(LIBERTIES[liberty])}

        @njit(**options)
        def alone(x):  # type: ignore[no-untyped-def]
            return function(x)

        @njit(**options)
        def loop(x, out):  # type: ignore[no-untyped-def]
            for n in range(x.size):
                out[n] = function(x[n])

        @njit(**options)
        def lanes(x, out):  # type: ignore[no-untyped-def]
            values, results = as_lanes(x), as_lanes(out)
            for n in range(values.size):
                results[n] = function(values[n])

        _compiled[name, liberty] = Ways(alone, loop, lanes)
    return _compiled[name, liberty]


def arguments(name: str, count: int, seed: int = 0) -> Floats:
    """Numbers of the function's whole domain, as many around zero, and next to where something begins."""
    rng = np.random.default_rng(seed)
    tiny = 10.0 ** rng.uniform(-300, 0, count) * rng.choice([-1, 1], count)
    if name == "log1p":
        parts = [rng.uniform(-1, 1, count), 10.0 ** rng.uniform(0, 300, count), -1 + abs(tiny)[tiny < -1e-16]]
        parts.append(tiny)
        near = np.array([np.sqrt(0.5) - 1.0, np.sqrt(2.0) - 1.0, 1.0, 3.0, 2.0**52, 2.0**53])
    else:
        parts = [rng.uniform(-708, 709, count), rng.normal(size=count), tiny]
        near = np.concatenate([np.arange(-1000, 1001) * 0.5 * np.log(2.0), [0.5, -0.5, -708.0, 709.0]])
    near = np.concatenate([near, np.nextafter(near, -np.inf), np.nextafter(near, np.inf)])
    inside = near > -1.0 if name == "log1p" else (near >= -708.0) & (near <= 709.0)
    return rng.permutation(np.concatenate([*parts, near[inside]]))


def error(name: str, x: Floats, found: Floats) -> float:
    """The largest, in units in the last place of the exact value."""
    exact: Callable[[Any], Any] = {
        "exponential": mpmath.exp,
        "sinh": mpmath.sinh,
        "log1p": mpmath.log1p,
    }[name]
    worst = 0.0
    with mpmath.workprec(140):
        for argument, value in zip(x.tolist(), found.tolist(), strict=True):
            right = exact(mpmath.mpf(argument))
            if right != 0:
                worst = max(worst, abs(float((value - right) / np.spacing(abs(float(right))))))
    return worst


@every_liberty
@every_function
def test_accuracy(name: str, liberty: str) -> None:
    """Within 2 units in the last place; sinh, of which e^x - e^-x is a part, within 4."""
    x = arguments(name, 1000)
    allowed = 4.0 if name == "sinh" else 2.0
    for found in (ways(name, liberty).of_all(x), ways(name, liberty).in_lanes(x)):
        assert error(name, x, found) <= allowed
        by_numpy = {"exponential": np.exp, "sinh": np.sinh, "log1p": np.log1p}[name](x)
        np.testing.assert_allclose(found, by_numpy, rtol=1e-15)


@every_liberty
@every_function
def test_a_number_has_the_same_bits_alone_and_in_a_loop_of_any_length(name: str, liberty: str) -> None:
    """Vector instructions and what is left over at the end of a loop round alike."""
    x, way = arguments(name, 600), ways(name, liberty)
    alone = way.of_each(x)
    np.testing.assert_array_equal(way.of_all(x), alone)
    for length in range(1, 4 * WIDTH + 3):
        for first in (0, 1, 5):
            part = slice(first, first + length)
            np.testing.assert_array_equal(way.of_all(x[part]), alone[part])


@every_liberty
@pytest.mark.parametrize(
    "name",
    [
        "exponential",
        "sinh",
        "log1p",
    ],
)
def test_a_number_has_the_same_bits_alone_and_in_any_lane(name: str, liberty: str) -> None:
    x, way = arguments(name, 600), ways(name, liberty)
    alone = way.of_each(x)
    for shift in range(WIDTH):
        np.testing.assert_array_equal(way.in_lanes(np.roll(x, shift)), np.roll(alone, shift))


@every_function
def test_a_loop_over_numbers_is_of_vector_instructions(name: str) -> None:
    loop = ways(name, "strict").loop
    loop(np.ones(3), np.empty(3))
    (code,) = loop.inspect_llvm().values()
    assert re.search(r"llvm\.fmuladd\.v\d+f64", code)


SMALLEST, SUBNORMAL = 5e-324, 1e-310
ENDS = {
    "exponential": [
        (0.0, 1.0),
        (-0.0, 1.0),
        (SMALLEST, 1.0),
        (-SUBNORMAL, 1.0),
        (709.0, np.exp(709.0)),
        (np.nextafter(709.0, 710.0), np.inf),
        (1e300, np.inf),
        (np.inf, np.inf),
        (-708.0, np.exp(-708.0)),
        (-708.1, np.exp(-708.0)),
        (-1e300, np.exp(-708.0)),
        (-np.inf, np.exp(-708.0)),
        (np.nan, np.nan),
    ],
    "sinh": [
        (0.0, 0.0),
        (-0.0, -0.0),
        (SMALLEST, SMALLEST),
        (-SUBNORMAL, -SUBNORMAL),
        (709.0, np.sinh(709.0)),
        (-709.0, -np.sinh(709.0)),
        (np.nextafter(709.0, 710.0), np.inf),
        (-1e300, -np.inf),
        (np.inf, np.inf),
        (-np.inf, -np.inf),
        (np.nan, np.nan),
    ],
    "log1p": [
        (0.0, 0.0),
        (-0.0, 0.0),
        (SMALLEST, SMALLEST),
        (-SUBNORMAL, -SUBNORMAL),
        (np.nextafter(-1.0, 0.0), np.log1p(np.nextafter(-1.0, 0.0))),
        (-1.0, np.nan),
        (-2.0, np.nan),
        (-np.inf, np.nan),
        (1e300, np.log(1e300)),
        (np.nan, np.nan),
    ],
}


@every_liberty
@every_function
def test_the_ends(name: str, liberty: str) -> None:
    """Zeros, subnormal numbers, where values become infinite or stay what they are, and NaN."""
    x, expected = np.array(ENDS[name]).T
    way = ways(name, liberty)
    for found in (way.of_each(x), way.of_all(x), way.in_lanes(x)):
        np.testing.assert_allclose(found, expected, rtol=5e-16, atol=0.0)
        if name == "sinh":
            numbers = ~np.isnan(expected)
            np.testing.assert_array_equal(np.signbit(found)[numbers], np.signbit(expected)[numbers])


@every_liberty
def test_the_logarithm_of_infinity_is_no_number_that_could_be_taken_for_one(liberty: str) -> None:
    way, x = ways("log1p", liberty), np.array([np.inf])
    for found in (way.of_each(x), way.of_all(x), way.in_lanes(x)):
        assert not np.isfinite(found).any()


_ROUNDING = 1.5 * 2.0**52


@njit(error_model="numpy", fastmath=set(ALGEBRA))
def _fused_in_lanes(a, b, c, out):  # type: ignore[no-untyped-def]
    one, other, last, o = as_lanes(a)[0], as_lanes(b)[0], as_lanes(c)[0], as_lanes(out)
    o[0] = fused(one, other, last)
    o[1] = fused(fused(one, 1.0, _ROUNDING), 1.0, -_ROUNDING)


@njit(error_model="numpy")  # numbers are given the liberties of the function that the sum stands in
def _fused(a, b, c):  # type: ignore[no-untyped-def]
    return fused(a, b, c), fused(fused(a, 1.0, _ROUNDING), 1.0, -_ROUNDING)


def test_fused_sums_are_not_reassociated() -> None:
    """The second is the nearest whole number, as long as nothing cancels."""
    a, b, c = np.random.default_rng(0).normal(0, 100, (3, 1, WIDTH))
    out = np.empty((2, WIDTH))
    _fused_in_lanes(a, b, c, out)
    np.testing.assert_allclose(out[0], (a * b + c)[0], rtol=1e-12)
    np.testing.assert_array_equal(out[1], np.rint(a[0]))
    alone = [_fused(*numbers) for numbers in zip(a[0], b[0], c[0], strict=True)]
    np.testing.assert_array_equal(np.transpose(alone), out)
