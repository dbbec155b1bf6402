"""How far a long computation is: a bar on a terminal, a line in the log now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import Any, Self

logger = logging.getLogger(__name__)

_EVERY = 10.0  # seconds between lines


class Progress:
    """Points done, their rate and the time left, with a note.

    Parameters
    ----------
    total, done : int
        Points in all, and those that were done before.
    """

    def __init__(self, total: int, done: int) -> None:
        self.total, self.before, self.done = total, done, done
        self.note = ""
        self._bar: Any = None
        self._last = -1  # points of the last line

    def __enter__(self) -> Self:
        self._began = self._told = time.monotonic()
        if sys.stderr.isatty():
            from tqdm import tqdm  # type: ignore[import-untyped]  # optional

            self._bar = tqdm(total=self.total, initial=self.done, unit=" points", dynamic_ncols=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self.done > max(self.before, self._last):
            self._tell()

    def update(self, points: int, note: str) -> None:
        """Count points that have been done."""
        self.done += points
        self.note = note
        if self._bar is not None:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(points)
        elif time.monotonic() - self._told >= _EVERY:
            self._told = time.monotonic()
            self._tell()

    def _tell(self) -> None:
        self._last = self.done
        seconds = max(time.monotonic() - self._began, 1e-9)
        rate = (self.done - self.before) / seconds
        left = "" if self.done == self.total else f", {(self.total - self.done) / rate:.0f} s left"
        logger.info("%d/%d points, %.3g/s%s, %s", self.done, self.total, rate, left, self.note)
