"""What is drawn is what was solved."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spectral_icl.explore.choices import Choices
from spectral_icl.explore.frame import Frame, solved, spread
from spectral_icl.io.checks import ProblemError
from spectral_icl.multitask.experiment import BUILT_IN
from spectral_icl.multitask.flow.solution import IntegrationError

CHOICES = Choices.of(BUILT_IN)


@pytest.fixture(scope="module")
def frame() -> Frame:
    return solved(CHOICES, "here").complete()


def test_curves_are_those_of_the_flow(frame: Frame) -> None:
    sol = frame.solution
    assert frame.times[0] < sol.phases.warm_up[1] < frame.times[-1] == 200.0
    assert (np.diff(frame.times) > 0.0).all()
    np.testing.assert_array_equal(frame.mu, sol(frame.times).mu)
    assert frame.task_loss[-1].sum() == pytest.approx(sol.final_loss, rel=1e-12)
    # the emergence is over in a tenth of the axis, and yet there are many points
    start, end = sol.phases.emergence
    assert ((frame.times > start) & (frame.times < end)).sum() > 10


def test_phases_benchmarks_and_report_are_those_of_the_flow(frame: Frame) -> None:
    assert list(frame.spans) == ["warm-up", "emergence", "convergence"]
    assert frame.spans["convergence"][1] == 200.0
    assert list(frame.bounds) == ["single_head", "head_per_task", "lower_bound"]
    assert frame.text.startswith("here\n")
    assert f"{frame.solution.final_loss:.6f}" in frame.text


def test_fractions_of_the_axis_are_times(frame: Frame) -> None:
    assert frame.moment(0.0) == frame.times[0]
    assert frame.moment(1.0) == frame.times[-1]
    for fraction in (0.1, 0.5, 0.9):
        assert frame.fraction(frame.moment(fraction)) == pytest.approx(fraction)
    assert frame.fraction(1e-300) == 0.0


def test_a_flow_at_rest_has_an_axis_too() -> None:
    """Nothing moves from zero, so the flow ends with its first step, at any time that is asked about."""
    table = {**BUILT_IN, "model": {}, "initial": {"omega": [[0.0, 0.0]], "mu": [[0.0, 0.0]]}}
    resting = Choices.of(table).turned("flow.stationary", 1e-6)
    frame = solved(resting, "")
    assert frame.times[0] < frame.times[-1]
    assert (frame.mu == 0.0).all()


def test_what_cannot_be_solved_is_said() -> None:
    with pytest.raises(ProblemError, match="heads"):
        solved(CHOICES.turned("initial.kind", "dominant").turned("model.heads", 1), "")
    with pytest.raises(IntegrationError):
        solved(CHOICES.turned("flow.max_steps", 3), "")


@given(st.lists(st.floats(0.0, 10.0), max_size=5))
def test_labels_are_apart_and_inside(values: list[float]) -> None:
    places = spread(values, 1.0, 0.0, 10.0)
    assert all(-1e-9 <= place <= 10.0 + 1e-9 for place in places)
    ordered = sorted(places)
    assert all(b - a >= 1.0 - 1e-9 for a, b in pairwise(ordered))
    if all(b - a >= 1.0 for a, b in pairwise(sorted(values))):
        assert places == pytest.approx(values)
