"""The figure of the maps of validity shows the numbers that it is given."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.collections import QuadMesh

import spectral_icl as si
from spectral_icl.figures.style import rendered
from spectral_icl.figures.validity import validity_figure
from spectral_icl.multitask.validity import LAWS, Validity, validity_map


@pytest.fixture(scope="module")
def maps() -> list[Validity]:
    lengths = [100.0, 1e3, 1e4]
    return [validity_map(lengths, [2, 10, 50], [1.0]), validity_map(lengths, [10], [0.2, 0.5, 2.0, 5.5])]


def test_colours_are_errors(maps: list[Validity]) -> None:
    figure = validity_figure(maps)
    panels = iter(figure.axes)
    for law in LAWS:
        for found in maps:
            mesh = next(m for m in next(panels).collections if isinstance(m, QuadMesh))
            shown = mesh.get_array()
            error = found.error(law).reshape(3, -1).T
            np.testing.assert_array_equal(np.ma.getmaskarray(shown), ~np.isfinite(error))
            np.testing.assert_allclose(np.ma.compressed(shown), error[np.isfinite(error)])
    assert not np.isfinite(maps[1].error("first-order")).all()  # some place was to be left out
    assert len(rendered(figure, "pdf")) > 1000


def test_maps_are_over_two_axes(maps: list[Validity]) -> None:
    with pytest.raises(si.ProblemError, match="several lengths"):
        validity_figure([validity_map([10.0, 40.0], [5], [1.0])])
    with pytest.raises(si.ProblemError, match="several lengths"):
        validity_figure([maps[0], validity_map([40.0], [20, 50], [1.0])])
