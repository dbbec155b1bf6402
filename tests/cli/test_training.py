"""Paths of gradient descent beside a flow: options, a table of a file, what is printed, drawn and refused."""

from __future__ import annotations

import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from shell import run
from strict import strict

import spectral_icl as si
from spectral_icl.multitask.experiment import Experiment

SGD = ("--step", "0.05", "--batch", "1000", "--paths", "8")
SHORT = ("--set", "flow.t_end=60")

FILE = """
[problem]
task_sizes = [10, 10]
signal = [10.0, 10.0]
noise = 0.09
context_length = 100
[initial]
qk = 0.1
ov_low = 0.1
ov_high = 0.2
[flow]
t_end = 60.0
[training]
step = 0.05
batch = 1000
paths = 8
seed = 0
"""


def report(*args: str) -> dict[str, Any]:
    status, out, err = run("flow", "--json", *args)
    assert status == 0, err
    found: dict[str, Any] = strict(out)
    return found


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return report(*SGD, *SHORT)


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "training.toml"
    path.write_text(FILE, "utf-8")
    return str(path)


def test_text_has_the_paths_beside_the_flow() -> None:
    status, out, err = run("flow", *SGD, *SHORT)
    assert (status, err) == (0, "")
    assert re.search(r"^  SGD, step 0\.05, batch 1000, 8 paths +flow +median", out, re.MULTILINE)
    row = r"^  emergence of task 0 +21\.\d+ +2\d\.\d+ +\d+\.\d+ to 2\d\.\d+ +0\.\d+ +8 of 8$"
    assert re.search(row, out, re.MULTILINE)
    assert re.search(r"^  entries off the diagonals: stationary loss 0\.\d+ at the end", out, re.MULTILINE)
    assert re.search(r"^  the step is at most 0\.\d+ of that at the edge of stability", out, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 120
    assert "nan" not in out


def test_json_has_what_the_library_finds(told: dict[str, Any]) -> None:
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    start = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    found = si.stochastic_flow(p, *start, step=0.05, batch=1000, t_end=60.0, paths=8)
    assert told["training"]["emergence"]["paths"] == pytest.approx(found.emergence, abs=0.02)
    assert told["training"]["stray_loss"] == found.cost.loss[-1]
    assert told["phases"]["escapes"] == [], "the flow is the one without noise"


def test_a_file_says_the_same_as_options(file: str, told: dict[str, Any]) -> None:
    assert report(file)["training"] == told["training"]


def test_options_override_the_file(file: str) -> None:
    changed = report(file, "--seed", "3", "--batch", "500")["training"]
    assert (changed["seed"], changed["batch"], changed["step"], changed["paths"]) == (3, 500, 0.05, 8)
    replaced = report(file, "--set", "training.seed=3", "--set", "training.batch=500")["training"]
    assert changed == replaced
    noisy = report(file, "--set", "training.noisy_queries=true")["training"]
    assert noisy["noisy_queries"] is True


def test_the_figure_has_bands(tmp_path: Path) -> None:
    target = tmp_path / "flow.svg"
    for args, there in ((SGD, True), ((), False)):
        assert run("flow", *args, *SHORT, "--plot", str(target))[0] == 0
        assert ("<!-- 5 to 95 % of paths -->" in target.read_text("utf-8")) is there


def test_the_seed_is_that_of_the_paths(told: dict[str, Any]) -> None:
    again, other = (report(*SGD, *SHORT, "--seed", seed)["training"] for seed in ("0", "1"))
    assert again == told["training"]
    assert np.abs(np.subtract(again["emergence"]["paths"], other["emergence"]["paths"])).min() > 0.0


@pytest.mark.parametrize(
    ("args", "argument", "shown"),
    [
        (("--step", "0.1"), "--batch", "paths have a step and a batch"),
        (("--batch", "10"), "--step", "paths have a step and a batch"),
        (("--paths", "10"), "--step", "a learning rate"),
        (("--set", "training.step=0.1"), "training.batch", "a number of prompts"),
        (("--set", "training.step=0.1", "--seed", "3"), "--batch", "a number of prompts"),
        (("--step", "0", "--batch", "10"), "--step", "a number > 0"),
        (("--step", "nan", "--batch", "10"), "--step", "got nan"),
        (("--step", "1e-9", "--batch", "10"), "--step", "between 2 and 5,000,000; t_end is 200"),
        (("--step", "150", "--batch", "10"), "--step", "between 2 and 5,000,000; t_end is 200"),
        ((*SGD, "--batch", "0"), "--batch", "a whole number >= 1"),
        ((*SGD, "--paths", "0"), "--paths", "a whole number >= 1"),
        ((*SGD, "--paths", "100000"), "--paths", "fewer of either"),
        ((*SGD, "--seed", "-1"), "--seed", "a whole number >= 0"),
        ((*SGD, "--set", "training.stepp=1"), "training.stepp", "a known key"),
        ((*SGD, "--set", "training.noisy_queries=1"), "training.noisy_queries", "true or false"),
        ((*SGD, "--set", "model.heads=100"), "model.heads", "H (B + I) <= 256"),
        ((*SGD, "--set", "initial.qk=5", "--set", "flow.t_end=1"), "model.kernel", "its logits overflow"),
        ((*SGD, "--set", "training=5"), "--set", "section.key=value"),
    ],
    ids=str,
)
def test_what_is_wrong_is_one_line(args: tuple[str, ...], argument: str, shown: str) -> None:
    status, out, err = run("flow", *args)
    assert (status, out) == (2, "")
    assert err.startswith(f"Error: {argument}: expected ")
    assert shown in err
    assert err.count("\n") == 1


def test_a_training_that_is_no_table_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "flow.toml"
    path.write_text("training = 3\n" + FILE.partition("[training]")[0], "utf-8")
    status, _, err = run("flow", str(path))
    assert (status, err) == (2, "Error: training: expected a table [training], got 3\n")


def test_a_file_of_a_flow_holds_no_paths(tmp_path: Path) -> None:
    target = tmp_path / "run.nc"
    status, out, err = run("flow", *SGD, "--out", str(target))
    assert (status, out) == (2, "")
    assert err.startswith("Error: --out: expected nothing beside SGD")
    assert not target.exists()


def test_a_sweep_has_no_training(file: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.toml"
    path.write_text(FILE + '[[axis]]\npath = "problem.noise"\nvalues = [0.1]\n', "utf-8")
    status, _, err = run("sweep", str(path), "--out", str(tmp_path / "sweep.zarr"))
    assert status == 2
    assert err.startswith("Error: training: ")


def test_a_flow_without_an_end_has_paths_to_its_rest() -> None:
    found = report(*SGD, "--set", "flow.t_end=inf", "--set", "flow.stationary=1e-3")
    assert found["outcome"] == "stationary"
    assert found["training"]["imbalance"]["time"][0] < found["time"]


def test_an_unfinished_flow_has_no_paths() -> None:
    status, out, err = run("flow", "--json", *SGD, "--set", "flow.max_steps=5")
    assert status == 1
    assert "training" not in strict(out)
    assert err.count("\n") == 1


def test_an_interrupt_ends_the_paths_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """In seconds, where all of their steps would take minutes, and in one line."""
    train = Experiment.train
    seen: list[int] = []

    def interrupted(self: Experiment, solution: si.Solution, progress: object) -> object:
        def once(steps: int) -> None:
            seen.append(steps)
            if threading.current_thread() is threading.main_thread():
                raise KeyboardInterrupt

        return train(self, solution, once)

    monkeypatch.setattr(Experiment, "train", interrupted)
    monkeypatch.setattr("spectral_icl.multitask.flow.stochastic.available_cores", lambda: 1)
    began = time.monotonic()
    status, out, err = run("flow", "--step", "1e-4", "--batch", "10", "--paths", "64")
    assert (status, out, err.strip("\n")) == (130, "", "Error: interrupted")
    assert time.monotonic() - began < 20.0
    assert len(seen) == 1


def test_an_interrupt_ends_the_paths_of_other_threads_too() -> None:
    """A pool waits for its threads: those under way take one part of their steps more, of some fifty."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    parts: list[int] = []

    def interrupted(steps: int) -> None:
        parts.append(steps)
        if len(parts) == 1:
            raise KeyboardInterrupt

    start = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    with pytest.raises(KeyboardInterrupt):
        si.stochastic_flow(p, *start, step=1e-4, batch=10, paths=64, threads=2, progress=interrupted)
    assert len(parts) <= 5


def test_there_is_no_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("a bar")

    monkeypatch.setattr("spectral_icl.io.progress._bar", refuse)
    assert not sys.stderr.isatty()
    assert run("flow", *SGD, *SHORT)[2] == ""


def test_a_terminal_has_a_bar_that_ends_full(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = []

    class Bar:
        def __init__(self, total: int) -> None:
            counted.append(total)

        def update(self, n: float | None = 1) -> None:
            counted.append(-int(n or 0))

        def set_postfix_str(self, s: str = "", refresh: bool = True) -> None: ...

        def close(self) -> None: ...

    monkeypatch.setattr("spectral_icl.io.progress._on_terminal", lambda: True)
    monkeypatch.setattr("spectral_icl.io.progress._bar", lambda total, *_: Bar(total))
    assert run("flow", *SGD, *SHORT)[0] == 0
    assert counted[0] == 8 * 1201
    assert sum(counted) == 0
