"""Every script of the gallery runs at small size and leaves a figure with something in it."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib
import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "examples" / "gallery").glob("[a-z]*.py"))
# seconds each; the site, built beside the tests, runs every script at small size too, and stops at an error
LONG = {
    *("three_laws", "saturated", "p2o_context", "p2o_plane"),
    *("trajectories", "context_length", "separation", "margins", "nonlinear_laws"),
}


@pytest.mark.parametrize(
    "script",
    [pytest.param(path, id=path.stem, marks=[pytest.mark.slow] * (path.stem in LONG)) for path in SCRIPTS],
)
def test_a_script_draws_its_figure(script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GALLERY", "small")
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    with matplotlib.rc_context():
        figure = runpy.run_path(str(script))["figure"]
        plt.close("all")
    assert [path.name for path in tmp_path.iterdir()] == [f"{script.stem}.png"]
    assert all(axes.has_data() for axes in figure.axes if axes.get_label() != "<colorbar>")


def test_scripts_are_short_and_say_what_they_show() -> None:
    assert len(SCRIPTS) > 15
    for script in SCRIPTS:
        text = script.read_text("utf-8")
        _, title, rule = text.splitlines()[:3]
        assert rule == "=" * len(title), script
        assert len(text.splitlines()) <= 40, script
        assert f'figure.savefig("{script.stem}.png")' in text


def test_an_unknown_name_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.gallery", str(tmp_path), "nothing"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "got 'nothing'" in done.stderr
