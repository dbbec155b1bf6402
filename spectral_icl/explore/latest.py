"""A thread that answers the latest question, so that no answer is waited for that nobody wants any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import perf_counter
from typing import Generic, TypeVar

QUICK = 0.4  # seconds; after an answer that took longer, questions must have come to rest before the next
QUIET = 0.2  # seconds without another question: rest

Q = TypeVar("Q")


class Latest(Generic[Q]):
    """A worker of its own that is asked again before it has answered: the last question alone counts.

    Parameters
    ----------
    answer : callable
        Called with a question, in the thread of the worker; whatever it does with the answer is its own
        affair.
    """

    def __init__(self, answer: Callable[[Q], None]) -> None:
        self._answer = answer
        self._questions: list[Q] = []  # one at most
        self._changed = threading.Condition()
        self._closed = False
        self._took = 0.0
        # a daemon, or the end of the process would wait for a flow that takes minutes
        threading.Thread(target=self._run, name="explore", daemon=True).start()

    def ask(self, question: Q) -> None:
        """Ask, in place of what was asked before and has not been begun."""
        with self._changed:
            self._questions[:] = [question]
            self._changed.notify()

    @property
    def is_stale(self) -> bool:
        """Whether another question waits, so that the answer at work need not be a whole one."""
        with self._changed:
            return bool(self._questions) or self._closed

    def close(self) -> None:
        """End the worker after the answer that it is at."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def _run(self) -> None:
        while (question := self._next()) is not None:
            began = perf_counter()
            self._answer(question)
            self._took = perf_counter() - began

    def _next(self) -> Q | None:
        """The question to answer now; None when there are to be no more."""
        with self._changed:
            while not (self._questions or self._closed):
                self._changed.wait()
            if self._took > QUICK:  # a hand that is still moving would have to wait for what it passes
                while self._changed.wait(QUIET) and not self._closed:
                    pass
            return None if self._closed else self._questions.pop()
