"""The standard streams of a command, which may have been closed, or be unable to show some of the text."""

from __future__ import annotations

import io
import os
import sys


def open_streams() -> None:
    """Let streams that are closed lead nowhere, and let the others replace what they cannot show.

    The numbers of closed ones are taken too: the next file that is opened would get them, and with it what
    libraries write to standard error.
    """
    while (taken := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(taken, True)  # for the processes that are started, too
    os.close(taken)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
