"""Malformed input: one line with the argument, its value and what was expected, and nothing left behind."""

import math
import os
import re
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from shell import run

import spectral_icl as si

HUGE = "1" + "0" * 30  # a TOML integer that no fixed-size integer holds

SOUND: dict[str, dict[str, str]] = {
    "problem": {
        "task_sizes": "[10, 10]",
        "signal": "[10.0, 10.0]",
        "noise": "0.09",
        "context_length": "100",
    },
    "model": {"heads": "2"},
    "initial": {},
    "flow": {},
}


def toml(*entries: str) -> str:
    """A sound file with entries ``section.key = value`` replaced, or removed where there is no value."""
    tables = {section: dict(table) for section, table in SOUND.items()}
    for entry in entries:
        path, _, value = entry.partition(" = ")
        section, _, key = path.partition(".")
        tables[section][key] = value
    lines = []
    for section, table in tables.items():
        lines += [f"[{section}]", *(f"{key} = {value}" for key, value in table.items() if value)]
    return "\n".join(lines)


def assert_refused(folder: Path, args: list[str], argument: str, *shown: str) -> None:
    """The command says what is wrong in one line, exits with 2 and writes no result, plot or scratch."""
    before = sorted(folder.rglob("*"))
    status, out, err = run(*args)
    assert err.startswith("Error: ")
    assert err.count("\n") == 1
    assert err.endswith("\n")
    assert len(err) < 400, "a line to read, not a page"
    assert not argument or re.match(rf"Error: {re.escape(argument)}(?![\w.])", err), err
    for fragment in shown:
        assert fragment in err
    assert out == ""
    assert status == 2
    assert sorted(folder.rglob("*")) == before


FACTORED = ('model.parametrization = "factored"', "model.imbalance_omega = 1e-6")

