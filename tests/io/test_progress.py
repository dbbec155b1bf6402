"""Progress: a bar on a terminal if tqdm is there, and elsewhere lines in the log or nothing."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from spectral_icl.io import progress as module
from spectral_icl.io.progress import Progress, Reach, tracked


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal in the place of standard error; no fixture, since pytest puts its own there after those."""
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    return found


def test_a_loop_has_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    assert list(tracked(range(3), label="theory", unit="panels", named="panel {}".format)) == [0, 1, 2]
    text = shown.getvalue()
    assert text.startswith("\rtheory:   0%")
    assert "3/3" in text
    assert "panels/s, panel 2]" in text


def test_an_item_is_named_while_it_is_worked_on(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    for item in tracked(["first", "second"], unit="cases", named=str):
        assert f", {item}]" in shown.getvalue()


def test_a_bar_that_is_not_wanted_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    assert list(tracked("ab", shown=False)) == ["a", "b"]
    assert shown.getvalue() == ""


def test_a_loop_says_nothing_without_a_terminal(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "spectral_icl"):
        assert list(tracked([1, 2])) == [1, 2]
    assert (caplog.records, *capsys.readouterr()) == ([], "", "")


@pytest.mark.parametrize("variable", [None, "TQDM_MININTERVAL", "TQDM_NCOLS"])
def test_without_tqdm_there_are_lines(
    variable: str | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is not there, or cannot be imported with a variable that is no number."""
    shown = terminal(monkeypatch)
    if variable is None:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    else:
        monkeypatch.setenv(variable, "x")
        for name in [name for name in sys.modules if name.split(".")[0] == "tqdm"]:
            monkeypatch.delitem(sys.modules, name)
    with caplog.at_level(logging.INFO, "spectral_icl"), Progress(4, unit="batches") as progress:
        progress.update(4, "0 failed")
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("4/4 batches, ")
    assert line.endswith("/s, 0 failed")
    assert shown.getvalue() == ""


@pytest.mark.parametrize("closed", [True, False])
def test_without_standard_error_there_is_no_bar(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    shown = terminal(monkeypatch)
    shown.close()
    monkeypatch.setattr(sys, "stderr", shown if closed else None)
    assert list(tracked([1, 2])) == [1, 2]


def test_a_long_way_is_shown_by_orders_of_magnitude(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    monkeypatch.setattr(module, "_SOON", 0.0)
    with Reach(1e6 - 1.0, "flow", "t") as reach:
        reach.at(9.0)
        reach.at(1e3 - 1.0)
    text = shown.getvalue()
    assert "flow:  50%" in text
    assert "50/100" in text
    assert "t = 999" in text
    with Reach(float("inf"), "flow", "t") as reach:
        reach.at(5.0)
    assert "t = 5" in shown.getvalue()


def test_a_short_way_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch)
    with Reach(10.0, "flow", "t") as reach:
        reach.at(10.0)
    assert shown.getvalue() == ""
