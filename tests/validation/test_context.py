"""The amount of work of a command, and its bar."""

from __future__ import annotations

import sys

import pytest

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from validation.context import Context  # noqa: E402


def test_default_context_is_quick_and_silent() -> None:
    context = Context()
    assert context.pick("quick", "full") == "quick"
    assert list(context.track(range(3), "label")) == [0, 1, 2]


def test_a_bar_is_drawn_beside_the_output_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    context = Context(progress=True)
    assert list(context.track(range(3), "a label")) == [0, 1, 2]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "a label" in printed.err
