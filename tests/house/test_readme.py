"""What the README and the pages show must run, and what they name must exist."""

from __future__ import annotations

import ast
import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from shell import run

from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.nonlinear.experiment import NonlinearExperiment
from spectral_icl.sparse.comparison import compare
from spectral_icl.sparse.experiment import Study
from spectral_icl.sweeps.plan import Plan

ROOT = Path(__file__).parents[2]
README, SWEEPS, SPARSE, LARGE = "README.md", "docs/sweeps.md", "docs/sparse.md", "docs/large.md"
NONLINEAR = "docs/nonlinear.md"
GUIDES = [README, "CONTRIBUTING.md", *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
KNOWN = {"README", "CONTRIBUTING", "CHANGELOG", "CITATION"}  # files whose names are in capitals
PAGES = [*GUIDES, "CHANGELOG.md", *(p.relative_to(ROOT).as_posix() for p in sorted(ROOT.glob("*/README.md")))]


def text_of(page: str) -> str:
    """A page, by its path from the root."""
    return (ROOT / page).read_text("utf-8")


def blocks(page: str, language: str) -> list[str]:
    """The code of a language on a page."""
    return re.findall(rf"```{language}\n(.*?)```", text_of(page), re.DOTALL)


def test_the_readme_is_short_and_leads_to_every_page() -> None:
    assert len(text_of(README).splitlines()) <= 150
    assert [page for page in GUIDES[1:] if f"]({page})" not in text_of(README)] == []


def test_every_block_of_code_is_run_below() -> None:
    for language, expected in (
        ("python", [README, NONLINEAR, SWEEPS, SPARSE]),
        ("toml", [SWEEPS, LARGE, LARGE]),
    ):
        found = [page for page in PAGES for _ in blocks(page, language)]
        assert sorted(found) == sorted(expected), language


def test_continuous_integration_runs_both_commands_and_what_nox_checks() -> None:
    steps = text_of(".ci/run").splitlines()
    for command in blocks(README, "sh"):
        assert command.strip() in steps
    check = text_of("noxfile.py").split("def check(")[1].split("@nox.session")[0]
    for arguments in re.findall(r"session\.run\((.*)\)", check):
        assert f".venv/bin/{' '.join(ast.literal_eval(f'({arguments},)'))}" in steps


def test_problems_of_the_page_on_large_ones_are_problems() -> None:
    thousand, chain = (Experiment.from_dict(tomllib.loads(block)).problem for block in blocks(LARGE, "toml"))
    assert (thousand.tasks, thousand.signal[999][999]) == (1000, 0.01)
    assert chain.signal == ((6.0, 4.0, 0.0), (0.0, 6.0, 4.0))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    prose = re.sub(r"```.*?```", "", text_of(page), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)]+)\)", prose):
        if not link.startswith(("https://", "#")):
            assert (ROOT / page).parent.joinpath(link.split("#")[0]).exists(), link


@pytest.mark.parametrize("page", GUIDES)
def test_paths_and_modules_that_are_named_exist(page: str) -> None:
    """Names in capitals stand for any: `spectral_icl/ROOM/NAME.py`."""
    text = text_of(page)
    named = re.findall(r"`([\w.-]+/[\w./-]*|[\w./-]+\.(?:cfg|cff|css|md|py|toml|yaml))`", text)
    named += re.findall(r"\b((?:examples|docs)/[\w./-]+\w)", text)
    for path in named:
        anything = any(
            re.fullmatch(r"[A-Z]+", part) for part in re.split(r"[/._]", path) if part not in KNOWN
        )
        assert anything or (ROOT / path).exists() or (ROOT / "spectral_icl" / path).exists(), path
    for module in re.findall(r"python -m ([\w.]+)", text):
        assert module == "pytest" or importlib.util.find_spec(module), module


def test_the_tour_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tour,) = blocks(README, "python")
    names: dict[str, object] = {}
    exec(compile(tour, README, "exec"), names)
    assert names["task"].time == pytest.approx(21.62, abs=0.01)  # type: ignore[attr-defined]
    assert names["sol"].forecast[0].time == pytest.approx(21.618, abs=0.001)  # type: ignore[attr-defined]
    assert names["esc"].phases.escapes[0].time == pytest.approx(46.6, abs=0.05)  # type: ignore[attr-defined]
    assert (tmp_path / "flow.nc").exists()


def test_the_sweep_runs_and_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the page with fewer values on its axes, and the lines that open its store."""
    monkeypatch.chdir(tmp_path)
    (text,) = blocks(SWEEPS, "toml")
    assert Plan.from_dict(tomllib.loads(text)).size == 21 * 21 * 20
    text = text.replace(", 21]", ", 2]").replace("replicates = 20", "replicates = 3")
    Path("plan.toml").write_text(text)
    assert run("sweep", "plan.toml", "--out", "diagram.zarr")[0] == 0
    names: dict[str, Any] = {}
    (lines,) = blocks(SWEEPS, "python")
    exec(compile(lines, SWEEPS, "exec"), names)
    assert names["points"].sizes["point"] == 12
    assert dict(names["grid"].loss.sizes) == {"problem.context_length": 2, "problem.snr": 2, "replicate": 3}


def test_the_sparse_lines_run(capsys: pytest.CaptureFixture[str]) -> None:
    (lines,) = blocks(SPARSE, "python")
    exec(compile(lines, SPARSE, "exec"), {})
    best, _, given, error = capsys.readouterr().out.splitlines()
    assert float(best) == pytest.approx(0.0344, abs=0.004)  # whose standard error is 0.001
    assert len(given.strip("[]").split()) == 2
    assert float(error) < 1e-12


def test_the_nonlinear_lines_run() -> None:
    """Two heads read the intercept and the linear part, a single one cannot have both."""
    names: dict[str, Any] = {}
    (lines,) = blocks(NONLINEAR, "python")
    exec(compile(lines, NONLINEAR, "exec"), names)
    assert (names["share"][0, :2] > 0.999).all()
    assert 0.3 < names["share"][0, 2] < 0.35
    assert names["best"].loss > 2.0 * names["flow"].final_task_loss[0]


@pytest.mark.parametrize("path", sorted((ROOT / "examples" / "sparse").glob("*.toml")), ids=lambda p: p.stem)
def test_every_sparse_example_has_the_winner_that_it_names(path: Path) -> None:
    found = compare(Study.read(path, ("study.prompts=100", "study.draws=16")))
    assert (found.simulated_advantage.mean < 1.0) == (path.stem == "wins")
    assert all(met for _, met in found.hypotheses) == (path.stem == "wins")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda p: p.stem)
def test_every_example_solves(path: Path) -> None:
    kind = NonlinearExperiment if path.stem == "nonlinear" else Experiment
    assert kind.read(path).solve().success


def test_the_example_file_is_the_built_in_one() -> None:
    built_in, file = Experiment.read(None), Experiment.read(ROOT / "examples" / "two_tasks.toml")
    assert (file.problem, file.flow, file.initial) == (built_in.problem, built_in.flow, built_in.initial)
