"""Figures of margins show the numbers, and the verdicts without colours."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.colors import to_hex

from spectral_icl.figures.margins import margins_figure, plane_figure
from spectral_icl.figures.style import rendered
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.theorems.claim import Claim, Finding, Trial, Trials, Verdict
from spectral_icl.theorems.examine import weigh
from spectral_icl.theorems.margins import Ground, Variable

LEAST = 0.1


def _test(x: float) -> Trials:
    yield Trial.of(Finding.below(x, 1.0, "x"), [Hypothesis("x is at least 0.1", x >= LEAST)])


CLAIM: Claim[float, str] = Claim("below", "x is below 1.", "here", _test)


@pytest.fixture
def ground() -> Ground[float]:
    """A claim that holds from 0.1 to 1, and fails from there on."""
    x = Variable[float]("x", "a number", "x", 0.5, (0.02, 0.2, 0.5, 1.5, 20.0), lambda base, value: value)
    y = Variable[float]("y", "a factor", "y", 1.0, (1.0, 2.0, 4.0), lambda base, value: base * value)
    return Ground(0.5, lambda at: weigh(CLAIM, [at]), (x, y), ("x", "y"))


def test_verdicts_are_markers_and_shades(ground: Ground[float]) -> None:
    (line, _) = ground.lines()
    figure = margins_figure([line])
    (axes,) = figure.axes
    marks = {}
    for drawn in axes.lines:
        if drawn.get_marker() in ("o", "X", "v") and len(drawn.get_xdata()) == 1:  # type: ignore[arg-type]
            value = float(np.ravel(drawn.get_xdata())[0])
            marks[value] = (drawn.get_marker(), to_hex(drawn.get_markerfacecolor()) == "#ffffff")
    assert marks[0.02] == ("o", True)
    assert marks[0.2] == ("o", False)
    assert marks[1.5] == ("X", False)
    assert marks[20.0] == ("v", False)  # its margin is below the panel
    hatches = {patch.get_hatch() for patch in axes.patches}
    assert hatches == {"////", "xxxx"}
    greys = {to_hex(patch.get_facecolor()) for patch in axes.patches}
    assert all(len({colour[1:3], colour[3:5], colour[5:]}) == 1 for colour in greys)
    assert len(greys) == 2
    assert len(rendered(figure, "svg")) > 1000


def test_shades_meet_at_the_borders(ground: Ground[float]) -> None:
    (line, _) = ground.lines()
    (axes,) = margins_figure([line]).axes
    edges = sorted(patch.get_x() for patch in axes.patches) + [  # type: ignore[attr-defined]
        patch.get_x() + patch.get_width()  # type: ignore[attr-defined]
        for patch in axes.patches
    ]
    assert any(abs(edge / LEAST - 1.0) < 0.1 for edge in edges)
    assert any(abs(edge - 1.0) < 0.1 for edge in edges)


def test_a_plane_has_margins_as_colours_and_verdicts_as_hatches(ground: Ground[float]) -> None:
    plane = ground.over_plane()
    assert plane is not None
    figure = plane_figure(plane)
    mesh = next(m for m in figure.axes[0].collections if isinstance(m, QuadMesh))
    expected = 1.0 - np.outer([1.0, 2.0, 4.0], plane.x.values)
    np.testing.assert_allclose(np.ma.getdata(mesh.get_array()), np.clip(expected, -1.0, 1.0))
    found = [point.verdict for row in plane.points for point in row]
    hatched = [patch.get_hatch() for patch in figure.axes[0].patches]
    assert hatched.count("////") == found.count(Verdict.NOT_APPLICABLE) > 0
    assert hatched.count("xxxx") == found.count(Verdict.FAILS) > 0
    assert len(rendered(figure, "svg")) > 1000


def test_many_variables_have_panels_and_no_empty_ones(ground: Ground[float]) -> None:
    lines = list(ground.lines())
    assert len(margins_figure(lines * 2).axes) == 4
