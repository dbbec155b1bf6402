"""The cache on disk: one place that asks for it, and renewed when any file of the room changes."""

from __future__ import annotations

import ast
import gc
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from cases import CASES
from numba import njit
from numba.core.errors import TypingError
from numba.core.runtime import _nrt_python, rtsys

import spectral_icl as si
from spectral_icl.kernels import compile as compiling
from spectral_icl.kernels.compile import inner, maker
from spectral_icl.kernels.loss import task_losses

PACKAGE = Path(si.__file__).parent
ROOM = PACKAGE / "kernels"

ENTRY = '''
from {room}.compile import entry
from {room}.inner import twice


@entry()
def doubled(x):
    """Twice x, or what the other file makes of it."""
    return twice(x)
'''
INNER = '''
from {room}.compile import inner


@inner()
def twice(x):
    """{factor} x."""
    return {factor} * x
'''
FIRST = '''
from room.compile import entry


@entry()
def first(box):
    """What is in the box."""
    return box.value
'''
BOX = '''
from typing import NamedTuple


class Box(NamedTuple):
    """A container."""

    value: float
'''
RACE = """
from multiprocessing import get_context
import numpy as np
from room.compile import save_under
from room.entry import doubled

TYPES = (np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.float32, np.float64, bool)


def compile_for(types, lock, barrier):
    save_under(lock)
    barrier.wait()
    for kind in types:
        doubled(kind(1))


def main():
    context = get_context("spawn")
    shared = context.Lock(), context.Barrier(2)
    processes = [context.Process(target=compile_for, args=(TYPES[k::2], *shared)) for k in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def count():
    right = all(doubled(kind(1)) == 2 for kind in TYPES)
    print(right, len(doubled.stats.cache_hits), len(doubled.stats.cache_misses))
"""
CALL = """
from {room}.entry import doubled
value = doubled(3.0)
print(value, sum(doubled.stats.cache_hits.values()), sum(doubled.stats.cache_misses.values()))
"""


def call(folder: Path) -> tuple[float, int, int]:
    """Value, hits and misses of a fresh process that calls the entry of a room."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}
    command = [sys.executable, "-c", CALL.format(room="room")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=120)
    value, hits, misses = done.stdout.split()
    return float(value), int(hits), int(misses)


def test_an_edit_of_any_file_renews_the_cache(tmp_path: Path) -> None:
    """A callee in another file is edited: its caller, whose own file did not change, is compiled again."""
    room = tmp_path / "room"
    room.mkdir()
    (room / "__init__.py").touch()
    shutil.copy(ROOM / "compile.py", room)
    (room / "entry.py").write_text(ENTRY.format(room="room"))
    (room / "inner.py").write_text(INNER.format(room="room", factor=2))
    assert call(tmp_path) == (6.0, 0, 1)
    assert call(tmp_path) == (6.0, 1, 0)
    (room / "inner.py").write_text(INNER.format(room="room", factor=5))
    assert call(tmp_path) == (15.0, 0, 1)
    assert call(tmp_path) == (15.0, 1, 0)


def test_two_processes_lose_nothing_if_they_save_under_a_lock(tmp_path: Path) -> None:
    """The index of an entry, which all types share, is read, added to and replaced."""
    room = tmp_path / "room"
    room.mkdir()
    (room / "__init__.py").touch()
    shutil.copy(ROOM / "compile.py", room)
    (room / "entry.py").write_text(ENTRY.format(room="room"))
    (room / "inner.py").write_text(INNER.format(room="room", factor=2))
    (room / "race.py").write_text(RACE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    answers = []
    for what in ("main", "count"):
        command = [sys.executable, "-c", f"from room.race import {what}; {what}()"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        answers.append(done.stdout + done.stderr)
    assert answers == ["", "True 10 0\n"]


def test_no_file_asks_numba_for_its_cache() -> None:
    """It would be stamped with that file alone, and unpickle what lies there."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            asks = isinstance(node, ast.keyword) and node.arg == "cache"
            assert not asks, path


