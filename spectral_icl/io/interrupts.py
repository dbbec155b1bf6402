"""Signals that end a command: Ctrl-C, and what batch systems and terminals that are closed send.

They are sent to all processes of a command, also to those that should hear it from us.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

TERMINATIONS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
ENDING = (signal.SIGINT, *TERMINATIONS)


class Terminated(BaseException):
    """The process was asked to end, by a batch system or because its terminal was closed."""


@contextmanager
def answered(signals: Iterable[signal.Signals], answer: Callable[..., object]) -> Iterator[None]:
    """A block in which ``answer`` is called for signals; in the main thread, where they can be handled.

    A termination that is ignored, as under nohup, stays so; so does one that is handled outside Python.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signals}
    kept = {number for number in TERMINATIONS if before.get(number) is signal.SIG_IGN}
    taken = {number: old for number, old in before.items() if number not in kept and old is not None}
    try:
        for number in taken:
            signal.signal(number, answer)
        yield
    finally:
        for number, old in taken.items():
            signal.signal(number, old)


@contextmanager
def terminations_raised() -> Iterator[None]:
    """A block that `Terminated` ends when the process is asked to end, so that what is open is closed."""

    def end(*_: object) -> None:
        raise Terminated

    with answered(TERMINATIONS, end):
        yield


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Start threads that no such signal reaches, nor the processes that they start, now or to replace one.

    Workers should finish their batches, and are told to. Such a process is ended by SIGKILL alone.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    try:
        resource_tracker.ensure_running()  # which should hear no SIGHUP either, and unblocks the others
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
