"""Settings of numba that it cannot use, or that leave nothing compiled: one line."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest


def refused(folder: Path, **settings: str) -> str:
    """The line of a command that is refused under some settings, in a folder."""
    settings["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(
        [sys.executable, "-m", "spectral_icl", "optimal"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if "NUMBA" not in name} | settings,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch("Error: .*\n", done.stderr)
    return done.stderr


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NUMBA_DISABLE_JIT", "1", "0: nothing here runs uncompiled, got 1"),
        ("NUMBA_OPT", "7", "a value that numba understands, got '7'"),
        ("NUMBA_NUM_THREADS", "many", "a value that numba understands, got 'many'"),
        (
            "NUMBA_NUM_THREADS",
            "0",
            r"what numba can start with \(Number of threads specified must be > 0\.\), got '0'",
        ),
        ("NUMBA_CPU_NAME", "abacus", "a processor that LLVM knows, got 'abacus'"),
        ("NUMBA_CPU_FEATURES", "abacus", "a processor that LLVM knows, got 'abacus'"),
    ],
)
def test_a_setting_is_refused(tmp_path: Path, name: str, value: str, expected: str) -> None:
    assert re.fullmatch(f"Error: {name}: expected {expected}\n", refused(tmp_path, **{name: value}))


def test_a_file_of_settings_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("yaml")  # without it numba reads no file
    (tmp_path / ".numba_config.yaml").write_text("opt: [")
    assert refused(tmp_path).startswith("Error: .numba_config.yaml: expected what numba can start with (")