# (entries of the file, the argument that the message must name, what else it must show)
FILES: list[tuple[tuple[str, ...], str, str]] = [
    # the problem
    (("problem.nosie = 1",), "problem.nosie", "got 1"),
    (("problem.block_sizes = [10, 10]",), "problem.block_sizes", "task_sizes"),
    (("problem.context_length = ",), "problem.context_length", "a value"),
    (("problem.signal = ",), "problem.signal", "a value"),
    (("problem.signal = [1.0, 2.0, 3.0]",), "problem.signal", "[1.0, 2.0, 3.0]"),
    (("problem.signal = []",), "problem.signal", "2 numbers, got []"),
    (("problem.signal = [0.0, 1.0]",), "problem.signal[0]", "positive"),
    (("problem.signal = 0.0",), "problem.signal", "0.0"),
    (("problem.signal = [10.0, -1.0]",), "problem.signal[1]", "-1.0"),
    (("problem.signal = [10.0, nan]",), "problem.signal[1]", "nan"),
    (("problem.signal = [10.0, inf]",), "problem.signal[1]", "inf"),
    (("problem.signal = [10.0, 1e300]",), "problem.signal[1]", "1e+300"),
    (('problem.signal = [10.0, "ten"]',), "problem.signal[1]", "'ten'"),
    (("problem.signal = [[10.0, 0.0], [0.0, 10.0]]",), "problem.signal[0]", "[10.0, 0.0]"),
    (("problem.noise = -0.1",), "problem.noise", ">= 0"),
    (("problem.noise = [0.1]",), "problem.noise", "2 numbers, got [0.1]"),
    (("problem.noise = [0.1, -0.1]",), "problem.noise[1]", "-0.1"),
    (("problem.noise = 1e300",), "problem.noise", "1e+300"),
    (("problem.noise = true",), "problem.noise", "True"),
    (('problem.noise = "a"',), "problem.noise", "'a'"),
    (('problem.noise = "a\\nb"',), "problem.noise", "'a"),
    (("problem.noise = [[0.1, 0.1]]",), "problem.noise", "[[0.1, 0.1]]"),
    (("problem.noise = nan",), "problem.noise", "nan"),
    (("problem.context_length = 0",), "problem.context_length", ">= 1"),
    (("problem.context_length = 0.5",), "problem.context_length", "0.5"),
    (("problem.context_length = -5",), "problem.context_length", "-5"),
    (("problem.context_length = nan",), "problem.context_length", "nan"),
    (("problem.context_length = inf",), "problem.context_length", "inf"),
    (("problem.context_length = 1e300",), "problem.context_length", "1e+300"),
    ((f"problem.context_length = {HUGE}",), "problem.context_length", HUGE),
    ((f"problem.context_length = 0x{'f' * 5000}",), "problem.context_length", "<= 1e+12"),
    (("problem.context_length = true",), "problem.context_length", "True"),
    (('problem.context_length = "100"',), "problem.context_length", "'100'"),
    (("problem.context_length = [100]",), "problem.context_length", "[100]"),
    (("problem.context_length = 2020-01-01",), "problem.context_length", "2020"),
    (("problem.context_length = {pairs = 100}",), "problem.context_length", "pairs"),
    (("problem.task_sizes = []",), "problem.task_sizes", "got []"),
    (("problem.task_sizes = 10",), "problem.task_sizes", "got 10"),
    (('problem.task_sizes = "ab"',), "problem.task_sizes", "'ab'"),
    (("problem.task_sizes = [0, 10]",), "problem.task_sizes[0]", ">= 1"),
    (("problem.task_sizes = [10, -10]",), "problem.task_sizes[1]", "-10"),
    (("problem.task_sizes = [1.5, 10]",), "problem.task_sizes[0]", "1.5"),
    (("problem.task_sizes = [true, 10]",), "problem.task_sizes[0]", "True"),
    (('problem.task_sizes = ["10", 10]',), "problem.task_sizes[0]", "'10'"),
    (("problem.task_sizes = [nan, 10]",), "problem.task_sizes[0]", "nan"),
    (("problem.task_sizes = [1e300, 10]",), "problem.task_sizes[0]", "1e+300"),
    ((f"problem.task_sizes = [{HUGE}, 10]",), "problem.task_sizes[0]", HUGE),
    (("problem.covariance = 0",), "problem.covariance", "> 0"),
    (("problem.covariance = [1.0, -1.0]",), "problem.covariance[1]", "-1.0"),
    (("problem.covariance = [1.0]",), "problem.covariance", "2 numbers"),
    # the model
    (("model.head = 2",), "model.head", "got 2"),
    (("model.heads = 0",), "model.heads", ">= 1"),
    (("model.heads = -1",), "model.heads", "-1"),
    (("model.heads = 1000000",), "model.heads", "1000000"),
    ((f"model.heads = {HUGE}",), "model.heads", HUGE),
    (("model.heads = 2.5",), "model.heads", "2.5"),
    (("model.heads = true",), "model.heads", "True"),
    (('model.heads = "2"',), "model.heads", "'2'"),
    (('model.parametrization = "foo"',), "model.parametrization", "'foo'"),
    (("model.parametrization = 3",), "model.parametrization", "got 3"),
    (("model.parametrization = 3",), "model.parametrization", "one of 'balanced', 'factored', 'merged'"),
    (('model.kernel = "foo"',), "model.kernel", "'asymptotic', 'first-order', 'exact', got 'foo'"),
    (("model.kernel = 3",), "model.kernel", "got 3"),
    (("model.imbalance_omega = 1e-6",), "model.imbalance_omega", "factored"),
    (("model.imbalance_mu = 1e-6",), "model.imbalance_mu", "factored"),
    (('model.parametrization = "merged"', "model.imbalance_mu = 1e-6"), "model.imbalance_mu", "factored"),
    (('model.parametrization = "merged"', "model.key_scale = 1.0"), "model.key_scale", "merged"),
    (('model.parametrization = "factored"',), "model.imbalance_omega", "factored"),
    (FACTORED, "model.imbalance_mu", "factored"),
    ((*FACTORED, "model.imbalance_mu = -1e-6"), "model.imbalance_mu", "-1e-06"),
    ((*FACTORED, "model.imbalance_mu = nan"), "model.imbalance_mu", "nan"),
    ((*FACTORED, "model.imbalance_mu = inf"), "model.imbalance_mu", "inf"),
    ((*FACTORED, "model.imbalance_mu = 1e300"), "model.imbalance_mu", "1e+300"),
    ((*FACTORED, 'model.imbalance_mu = "x"'), "model.imbalance_mu", "'x'"),
    ((*FACTORED, "model.imbalance_mu = true"), "model.imbalance_mu", "True"),
    ((*FACTORED, "model.imbalance_mu = []"), "model.imbalance_mu", "(0,)"),
    ((*FACTORED, "model.imbalance_mu = [1e-6, 1e-6]"), "model.imbalance_mu", "[1e-06, 1e-06]"),
    ((*FACTORED, "model.imbalance_mu = [[1e-6, 1e-6]]"), "model.imbalance_mu", "(1, 2)"),
    ((*FACTORED, "model.imbalance_mu = [[1e-6, 1e-6], [1e-6]]"), "model.imbalance_mu", "[1e-06]"),
    ((*FACTORED, "model.imbalance_mu = [[1e-6, 1e-6], [1e-6, -1.0]]"), "model.imbalance_mu", "-1.0"),
    ((*FACTORED, "model.imbalance_mu = [[1e-6, 1e-6], [1e-6, nan]]"), "model.imbalance_mu[1, 1]", "nan"),
    ((*FACTORED, "model.imbalance_mu = [[1e-6, 1e-6], [1e-6, 1e300]]"), "model.imbalance_mu[1, 1]", "1e+300"),
    (("model.key_scale = 0.0",), "model.key_scale", "> 0"),
    (("model.key_scale = -1.0",), "model.key_scale", "-1.0"),
    (("model.key_scale = nan",), "model.key_scale", "nan"),
    (("model.key_scale = 1e300",), "model.key_scale", "1e+300"),
    # the start
    (('initial.kind = "foo"',), "initial.kind", "'foo'"),
    (("initial.kind = 3",), "initial.kind", "got 3"),
    (("initial.kind = [1]",), "initial.kind", "got [1]"),
    (("initial.scale = 0.1",), "initial.scale", "got 0.1"),
    (("initial.qk = nan",), "initial.qk", "nan"),
    (("initial.qk = 1e300",), "initial.qk", "1e+300"),
    (("initial.qk = true",), "initial.qk", "True"),
    (('initial.ov_low = "low"',), "initial.ov_low", "'low'"),
    (("initial.ov_high = inf",), "initial.ov_high", "inf"),
    (('initial.kind = "dominant"', "model.heads = 1"), "model.heads", ">= 2 heads"),
    (('initial.kind = "dominant"', "initial.scale = 0.0"), "initial.scale", "> 0"),
    (('initial.kind = "dominant"', "initial.margin = -0.5"), "initial.margin", "-0.5"),
    (('initial.kind = "dominant"', "initial.seed = -1"), "initial.seed", "-1"),
    (('initial.kind = "dominant"', "initial.seed = 1.5"), "initial.seed", "1.5"),
    (('initial.kind = "dominant"', f"initial.seed = {HUGE}"), "initial.seed", HUGE),
    (('initial.kind = "random"', "initial.scale = -1.0"), "initial.scale", "-1.0"),
    (('initial.kind = "random"', "initial.positive = 1"), "initial.positive", "got 1"),
    (('initial.kind = "random"', "initial.qk = 0.1"), "initial.qk", "got 0.1"),
    (('initial.kind = "explicit"',), "initial.omega", "a value"),
    (("initial.omega = [[0.1, 0.1]]", "model.heads = "), "initial.mu", "a value"),
    (
        ("initial.omega = [[0.1, 0.1], [0.1, 0.1]]", "initial.mu = [[0.1], [0.1]]"),
        "initial.mu",
        "(2, 1)",
    ),
    (
        ("initial.omega = [[0.1, nan], [0.1, 0.1]]", "initial.mu = [[0.1, 0.1], [0.1, 0.1]]"),
        "initial.omega[0, 1]",
        "nan",
    ),
    (
        ("initial.omega = [[0.1, 0.1], [0.1, 0.1]]", "initial.mu = [[0.1, 0.1], [0.1, inf]]"),
        "initial.mu[1, 1]",
        "inf",
    ),
    (
        ("initial.omega = [[0.1, 1e300], [0.1, 0.1]]", "initial.mu = [[0.1, 0.1], [0.1, 0.1]]"),
        "initial.omega[0, 1]",
        "1e+300",
    ),
    (
        ("initial.omega = [[0.1, 0.1], [0.1]]", "initial.mu = [[0.1, 0.1], [0.1, 0.1]]"),
        "initial.omega",
        "[[0.1, 0.1], [0.1]]",
    ),
    (
        ("initial.omega = [[0.1, 0.1], [0.1, 0.1]]", 'initial.mu = [[0.1, 0.1], [0.1, "a"]]'),
        "initial.mu[1][1]",
        "'a'",
    ),
    (("initial.omega = [0.1, 0.1]", "initial.mu = [0.1, 0.1]"), "initial.omega[0]", "0.1"),
    (("initial.omega = []", "initial.mu = []", "model.heads = "), "initial.omega", "(0,)"),
    (("initial.omega = [[0.1, 0.1]]", "initial.mu = [[0.1, 0.1]]"), "initial.omega", "1 heads"),
    (
        ('initial.kind = "paper"', "initial.omega = [[0.1, 0.1]]", "initial.mu = [[0.1, 0.1]]"),
        "initial.omega",
        "got [[0.1, 0.1]]",
    ),
    # the flow
    (("flow.t_stop = 1.0",), "flow.t_stop", "got 1.0"),
    (("flow.t_end = 0.0",), "flow.t_end", "> 0"),
    (("flow.t_end = -1.0",), "flow.t_end", "-1.0"),
    (("flow.t_end = nan",), "flow.t_end", "nan"),
    (("flow.t_end = inf",), "flow.t_end", "inf"),
    (("flow.t_end = -inf", "flow.stationary = 1e-6"), "flow.t_end", "-inf"),
    (("flow.t_end = 1e300",), "flow.t_end", "1e+300"),
    (("flow.t_end = true",), "flow.t_end", "True"),
    (('flow.t_end = "200"',), "flow.t_end", "'200'"),
    (("flow.rtol = 0.0",), "flow.rtol", "1e-13"),
    (("flow.rtol = 1",), "flow.rtol", "1.0"),
    (("flow.rtol = nan",), "flow.rtol", "nan"),
    (("flow.rtol = -1e-8",), "flow.rtol", "-1e-08"),
    (("flow.t_eval = [2.0, 1.0]",), "flow.t_eval", "increasing"),
    (("flow.t_eval = [1.0, 1.0]",), "flow.t_eval", "increasing"),
    (("flow.t_eval = []",), "flow.t_eval", "got []"),
    (("flow.t_eval = [0.0, 300.0]",), "flow.t_eval", "300.0"),
    (("flow.t_eval = [-1.0]",), "flow.t_eval", "-1.0"),
    (("flow.t_eval = [nan]",), "flow.t_eval[0]", "nan"),
    (("flow.t_eval = 3.0",), "flow.t_eval", "3.0"),
    (("flow.t_eval = [true]",), "flow.t_eval[0]", "True"),
    (("flow.max_steps = 0",), "flow.max_steps", ">= 1"),
    (("flow.max_steps = 2.5",), "flow.max_steps", "2.5"),
    ((f"flow.max_steps = {HUGE}",), "flow.max_steps", HUGE),
    (("flow.stationary = 0.0",), "flow.stationary", "> 0"),
    (("flow.stationary = inf",), "flow.stationary", "inf"),
]


