"""The command line, run in this process."""

from __future__ import annotations

import contextlib
import io
import sys
from unittest import mock

from spectral_icl import cli


def run(*args: str, encoding: str = "utf-8") -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command line, run in this process.

    The streams show what a terminal of that encoding can, as Python's own do: output refuses the rest.
    """
    out = io.TextIOWrapper(io.BytesIO(), encoding, newline="")
    err = io.TextIOWrapper(io.BytesIO(), encoding, "backslashreplace", newline="")
    status = 0
    argv = mock.patch.object(sys, "argv", ["spectral-icl", *args])
    with argv, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, _written(out, encoding), _written(err, encoding)


def _written(stream: io.TextIOWrapper, encoding: str) -> str:
    stream.flush()
    return stream.buffer.getvalue().decode(encoding, "replace")  # type: ignore[attr-defined]
