"""Signals that end a command, and those that do not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from shell import run

from spectral_icl.io import files
from spectral_icl.io.interrupts import TERMINATIONS, Terminated, interrupts_blocked, terminations_raised
from spectral_icl.multitask.experiment import Experiment

signals = pytest.mark.parametrize("number", TERMINATIONS, ids=lambda number: number.name)


def sending(number: int, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, but this process gets a signal before it."""

    def sent(*args: Any, **kwargs: Any) -> Any:
        os.kill(os.getpid(), number)
        return call(*args, **kwargs)

    return sent


@signals
@pytest.mark.parametrize("where", [(Experiment, "solve"), (files, "write")], ids=["work", "writing"])
def test_command_that_is_terminated_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, where: tuple[Any, str]
) -> None:
    before = signal.getsignal(number)
    monkeypatch.setattr(*where, sending(number, getattr(*where)))
    out = tmp_path / "flow.nc"
    status, _, err = run("flow", "--out", str(out))
    assert (status, err) == (130, "Error: interrupted\n")
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before


@signals
def test_termination_closes_what_is_open(tmp_path: Path, number: int) -> None:
    out = tmp_path / "flow.nc"
    with pytest.raises(Terminated), terminations_raised(), files.replacing(out) as part:
        sending(number, part.write_text)("half")
    assert list(tmp_path.iterdir()) == []


@signals
def test_what_is_ignored_stays_so(number: int) -> None:
    """As nohup does it."""
    before = signal.signal(number, signal.SIG_IGN)
    try:
        with terminations_raised():
            os.kill(os.getpid(), number)
            assert signal.getsignal(number) is signal.SIG_IGN
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_other_threads_handle_no_signals() -> None:
    seen: list[object] = []

    def look() -> None:
        with terminations_raised():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]


def test_processes_started_while_blocked_hear_nothing() -> None:
    code = "import os, signal; [os.kill(os.getpid(), n) for n in (1, 2, 15)]; print('alive')"
    with interrupts_blocked():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "alive\n"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
