"""The command line, run in this process."""

from __future__ import annotations

import contextlib
import io
import sys
from unittest import mock

from spectral_icl import cli


def run(*args: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the command line, run in this process."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    argv = mock.patch.object(sys, "argv", ["spectral-icl", *args])
    with argv, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main()
        except SystemExit as stop:
            status = int(stop.code or 0)
    return status, out.getvalue(), err.getvalue()
