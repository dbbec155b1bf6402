"""What the README shows must run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from spectral_icl.experiment import Experiment

ROOT = Path(__file__).parent.parent


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tour,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    names: dict[str, object] = {}
    exec(compile(tour, "README.md", "exec"), names)
    assert names["task"].time == pytest.approx(21.62, abs=0.01)  # type: ignore[attr-defined]
    assert names["sol"].forecast[0].time == pytest.approx(21.617, abs=0.001)  # type: ignore[attr-defined]
    assert names["esc"].phases.escapes[0].time == pytest.approx(46.6, abs=0.05)  # type: ignore[attr-defined]
    assert (tmp_path / "flow.nc").exists()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.stem)
def test_every_example_solves(path: Path) -> None:
    assert Experiment.read(path).solve().success


def test_the_example_file_is_the_built_in_one() -> None:
    built_in, file = Experiment.read(None), Experiment.read(ROOT / "examples" / "two_tasks.toml")
    assert (file.problem, file.flow, file.initial) == (built_in.problem, built_in.flow, built_in.initial)
