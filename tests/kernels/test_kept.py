"""What is kept of an entry: damage or a full disk costs a compilation, and nobody else plants code."""

from __future__ import annotations

import errno
import logging
import os
import pickle
import stat
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from numba import njit
from numba.core import config

from spectral_icl.io.checks import ProblemError
from spectral_icl.kernels import kept
from spectral_icl.kernels.kept import Kept, Place, place


def _doubled(x):  # type: ignore[no-untyped-def]
    return 2 * x


def entry(folder: Path) -> Any:
    """A compiled function, as a process has it that starts now."""
    made: Any = njit(_doubled)
    made._cache = Kept(_doubled, Place(folder), "digest")
    return made


def misses(folder: Path, argument: float = 1.5) -> int:
    """How often a process compiles the function for an argument; what it computes is right."""
    made = entry(folder)
    assert made(argument) == 2 * argument
    return sum(made.stats.cache_misses.values())


class Planted:
    """Something that does harm when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (self.mark,)


class Gone:
    """Something that cannot be unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return int, ("no number",)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "one bit": _flipped,
    "text": lambda data: b"no code at all\n" * 40,
    "zeros": lambda data: bytes(len(data)),
}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_what_is_damaged_is_compiled_again(
    tmp_path: Path, damage: Callable[[bytes], bytes], suffix: str
) -> None:
    assert (misses(tmp_path), misses(tmp_path)) == (1, 0)
    (path,) = tmp_path.glob(f"*.{suffix}")
    path.write_bytes(damage(path.read_bytes()))
    assert (misses(tmp_path), misses(tmp_path)) == (1, 0)


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_what_lies_there_without_a_digest_is_not_unpickled(tmp_path: Path, suffix: str) -> None:
    misses(tmp_path)
    (path,) = tmp_path.glob(f"*.{suffix}")
    path.write_bytes(pickle.dumps(Planted(tmp_path / "harm")) + bytes(32))
    assert (misses(tmp_path), misses(tmp_path)) == (1, 0)
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("owner", [None, 12345])
def test_a_file_that_others_can_write_is_not_unpickled(
    tmp_path: Path, suffix: str, owner: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If they put their own folder in the place of that which was looked at."""
    misses(tmp_path)
    (path,) = tmp_path.glob(f"*.{suffix}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if owner is None:
        path.chmod(0o620)
    elif os.getuid() == 0:  # what is root's is refused to nobody
        os.chown(path, owner, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: path.stat().st_uid + 1)
    assert misses(tmp_path) == 1


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_what_cannot_be_unpickled_is_compiled_again(tmp_path: Path, suffix: str) -> None:
    """Such as what names a module that has moved."""
    misses(tmp_path)
    (path,) = tmp_path.glob(f"*.{suffix}")
    data = pickle.dumps(Gone())
    path.write_bytes(data + sha256(data).digest())
    assert (misses(tmp_path), misses(tmp_path)) == (1, 0)


def test_code_for_other_types_is_not_taken(tmp_path: Path) -> None:
    """Two processes that save at once may choose the same name: the last one's code is under both keys."""
    misses(tmp_path, 1.5)
    misses(tmp_path, 7)
    first, second = sorted(tmp_path.glob("*.nbc"))
    first.write_bytes(second.read_bytes())
    assert (misses(tmp_path, 1.5), misses(tmp_path, 7)) == (1, 0)


def test_a_folder_that_disappears_or_fills_up_costs_only_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept, "failures", [])
    monkeypatch.setattr("spectral_icl.kernels.kept._Files._save_data", full)
    with caplog.at_level(logging.WARNING, "spectral_icl"):
        assert (misses(tmp_path), misses(tmp_path)) == (1, 1)
        assert misses(tmp_path / "gone") == 1
    first, second = (record.getMessage() for record in caplog.records)  # once for each folder
    why = f"compiled code is not kept in {tmp_path} (No space left on device)"
    assert first == f"{why}: NUMBA_CACHE_DIR may name another folder"
    assert "(No such file or directory)" in second
    assert len(kept.failures) == 3


def test_without_a_folder_it_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    made: Any = njit(_doubled)
    made._cache = Kept(_doubled, Place(None, "nothing is kept"), "digest")
    with caplog.at_level(logging.WARNING, "spectral_icl"):
        assert (made(1.5), made(2), made.stats.cache_path) == (3.0, 4, None)
    assert [record.getMessage() for record in caplog.records] == ["nothing is kept"]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A room beside which nothing has been compiled."""
    folder = tmp_path / "package" / "room"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that NUMBA_CACHE_DIR names, which is not there."""
    folder = tmp_path / "asked"
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))
    return folder


@pytest.fixture
def open_umask() -> Iterator[None]:
    """New files can be written by everybody."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.usefixtures("open_umask")
def test_the_folder_is_made_private(asked: Path, room: Path) -> None:
    found = place(room)
    assert found.folder is not None
    assert (found.folder.parent, found.remark) == (asked, "")
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in (asked, found.folder)] == [0o700, 0o700]


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o770, 0o702])
@pytest.mark.parametrize("planted", [False, True])
def test_a_folder_that_others_can_write_is_refused(
    asked: Path, room: Path, tmp_path: Path, mode: int, planted: bool
) -> None:
    found = place(room).folder
    assert found is not None
    (found if planted else asked).chmod(mode)
    place.cache_clear()
    with pytest.raises(ProblemError, match="NUMBA_CACHE_DIR: expected a folder of your own that nobody else"):
        place(room)
    link = tmp_path / "link"
    link.symlink_to(asked)
    config.CACHE_DIR = str(link)
    with pytest.raises(ProblemError, match=f"got '{link}'"):
        place(room)


def test_a_folder_of_another_user_is_refused(
    asked: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked.mkdir(mode=0o700)
    if os.getuid() == 0:  # what is root's is refused to nobody
        os.chown(asked, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: asked.stat().st_uid + 1)
    with pytest.raises(ProblemError, match="NUMBA_CACHE_DIR"):
        place(room)


def test_where_the_folder_cannot_be_made_it_is_beside_the_room_or_with_the_user_or_nowhere(
    asked: Path, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(asked.parent)
    asked.touch()
    beside = room / "__pycache__"
    assert place(room) == (
        beside,
        f"NUMBA_CACHE_DIR: {asked} cannot be written (File exists); compiled code is kept in {beside}",
    )
    config.CACHE_DIR = ""
    place.cache_clear()
    assert place(room) == (beside, "")
    beside.chmod(0o777)
    monkeypatch.setenv("XDG_CACHE_HOME", str(asked.parent))
    place.cache_clear()
    found = place(room).folder
    assert found is not None
    assert found.parent == asked.parent / "numba"
    for nowhere in (str(asked), "~/relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", nowhere)
        place.cache_clear()
        nowhere = "compiled code is not kept, as there is no folder that only this user can write"
        assert place(room) == (None, f"{nowhere}: NUMBA_CACHE_DIR may name one")
    assert not Path("~").exists()