def test_a_module_that_moved_does_not_stand_in_the_way(tmp_path: Path) -> None:
    """Numba's index of an entry names the modules of its types, and does not open once one is gone."""
    room = tmp_path / "room"
    room.mkdir()
    (room / "__init__.py").touch()
    shutil.copy(ROOM / "compile.py", room)
    (room / "entry.py").write_text(FIRST)
    for home in ("old", "new"):
        (room / f"{home}.py").write_text(BOX)
        script = f"from room.entry import first\nfrom room.{home} import Box\nprint(first(Box(2.0)))"
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, "-c", script]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.stdout == "2.0\n", done.stderr
        (room / f"{home}.py").unlink()


def test_the_files_of_every_entry_bear_the_digest() -> None:
    for entry in compiling.entries:
        assert compiling.DIGEST[:16] in entry._cache.name


def test_entries_can_be_pickled_and_keep_their_docstring() -> None:
    assert pickle.loads(pickle.dumps(task_losses)) is task_losses
    assert "loss of every task" in task_losses.__doc__


def test_no_compiled_function_has_a_comprehension_beside_assignments_to_items_of_attributes() -> None:
    """Numba drops ``f.x[n] = ...``, for a local f, from a function in which it expands a comprehension."""
    for path in sorted(ROOM.glob("*.py")):
        for function in (
            n for n in ast.parse(path.read_text("utf-8")).body if isinstance(n, ast.FunctionDef)
        ):
            inside = list(ast.walk(function))
            if any(isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.Lambda)) for node in inside):
                stored = [n for n in inside if isinstance(n, ast.Subscript) and isinstance(n.ctx, ast.Store)]
                assert not stored, function.name


def _made(size):  # type: ignore[no-untyped-def]
    return np.zeros(size)


def _used_inside(size):  # type: ignore[no-untyped-def]
    return np.zeros(size)[0]


def _returned(size):  # type: ignore[no-untyped-def]
    return _ROWS[:size]


_ROWS = np.zeros((3, 2))


@pytest.mark.parametrize("function", [_made, _used_inside, _returned], ids=lambda function: function.__name__)
def test_inner_functions_neither_make_nor_return_arrays(function: Callable[[int], object]) -> None:
    """References are not counted in them: numba refuses, and does not leave an array without an owner."""
    called = inner()(function)

    @njit
    def call(size):  # type: ignore[no-untyped-def]
        return called(size)

    with pytest.raises(TypingError):
        call(2)
    made = maker(function)

    @njit
    def call_maker(size):  # type: ignore[no-untyped-def]
        return made(size)

    np.testing.assert_array_equal(call_maker(2), function(2))


@pytest.fixture
def counted() -> Iterator[Callable[[], int]]:
    """How many arrays that compiled code made there are."""
    _nrt_python.memsys_enable_stats()

    def count() -> int:
        gc.collect()
        stats = rtsys.get_allocation_stats()
        return int(stats.mi_alloc - stats.mi_free)

    yield count
    _nrt_python.memsys_disable_stats()


@pytest.mark.parametrize("kernel", ["asymptotic", "first-order"])
def test_no_array_is_left_behind(counted: Callable[[], int], kernel: str) -> None:
    """By flows that end and that fail, their phases, and logs that outgrow their room."""
    case = CASES["paper_two_tasks_balanced"]
    start = case.problem, case.omega0, case.mu0

    def solve() -> None:
        flow = si.gradient_flow(*start, t_end=30.0, kernel=kernel)
        assert flow.phases.tasks
        with pytest.raises(si.IntegrationError):
            si.gradient_flow(*start, max_steps=5, kernel=kernel)
        many = si.gradient_flow_ensemble(
            *start, t_end=[30.0, 25.0], rtol=1e-11, phases=True, t_eval=[1.0, 20.0], kernel=kernel
        )
        assert many.steps.min() > 200

    solve()
    before = counted()
    for _ in range(3):
        solve()
    assert counted() == before
