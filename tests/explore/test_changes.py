"""What the browser is told, once."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, LinearAxis, Range1d

from spectral_icl.explore.changes import Changes


def test_all_changes_are_taken_together_and_once() -> None:
    changes, ends, source = Changes(), Range1d(0.0, 1.0), ColumnDataSource()
    changes.set(ends, start=2.0, end=3.0)
    changes.set(source, data={"x": np.arange(3.0)})
    taken = dict(changes.take())
    assert taken[ends.id] == {"start": 2.0, "end": 3.0}
    assert list(taken[source.id]["data"]["x"]) == [0.0, 1.0, 2.0]
    assert changes.take() == []
    assert changes.of(ends, "end") == 3.0
    assert ends.end == 1.0  # or Bokeh would send it too


def test_what_stays_is_not_told_again() -> None:
    changes, ends = Changes(), Range1d(0.0, 1.0)
    changes.set(ends, start=2.0, end=3.0)
    changes.take()
    changes.set(ends, start=2.0, end=4.0)
    assert changes.take() == [(ends.id, {"end": 4.0})]


def test_ticks_change_with_their_names() -> None:
    changes, axis = Changes(), LinearAxis(ticker=FixedTicker(ticks=[]))
    changes.mark(axis, {0.0: "zero", 1.0: "one"})
    assert dict(changes.take()) == {
        axis.ticker.id: {"ticks": [0.0, 1.0]},
        axis.id: {"major_label_overrides": {0.0: "zero", 1.0: "one"}},
    }
    changes.mark(axis, {0.0: "zero", 1.0: "one"})
    assert changes.take() == []
