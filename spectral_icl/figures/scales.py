"""Scales, ticks and colours that suit the values which are shown, and the edges of cells around them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm, Normalize
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from spectral_icl.io.checks import Floats
from spectral_icl.sweeps.quantities import Class

_WIDE = 10.0  # ratio of the largest to the smallest value from which a scale may be logarithmic
_SHORT = 300.0  # ratio of the ends of a logarithmic axis below which powers of ten alone are too few ticks
_STEPS = (1.0, 2.0, 5.0)  # ticks within a decade


def fit(axes: Axes, side: Literal["x", "y"], values: Floats, label: str) -> None:
    """Give the axis along the sorted ``values`` its scale, its ticks and its label."""
    axis: Axis = axes.xaxis if side == "x" else axes.yaxis
    if is_logarithmic(values):
        axes.set(**{f"{side}scale": "log"})
        fit_ticks(axis, values[0].item(), values[-1].item())
    elif (values == np.round(values)).all():
        axis.set_major_locator(MaxNLocator(8, integer=True))
    axis.set_label_text(label)


def fit_ticks(axis: Axis, low: float, high: float) -> None:
    """Give a logarithmic axis round ticks if it is too short for powers of ten."""
    if high < _SHORT * low:
        round_ticks(axis)


def round_ticks(axis: Axis) -> None:
    """Ticks at 1, 2, 5, 10, ... on a logarithmic axis, written as plain numbers."""
    axis.set_major_locator(LogLocator(subs=_STEPS))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def is_logarithmic(values: Floats) -> bool:
    """Whether sorted values are spread evenly on a logarithmic scale rather than on a linear one."""
    if values.size < 3 or values[0] <= 0.0 or values[-1] < _WIDE * values[0]:
        return False
    uneven = [float(np.std(steps) / np.mean(steps)) for steps in (np.diff(np.log(values)), np.diff(values))]
    return uneven[0] < uneven[1]


def is_wide(curves: Sequence[Floats]) -> bool:
    """Whether the values of curves need a logarithmic scale."""
    shown = np.concatenate([np.ravel(curve) for curve in curves])
    shown = shown[np.isfinite(shown)]
    return bool(shown.size and shown.min() > 0.0 and shown.max() > _WIDE * shown.min())


def normalized(values: Floats) -> Normalize:
    """The scale of colours for values: logarithmic where they are positive and spread wide."""
    finite = values[np.isfinite(values)]
    if finite.size == 0:
        return Normalize(0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    return LogNorm(low, high) if low > 0.0 and high >= _WIDE * low else Normalize(low, high)


def levels(norm: Normalize) -> Floats:
    """The round numbers at which contours are drawn on a scale of colours."""
    assert norm.vmin is not None
    assert norm.vmax is not None
    locator = LogLocator(subs=_STEPS) if isinstance(norm, LogNorm) else MaxNLocator(5)
    return np.asarray(locator.tick_values(norm.vmin, norm.vmax))


def edges(centres: Floats) -> Floats:
    """Edges of the cells around sorted values, half way between them on the scale of their axis."""
    if centres.size == 1:
        return np.array([centres[0] - 0.5, centres[0] + 0.5])
    on = np.log(centres) if is_logarithmic(centres) else centres
    half = np.diff(on) / 2.0
    found = np.r_[on[0] - half[0], on[:-1] + half, on[-1] + half[-1]]
    return np.asarray(np.exp(found) if is_logarithmic(centres) else found)


def shades(count: int) -> list[Any]:
    """A colour for each of several values, in their order."""
    map_ = matplotlib.colormaps["viridis"]
    return [map_(0.87 * i / max(count - 1, 1)) for i in range(count)]


def class_colors(classes: Mapping[int, Class]) -> list[Any]:
    """A colour for each class in the order of their codes: its own, or one of the style's cycle."""
    own = [classes[code].color for code in sorted(classes)]
    free = own.count(None)
    cycle = matplotlib.rcParams["axes.prop_cycle"].by_key()["color"]
    others = iter(cycle if free <= len(cycle) else shades(free))
    return [next(others) if color is None else color for color in own]
