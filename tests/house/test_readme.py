"""What the README shows must run."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from shell import run

from spectral_icl.multitask.experiment import Experiment
from spectral_icl.sparse.comparison import compare
from spectral_icl.sparse.experiment import Study
from spectral_icl.sweeps.plan import Plan

ROOT = Path(__file__).parents[2]


def blocks(language: str) -> list[str]:
    """The code of a language in the README."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tour = blocks("python")[0]
    names: dict[str, object] = {}
    exec(compile(tour, "README.md", "exec"), names)
    assert names["task"].time == pytest.approx(21.62, abs=0.01)  # type: ignore[attr-defined]
    assert names["sol"].forecast[0].time == pytest.approx(21.617, abs=0.001)  # type: ignore[attr-defined]
    assert names["esc"].phases.escapes[0].time == pytest.approx(46.6, abs=0.05)  # type: ignore[attr-defined]
    assert (tmp_path / "flow.nc").exists()


def test_the_sweep_runs_and_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the README with fewer values on its axes, and the lines that open its store."""
    monkeypatch.chdir(tmp_path)
    (text,) = blocks("toml")
    assert Plan.from_dict(tomllib.loads(text)).size == 21 * 21 * 20
    text = text.replace(", 21]", ", 2]").replace("replicates = 20", "replicates = 3")
    Path("plan.toml").write_text(text)
    assert run("sweep", "plan.toml", "--out", "diagram.zarr")[0] == 0
    names: dict[str, Any] = {}
    exec(compile(blocks("python")[1], "README.md", "exec"), names)
    assert names["points"].sizes["point"] == 12
    assert dict(names["grid"].loss.sizes) == {"problem.context_length": 2, "problem.snr": 2, "replicate": 3}


def test_the_sparse_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(blocks("python")[2], "README.md", "exec"), {})
    best, _, given, error = capsys.readouterr().out.splitlines()
    assert float(best) == pytest.approx(0.0344, abs=0.004)  # whose standard error is 0.001
    assert len(given.strip("[]").split()) == 2
    assert float(error) < 1e-12


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "sparse").glob("*.toml")), ids=lambda p: p.stem)
def test_every_sparse_example_has_the_winner_that_it_names(path: Path) -> None:
    found = compare(Study.read(path, ("study.prompts=100", "study.draws=16")))
    assert (found.simulated_advantage.mean < 1.0) == (path.stem == "wins")
    assert all(met for _, met in found.hypotheses) == (path.stem == "wins")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.stem)
def test_every_example_solves(path: Path) -> None:
    assert Experiment.read(path).solve().success


def test_the_example_file_is_the_built_in_one() -> None:
    built_in, file = Experiment.read(None), Experiment.read(ROOT / "examples" / "two_tasks.toml")
    assert (file.problem, file.flow, file.initial) == (built_in.problem, built_in.flow, built_in.initial)
