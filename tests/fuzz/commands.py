"""A command given anything at all: what it must never do.

A finding is an exception that leaves the command, a status other than 0, 1, 2 and 130, more than one line of
error, output that is not strict JSON where JSON was asked for, a warning, a file that a refused command left
behind or that any command destroyed, 30 seconds of work, 2 GB, or a crash.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import tempfile
import traceback
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from types import FrameType
from typing import NamedTuple
from unittest import mock

from hypothesis.control import BuildContext
from hypothesis.errors import StopTest
from hypothesis.internal.conjecture import providers
from hypothesis.internal.conjecture.data import ConjectureData

from tests.support.odd_files import Case, cases
from tests.support.shell import run
from tests.support.strict import strict

SECONDS = 30.0  # of the processor, as long as others need it too
_LONGEST = 500  # letters of an error line
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_CASES = cases()
_NONE = providers.Constants(integers=(), floats=(), bytes=(), strings=())
_NOTHING = 1e-15  # a simulated risk, however small the signal may have been
_NOTES = "notes.zarr/notes.txt"  # of the user; no command may touch them


class Finding(NamedTuple):
    """What a command did that it must not.

    Attributes
    ----------
    kind : str
        The same for all findings of one cause, as far as can be told.
    detail : str
        Of this one.
    """

    kind: str
    detail: str


class _TooSlow(BaseException):
    """The time is up; nothing in the package catches it."""


def drawn(number: int, root: int = 0) -> Case:
    """The case of a number: the same for the same version of Hypothesis, whatever else has been drawn."""
    # constants of the modules imported by now, which Hypothesis tries, are not the same in every tree
    with mock.patch.object(providers, "_get_local_constants", return_value=_NONE):
        for attempt in count():
            data = ConjectureData(prefix=(), random=Random(f"{root}/{number}/{attempt}"))
            with suppress(StopTest), BuildContext(data, is_final=False, wrapped_test=drawn):
                return data.draw(_CASES)
    raise AssertionError


def judge(case: Case) -> list[Finding]:
    """What is wrong with what the commands of a case did."""
    with tempfile.TemporaryDirectory(prefix="case-") as name, chdir(name):
        folder = Path(name)
        for file, data in {**case.files, _NOTES: b"mine"}.items():
            (folder / file).parent.mkdir(exist_ok=True)
            (folder / file).write_bytes(data)
        (folder / "link.nc").symlink_to("nowhere/else.nc")
        return [finding for command in case.commands for finding in _judged(folder, command, case.encoding)]


def _judged(folder: Path, args: tuple[str, ...], encoding: str) -> Iterator[Finding]:
    before, said = _tree(folder), _Heard()
    logger = logging.getLogger("spectral_icl")
    logger.addHandler(said)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            with limited(SECONDS):
                status, out, err = run(*args, encoding=encoding)
        except BaseException as error:  # whatever it is, it is a finding
            slow = isinstance(error, _TooSlow)
            yield Finding(f"{'slow' if slow else type(error).__name__} at {where(error)}", str(error)[:300])
            return
        finally:
            logger.removeHandler(said)
    for warning in warned:
        place = f"{Path(warning.filename).name}:{warning.lineno}"
        yield Finding(f"{warning.category.__name__} at {place}", str(warning.message)[:300])
    if status not in (0, 1, 2, 130):
        yield Finding(f"status {status}", err[-300:])
    lines = [line for line in err.split("\n") if line and line not in said.lines]
    if len(lines) > (status != 0) or (status == 2 and len(lines) != 1):
        yield Finding(f"{len(lines)} lines of error with status {status}", "\n".join(lines)[-600:])
    elif lines and (
        not lines[0].startswith("Error: ") or len(lines[0]) > _LONGEST or _CONTROL.search(lines[0])
    ):
        yield Finding("an odd line of error", repr(lines[0][:600]))
    if "out of memory" in err:
        yield Finding("out of memory", err[-300:])
    yield from _output(args, status, out)
    yield from _left(before, _tree(folder), args, status)


def _output(args: tuple[str, ...], status: int, out: str) -> Iterator[Finding]:
    """What is wrong with standard output."""
    if status == 2 and out:
        yield Finding(f"{args[0]}: output before status 2", out[-300:])
    elif "--json" in args[1:] and (out or status == 0) and "--help" not in args:
        try:
            said = strict(out)
        except (AssertionError, ValueError) as error:
            yield Finding(f"{args[0]}: no strict JSON", f"{error!r}: {out[:200]}")
            return
        for name, method in said.get("methods", {}).items():
            # any noise, however small, makes the mean infinite beside a square design
            infinite = said["sparse"]["noise"] == 0.0 and (method["theory"], method["theory_error"]) == (
                None,
                0.0,
            )
            if infinite and method["simulated"] is not None and method["simulated"] < _NOTHING:
                yield Finding("an infinite risk beside a simulated 0", f"{name}: {method}")


def _left(
    before: dict[str, bytes], after: dict[str, bytes], args: tuple[str, ...], status: int
) -> Iterator[Finding]:
    """What is wrong with the files after a command."""
    if status == 2 and after != before:
        names = sorted(name for name in before | after if before.get(name) != after.get(name))
        yield Finding(f"{args[0]}: files changed with status 2", ", ".join(names)[:300])
    for name in ("in.toml", _NOTES, "link.nc"):
        if before.get(name) != after.get(name):
            yield Finding(f"{args[0]}: {name} lost", "")
    if scratch := [name for name in after if ".spectral-icl-" in name or name.endswith(".partial")]:
        yield Finding(f"{args[0]}: scratch left", ", ".join(scratch)[:300])
    if any("s.zarr/status" in name for name in set(before) - set(after)):
        yield Finding(f"{args[0]}: a sweep lost", "")


def _tree(folder: Path) -> dict[str, bytes]:
    """Every file below a folder and its bytes, links and folders too."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path.relative_to(folder))] = os.readlink(bytes(path))
        else:
            found[str(path.relative_to(folder))] = path.read_bytes() if path.is_file() else b""
    return found


def where(error: BaseException) -> str:
    """The innermost place of the package in a traceback."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/spectral_icl/" in f.filename]
    return f"{frames[-1].filename.rpartition('/spectral_icl/')[2]}:{frames[-1].name}" if frames else "?"


class _Heard(logging.Handler):
    """The lines that the package logs, which are no errors."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.update(record.getMessage().split("\n"))


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """A block that is left with `_TooSlow` after some seconds of the processor."""

    def stop(_: int, __: FrameType | None) -> None:
        raise _TooSlow(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)
