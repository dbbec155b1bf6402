"""Scales, ticks and colours suit the values."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from spectral_icl.figures import scales
from spectral_icl.sweeps.quantities import Class


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0, 10.0, 100.0], True),
        ([1.0, 50.0, 100.0], False),  # evenly spread as they are
        ([1.0, 2.0, 4.0], False),  # too narrow
        ([0.0, 10.0, 100.0], False),
        ([1.0, 100.0], False),  # two values are spread evenly on every scale
    ],
)
def test_a_scale_is_logarithmic_where_values_are_spread_so(values: list[float], expected: bool) -> None:
    assert scales.is_logarithmic(np.array(values)) == expected
    axes = Figure().subplots()
    scales.fit(axes, "x", np.array(values), "a label")
    assert axes.get_xscale() == ("log" if expected else "linear")
    assert (axes.get_xlabel(), axes.get_yscale(), axes.get_ylabel()) == ("a label", "linear", "")


def test_whole_numbers_have_whole_ticks() -> None:
    axes = Figure().subplots()
    scales.fit(axes, "y", np.array([1.0, 2.0, 3.0]), "")
    axes.set_ylim(1.0, 3.0)
    assert (axes.get_yticks() == np.round(axes.get_yticks())).all()


def test_edges_are_half_way_on_the_scale_of_the_axis() -> None:
    np.testing.assert_allclose(scales.edges(np.array([1.0, 2.0, 4.0])), [0.5, 1.5, 3.0, 5.0])
    np.testing.assert_allclose(scales.edges(np.array([1.0, 10.0, 100.0])), 10.0 ** np.arange(-0.5, 3.0))
    assert scales.edges(np.array([3.0])).tolist() == [2.5, 3.5]


def test_colours_are_on_a_logarithmic_scale_if_values_are_spread_wide() -> None:
    wide = scales.normalized(np.array([1.0, np.nan, 100.0]))
    assert isinstance(wide, LogNorm)
    assert (wide.vmin, wide.vmax) == (1.0, 100.0)
    assert {1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0} <= set(scales.levels(wide).tolist())
    narrow = scales.normalized(np.array([1.0, 2.0]))
    assert not isinstance(narrow, LogNorm)
    np.testing.assert_allclose(scales.levels(narrow), [1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
    assert not isinstance(scales.normalized(np.array([0.0, 100.0])), LogNorm)
    assert scales.normalized(np.array([np.nan])).vmax == 1.0, "nothing to show"


def test_round_ticks_are_for_axes_too_short_for_powers_of_ten() -> None:
    axes = Figure().subplots()
    axes.set_xscale("log")
    axes.set_xlim(1.0, 20.0)
    scales.fit_ticks(axes.xaxis, 1.0, 1e4)
    assert 2.0 not in axes.get_xticks()
    scales.fit_ticks(axes.xaxis, 1.0, 20.0)
    assert {1.0, 2.0, 5.0, 10.0, 20.0} <= set(axes.get_xticks())


def test_classes_have_their_own_colours_or_those_of_the_cycle() -> None:
    own = {1: Class("b"), -1: Class("a", "0.85"), 2: Class("c")}
    first, second, third = scales.class_colors(own)
    assert first == "0.85"
    assert second != third
    many = {k: Class(str(k)) for k in range(50)}
    assert len({tuple(color) for color in scales.class_colors(many)}) == 50
