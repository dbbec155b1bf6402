"""The campaigns themselves: that they see what they look for, and that a number is a case."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
import warnings
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

from spectral_icl import cli
from spectral_icl.io.checks import ProblemError
from tests.fuzz import campaign, commands, problems
from tests.fuzz.commands import drawn, judge
from tests.support.odd_files import Case
from tests.support.random_problems import random_flow

CASE = Case({"in.toml": b""}, (("flow", "in.toml", "--json"),), "utf-8")


def _print(text: str, status: int = 0) -> None:
    print(text)
    sys.exit(status)


def _fail(lines: int, status: int) -> None:
    for k in range(lines):
        print(f"Error: {k}", file=sys.stderr)
    sys.exit(status)


def _refuse_after_writing() -> None:
    Path("out.nc").write_text("half")
    _fail(1, 2)


def _lose_notes() -> None:
    Path("notes.zarr/notes.txt").unlink()
    print("{}")


SEEN = {
    "ZeroDivisionError": lambda: 1 // 0,
    "ProblemError": lambda: (_ for _ in ()).throw(ProblemError("a", 1, "2")).__next__(),
    "status 139": lambda: sys.exit(139),
    "2 lines of error with status 2": lambda: _fail(2, 2),
    "0 lines of error with status 2": lambda: sys.exit(2),
    "1 lines of error with status 0": lambda: print("{}") or print("Error: so", file=sys.stderr),
    "an odd line of error": lambda: print("Traceback", file=sys.stderr) or sys.exit(1),
    "flow: no strict JSON": lambda: _print('{"loss": NaN}'),
    "flow: output before status 2": lambda: print("{}") or _fail(1, 2),
    "RuntimeWarning": lambda: print("{}") or warnings.warn("so", RuntimeWarning, stacklevel=1),
    "flow: files changed with status 2": _refuse_after_writing,
    "flow: notes.zarr/notes.txt lost": _lose_notes,
    "slow": lambda: [None for _ in iter(int, 1)],
}


@pytest.mark.parametrize("kind", SEEN)
def test_what_goes_wrong_is_seen(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "SECONDS", 0.05)
    with mock.patch.object(cli, "main", SEEN[kind]):
        found = judge(CASE)
    assert [finding.kind.split(" at ")[0] for finding in found] == [kind]


def test_a_good_end_is_no_finding() -> None:
    with mock.patch.object(cli, "main", side_effect=lambda: _print(json.dumps({"loss": 1.0}))):
        assert judge(CASE) == []


def test_a_number_is_a_case() -> None:
    first = [drawn(n) for n in range(5)]
    np.random.default_rng(0).random()
    assert [drawn(n) for n in (4, 2, 0)] == [first[n] for n in (4, 2, 0)]
    assert drawn(0, 1) != first[0]
    assert repr(random_flow(7)) == repr(random_flow(7))


def _judged(number: int) -> list[commands.Finding]:
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return [commands.Finding("even", "")] if number % 2 == 0 else []


@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning")  # of JAX, where other tests have imported it
def test_a_crash_is_a_finding_and_the_others_are_judged_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are forked here, so that they know the kind."""
    monkeypatch.setattr(campaign, "_CONTEXT", multiprocessing.get_context("fork"))
    monkeypatch.setitem(campaign.KINDS, "toys", campaign.Kind(lambda number, root: number, _judged))
    table = campaign.campaign("toys", range(5), workers=2)
    assert table.cases == 5
    assert table.counts == {"even": 3, "a crash, -9": 1}
    assert table.numbers["even"] == [0, 2, 4]


def test_a_wrong_flow_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose loss rises from state to state."""

    def rising(_: object, omega: np.ndarray, *__: object) -> np.ndarray:
        return np.arange(1.0, 1.0 + np.prod(omega.shape[:-2])).reshape(omega.shape[:-2])

    monkeypatch.setattr(problems.si, "loss", rising)
    kinds = {finding.kind for finding in problems.judge(random_flow(0))}
    assert {"the loss rises", "the loss rises between nodes"} <= kinds
