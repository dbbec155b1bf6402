"""The files that come with the package: all of them, as they are, and over nothing that was changed."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from shell import run

from spectral_icl.io.examples import described, names
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.nonlinear.experiment import NonlinearExperiment
from spectral_icl.sparse.experiment import Study
from spectral_icl.sweeps.plan import Plan

EXAMPLES = Path(__file__).parents[2] / "examples"
FILES = {path.relative_to(EXAMPLES).with_suffix("").as_posix(): path for path in EXAMPLES.rglob("*.toml")}
READERS = {
    "flow": Experiment.read,
    "nonlinear": NonlinearExperiment.read,
    "sparse": Study.read,
    "sweep": Plan.read,
}


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_file_is_an_example() -> None:
    assert sorted(names()) == sorted(FILES)
    for example in described():
        READERS[example.command](FILES[example.name])
        assert 5 < len(example.about) < 110
        assert not example.about.startswith("#")


def test_they_are_listed() -> None:
    status, out, err = run("examples")
    assert (status, err) == (0, "")
    title, *lines, how = out.splitlines()
    assert title.endswith(":")
    assert "`spectral-icl examples NAME`" in how
    assert [line.split()[0] for line in lines] == names()
    status, out, _ = run("examples", "--json")
    listed = json.loads(out)["examples"]
    assert [(entry["name"], entry["file"]) for entry in listed] == [(name, None) for name in names()]


def test_all_are_copied_where_pages_and_comments_name_them() -> None:
    status, out, err = run("examples", "--all")
    assert (status, err) == (0, "")
    for name, path in FILES.items():
        assert Path("examples", f"{name}.toml").read_bytes() == path.read_bytes()
        (command,) = re.findall(rf"^  spectral-icl (\w+) examples/{name}\.toml", out, re.MULTILINE)
        READERS[command](Path("examples", f"{name}.toml"))
    assert run("examples", "--all")[0] == 0  # all are there already


def test_what_is_printed_solves_the_copy() -> None:
    status, out, _ = run("examples", "escape", "--out", "a folder")
    assert (status, out) == (0, "a folder/escape.toml\n  spectral-icl flow 'a folder/escape.toml'\n")
    assert run("flow", "a folder/escape.toml")[0] == 0


def test_a_copy_that_was_changed_stays() -> None:
    changed = Path("examples", "escape.toml")
    run("examples", "escape")
    changed.write_text("mine")
    status, out, err = run("examples", "authors", "escape", "sparse/wins")
    assert (status, out) == (2, "")
    assert err == (
        "Error: --out: expected a folder where escape.toml is missing or unchanged, got 'examples'\n"
    )
    assert [path.name for path in Path().rglob("*")] == ["examples", "escape.toml"]
    assert changed.read_text() == "mine"


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (["plateau"], "NAME: expected one of 'authors', 'escape', .*, got 'plateau'"),
        (["../setup"], "NAME: expected one of .*, got '../setup'"),
        (["escape", "--all"], "--all: expected no NAME beside it, got 'escape'"),
        (
            ["escape", "--out", "file"],
            r"--out: expected a folder that can be written \(file exists\), got 'file'",
        ),
        (
            ["escape", "--out", "file/in"],
            r"--out: expected a folder that can be written \(not a directory\), got 'file/in'",
        ),
    ],
)
def test_bad_input_is_one_line(args: list[str], complaint: str) -> None:
    Path("file").touch()
    status, out, err = run("examples", *args)
    assert (status, out) == (2, "")
    assert re.fullmatch(f"Error: {complaint}\n", err)
    assert list(Path().iterdir()) == [Path("file")]
