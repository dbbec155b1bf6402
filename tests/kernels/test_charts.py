"""Maps and slopes of the dual coordinates, of numbers and of lanes alike."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from spectral_icl.kernels.charts import (
    LOWEST,
    is_mixed,
    lane_chart,
    load_chart,
    map_to_primal,
    slope,
    to_primal,
    to_primal_all,
)
from spectral_icl.kernels.lanes import WIDTH, as_lanes, pick
from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, LINEAR, Chart, Floats


@njit
def _slopes(charts, theta, in_lanes):  # type: ignore[no-untyped-def]
    """The slope of the one entry of flow 0, as a number and in a lane."""
    chart = lane_chart(1)
    load_chart(chart, 0, charts, 0)
    alone = Chart(charts.kind[0], charts.scale[0], charts.speed[0], charts.sign[0])
    return slope(alone, theta, 0, True), pick(slope(chart, as_lanes(in_lanes), 0, True), 0)


@pytest.mark.parametrize("size", [0.0, 1e-190, 1e-150, 1e-3, 40.0])
@pytest.mark.parametrize(
    ("kind", "scale"),
    [(EXPONENTIAL, -1.0), (LINEAR, 0.01), (HYPERBOLIC, 1e-200), (HYPERBOLIC, 1e-190), (HYPERBOLIC, 0.3)],
)
def test_slopes_of_numbers_and_of_lanes_agree_however_small(kind: int, scale: float, size: float) -> None:
    """The smallest imbalance that is allowed is 1e-200, whose square is no number."""
    one = np.ones((1, 1))
    charts = Chart(np.full((1, 1), kind), scale * one, one, one)
    found = _slopes(charts, np.array([-size]), np.full((1, WIDTH), -size))
    right = {EXPONENTIAL: size, LINEAR: 1.0, HYPERBOLIC: float(np.hypot(scale, size))}[kind]
    assert found == pytest.approx((right, right), rel=1e-15)


def drawn(flows: int, size: int, seed: int = 0) -> tuple[Chart, Floats]:
    """Charts of entries of every kind, and dual coordinates."""
    rng = np.random.default_rng(seed)
    kind = rng.choice([EXPONENTIAL, HYPERBOLIC, LINEAR], (flows, size))
    sign = np.where(kind == EXPONENTIAL, rng.choice([-1.0, 1.0], (flows, size)), 1.0)
    scale = np.where(kind == EXPONENTIAL, sign, 10.0 ** rng.uniform(-6, 0, (flows, size)))
    charts = Chart(kind, scale, rng.uniform(0.1, 2.0, (flows, size)), sign)
    return charts, rng.normal(0, 5, (flows, size))


@njit
def _mapped(charts, x, alone, in_lanes, x_in_lanes, mixed):  # type: ignore[no-untyped-def]
    """Theta of every flow, as numbers and in lanes."""
    chart = lane_chart(x.shape[1])
    for p in range(x.shape[0]):
        load_chart(chart, p, charts, p)
        one = Chart(charts.kind[p], charts.scale[p], charts.speed[p], charts.sign[p])
        map_to_primal(one, x[p], alone[p], mixed)
    map_to_primal(chart, as_lanes(x_in_lanes), as_lanes(in_lanes), mixed)


def test_states_of_numbers_and_of_lanes_are_the_charts_definition() -> None:
    charts, x = drawn(WIDTH, 23)
    alone, in_lanes = np.empty_like(x), np.empty((23, WIDTH))
    _mapped(charts, x, alone, in_lanes, np.ascontiguousarray(x.T), True)
    bent = [charts.scale * np.exp(x), charts.scale * np.sinh(x)]
    expected = np.select([charts.kind == EXPONENTIAL, charts.kind == HYPERBOLIC], bent, x)
    np.testing.assert_allclose(alone, expected, rtol=4e-15)
    np.testing.assert_allclose(in_lanes.T, alone, rtol=1e-15)
    everyone = np.empty_like(x)
    to_primal_all(charts, x, everyone)
    np.testing.assert_allclose(everyone, alone, rtol=1e-15)


def test_without_other_kinds_the_map_is_the_exponential() -> None:
    charts, x = drawn(WIDTH, 9)
    exponential = charts._replace(kind=np.full_like(charts.kind, EXPONENTIAL), scale=charts.sign)
    assert is_mixed.py_func(charts)
    assert not is_mixed.py_func(exponential)
    plain, mixed = np.empty((2, WIDTH, 9))
    lanes = np.empty((2, 9, WIDTH))
    for alone, in_lanes, flag in ((plain, lanes[0], False), (mixed, lanes[1], True)):
        _mapped(exponential, x, alone, in_lanes, np.ascontiguousarray(x.T), flag)
    np.testing.assert_array_equal(plain, mixed)
    np.testing.assert_array_equal(lanes[0], lanes[1])


def test_what_means_zero_is_shown_as_zero_with_its_sign() -> None:
    """In exponential entries only: a merged weight of -700 is one."""
    kind = np.array([EXPONENTIAL, EXPONENTIAL, LINEAR, HYPERBOLIC])
    chart = Chart(kind, np.array([1.0, -1.0, 0.01, 0.5]), np.ones(4), np.array([1.0, -1.0, 1.0, 1.0]))
    theta = np.empty(4)
    to_primal(chart, np.array([LOWEST, LOWEST - 1e9, LOWEST - 10.0, LOWEST + 1.0]), theta)
    np.testing.assert_array_equal(theta[:3], [0.0, -0.0, LOWEST - 10.0])
    np.testing.assert_array_equal(np.signbit(theta[:2]), [False, True])
    assert theta[3] == pytest.approx(-0.25 * np.exp(-LOWEST - 1.0), rel=1e-12)
    to_primal(chart, np.full(4, np.nextafter(LOWEST, 0.0)), theta)
    assert (abs(theta[:2]) > 0.0).all()
