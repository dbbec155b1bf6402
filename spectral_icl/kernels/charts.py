"""Dual coordinates: the map between the flat state theta = (omega, mu) and x, for numbers and for lanes."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels.compile import ALGEBRA, entry, inner, maker
from spectral_icl.kernels.elementary import exponential, hyperbolic_sine
from spectral_icl.kernels.lanes import lane_array, put, where
from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, LINEAR, Chart, Floats

# Below exp(-690) ~ 1e-300 a dual coordinate means (signed) zero.
LOWEST = -690.0


@inner()
def is_mixed(chart):
    """Whether some entry of a chart, of one flow or of several, is not exponential."""
    kinds = chart.kind.reshape(chart.kind.size)
    mixed = False
    for n in range(kinds.size):
        mixed = mixed | (kinds[n] != EXPONENTIAL)
    return mixed


@maker
def pick_chart(charts, p):
    """The chart of flow ``p`` among P."""
    return Chart(charts.kind[p], charts.scale[p], charts.speed[p], charts.sign[p])


@inner(fastmath=ALGEBRA)
def map_to_primal(chart, x, theta, mixed):
    """Fill theta(x); ``mixed`` says whether some entry (in some lane) is not exponential.

    Exponential entries keep their sign whatever x is: that is the whole point. Those that mean zero are
    e^-708, which acts on nothing, and divides it.
    """
    for n in range(x.size):
        theta[n] = chart.scale[n] * exponential(x[n])
    if mixed:
        for n in range(x.size):
            value = where(chart.kind[n] == HYPERBOLIC, chart.scale[n] * hyperbolic_sine(x[n]), theta[n])
            theta[n] = where(chart.kind[n] == LINEAR, x[n], value)


@inner(fastmath=ALGEBRA)
def slope(chart, theta, n, mixed):
    """|dtheta/dx| of entry ``n``."""
    size = abs(theta[n])
    if mixed:
        scale = chart.scale[n]
        # squares of a tiny imbalance would underflow
        large, small = where(scale > size, scale, size), where(scale > size, size, scale)
        ratio = small / large
        across = large * np.sqrt(1.0 + ratio * ratio)
        size = where(chart.kind[n] == HYPERBOLIC, across, where(chart.kind[n] == LINEAR, 1.0, size))
    return size


@inner()
def show_primal(chart, x, theta):
    """Fill theta(x), with zeros for what means zero."""
    map_to_primal(chart, x, theta, True)
    for n in range(x.size):
        if x[n] <= LOWEST and chart.kind[n] == EXPONENTIAL:
            theta[n] = 0.0 * chart.scale[n]


@entry()
def to_primal(chart: Chart, x: Floats, theta: Floats) -> None:
    """Fill theta(x), all of shape (N,)."""
    show_primal(chart, x, theta)


@entry()
def to_primal_all(charts: Chart, x: Floats, theta: Floats) -> None:
    """`to_primal` of P states (P, N), each with its own chart."""
    for p in range(x.shape[0]):
        show_primal(pick_chart(charts, p), x[p], theta[p])


@maker
def lane_chart(size):
    """A chart of lanes, to be filled by `load_chart`."""
    return Chart(lane_array((size,)), lane_array((size,)), lane_array((size,)), lane_array((size,)))


@inner()
def load_chart(chart, lane, charts, p):
    """Put the chart of flow ``p`` into a lane."""
    for n in range(chart.kind.size):
        chart.kind[n] = put(chart.kind[n], lane, float(charts.kind[p, n]))
        chart.scale[n] = put(chart.scale[n], lane, charts.scale[p, n])
        chart.speed[n] = put(chart.speed[n], lane, charts.speed[p, n])
        chart.sign[n] = put(chart.sign[n], lane, charts.sign[p, n])