@pytest.mark.parametrize(
    ("entries", "argument", "shown"), FILES, ids=[" ".join(case[0])[:60] for case in FILES]
)
def test_wrong_entry_of_a_file(tmp_path: Path, entries: tuple[str, ...], argument: str, shown: str) -> None:
    file = tmp_path / "flow.toml"
    file.write_text(toml(*entries), "utf-8")
    out, plot = tmp_path / "run.nc", tmp_path / "run.pdf"
    assert_refused(tmp_path, ["flow", str(file), "--out", str(out), "--plot", str(plot)], argument, shown)


def test_the_file_that_the_cases_start_from_is_sound(tmp_path: Path) -> None:
    file = tmp_path / "flow.toml"
    file.write_text(toml("flow.t_end = 1.0"), "utf-8")
    assert run("flow", str(file))[0] == 0


BLOCKS = "[problem]\nblock_sizes = [10, 10]\nnoise = 0.1\ncontext_length = 100\nsignal = "

# (content of the file, the argument that the message must name, what else it must show)
CONTENTS: list[tuple[bytes, str, str]] = [
    (b"", "problem", "a value"),
    (b"[model]\nheads = 2\n", "problem", "a value"),
    (b"problem = 3\n", "problem", "got 3"),
    (b"[[problem]]\nnoise = 1.0\n", "problem", "noise"),
    (f"{BLOCKS}[[1.0, 0.0], [1.0]]".encode(), "problem.signal[1]", "2 numbers, got [1.0]"),
    (f"{BLOCKS}[1.0, 0.0]".encode(), "problem.signal[0]", "got 1.0"),
    (f"{BLOCKS}[[1.0, 0.0], [0.0, 0.0]]".encode(), "problem.signal[1]", "positive"),
    (f'{BLOCKS}[[1.0, 0.0], "ab"]'.encode(), "problem.signal[1]", "'ab'"),
    (f"{BLOCKS}5.0".encode(), "problem.signal", "got 5.0"),
    (f"{toml()}\n[junk]\na = 1\n".encode(), "junk", "{'a': 1}"),
    (f"junk = 3\n{toml()}".encode(), "junk", "got 3"),
    (f"model = 3\n{toml()}".replace("[model]\nheads = 2\n", "").encode(), "model", "got 3"),
    (
        f'{toml()}\n[[axis]]\npath = "problem.noise"\nvalues = [1.0]\n'.encode(),
        "axis",
        "not a sweep",
    ),
    (b"[problem", "FILE", "a TOML file"),
    (b"[problem]\nnoise = 1.0\nnoise = 2.0\n", "FILE", "line 3"),
    (b"\xff\xfe\x00", "FILE", "utf-8"),
    (b"\x00", "FILE", "line 1"),
    (b"a = " + b"[" * 100_000, "FILE", "a TOML file"),
    (b"[problem]\nnoise = " + b"1" * 5000, "FILE", "a TOML file"),
]


