"""The figure of a file: of a store that may be incomplete, or of a saved flow; and what cannot be drawn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from drawn import BASE, LENGTHS

import spectral_icl as si
from spectral_icl.cli import cli
from spectral_icl.figures import stored as drawing
from spectral_icl.figures.sweep import sweep_figure
from spectral_icl.sweeps import run as sweep
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.store import open_sweep


def test_an_incomplete_store_is_drawn_and_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = Plan.from_dict({**BASE, "axis": [LENGTHS], "batch": 3})
    path = tmp_path / "part.zarr"
    sweep.run(plan, path, shard=(1, 3))
    done = CliRunner().invoke(cli, ["plot", str(path)], catch_exceptions=False)
    assert done.output == (
        f"{path}: loss, emergence of 9 points\n  left out  6, not solved yet\nwrote part-loss-emergence.pdf\n"
    )
    assert (tmp_path / "part-loss-emergence.pdf").read_bytes().startswith(b"%PDF-")
    (axes,) = sweep_figure(open_sweep(path), ["loss"]).get_axes()
    loss = np.asarray(axes.get_lines()[0].get_ydata(), float)
    assert np.isfinite(loss).tolist() == [False] * 3 + [True] * 3 + [False] * 3


def test_a_saved_flow_is_drawn_as_a_flow(tmp_path: Path, two_tasks: si.Problem) -> None:
    flow = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2), t_end=1.0)
    for suffix in (".nc", ".zarr"):
        path = tmp_path / f"flow{suffix}"
        flow.save(path)
        target = tmp_path / f"flow{suffix}.png"
        done = CliRunner().invoke(cli, ["plot", str(path), "--out", str(target), "--json"])
        assert json.loads(done.output) == {
            "path": str(path), "shows": ["flow"], "points": 1, "left_out": {}, "figure": str(target)
        }  # fmt: skip
        assert target.exists()
        with pytest.raises(si.ProblemError, match="x: expected nothing for a flow"):
            drawing.draw(path, x="time")


ERRORS = {
    "quantity: expected one of 'loss', 'gap',": {"quantities": ["emergency"]},
    "x: expected one of 'problem.context_length', 'problem.snr', got 'snr'": {"x": "snr"},
    "y: expected another dimension than x": {"x": "problem.snr", "y": "problem.snr"},
    "task: expected a whole number >= 0 and <= 1, got 2": {"quantities": ["emergence"], "task": 2},
    "task: expected nothing for saturation": {"quantities": ["saturation"], "task": 0},
    "at problem.snr: expected a value of the sweep, such as 1, got 1.1": {"at": {"problem.snr": 1.1}},
    "at: expected one of": {"at": {"snr": 1.0}},
    "at: expected a dimension that is not shown": {"x": "problem.snr", "at": {"problem.snr": 1.0}},
    "x: expected a dimension: none is left": {"y": "problem.snr", "at": {"problem.context_length": 20.0}},
    "quantity: expected at most 6": {"quantities": ["loss"] * 7},
}


@pytest.mark.parametrize("message", ERRORS)
def test_what_cannot_be_drawn_is_said_in_one_line(store: Callable[[str], Path], message: str) -> None:
    with pytest.raises(si.ProblemError) as caught:
        drawing.draw(store("map"), **ERRORS[message])
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


def test_bad_paths_and_places_are_refused_and_nothing_is_written(
    tmp_path: Path, store: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    good = str(store("line"))
    for arguments, message in (
        (["absent.zarr"], "path: expected an existing store of a sweep, or a saved flow"),
        (["folder"], "path: expected"),
        ([good, "--out", "figure.gif"], "--out: expected a name ending in .pdf"),
        ([good, "--at", "x"], "--at: expected PATH=VALUE with a number, got 'x'"),
        ([good, "--at", "x=y"], "--at: expected PATH=VALUE with a number, got 'x=y'"),
        ([good, "--quantity", "losses"], "quantity: expected one of"),
    ):
        with pytest.raises(si.ProblemError) as caught:
            CliRunner().invoke(cli, ["plot", *arguments], catch_exceptions=False)
        assert str(caught.value).startswith(message)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
