"""Commands with more tasks than are listed one by one, and with a flow of which not every step is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from shell import run

import spectral_icl as si
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.flow.outline import Outline

MANY = """
[problem]
tasks = 40
task_sizes = 4
signal = 10.0
noise = 0.1
context_length = 1000
[model]
heads = 2
[initial]
kind = "random"
scale = 0.05
seed = 1
[flow]
t_end = 300.0
rtol = 1e-4
dense_output = false
"""
EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "many.toml"
    path.write_text(MANY)
    return path


def test_a_flow_is_told_drawn_and_saved(file: Path, tmp_path: Path) -> None:
    store, figure = tmp_path / "run.nc", tmp_path / "run.png"
    status, out, _ = run("flow", str(file), "--out", str(store), "--plot", str(figure))
    assert status == 0
    assert len(out.splitlines()) < 50
    assert "of 40 tasks emerged" in out
    assert figure.stat().st_size > 10_000
    loaded = si.Solution.load(store)
    assert isinstance(loaded.trajectory, Outline)
    assert f"{loaded.final_loss:.6f}" in out


def test_json_has_every_task(file: Path) -> None:
    status, out, _ = run("flow", str(file), "--json")
    assert status == 0
    table = json.loads(out)
    assert len(table["task_loss"]) == len(table["allocation"]) == len(table["phases"]["tasks"]) == 40
    assert [len(row) for row in table["mu"]] == [40, 40]


def test_every_step_is_kept_if_that_is_asked_for(file: Path, tmp_path: Path) -> None:
    store = tmp_path / "run.zarr"
    assert run("flow", str(file), "--set=flow.dense_output=true", "--out", str(store))[0] == 0
    assert si.Solution.load(store)(12.345).mu.shape == (2, 40)
    status, _, err = run("flow", str(file), "--set=flow.dense_output=1")
    assert (status, err.startswith("Error: flow.dense_output: expected true or false")) == (2, True)


def test_claims_are_checked_on_it(file: Path) -> None:
    claims = ("monotone-loss", "sign-conservation", "task-allocation", "imbalance-conservation")
    status, out, _ = run("verify", str(file), *(f"--claim={name}" for name in claims))
    assert status == 0
    assert max(map(len, out.splitlines())) < 400
    assert out.count("holds") >= 3


@pytest.mark.parametrize(
    ("name", "size"), [("thousand_tasks", (4, 1000, 1000)), ("hundred_heads", (100, 100, 100))]
)
def test_large_examples_are_read(name: str, size: tuple[int, int, int]) -> None:
    made = Experiment.read(EXAMPLES / f"{name}.toml")
    assert (len(made.start.omega), made.problem.blocks, made.problem.tasks) == size
    assert made.flow.dense_output is None