@pytest.mark.parametrize(
    ("content", "argument", "shown"), CONTENTS, ids=[repr(case[0][:30]) for case in CONTENTS]
)
def test_wrong_file(tmp_path: Path, content: bytes, argument: str, shown: str) -> None:
    file = tmp_path / "flow.toml"
    file.write_bytes(content)
    assert_refused(tmp_path, ["flow", str(file), "--out", str(tmp_path / "run.zarr")], argument, shown)


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    for name, reason in (("absent.toml", "no such file"), (".", "is a directory"), ("a" * 300, "too long")):
        path = str(tmp_path / name)
        assert_refused(tmp_path, ["flow", path], "FILE", reason, path[:30])


# (value of --set, the argument that the message must name, what else it must show)
OVERRIDES = [
    ("problem.noise", "--set", "section.key=value, got 'problem.noise'"),
    ("problem=3", "--set", "'problem=3'"),
    ("problem.=3", "--set", "'problem.=3'"),
    (".noise=3", "--set", "'.noise=3'"),
    ("=1", "--set", "'=1'"),
    ("", "--set", "''"),
    ("modle.heads=2", "modle", "2"),
    ("axis.path=3", "axis", "not a sweep"),
    ("problem.nosie=1", "problem.nosie", "got 1"),
    ("problem.noise=-1", "problem.noise", "-1"),
    ("problem.noise=", "problem.noise", "''"),
    ("problem.noise=[1,", "problem.noise", "'[1,'"),
    ("problem.noise=" + "[" * 50_000, "problem.noise", "..."),
    ("problem.noise=" + "1" * 5000, "problem.noise", "..."),
    ("model.kernel=finite", "model.kernel", "'first-order', 'exact', got 'finite'"),
]


