"""Results are printed before pictures are drawn, and pictures are ours whatever the user's matplotlib is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from matplotlib import style
from shell import run

import spectral_icl as si

SMALL = [f"--set={entry}" for entry in ("sparse.d=8", "sparse.n=20", "study.prompts=20", "study.draws=16")]
COMMANDS = [
    ("flow", [], "--plot", "figure.pdf"),
    ("optimal", ["--heads=1"], "--plot", "figure.pdf"),
    ("sparse", SMALL, "--plot", "figure.pdf"),
    ("verify", ["--claim=sign-conservation", "--set=problem.noise=0.1"], "--report", "page.html"),
    ("flow", ["--json"], "--plot", "figure.pdf"),
]


@pytest.mark.parametrize(("name", "options", "option", "file"), COMMANDS)
def test_a_picture_that_cannot_be_drawn_takes_no_result_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, options: list[str], option: str, file: str
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("no picture\ntoday")

    expected = run(name, *options)[1]
    monkeypatch.setattr(style, "context", broken)
    target = tmp_path / file
    status, out, err = run(name, *options, option, str(target))
    told = f"Error: {target}: not drawn (RuntimeError: no picture today)"
    assert (status, err.splitlines()[-1]) == (1, told)
    assert list(tmp_path.iterdir()) == []
    for text in (out, expected):
        assert json.loads(text) if "--json" in options else len(text.splitlines()) > 3
    assert len(out.splitlines()) == len(expected.splitlines())


def test_a_flow_is_printed_before_it_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device", "flow.nc")

    monkeypatch.setattr(si.Solution, "save", full)
    status, out, err = run("flow", "--out", str(tmp_path / "flow.nc"))
    assert (status, err) == (1, "Error: flow.nc: No space left on device\n")
    assert out == run("flow")[1]


def test_the_users_matplotlib_has_no_say(tmp_path: Path) -> None:
    """A backend that is not there, LaTeX that is not there, settings that cannot be read."""
    settings = tmp_path / "matplotlibrc"
    settings.write_bytes(b"text.usetex: True\nfigure.facecolor: red\nnothing: 1\nfont.family: \xff\n")
    own = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "MATPLOTLIBRC": str(settings)}
    here, there = tmp_path / "here.png", tmp_path / "there.png"
    assert run("flow", "--plot", str(here))[0] == 0
    done = subprocess.run(
        [sys.executable, "-c", "from spectral_icl.cli import main; main()", "flow", "--plot", there],
        env={**os.environ, **own},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert there.read_bytes() == here.read_bytes()


def test_figures_are_imported_where_the_backend_is_not_there() -> None:
    code = "import os, spectral_icl as si; si.plots; print(os.environ['MPLBACKEND'])"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "MPLBACKEND": "nosuch"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "nosuch\n", "")
