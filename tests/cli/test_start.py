"""How the command is started: by which names, with which streams, and what it imports before it has to."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import click
import pytest
from shell import run

from spectral_icl.console import guarded

PATH = os.pathsep.join(path for path in sys.path if path)
FEW = ["--set", "study.prompts=20"]


def start(*args: str, redirected: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """A process of the command, started by a shell that redirects its streams."""
    return subprocess.run(
        ["sh", "-c", f'exec "$0" -m spectral_icl "$@" {redirected}', sys.executable, *args],
        env={**os.environ, "PYTHONPATH": PATH, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("module", ["spectral_icl", "spectral_icl.cli"])
def test_the_package_and_its_command_line_can_be_run(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, "flow", "--no-such"],
        env={**os.environ, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: No such option")


def test_alone_it_prints_its_help() -> None:
    status, out, err = run()
    assert (status, err) == (0, "")
    assert out == run("--help")[1]
    assert out.startswith("Usage: spectral-icl [OPTIONS]")


IMPORTED = """
import atexit, sys
names = ("numba", "llvmlite", "scipy")
atexit.register(lambda: print([name for name in names if name in sys.modules], file=sys.stderr))
from spectral_icl.cli import main
main()
"""


@pytest.mark.parametrize("args", [[], ["--help"], ["--version"], ["cite"], ["flow", "-h"], ["flow", "--no"]])
def test_help_and_version_need_no_compiler(args: list[str]) -> None:
    """They are there also where it cannot be imported."""
    command = [sys.executable, "-c", IMPORTED, *args]
    environment = {**os.environ, "PYTHONPATH": PATH}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr.splitlines()[-1] == "[]"


@pytest.mark.parametrize("redirected", ["<&-", "2>&-", "2>/dev/full"])
def test_results_need_no_other_stream(redirected: str) -> None:
    done = start("sparse", *FEW, redirected=redirected)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("built-in sparse problem")


def test_lines_that_come_one_by_one_need_no_streams() -> None:
    """Whoever prints them asks first whether they go to a terminal."""
    args = ["--set", "model.heads=2", "--claim", "imbalance-conservation"]
    done = start("verify", *args, redirected="<&- >&- 2>&-")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("args", [["cite"], ["--help"], ["sparse", "--json", *FEW]])
def test_output_that_cannot_be_written_is_one_line(args: list[str]) -> None:
    done = start(*args, redirected=">/dev/full")
    assert (done.returncode, done.stderr) == (1, f"Error: output: {os.strerror(errno.ENOSPC)}\n")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_a_complaint_that_nobody_can_read_keeps_its_status(redirected: str) -> None:
    done = start("flow", "missing.toml", redirected=redirected)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_a_name_that_cannot_be_shown_is_replaced(tmp_path: Path, encoding: str) -> None:
    problem = tmp_path / "π.toml"
    problem.write_text("[problem]\ntask_sizes = [2]\nsignal = 1.0\nnoise = 0.1\ncontext_length = 9\n")
    done = start("optimal", str(problem), PYTHONIOENCODING=encoding)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].endswith(("π.toml", r"\u03c0.toml"))
    status, out, err = run("optimal", str(problem), "--json", encoding=encoding)
    assert (status, err) == (0, "")
    assert isinstance(json.loads(out), dict)


def test_a_time_that_is_none_is_one_line() -> None:
    """NumPy reads it too, while it is imported."""
    done = start("sparse", *FEW, SOURCE_DATE_EPOCH="x")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "Error: SOURCE_DATE_EPOCH: expected whole seconds since 1970, got 'x'\n"


def test_the_end_of_a_file_is_not_an_interrupt() -> None:
    @click.command()
    def truncated() -> None:
        raise EOFError("Ran out of input")

    with mock.patch.object(sys, "argv", ["truncated"]), pytest.raises(EOFError):
        guarded(truncated, "truncated")