@pytest.mark.parametrize(("override", "argument", "shown"), OVERRIDES, ids=lambda text: text[:20])
def test_wrong_override(tmp_path: Path, override: str, argument: str, shown: str) -> None:
    out = str(tmp_path / "run.nc")
    assert_refused(tmp_path, ["flow", "--set", override, "--out", out], argument, shown)


# (arguments, what the message must show); the first of them is the argument at fault
ARGUMENTS = [
    (["foo"], "'foo'"),
    (["--foo"], "'--foo'"),
    (["flow", "--foo"], "'--foo'"),
    (["flow", "--set"], "'--set'"),
    (["flow", "--out"], "'--out'"),
    (["flow", "--json=1"], "'--json'"),
    (["flow", "a.toml", "b.toml"], "b.toml"),
    (["cite", "x"], "x"),
]


@pytest.mark.parametrize(("args", "shown"), ARGUMENTS, ids=[" ".join(case[0]) for case in ARGUMENTS])
def test_wrong_arguments(tmp_path: Path, args: list[str], shown: str) -> None:
    assert_refused(tmp_path, args, "", shown)


@pytest.mark.parametrize(
    ("option", "name", "expected"),
    [
        ("--out", "run.txt", "ending in .nc or .zarr"),
        ("--out", "run", "ending in .nc or .zarr"),
        ("--out", "run.pdf", "ending in .nc or .zarr"),
        ("--plot", "run.jpg", "ending in .pdf"),
        ("--plot", "run.nc", "ending in .pdf"),
        ("--out", "absent/run.nc", "a folder that exists"),
        ("--plot", "absent/run.pdf", "a folder that exists"),
        ("--out", "file/run.nc", "a folder"),
        ("--out", "folder.nc", "a file, not a folder"),
        ("--plot", "folder.pdf", "a file, not a folder"),
        ("--out", "file.zarr", "a folder, not a file"),
        ("--out", "a" * 300 + ".nc", "name"),
        ("--plot", "a" * 300 + ".pdf", "name"),
    ],
)
def test_target_that_cannot_be_written(tmp_path: Path, option: str, name: str, expected: str) -> None:
    for folder in ("folder.nc", "folder.pdf"):
        (tmp_path / folder).mkdir()
    for file in ("file", "file.zarr"):
        (tmp_path / file).write_text("mine")
    target = str(tmp_path / name)
    assert_refused(tmp_path, ["flow", "--set", "flow.t_end=1.0", option, target], option, expected)
    assert (tmp_path / "file.zarr").read_text() == "mine"


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a folder closed to everyone")
@pytest.mark.parametrize(
    ("option", "name"), [("--out", "run.nc"), ("--out", "run.zarr"), ("--plot", "run.pdf")]
)
def test_folder_closed_to_everyone(tmp_path: Path, option: str, name: str) -> None:
    args = ["flow", "--set", "flow.t_end=1.0", option, f"/proc/{name}"]
    assert_refused(tmp_path, args, option, f"'/proc/{name}'", "written")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write anywhere")
