"""A flow that is kept in outline is the flow, at the times that it is known at."""

from __future__ import annotations

import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest
from many_tasks import disjoint

import spectral_icl as si
from spectral_icl.multitask.flow import outline as outlines
from spectral_icl.multitask.flow import solve
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.trajectory import Trajectory

RTOL = 1e-6
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


def test_an_outline_has_what_is_measured_of_the_whole_flow() -> None:
    """Phases, allocation, saturation and losses of the same flow, with and without its steps."""
    p = disjoint(30, 1.0)
    at = si.initial.random(p, 4, 0.01, seed=1)
    whole = si.gradient_flow(p, *at, t_end=1e4, rtol=RTOL)
    sketch = si.gradient_flow(p, *at, t_end=1e4, rtol=RTOL, dense_output=False)
    assert isinstance(whole.trajectory, Trajectory)
    assert isinstance(sketch.trajectory, Outline)
    np.testing.assert_array_equal(sketch.trajectory.t, whole.trajectory.t)
    assert set(sketch.t) <= set(whole.t)
    assert (sketch.t[0], sketch.t[-1]) == (0.0, 1e4)
    for ours, theirs in zip(sketch(sketch.t), whole(sketch.t), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(sketch.final, whole.final, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert sketch.allocation == whole.allocation
    width = np.array([task.time - task.onset for task in whole.phases.tasks])
    for name in ("onset", "time", "settled"):
        ours = np.array([getattr(task, name) for task in sketch.phases.tasks])
        theirs = np.array([getattr(task, name) for task in whole.phases.tasks])
        assert (np.isfinite(ours) == np.isfinite(theirs)).all()
        # four samples of a step and not eight
        assert np.nanmax(abs(ours - theirs) / np.where(name == "settled", theirs, width)) < 0.05
    assert sketch.saturation.worst == pytest.approx(whole.saturation.worst, rel=1e-3)
    assert sketch.saturation.final_error == pytest.approx(whole.saturation.final_error, rel=1e-9)
    assert sketch.saturation.level == whole.saturation.level


def test_an_outline_has_states_at_the_times_that_were_asked_for() -> None:
    p = disjoint(20)
    at = si.initial.random(p, 4, 0.01, seed=1)
    times = [0.5, 3.0, 40.0]
    whole = si.gradient_flow(p, *at, t_end=100.0, rtol=RTOL)
    sketch = si.gradient_flow(p, *at, t_end=100.0, t_eval=times, rtol=RTOL, dense_output=False)
    np.testing.assert_array_equal(sketch.t, times)
    np.testing.assert_array_equal(sketch.omega, whole(times).omega)
    np.testing.assert_array_equal(sketch(100.0).mu, whole(100.0).mu)
    np.testing.assert_array_equal(sketch(0.0).mu, whole(0.0).mu)
    with pytest.raises(si.ProblemError, match=r"t: expected times of the 5 states .* got 7\.0"):
        sketch([3.0, 7.0])
    again = pickle.loads(pickle.dumps(sketch))
    np.testing.assert_array_equal(again.mu, sketch.mu)
    assert not again.trajectory.losses.flags.writeable


def test_a_flow_at_rest_repeats_its_last_state() -> None:
    p = disjoint(8)
    at = si.initial.dominant(p, 8, 0.1, 0.5)
    found = si.gradient_flow(p, *at, t_end=np.inf, stationary=1e-6, rtol=RTOL, dense_output=False)
    np.testing.assert_array_equal(found(1e9).omega, found.final.omega)


def test_samples_and_states_are_thinned_and_the_phases_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    p = disjoint(10, 1.0)
    at = si.initial.random(p, 6, 0.01, seed=1)
    whole = si.gradient_flow(p, *at, t_end=1e3, rtol=RTOL, dense_output=False)
    monkeypatch.setattr(outlines, "_MOST_SAMPLES", 3000)
    monkeypatch.setattr(outlines, "_ENOUGH", 20)
    monkeypatch.setattr(solve, "_LARGEST_BUFFER", 120 * 20)  # so that there are several pieces
    few = si.gradient_flow(p, *at, t_end=1e3, rtol=RTOL, dense_output=False)
    assert isinstance(whole.trajectory, Outline)
    assert isinstance(few.trajectory, Outline)
    np.testing.assert_allclose(few.trajectory.t, whole.trajectory.t, rtol=1e-12)
    assert few.t.size <= 21
    assert set(few.trajectory.times) <= set(whole.trajectory.times) | set(few.trajectory.t)
    steps = few.trajectory.t.size - 1
    assert few.trajectory.times.size == steps + 1  # the steps themselves, and nothing between
    assert few.allocation == whole.allocation
    np.testing.assert_allclose(few.trajectory.losses[-1], whole.trajectory.losses[-1], rtol=1e-9)


def test_memory_does_not_grow_with_the_steps() -> None:
    """A flow of N = 8000: kept whole, a hundred of its steps would take 32 MB."""
    p = disjoint(1000)
    at = si.initial.random(p, 4, 0.01, seed=1)
    options: dict[str, Any] = {"t_end": 1.0, "rtol": 1e-3}
    si.gradient_flow(p, *at, **options)
    tracemalloc.start()
    found = si.gradient_flow(p, *at, t_end=20.0, rtol=RTOL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    steps, size = found.stats.steps, 8000
    kept = 8 * (found.t.size * size + 4 * steps * p.tasks + 3 * steps * p.tasks)
    assert steps > 90
    assert peak < kept + 8 * size * 300 + 2e7
