"""Colours and dashes that all pictures share."""

from __future__ import annotations

from matplotlib import rcParams

from spectral_icl.figures.palette import HEADS, SHADES, TASKS
from spectral_icl.figures.style import styled


def test_heads_have_the_colours_of_the_style() -> None:
    with styled():
        cycle = rcParams["axes.prop_cycle"].by_key()["color"]
    assert [color.lower() for color in HEADS] == [f"#{color.lstrip('#').lower()}" for color in cycle]


def test_no_two_of_a_kind_look_alike() -> None:
    for colors in (HEADS, TASKS, tuple(SHADES.values())):
        assert len(set(colors)) == len(colors)
