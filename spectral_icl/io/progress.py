"""How far a long computation is: a bar on a terminal; elsewhere nothing, or a line in the log now and then.

A computation that counts for itself is given ``Progress.update``; a loop runs over `tracked` items.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from types import TracebackType
from typing import Protocol, Self, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")

_SOON = 1.0  # seconds before a computation of unknown length is worth a bar
_EVERY = 10.0  # seconds between lines


class _Bar(Protocol):
    """The methods of tqdm's bar that are used here."""

    def update(self, n: float | None = 1) -> bool | None: ...

    def set_postfix_str(self, s: str = "", refresh: bool = True) -> None: ...

    def close(self) -> None: ...


class Progress:
    """Items done of a total, their rate and the time left, with a note; a context manager.

    Parameters
    ----------
    total, done : int
        Items in all, and those that were done before.
    label : str
        Stands in front of the bar.
    unit : str
        Items in the plural, such as "points".
    shown : bool
        Whether a bar is wanted on a terminal (not where lines of results come between).
    logged : bool
        Whether lines are wanted in the log where there is no bar.
    """

    def __init__(
        self,
        total: int,
        done: int = 0,
        label: str = "",
        *,
        unit: str = "points",
        shown: bool = True,
        logged: bool = True,
    ) -> None:
        self.total, self.before, self.done = total, done, done
        self.note = ""
        self._label, self._unit = label, unit
        self._shown, self._logged = shown, logged
        self._bar: _Bar | None = None
        self._last = -1  # items of the last line

    def __enter__(self) -> Self:
        self._began = self._told = time.monotonic()
        if self._shown and _on_terminal():
            self._bar = _bar(self.total, self.done, self._label, self._unit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._logged and self.done > max(self.before, self._last):
            self._tell()

    def update(self, count: int, note: str = "") -> None:
        """Count items that have been done."""
        self.done += count
        self.note = note
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif self._logged and time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            self._tell()

    def announce(self, note: str) -> None:
        """Show a note beside the bar, before the items that it is about are done."""
        self.note = note
        if self._bar is not None:
            self._bar.set_postfix_str(note)

    def _tell(self) -> None:
        self._last = self.done
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = (self.done - self.before) / seconds
        left = "" if self.done == self.total else f", {(self.total - self.done) / rate:.0f} s left"
        note = f", {self.note}" if self.note else ""
        logger.info("%d/%d %s, %.3g/s%s%s", self.done, self.total, self._unit, rate, left, note)


class Reach:
    """How far a computation is on its way to a number, which it approaches by orders of magnitude.

    A context manager, whose bar appears on a terminal once it has taken a second.

    Parameters
    ----------
    end : float
        The number; infinite if there is none, so that only the note is shown.
    label : str
        Stands in front of the bar.
    symbol : str
        What the number is, in the note.
    """

    def __init__(self, end: float, label: str, symbol: str) -> None:
        self._end, self._label, self._symbol = end, label, symbol
        self._shown: Progress | None = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown.__exit__(kind, error, trace)

    def at(self, value: float) -> None:
        """Say where it is."""
        if self._shown is None and time.monotonic() - self._began < _SOON:
            return
        percent = int(100.0 * math.log1p(value) / math.log1p(self._end)) if math.isfinite(self._end) else 0
        if self._shown is None:  # what is done by now says nothing of the rate
            self._shown = Progress(100, percent, self._label, unit="%", logged=False)
            self._shown.__enter__()
        self._shown.update(percent - self._shown.done, f"{self._symbol} = {value:.3g}")


def tracked(
    items: Iterable[T],
    total: int | None = None,
    label: str = "",
    *,
    unit: str = "items",
    shown: bool = True,
    named: Callable[[T], str] | None = None,
) -> Iterator[T]:
    """The items one by one, under a bar on a terminal that advances when the next one is asked for.

    Parameters
    ----------
    items : iterable
    total : int, optional
        How many there are, of items that do not know it themselves.
    label, unit, shown
        See `Progress`.
    named : callable, optional
        The name of an item, which stands beside the bar from when it begins.
    """
    count = total if total is not None or not isinstance(items, Sized) else len(items)
    with Progress(count or 0, label=label, unit=unit, shown=shown, logged=False) as progress:
        for item in items:
            if named is not None:
                progress.announce(named(item))
            yield item
            progress.update(1, progress.note)


def _on_terminal() -> bool:
    """Whether standard error is a terminal; one that is closed is not."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


def _bar(total: int, done: int, label: str, unit: str) -> _Bar | None:
    """A bar on standard error; None if tqdm cannot be used."""
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except (ImportError, ValueError):  # it is not installed, or a variable TQDM_... is not what it should be
        return None
    bar: _Bar = tqdm(
        total=total, initial=done, desc=label or None, unit=f" {unit}", dynamic_ncols=True, file=sys.stderr
    )
    return bar