def test_folder_without_permission(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    assert_refused(tmp_path, ["flow", "--out", str(closed / "run.nc")], "--out", "written")


@pytest.mark.parametrize(
    "override",
    [
        "problem.covariance=1e-300",
        "problem.covariance=[1e-300, 1.0]",
        "problem.covariance=1e12",
        "problem.signal=1e-300",
        "problem.signal=1e12",
        "problem.noise=0",
        "problem.noise=1e12",
        "problem.context_length=1",
        "problem.context_length=1e12",
        "problem.task_sizes=[1, 1000000000]",
        "model.key_scale=1e-300",
        "model.key_scale=1e12",
        "model.heads=1",
        "initial.qk=0",
        "initial.qk=1e-200",
        "initial.qk=1e9",
        "initial.ov_low=-0.1",
        "initial.ov_high=1e12",
        "flow.t_end=1e-300",
        "flow.t_eval=[0.0]",
    ],
)
def test_extreme_but_legal_value_ends_in_order(monkeypatch: pytest.MonkeyPatch, override: str) -> None:
    """Solved in silence, unfinished or refused in one line: never a traceback or a numerical warning."""
    monkeypatch.undo()
    status, out, err = run("flow", "--set", "flow.max_steps=2000", "--set", override)
    assert status in (0, 1, 2)
    assert bool(out) == (status != 2)
    assert err.count("\n") == (status != 0)
    assert not err or err.startswith("Error: ")


def test_short_flow_is_solved() -> None:
    """Its end may be far below the flow's time scale; only an end near underflow may be refused."""
    for t_end, accepted in (("1e-12", {0}), ("1e-200", {0}), ("1e-300", {0, 2})):
        assert run("flow", "--set", f"flow.t_end={t_end}")[0] in accepted


@pytest.mark.parametrize(
    "args", [["flow", "--foo"], ["flow", "absent.toml"], ["flow", "--set", "problem.noise=-1"]]
)
def test_installed_command_refuses_in_one_line(tmp_path: Path, args: list[str]) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("spectral-icl"), *args, "--out", "run.nc"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert re.fullmatch(r"Error: .+\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


GOOD = {
    "block_sizes": (10, 10),
    "signal": ((10.0, 0.0), (0.0, 10.0)),
    "noise": (0.09, 0.09),
    "context_length": 100,
}
P = si.Problem(**GOOD)  # type: ignore[arg-type]
START = si.initial.paper(P, 2, 0.1, 0.1, 0.2)
OMEGA, MU = START
NAN = np.full((2, 2), np.nan)


def problem(**changes: object) -> Callable[[], object]:
    return lambda: si.Problem(**{**GOOD, **changes})  # type: ignore[arg-type]


def multitask(**changes: object) -> Callable[[], object]:
    good = {"task_sizes": (10, 10), "signal": 10.0, "noise": 0.09, "context_length": 100}
    return lambda: si.Problem.multitask(**{**good, **changes})  # type: ignore[arg-type]


def solve(omega: object = OMEGA, mu: object = MU, **options: object) -> Callable[[], object]:
    return lambda: si.gradient_flow(P, omega, mu, **{"t_end": 1.0, **options})  # type: ignore[arg-type]


# (call, the argument that the message must name, what else it must show)
CALLS: list[tuple[Callable[[], object], str, str]] = [
    (problem(block_sizes=()), "block_sizes", "()"),
    (problem(block_sizes=10), "block_sizes", "got 10"),
    (problem(block_sizes="ab"), "block_sizes", "'ab'"),
    (problem(block_sizes=b"ab"), "block_sizes", "b'ab'"),
    (problem(block_sizes=(10, 0)), "block_sizes[1]", ">= 1"),
    (problem(block_sizes=(10, 2.5)), "block_sizes[1]", "2.5"),
    (problem(block_sizes=(10, True)), "block_sizes[1]", "True"),
    (problem(block_sizes=(10, 10**30)), "block_sizes[1]", "1000000"),
    (problem(block_sizes=(10, Fraction(10**400))), "block_sizes[1]", "Fraction"),
    (problem(block_sizes=(10, 10**5000)), "block_sizes[1]", "whole number"),
    (problem(block_sizes=np.array([10.0, math.inf])), "block_sizes[1]", "inf"),
    (problem(signal=()), "signal", "()"),
    (problem(signal=5.0), "signal", "5.0"),
    (problem(signal=((10.0, 0.0), (0.0,))), "signal[1]", "(0.0,)"),
    (problem(signal=((10.0, 0.0), (0.0, 0.0))), "signal[1]", "positive"),
    (problem(signal=((10.0, 0.0), (0.0, -1.0))), "signal[1][1]", "-1.0"),
    (problem(signal=np.array([[1.0, math.nan], [0.0, 1.0]])), "signal[0][1]", "nan"),
    (problem(signal=np.ones((2, 2, 2))), "signal[0][0]", "[1.0, 1.0]"),
    (problem(signal=((True, False), (False, True))), "signal[0][0]", "True"),
    (problem(noise=-0.1), "noise", "-0.1"),
    (problem(noise=(0.1,)), "noise", "2 numbers"),
    (problem(noise="0.1"), "noise", "'0.1'"),
    (problem(noise=None), "noise", "None"),
    (problem(noise=1j), "noise", "1j"),
    (problem(noise=np.bool_(True)), "noise", "True"),
    (problem(noise=Decimal("0.1")), "noise", "Decimal"),
    (problem(noise=10**30), "noise", "1000000"),
    (problem(noise=10**5000), "noise", "a number"),
    (problem(context_length=0.99), "context_length", ">= 1"),
    (problem(context_length=math.nan), "context_length", "nan"),
    (problem(context_length=10**400), "context_length", "1000000"),
    (problem(covariance=0), "covariance", "> 0"),
    (problem(covariance=(1.0, -1.0)), "covariance[1]", "-1.0"),
    (problem(covariance=(1.0, 1.0, 1.0)), "covariance", "2 numbers"),
    (multitask(task_sizes=()), "task_sizes", "()"),
    (multitask(task_sizes=(10, -1)), "task_sizes[1]", "-1"),
    (multitask(signal=(10.0,)), "signal", "2 numbers"),
    (multitask(signal=0.0), "signal", "0.0"),
    (lambda: si.Problem.from_dict({"foo": 1}), "foo", "block_sizes"),
    (lambda: si.Problem.from_dict({}), "block_sizes", "a value"),
    (lambda: si.loss(P, "a", MU), "omega", "'a'"),
    (lambda: si.loss(P, [[1.0, 2.0], [3.0]], MU), "omega", "[[1.0, 2.0], [3.0]]"),
    (lambda: si.loss(P, OMEGA[0], MU), "omega", "(2,)"),
    (lambda: si.loss(P, OMEGA[:, :1], MU), "omega", "(2, 1)"),
    (lambda: si.loss(P, OMEGA, MU[:1]), "mu", "(1, 2)"),
    (lambda: si.loss(P, NAN, MU), "omega[0, 0]", "nan"),
    (lambda: si.loss(P, np.zeros((0, 2)), np.zeros((0, 2))), "omega", "0"),
    (lambda: si.loss(P, [["1", "2"]], [["1", "2"]]), "omega", "'1'"),
    (lambda: si.loss(P, OMEGA + 1j, MU), "omega", "j"),
    (lambda: si.loss(P, OMEGA, MU * np.inf), "mu[0, 0]", "inf"),
    (lambda: si.task_loss(P, OMEGA, "b"), "mu", "'b'"),
    (lambda: si.gradient(P, OMEGA, MU[:1]), "mu", "1 heads"),
    (lambda: si.gradient(P, OMEGA, MU[:, :1]), "mu", "(2, 1)"),
    (lambda: si.gradient(P, OMEGA, NAN), "mu[0, 0]", "nan"),
    (lambda: si.gradient(P, [[True, False]], [[0.1, 0.1]]), "omega", "True"),
    (lambda: si.gradient(P, [["1", "2"]], [[0.1, 0.1]]), "omega", "'1'"),
    (lambda: si.gradient(P, OMEGA + 1j, MU), "omega", "j"),
    (lambda: si.gradient(P, OMEGA * np.nan, MU), "omega[0, 0]", "nan"),
    (lambda: si.gradient(P, [[10**400, 0.0]], [[0.1, 0.1]]), "omega", "1000000"),
    (lambda: si.gradient(P, [[10**5000, 0.0]], [[0.1, 0.1]]), "omega", "finite"),
    (lambda: si.hessian(P, np.zeros((2000, 2)), np.zeros((2000, 2))), "omega", "2000 heads"),
    (lambda: si.gradient(P, np.zeros((4097, 2)), np.zeros((4097, 2))), "omega", "4097 heads"),
    (lambda: si.initial.paper(P, 4097), "heads", "<= 4096"),
    (lambda: si.initial.paper(P, 0), "heads", ">= 1"),
    (lambda: si.initial.paper(P, "2"), "heads", "'2'"),  # type: ignore[arg-type]
    (lambda: si.initial.paper(P, 10**9), "heads", "1000000000"),
    (lambda: si.initial.paper(P, 2, qk="x"), "qk", "'x'"),  # type: ignore[arg-type]
    (lambda: si.initial.paper(P, 2, ov_high=math.inf), "ov_high", "inf"),
    (lambda: si.initial.paper(P, 2, key_scale=-1.0), "key_scale", "-1.0"),
    (lambda: si.initial.paper(P, 2, key_scale=math.nan), "key_scale", "nan"),
    (lambda: si.initial.paper(P, 2, key_scale="x"), "key_scale", "'x'"),  # type: ignore[arg-type]
    (lambda: si.initial.dominant(P, 1), "heads", ">= 2 heads"),
    (lambda: si.initial.dominant(P, 2, scale=0.0), "scale", "> 0"),
    (lambda: si.initial.dominant(P, 2, margin=math.nan), "margin", "nan"),
    (lambda: si.initial.dominant(P, 2, seed=-1), "seed", "-1"),
    (lambda: si.initial.random(P, 2, scale=-1.0), "scale", "-1.0"),
    (lambda: si.initial.random(P, 2, seed=None), "seed", "None"),  # type: ignore[arg-type]
    (lambda: si.Balanced(0.0), "key_scale", "> 0"),
    (lambda: si.Balanced("c"), "key_scale", "'c'"),  # type: ignore[arg-type]
    (lambda: si.Balanced(True), "key_scale", "True"),
    (lambda: si.Factored(-1.0, 0.0), "imbalance_omega", "-1.0"),
    (lambda: si.Factored(0.0, None), "imbalance_mu", "None"),  # type: ignore[arg-type]
    (lambda: si.Factored(0.0, ((1.0, 2.0), (3.0,))), "imbalance_mu", "(3.0,)"),
    (lambda: si.Factored(0.0, (1.0, 2.0)), "imbalance_mu", "(2,)"),  # type: ignore[arg-type]
    (lambda: si.Factored(0.0, ((math.nan,),)), "imbalance_mu[0, 0]", "nan"),
    (lambda: si.Factored(0.0, ((1e300,),)), "imbalance_mu[0, 0]", "1e+300"),
    (lambda: si.Factored(0.0, ((0.0, -1.0),)), "imbalance_mu", "-1.0"),
    (lambda: si.Factored(0.0, (("1",),)), "imbalance_mu", "'1'"),  # type: ignore[arg-type]
    (lambda: si.Factored(0.0, 0.0, key_scale=math.inf), "key_scale", "inf"),
    (lambda: si.gradient_flow("p", OMEGA, MU), "problem", "'p'"),  # type: ignore[arg-type]
    (solve(omega=OMEGA[:, :1]), "omega", "(2, 1)"),
    (solve(mu=MU[:1]), "mu", "1 heads"),
    (solve(omega=OMEGA[:0], mu=MU[:0]), "mu", "0"),
    (solve(omega=OMEGA * 1e300), "omega[0, 0]", "e+29"),
    (solve(parametrization="balanced"), "parametrization", "'balanced'"),
    (solve(parametrization=si.Balanced), "parametrization", "Balanced"),
    (solve(parametrization=si.Factored(((1e-6,),), 0.0)), "imbalance_omega", "(1, 1)"),
    (solve(kernel="finite"), "kernel", "'first-order', 'exact', got 'finite'"),
    (solve(kernel="foo"), "kernel", "'foo'"),
    (solve(kernel=["large-L"]), "kernel", "['large-L']"),
    (solve(t_end=0.0), "t_end", "> 0"),
    (solve(t_end=math.inf), "t_end", "inf"),
    (solve(t_end="1"), "t_end", "'1'"),
    (solve(rtol=0.0), "rtol", "1e-13"),
    (solve(rtol=1.0), "rtol", "0.1"),
    (solve(max_steps=0), "max_steps", ">= 1"),
    (solve(max_steps=True), "max_steps", "True"),
    (solve(stationary=-1.0), "stationary", "-1.0"),
    (solve(t_eval=[0.5, 0.2]), "t_eval", "increasing"),
    (solve(t_eval=[]), "t_eval", "[]"),
    (solve(t_eval=[0.0, 2.0]), "t_eval", "2.0"),
    (solve(t_eval=0.5), "t_eval", "()"),
    (solve(t_eval=[True]), "t_eval", "True"),
    (solve(t_eval=["0.5"]), "t_eval", "'0.5'"),
]


@pytest.mark.parametrize(
    ("call", "argument", "shown"), CALLS, ids=[f"{k}-{c[1]}-{c[2]}" for k, c in enumerate(CALLS)]
)
def test_wrong_argument_of_a_call(call: Callable[[], object], argument: str, shown: str) -> None:
    with pytest.raises(si.ProblemError) as caught:
        call()
    message = str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.argument.startswith(argument)
    assert message.startswith(f"{argument}")
    assert f": expected {caught.value.expected}, got " in message
    assert shown in message
    assert "\n" not in message
    assert len(message) < 300


def test_wrong_times_of_a_solution() -> None:
    solution = si.gradient_flow(P, *START, t_end=1.0)
    for times, shown in ((2.0, "2.0"), (-0.5, "-0.5"), ([0.5, math.nan], "nan"), ("a", "'a'"), (1j, "1j")):
        with pytest.raises(si.ProblemError, match=r"^t: expected .*time") as caught:
            solution(times)  # type: ignore[arg-type]
        assert shown in str(caught.value)


@pytest.mark.parametrize("name", ["\x1b[31m", "π\x07", "k" * 10_000])
def test_a_name_is_no_command_to_the_terminal_and_no_page(tmp_path: Path, name: str) -> None:
    file = tmp_path / "in.toml"
    escaped = name.encode("unicode_escape").decode().replace("\\x", "\\u00").replace("\\u03c0", "π")
    file.write_text(f'"{escaped}" = 1\n', "utf-8")
    assert_refused(tmp_path, ["flow", str(file)], "", "known key")
    for words in (["flow", str(file), name], [f"--{name}"]):
        status, out, err = run(*words)
        assert (status, out) == (2, "")
        assert err.removesuffix("\n").isprintable()
        assert len(err) < 500
    if len(name) < 20:
        assert "π" in err or "π" not in name
