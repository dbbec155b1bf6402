"""A flow that is kept in outline is the flow, at the times that it is known at."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.flow.outline import Outline

TWO = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
START = si.initial.paper(TWO, 2, 0.1, 0.1, 0.2)


@pytest.fixture(scope="module")
def outline() -> Outline:
    curve = si.gradient_flow(TWO, *START, t_end=200.0, dense_output=False).trajectory
    assert isinstance(curve, Outline)
    return curve


def test_the_nearest_states_are_found(outline: Outline) -> None:
    kept = outline.kept
    np.testing.assert_array_equal(outline.nearest(kept), kept)
    assert outline.nearest(-1.0) == 0.0
    assert outline.nearest(1e9) == 200.0
    between = kept[:-1] + 0.4 * np.diff(kept)
    np.testing.assert_array_equal(outline.nearest(between), kept[:-1])
    assert outline(outline.nearest(21.0)).mu.shape == (2, 2)


def test_states_and_losses_are_those_of_the_flow(outline: Outline) -> None:
    whole = si.gradient_flow(TWO, *START, t_end=200.0)
    np.testing.assert_allclose(outline(outline.kept).mu, whole(outline.kept).mu, rtol=1e-9)
    np.testing.assert_allclose(outline.losses, si.task_loss(TWO, *whole(outline.times)), rtol=1e-9)


def test_of_other_times_nothing_is_known(outline: Outline) -> None:
    for time in (-1.0, 0.123, 200.1):
        with pytest.raises(si.ProblemError, match=r"^t: expected times of the \d+ states that are kept"):
            outline(time)
