"""The pictures have the numbers of the flow that they are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spectral_icl.explore.choices import Choices
from spectral_icl.explore.frame import solved
from spectral_icl.explore.view import View
from spectral_icl.multitask.experiment import BUILT_IN


def data(view: View, source: Any) -> dict[str, Any]:
    """The columns that a source has in the browser."""
    found: dict[str, Any] = view.changes.of(source, "data")
    return found


def test_pictures_follow_from_flow_to_flow() -> None:
    view = View()
    choices = Choices.of(BUILT_IN)
    for heads, tasks in ((4, 3), (1, 1), (8, 6)):
        choices = choices.turned("model.heads", heads).turned("problem.tasks", tasks)
        frame = solved(choices, "").complete()
        view.show(frame, 1.0)
        drawn = [np.asarray(data(view, view.mu.curves)[f"y{k}"]) for k in range(8)]
        assert [bool(np.isfinite(row).any()) for row in drawn] == [k < heads for k in range(8)]
        for head in range(heads):
            parts = [np.append(frame.mu[:, head, task], np.nan) for task in range(tasks)]
            np.testing.assert_array_equal(drawn[head], np.concatenate(parts))
        losses = data(view, view.loss.curves)
        np.testing.assert_array_equal(losses["y0"], frame.task_loss.sum(axis=1))
        assert bool(np.isfinite(losses["y1"]).any()) == (tasks > 1)
        assert view.changes.of(view.mu.plot.x_range, "end") == tasks
        cells = data(view, view.maps.cells)
        assert len(cells["text"]) == 2 * heads * tasks
        omega, mu = frame.solution.final
        shown = [abs(value) for value in (*omega.ravel(), *mu.ravel())]
        assert max(map(len, cells["text"])) <= 6
        for text, value in zip(cells["text"], shown, strict=True):
            assert float(text) == pytest.approx(value, rel=0.06 if value >= 1e-3 else 0.5)


def test_who_won_is_named_at_the_end_of_its_curve() -> None:
    view = View()
    frame = solved(Choices.of(BUILT_IN), "")
    view.show(frame, 1.0)
    assert frame.solution.allocation == (0, 1)
    assert data(view, view.mu.ends)["text"] == ["h0", "h1"]
    assert [int(x) for x in data(view, view.mu.ends)["x"]] == [0, 1]  # in the part of its task


def test_the_cursor_shows_another_time() -> None:
    view = View()
    frame = solved(Choices.of(BUILT_IN), "")
    view.show(frame, 0.0)
    early = data(view, view.maps.cells)["text"]
    view.point(frame, 1.0)
    assert data(view, view.maps.cells)["text"] != early
    assert data(view, view.loss.cursors)["x"] == [200.0]
    assert view.changes.of(view.maps.plot.title, "text").endswith("t = 200")


def test_axes_have_a_few_round_numbers_whatever_their_range() -> None:
    view = View()
    for end in (0.1, 25.0, 1e9):
        frame = solved(Choices.of(BUILT_IN).turned("flow.t_end", end), "")
        view.show(frame, 1.0)
        for axis, most in ((view.loss.plot.yaxis[0], 8), (view.mu.plot.xaxis[0], 8)):
            assert 2 <= len(view.changes.of(axis.ticker, "ticks")) <= most
            assert view.changes.of(axis, "major_label_overrides").keys() == set(
                view.changes.of(axis.ticker, "ticks")
            )


def test_a_task_on_several_blocks_names_them() -> None:
    problem = {"block_sizes": [5, 7], "signal": [[1.0, 2.0], [0.0, 3.0]], "noise": 0.1, "context_length": 50}
    view = View()
    frame = solved(Choices.of({**BUILT_IN, "problem": problem}), "")
    view.show(frame, 1.0)
    names = data(view, view.omega.ends)["text"]
    assert any(name.endswith(" b1") for name in names)
    curve = np.asarray(data(view, view.omega.curves)["y0"])
    parts = [frame.omega[:, 0, block] for block in (0, 1, 1)]  # of task 0, then of task 1
    np.testing.assert_array_equal(curve, np.concatenate([np.append(part, np.nan) for part in parts]))
