"""Files of tables: what is not whole, or not what is wanted, is built again and replaced."""

from __future__ import annotations

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from spectral_icl.multitask.exact import stored
from spectral_icl.multitask.exact.stored import file_of, folder, read, to_bytes
from spectral_icl.multitask.exact.table import REACHES, Table, build

LENGTH, REACH = 9.5, REACHES[0]


@pytest.fixture(scope="module")
def made() -> Table:
    return build(LENGTH, REACH)


@pytest.fixture
def built(made: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """What is built, where tables are kept in an empty folder and nothing is in memory."""
    calls: list[tuple[float, float]] = []

    def counted(length: float, reach: float) -> Table:
        calls.append((length, reach))
        return made._replace(length=length, reach=reach)

    monkeypatch.setattr(stored, "build", counted)
    monkeypatch.setattr(stored, "folder", lambda: tmp_path)
    stored._kept.cache_clear()
    yield calls
    stored._kept.cache_clear()


def same(one: Table, other: Table) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def again() -> Table:
    """As a new process would have it."""
    stored._kept.cache_clear()
    return stored.table_of(LENGTH, REACH)


def sealed(head: dict, numbers: bytes) -> bytes:
    """A file with the right digest: what is in it is another matter."""
    body = json.dumps(head).encode() + b"\n" + numbers
    return body + sha256(body).digest()


def test_a_table_is_built_once(built: list, made: Table, tmp_path: Path) -> None:
    first, second = again(), again()
    assert same(first, made)
    assert same(second, made)
    assert built == [(LENGTH, REACH)]
    assert [path.suffix for path in tmp_path.iterdir()] == [".table"]
    for values in second[2:]:
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 0.0
    stored.table_of(LENGTH + 1e-12, REACH)
    assert len(built) == 2


def test_damaged_files_are_replaced(built: list, made: Table) -> None:
    """One bit anywhere, fewer bytes or more."""
    again()
    path = file_of(LENGTH, REACH)
    assert path is not None
    whole = path.read_bytes()
    chance = random.Random(1)
    line = whole.index(b"\n")
    at = [0, line, line + 1, len(whole) - 33, len(whole) - 32, len(whole) - 1]
    at += [chance.randrange(len(whole)) for _ in range(40)]
    damaged = []
    for n in at:
        data = bytearray(whole)
        data[n] ^= 1 << chance.randrange(8)
        damaged.append(bytes(data))
    damaged += [whole[:n] for n in (0, 1, 31, 32, 33, line, line + 1, len(whole) // 2, len(whole) - 8)]
    damaged += [whole + b"0", whole + whole, b"0" + whole]
    for n, content in enumerate(damaged):
        path.write_bytes(content)
        assert same(again(), made)
        assert len(built) == n + 2
        assert path.read_bytes() == whole


def test_files_of_others_are_not_trusted(built: list, made: Table) -> None:
    """Whole, but of another length, reach, code or format, or with numbers that make no sense."""
    again()
    path = file_of(LENGTH, REACH)
    assert path is not None
    whole = path.read_bytes()
    head, numbers = json.loads(whole[: whole.index(b"\n")]), whole[whole.index(b"\n") + 1 : -32]
    assert sealed(head, numbers) == whole
    crafted = [{**head, **other} for other in (
        {"length": 10.0}, {"length": None}, {"reach": 1.0}, {"code": "0" * 64}, {"format": "2"},
        {"shapes": []}, {"shapes": [1, 2, 3]}, {"shapes": [-1] * 4}, {"shapes": [10**30] * 4},
        {"shapes": head["shapes"][::-1]}, {"shapes": None}, {"shapes": "abcd"}, {"shapes": [1.5] * 4},
    )]  # fmt: skip
    crafted += [{key: value for key, value in head.items() if key != gone} for gone in head]
    files = [sealed(one, numbers) for one in crafted]
    for value in (np.nan, np.inf):
        flat = np.frombuffer(numbers).copy()
        flat[100] = value
        files.append(sealed(head, flat.tobytes()))
    files += [sealed(head, numbers[:-8]), sealed(head, numbers[:-3]), sealed(head, numbers + bytes(8))]
    for body in (b"", b"[]\n", b"7\n", b"null\n", b"\xff\xfe\n", b"[" * 100_000 + b"\n", b"\n" + numbers):
        files.append(body + sha256(body).digest())
    for n, content in enumerate(files):
        path.write_bytes(content)
        assert read(path, LENGTH, REACH) is None, n
        assert same(again(), made)
        assert len(built) == n + 2
        assert path.read_bytes() == whole


def test_a_folder_in_place_of_the_file_costs_only_time(built: list, made: Table) -> None:
    path = file_of(LENGTH, REACH)
    assert path is not None
    path.mkdir()
    (path / "other").touch()
    for _ in range(2):
        assert same(again(), made)


def test_nowhere_to_keep_costs_only_time(
    built: list, made: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No folder, a full disk; and within a process a table is kept in memory."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(stored, "put", full)
    assert same(again(), made)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(stored, "folder", lambda: None)
    assert same(again(), made)
    assert same(stored.table_of(LENGTH, REACH), made)
    assert len(built) == 2


def test_a_folder_that_cannot_be_made_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stats:
        cache_path: str | None = str(tmp_path / "gone")

    class Entry:
        stats = Stats

    monkeypatch.setattr(stored, "entries", [Entry])
    assert folder() is None
    (tmp_path / "gone").mkdir()
    assert folder() == tmp_path / "gone" / "tables"
    (tmp_path / "gone" / "tables").rmdir()
    (tmp_path / "gone" / "tables").write_text("a file")
    assert folder() is None
    Stats.cache_path = None
    assert folder() is None


def test_an_interrupted_write_leaves_what_was_there(
    built: list, made: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is written beside its place and moved there whole."""
    again()
    path = file_of(LENGTH, REACH)
    assert path is not None
    seen: list[Table | None] = []

    def watched(where: Path, content: bytes) -> None:
        written.wait(10)
        stored_put(where, content)

    stored_put, written, done = stored.put, threading.Event(), threading.Event()
    path.write_bytes(b"damaged")
    monkeypatch.setattr(stored, "put", watched)
    with ThreadPoolExecutor(2) as pool:
        run = pool.submit(again)

        def watching() -> None:
            while not done.is_set():
                seen.append(read(path, LENGTH, REACH))

        watcher = pool.submit(watching)
        written.set()
        run.result()
        done.set()
        watcher.result()
    assert all(one is None or same(one, made) for one in seen)
    assert path.read_bytes() == to_bytes(made)


def test_threads_build_a_table_once(built: list, made: Table) -> None:
    barrier = threading.Barrier(4)

    def run() -> Table:
        barrier.wait()
        return stored.table_of(LENGTH, REACH)

    with ThreadPoolExecutor(4) as pool:
        tables = [run_.result() for run_ in [pool.submit(run) for _ in range(4)]]
    assert built == [(LENGTH, REACH)]
    assert all(table is tables[0] for table in tables)


def test_nothing_in_a_file_is_run(built: list) -> None:
    again()
    path = file_of(LENGTH, REACH)
    assert path is not None
    assert "pickle" not in Path(stored.__file__).read_text("utf-8")
    json.loads(path.read_bytes().split(b"\n", 1)[0])
