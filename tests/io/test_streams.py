"""Streams that are closed, or that cannot show a letter."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from spectral_icl.io.streams import open_streams

OPENED = """
import os
from spectral_icl.io.streams import open_streams
open_streams()
print("out")
import sys
print("err", file=sys.stderr)
sys.stdin.read()
opened = os.open(os.devnull, os.O_RDONLY)
os._exit(opened)
"""


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere_and_their_numbers_are_taken(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -u -c "$1" {closed}', sys.executable, OPENED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3
    assert done.stdout == ("" if " >&-" in f" {closed}" else "out\n")
    assert done.stderr == ("" if "2>&-" in closed else "err\n")


def test_text_that_cannot_be_shown_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    held = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held, encoding="cp1252"))
    open_streams()
    print("wrote π\udcff.nc", flush=True)
    assert held.getvalue().decode("ascii").strip() == r"wrote \u03c0\udcff.nc"
