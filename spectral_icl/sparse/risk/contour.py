"""Quadrature of Cauchy's integral for spectral filters: f(a) = 2 Re sum_i values_i/(z_i - a) on [0, top]."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectral_icl.sparse.filters import Filters, Flow, Steps

Complex = NDArray[np.complex128]

_SPAN = 16.0  # longest over shortest time of flows that share a contour
_DIGITS = 17.0  # of an error exp(-17) of z f(z) on a contour's worst filter, mostly far less
_STEP_NODES, _PER_STEP = 64, 15  # the latter for an error exp(-15)


class Contour(NamedTuple):
    """Nodes and values of filters on one half of a contour; the other half is the complex conjugate.

    Attributes
    ----------
    which : ndarray of int, (J,)
        The filters that it is for.
    z : ndarray of complex, (K,)
    values : ndarray of complex, (J, K)
        The filters at the nodes, with the weights of the quadrature.
    """

    which: NDArray[np.intp]
    z: Complex
    values: Complex


def contours(filters: Filters, top: float, refined: int = 1) -> Iterator[Contour]:
    """Contours for all filters, with ``refined`` times as many nodes as needed."""
    if isinstance(filters, Flow):
        yield from _hyperbolas(filters, refined)
    else:
        yield _circle(filters, top, refined)


def _hyperbolas(flow: Flow, refined: int) -> Iterator[Contour]:
    """The flow's filter (1 - exp(-T a))/a is an inverse Laplace transform: that of 1/(s (s + a)) at time T.

    With s = -z it takes the trapezoidal rule on a hyperbola around the spectrum and 0, on which exp(-T z)
    decays. The error is exp(-B K) for all times in a range, whatever the spectrum (Weideman and Trefethen
    2007).
    """
    order = np.argsort(flow.times, kind="stable")
    order = order[flow.times[order] > 0.0]  # at time 0 the filter is 0
    while order.size:
        shortest = flow.times[order[0]]
        many = int(np.searchsorted(flow.times[order], _SPAN * shortest, side="right"))
        which, order = order[:many], order[many:]
        longest = float(flow.times[which].max())
        angle, width, rate = _shape(longest / shortest)
        count = refined * int(np.ceil(_DIGITS / rate))
        step = width / count
        scale = (4.0 * np.pi * angle - np.pi**2) / width * count / longest
        turn = 1j * (np.arange(count) + 0.5) * step - angle
        s = scale * (1.0 + np.sin(turn))
        weights = step / (2j * np.pi) * 1j * scale * np.cos(turn)
        values = weights * np.exp(s * flow.times[which][:, None]) / -s
        yield Contour(which, -s, values)


def _shape(span: float) -> tuple[float, float, float]:
    """Angle of the best hyperbola for times of this span, its A and its rate B of convergence."""
    angle = np.linspace(0.26 * np.pi, 0.49 * np.pi, 400)
    ratio = ((np.pi - 2.0 * angle) * span + 4.0 * angle - np.pi) / ((4.0 * angle - np.pi) * np.sin(angle))
    width = np.arccosh(ratio)
    rate = (np.pi**2 - 2.0 * np.pi * angle) / width
    best = int(rate.argmax())
    return float(angle[best]), float(width[best]), float(rate[best])


def _circle(filters: Steps, top: float, refined: int) -> Contour:
    """A circle around the spectrum on which (1 - eta z)^t stays bounded, with the trapezoidal rule."""
    longest = max(1, int(filters.t.max()))
    count = refined * max(_STEP_NODES, _PER_STEP * longest) // 2
    centre = max(1.0 / filters.eta, 0.5 * top)
    radius = centre * (1.0 + 1.0 / longest)
    turn = np.exp(1j * np.pi * (np.arange(count) + 0.5) / count)
    z = centre + radius * turn
    return Contour(np.arange(filters.t.size), z, filters(z) * radius * turn / (2 * count))
