"""The pictures have the numbers of the flow that they are shown."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_icl.explore.frame import solved
from spectral_icl.explore.state import State
from spectral_icl.explore.view import View
from spectral_icl.multitask.experiment import BUILT_IN


def test_pictures_follow_from_flow_to_flow() -> None:
    view = View()
    state = State.of(BUILT_IN)
    for heads, tasks in ((4, 3), (1, 1), (8, 6)):
        state = state.turned("model.heads", heads).turned("problem.tasks", tasks)
        frame = solved(state, "").complete()
        view.show(frame, 1.0)
        drawn = [np.asarray(view.mu.curves.data[f"y{k}"]) for k in range(8)]
        assert [bool(np.isfinite(row).any()) for row in drawn] == [k < heads for k in range(8)]
        for head in range(heads):
            parts = [np.append(frame.mu[:, head, task], np.nan) for task in range(tasks)]
            np.testing.assert_array_equal(drawn[head], np.concatenate(parts))
        losses = view.loss.curves.data
        np.testing.assert_array_equal(losses["y0"], frame.task_loss.sum(axis=1))
        assert bool(np.isfinite(losses["y1"]).any()) == (tasks > 1)
        assert view.mu.plot.x_range.end == tasks
        cells = view.maps.cells.data
        assert len(cells["text"]) == 2 * heads * tasks
        omega, mu = frame.solution.final
        shown = [abs(value) for value in (*omega.ravel(), *mu.ravel())]
        assert [float(text) for text in cells["text"]] == pytest.approx(shown, rel=0.06)


def test_who_won_is_named_at_the_end_of_its_curve() -> None:
    view = View()
    frame = solved(State.of(BUILT_IN), "")
    view.show(frame, 1.0)
    assert frame.solution.allocation == (0, 1)
    assert view.mu.ends.data["text"] == ["h0", "h1"]
    assert [int(x) for x in view.mu.ends.data["x"]] == [0, 1]  # in the part of its task


def test_the_cursor_shows_another_time() -> None:
    view = View()
    frame = solved(State.of(BUILT_IN), "")
    view.show(frame, 0.0)
    early = view.maps.cells.data["text"]
    view.point(frame, 1.0)
    assert view.maps.cells.data["text"] != early
    assert view.loss.cursors.data["x"] == [200.0]
    assert view.maps.plot.title.text.endswith("t = 200")


def test_axes_have_a_few_round_numbers_whatever_their_range() -> None:
    view = View()
    for end in (0.1, 25.0, 1e9):
        frame = solved(State.of(BUILT_IN).turned("flow.t_end", end), "")
        view.show(frame, 1.0)
        for axis, most in ((view.loss.plot.yaxis[0], 8), (view.mu.plot.xaxis[0], 8)):
            assert 2 <= len(axis.ticker.ticks) <= most
            assert axis.major_label_overrides.keys() == set(axis.ticker.ticks)
