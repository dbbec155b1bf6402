"""Checks one after the other and side by side."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from validation import MODULES, NAMES, TOGETHER, commands  # noqa: E402
from validation.context import Context  # noqa: E402
from validation.result import Result  # noqa: E402


def test_checks_come_in_their_order_whoever_is_done_first(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def in_processes(work: object, items: list[tuple[tuple[str, ...], Context]], jobs: int) -> object:
        assert jobs == 2
        asked.extend(group for group, _ in items)
        return (commands._group(item) for item in items)

    for name in NAMES:
        module = ModuleType(f"stub_{name}")
        module.run = lambda _, name=name: Result(name, "")  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, f"stub_{name}", module)
        monkeypatch.setitem(MODULES, name, f"stub_{name}")
    monkeypatch.setattr(commands, "in_processes", in_processes)
    for jobs in (1, 2):
        found = [one.result.name for one in commands.all_checked(reversed(NAMES), Context(), jobs)]
        assert found == list(NAMES)
    assert asked[0] == TOGETHER  # their runs are the same, and trained once
    assert sorted(name for group in asked for name in group) == sorted(NAMES)
    assert [one.result.name for one in commands.all_checked(["adam", "gradient"], Context())] == [
        "gradient",
        "adam",
    ]


def threads_and_precision(_: int) -> tuple[int, str]:
    """Of the process that this runs in."""
    return torch.get_num_threads(), torch.get_float32_matmul_precision()


def test_processes_share_the_cores_and_keep_the_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert list(commands.in_processes(abs, [-1, 2, -3], jobs=2)) == [1, 2, 3]
    assert list(commands.in_processes(abs, [-1], jobs=1)) == [1]
    commands._begin(1)
    assert threads_and_precision(0) == (1, "highest")
