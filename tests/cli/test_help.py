"""Help: every command shows an example, all of which work, and a shell can complete what is typed."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from shell import run

from spectral_icl.cli import cli
from spectral_icl.theorems.multitask import check, ranges
from spectral_icl.theorems.sparse import check as sparse_check
from spectral_icl.theorems.sparse import ranges as sparse_ranges

PATH = os.pathsep.join(path for path in sys.path if path)
LASTING = ["explore"]  # what ends with Ctrl-C is parsed alone
COMMANDS = [(), *((name,) for name in sorted(cli.commands))]
COMPLETED = """
eval "$(_SPECTRAL_ICL_COMPLETE=bash_source spectral-icl)"
complete -p spectral-icl >&2
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_spectral_icl_completion spectral-icl
echo "${COMPREPLY[@]}"
"""


def example_of(command: tuple[str, ...]) -> list[str]:
    """The lines under the last heading of a command's help."""
    status, out, err = run(*command, "--help")
    assert (status, err) == (0, "")
    *_, last = out.rstrip("\n").split("\n\n")
    heading, *lines = last.splitlines()
    assert heading == "Example:", command
    return [line.strip() for line in lines]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command) or "all")
def test_help_ends_with_an_example_that_works(
    command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In an empty folder, line by line."""
    monkeypatch.chdir(tmp_path)
    lines = example_of(command)
    for line in lines:
        program, *args = shlex.split(line)
        assert program == "spectral-icl"
        if args[0] in LASTING:
            cli.commands[args[0]].make_context(args[0], args[1:])
            continue
        status, out, err = run(*args)
        assert status == 0, err
        assert out
    assert command == () or any(line.split()[1] == command[0] for line in lines)


def test_the_prompts_that_verify_samples_are_told() -> None:
    status, out, err = run("verify", "--help")
    assert (status, err) == (0, "")
    told = " ".join(out.split()).partition("To sample")[2].partition("--seed")[0]
    usual = [check.PROMPTS, sparse_check.PROMPTS]
    usual += [ranges.SAMPLED_PROMPTS, sparse_ranges.SAMPLED_PROMPTS]
    assert [int(number) for number in re.findall(r"\d+", told)] == usual


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        (["exa"], ["examples"]),
        (["examples", "sparse/"], ["sparse/correlated", "sparse/dense", "sparse/wins"]),
        (["sweep", "--sch"], ["--scheduler"]),
        (["flow", "--plo"], ["--plot"]),
    ],
)
def test_bash_completes(typed: list[str], completed: list[str], tmp_path: Path) -> None:
    program = tmp_path / "spectral-icl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m spectral_icl "$@"\n')
    program.chmod(0o700)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", COMPLETED, "bash", "spectral-icl", *typed],
        env={**os.environ, "PATH": path, "PYTHONPATH": PATH},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "-F _spectral_icl_completion spectral-icl" in done.stderr
    assert done.stdout.split() == completed
