"""Dual coordinates: the map between the flat state theta = (omega, mu) and x, for numbers and for lanes."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, entry, inner
from spectral_icl.kernels.lanes import lane_array, put, where
from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, LINEAR, Chart, Floats

# Below exp(-690) ~ 1e-300 a dual coordinate means (signed) zero; subnormals would only slow the loops.
LOWEST = -690.0

# Squares of numbers below this underflow.
_TINY = 1e-150


@inner()
def pick_chart(charts, p):
    """The chart of flow ``p`` among P."""
    return Chart(charts.kind[p], charts.scale[p], charts.speed[p], charts.sign[p])


@entry(forceinline=True)
def to_primal(chart: Chart, x: Floats, theta: Floats) -> None:
    """Fill theta(x). Exponential entries keep their sign whatever x is: that is the whole point."""
    for n in range(x.size):
        if chart.kind[n] == EXPONENTIAL:
            theta[n] = chart.scale[n] * (np.exp(x[n]) if x[n] > LOWEST else 0.0)
        elif chart.kind[n] == HYPERBOLIC:
            theta[n] = chart.scale[n] * np.sinh(x[n])
        else:
            theta[n] = x[n]


@entry()
def to_primal_all(charts: Chart, x: Floats, theta: Floats) -> None:
    """`to_primal` of P states (P, N), each with its own chart."""
    for p in range(x.shape[0]):
        to_primal(pick_chart(charts, p), x[p], theta[p])


@inner()
def slope(chart, theta, n):
    """|dtheta/dx| of entry ``n``."""
    if chart.kind[n] == EXPONENTIAL:
        return abs(theta[n])
    if chart.kind[n] == HYPERBOLIC:
        scale, size = chart.scale[n], abs(theta[n])
        large, small = max(scale, size), min(scale, size)
        if large < _TINY:  # as in `lanes_slope`
            ratio = small / large
            return large * np.sqrt(1.0 + ratio * ratio)
        return np.sqrt(scale * scale + theta[n] * theta[n])
    return 1.0


# In lanes


@inner()
def lane_chart(size):
    """A chart of lanes, to be filled by `load_chart`."""
    return Chart(lane_array(size), lane_array(size), lane_array(size), lane_array(size))


@inner()
def load_chart(chart, lane, charts, p):
    """Put the chart of flow ``p`` into a lane."""
    for n in range(chart.kind.size):
        chart.kind[n] = put(chart.kind[n], lane, float(charts.kind[p, n]))
        chart.scale[n] = put(chart.scale[n], lane, charts.scale[p, n])
        chart.speed[n] = put(chart.speed[n], lane, charts.speed[p, n])
        chart.sign[n] = put(chart.sign[n], lane, charts.sign[p, n])


@inner(fastmath=ALGEBRA)
def lanes_sinh(x):
    """Hyperbolic sine in lanes: its series where e^x - e^-x would cancel."""
    size = abs(x)
    grown = np.exp(size)
    far = 0.5 * (grown - 1.0 / grown)
    square = x * x
    near = 1.0 + square * (1.0 / 210.0)
    near = 1.0 + square * (1.0 / 156.0) * near
    near = 1.0 + square * (1.0 / 110.0) * near
    near = 1.0 + square * (1.0 / 72.0) * near
    near = 1.0 + square * (1.0 / 42.0) * near
    near = 1.0 + square * (1.0 / 20.0) * near
    near = x + x * (square * (1.0 / 6.0) * near)
    return where(size < 0.5, near, where(x < 0.0, -far, far))


@inner(fastmath=ALGEBRA)
def lanes_to_primal(chart, x, theta, mixed):
    """`to_primal` in lanes; ``mixed`` says whether some entry in some lane is not exponential.

    Entries that `to_primal` calls zero stay at e^-708 here, which acts on nothing, so that every lane can be
    treated alike.
    """
    for n in range(x.size):
        at = x[n]
        value = chart.scale[n] * np.exp(at)
        if mixed:
            value = where(chart.kind[n] == HYPERBOLIC, chart.scale[n] * lanes_sinh(at), value)
            value = where(chart.kind[n] == LINEAR, at, value)
        theta[n] = value


@inner(fastmath=ALGEBRA)
def lanes_slope(chart, theta, n, mixed):
    """`slope` in lanes."""
    slope = abs(theta[n])
    if mixed:
        scale = chart.scale[n]
        # squares of a tiny imbalance would underflow
        large, small = where(scale > slope, scale, slope), where(scale > slope, slope, scale)
        ratio = small / large
        across = large * np.sqrt(1.0 + ratio * ratio)
        slope = where(chart.kind[n] == HYPERBOLIC, across, where(chart.kind[n] == LINEAR, 1.0, slope))
    return slope
