"""Slopes of the dual coordinates, of numbers and of lanes alike."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

from spectral_icl.kernels.charts import lane_chart, lanes_slope, load_chart, slope
from spectral_icl.kernels.lanes import WIDTH, as_lanes, pick
from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, LINEAR, Chart


@njit
def _both(charts, theta, in_lanes):  # type: ignore[no-untyped-def]
    """The slope of the one entry of flow 0, as a number and in a lane."""
    chart = lane_chart(1)
    load_chart(chart, 0, charts, 0)
    alone = Chart(charts.kind[0], charts.scale[0], charts.speed[0], charts.sign[0])
    return slope(alone, theta, 0), pick(lanes_slope(chart, as_lanes(in_lanes), 0, True), 0)


@pytest.mark.parametrize("size", [0.0, 1e-190, 1e-150, 1e-3, 40.0])
@pytest.mark.parametrize(
    ("kind", "scale"),
    [(EXPONENTIAL, -1.0), (LINEAR, 0.01), (HYPERBOLIC, 1e-200), (HYPERBOLIC, 1e-190), (HYPERBOLIC, 0.3)],
)
def test_slopes_of_numbers_and_of_lanes_agree_however_small(kind: int, scale: float, size: float) -> None:
    """The smallest imbalance that is allowed is 1e-200, whose square is no number."""
    one = np.ones((1, 1))
    charts = Chart(np.full((1, 1), kind), scale * one, one, one)
    found = _both(charts, np.array([-size]), np.full((1, WIDTH), -size))
    right = {EXPONENTIAL: size, LINEAR: 1.0, HYPERBOLIC: float(np.hypot(scale, size))}[kind]
    assert found == pytest.approx((right, right), rel=1e-15)
