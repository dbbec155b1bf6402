"""What the command prints, writes and returns."""

import errno
import json
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from shell import run

import spectral_icl as si
from spectral_icl import cli
from spectral_icl.multitask.experiment import Experiment

# The two-task example of Chen, Sheen, Wang and Yang (2024) at t = 200, from the reference trajectories.
FINAL_LOSS = 4.484891
LOWER_BOUND, HEAD_PER_TASK, SINGLE_HEAD = 2.0130457, 4.4847963, 7.2646861

BUILT_IN = """
[problem]
task_sizes = [10, 10]
signal = [10.0, 10.0]
noise = 0.09
context_length = 100
[model]
heads = 2
parametrization = "balanced"
kernel = "large-L"
[initial]
kind = "paper"
qk = 0.1
ov_low = 0.1
ov_high = 0.2
[flow]
t_end = 200.0
rtol = 1e-8
"""


def strict(text: str) -> Any:
    """One JSON object, as RFC 8259 has it: Python's NaN and Infinity are not JSON."""

    def refuse(token: str) -> NoReturn:
        raise AssertionError(f"{token} is not JSON")

    value = json.loads(text, parse_constant=refuse)
    assert isinstance(value, dict)
    return value


def report(*args: str, status: int = 0) -> dict[str, Any]:
    """The report of ``flow --json``."""
    found, out, err = run("flow", "--json", *args)
    assert found == status, err
    assert out.endswith("}\n")
    assert out.count("\n") == 1
    return strict(out)  # type: ignore[no-any-return]


def stable(summary: dict[str, Any]) -> dict[str, Any]:
    """A report without what differs from run to run."""
    return {key: value for key, value in summary.items() if key != "environment"}


def uncompiled(err: str) -> str:
    """Standard error of a process of its own, without the note of a machine's first run."""
    return re.sub(r"\A(compiling the .*\n)+", "", err)


@pytest.fixture(scope="module")
def built_in() -> dict[str, Any]:
    return report()


def test_text_tells_phases_allocation_and_losses() -> None:
    status, out, err = run("flow")
    assert (status, err) == (0, "")
    for row in (
        r"warm-up +0 to \d",
        r"emergence of task 0 +21\.\d+ +21\.\d+",
        r"emergence of task 1 +21\.\d+ +21\.\d+",
        r"convergence +\d+\.?\d* to 200",
        r"escape +never: signs are conserved",
        r"0 +0 +0 +1\.0000",  # task, its head, the predicted one, the share
        r"1 +1 +1 +1\.0000",
        r"final +4\.484891 +4\.304891",
        r"best single head +7\.264686 +7\.084686 +0\.6076",
        r"head-per-task limit +4\.484796 +4\.304796 +1\.00002",
        r"lower bound +2\.013046 +1\.833046 +2\.348",
        r"share of the signal learned: 0\.7848",
        r"accuracy +asymptotic law: excess within 25 %",
    ):
        assert re.search(rf"^ +{row}", out, re.MULTILINE), row
    assert "nan" not in out.lower()
    assert max(map(len, out.splitlines())) <= 120


def test_json_has_the_promised_keys_and_the_right_values(built_in: dict[str, Any]) -> None:
    promised = ["loss", "task_loss", "omega", "mu", "allocation", "phases", "optimal", "stats", "message"]
    assert set(promised) <= set(built_in)
    assert built_in["loss"] == pytest.approx(FINAL_LOSS, abs=1e-6)
    assert sum(built_in["task_loss"]) == pytest.approx(FINAL_LOSS, abs=1e-6)
    assert built_in["allocation"] == [0, 1]
    assert built_in["optimal"]["lower_bound"] == pytest.approx(LOWER_BOUND, abs=1e-7)
    assert built_in["optimal"]["head_per_task"] == pytest.approx(HEAD_PER_TASK, abs=1e-7)
    assert built_in["optimal"]["single_head"] == pytest.approx(SINGLE_HEAD, abs=1e-7)
    omega, mu = np.array(built_in["omega"]), np.array(built_in["mu"])
    assert omega.shape == mu.shape == (2, 2)
    problem = si.Problem.from_dict(built_in["problem"])
    assert si.loss(problem, omega, mu) == pytest.approx(built_in["loss"], rel=1e-12)
    assert omega.diagonal() == pytest.approx(10**-0.5, abs=2e-3)  # the limit of each task's own head
    assert built_in["message"].startswith("reached the end")
    assert built_in["stats"]["steps"] > 0


def test_json_phases_are_times_in_order(built_in: dict[str, Any]) -> None:
    phases = built_in["phases"]
    (start, onset), (begin, settled), (rest, end) = (
        phases[name] for name in ("warm_up", "emergence", "convergence")
    )
    assert start == 0.0
    assert onset == begin
    assert settled == rest
    assert 0.0 < onset < settled < end == 200.0
    for task in phases["tasks"]:
        assert onset <= task["onset"] < task["time"] < task["settled"] <= settled
        assert task["time"] == pytest.approx(21.9, abs=0.3)
        assert task["predicted_time"] == pytest.approx(21.2, abs=0.1)
    assert phases["escapes"] == []


@pytest.mark.parametrize(
    ("overrides", "status"),
    [
        (["flow.t_end=1.0"], 0),
        (["flow.t_end=inf", "flow.stationary=1e-6"], 0),
        (["flow.t_end=30.0", "flow.t_eval=[1.0]"], 0),
        (["model.heads=1"], 0),
        (["model.parametrization=merged"], 0),
        (["model.parametrization=factored", "model.imbalance_omega=1e-6", "model.imbalance_mu=1e-6"], 0),
        (["initial.qk=0"], 0),
        (["initial.ov_low=0", "initial.ov_high=0"], 0),
        (["problem.context_length=1"], 0),
        (["flow.max_steps=1"], 1),
        (["initial.qk=1e4"], 1),
    ],
)
def test_json_is_strict_whatever_happens(overrides: list[str], status: int) -> None:
    found, out, _ = run("flow", "--json", *(part for entry in overrides for part in ("--set", entry)))
    assert found == status
    strict(out)


def test_what_did_not_happen_is_null() -> None:
    early = report("--set", "flow.t_end=1.0")
    assert early["allocation"] == [None, None]
    assert early["phases"]["warm_up"] == [0.0, 1.0]
    assert early["phases"]["emergence"] == [None, None]
    assert early["phases"]["convergence"] == [None, None]
    assert [task["time"] for task in early["phases"]["tasks"]] == [None, None]
    endless = report("--set", "flow.t_end=inf", "--set", "flow.stationary=1e-6")
    assert endless["options"]["t_end"] is None
    assert endless["outcome"] == "stationary"


def test_file_equals_built_in(tmp_path: Path, built_in: dict[str, Any]) -> None:
    file = tmp_path / "flow.toml"
    file.write_text(BUILT_IN, "utf-8")
    assert stable(report(str(file))) == stable(built_in)
    general = BUILT_IN.replace("task_sizes", "block_sizes").replace(
        "signal = [10.0, 10.0]", "signal = [[10.0, 0.0], [0.0, 10.0]]"
    )
    file.write_text(general, "utf-8")
    assert stable(report(str(file))) == stable(built_in)
    assert run("flow", str(file))[1].splitlines()[1:] == run("flow")[1].splitlines()[1:]


def test_explicit_start_equals_the_named_one(tmp_path: Path, built_in: dict[str, Any]) -> None:
    omega, mu = si.initial.paper(si.Problem.from_dict(built_in["problem"]), 2, 0.1, 0.1, 0.2)
    named = 'kind = "paper"\nqk = 0.1\nov_low = 0.1\nov_high = 0.2\n'
    file = tmp_path / "flow.toml"
    file.write_text(BUILT_IN.replace(named, f"omega = {omega.tolist()}\nmu = {mu.tolist()}\n"), "utf-8")
    assert stable(report(str(file))) == stable(built_in)


def test_set_replaces_entries_of_the_file(tmp_path: Path, built_in: dict[str, Any]) -> None:
    file = tmp_path / "flow.toml"
    file.write_text(BUILT_IN.replace("0.09", "5.0").replace("balanced", "merged"), "utf-8")
    plain = report(str(file))
    assert plain["problem"]["noise"] == [5.0, 5.0]
    assert plain["loss"] != pytest.approx(built_in["loss"])
    fixed = report(str(file), "--set", "problem.noise=0.09", "--set", "model.parametrization=balanced")
    assert stable(fixed) == stable(built_in)
    last = report("--set", "problem.noise=5.0", "--set", "problem.noise = 0.09")
    assert stable(last) == stable(built_in)


def test_set_takes_strings_arrays_and_new_sections() -> None:
    quoted = report("--set", 'model.parametrization="merged"', "--set", "flow.t_end=1")
    assert stable(quoted) == stable(report("--set", "model.parametrization=merged", "--set", "flow.t_end=1"))
    uneven = report("--set", "problem.signal=[10.0, 5.0]", "--set", "flow.t_end=1")
    assert uneven["problem"]["signal"] == [[10.0, 0.0], [0.0, 5.0]]


def test_unfinished_flow_reports_what_was_solved(tmp_path: Path) -> None:
    target, figure = tmp_path / "run.nc", tmp_path / "run.png"
    args = ["--set", "flow.max_steps=5", "--out", str(target), "--plot", str(figure)]
    status, out, err = run("flow", "--json", *args)
    assert status == 1
    assert re.fullmatch(r"Error: .*ran out of steps.*max_steps.*\n", err)
    summary = strict(out)
    assert summary["success"] is False
    assert summary["outcome"] == "step_limit"
    assert summary["stats"]["steps"] + summary["stats"]["rejected"] == 5
    assert 0.0 < summary["time"] < 200.0
    partial = si.Solution.load(target)
    assert not partial.success
    assert partial.t[-1] == summary["time"]
    assert partial.loss[-1] == summary["loss"]
    assert figure.stat().st_size > 1000
    status, out, err = run("flow", "--set", "flow.max_steps=5")
    assert status == 1
    assert err.count("\n") == 1
    assert "ran out of steps" in out
    assert re.search(r"warm-up +0 to ", out)


def test_out_and_plot_are_written_and_named(tmp_path: Path) -> None:
    for name in ("run.nc", "run.zarr"):
        target, figure = tmp_path / name, tmp_path / "run.pdf"
        status, out, err = run("flow", "--out", str(target), "--plot", str(figure))
        assert (status, err) == (0, "")
        assert out.endswith(f"wrote {target}\nwrote {figure}\n")
        assert si.Solution.load(target).loss[-1] == pytest.approx(FINAL_LOSS, abs=1e-6)
        assert figure.read_bytes().startswith(b"%PDF")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.nc", "run.pdf", "run.zarr"]


def test_json_stays_alone_on_standard_output(tmp_path: Path) -> None:
    report("--set", "flow.t_end=1.0", "--out", str(tmp_path / "run.nc"), "--plot", str(tmp_path / "run.svg"))


@pytest.mark.slow
def test_compilation_is_announced_when_there_is_one(tmp_path: Path) -> None:
    """On standard error, in the first run of a machine only, and never into the JSON.

    Nor do the numbers depend on it: code just compiled and code from the cache agree to the last bit.
    """
    answers = []
    for expected in (["compiling the integrator of flows", "compiling the measurement of phases"], []):
        done = subprocess.run(
            [sys.executable, "-c", "from spectral_icl.cli import main; main()", "flow", "--json"],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
        answers.append(stable(strict(done.stdout)))
        assert answers[-1]["allocation"] == [0, 1]
        assert [line.split(" for this machine")[0] for line in done.stderr.splitlines()] == expected
    assert answers[0] == answers[1]


def test_cite_prints_both_papers() -> None:
    status, out, err = run("cite")
    assert (status, err) == (0, "")
    entries = re.findall(r"^@\w+\{\w[^,]*,$(.*?)^\}", out, re.MULTILINE | re.DOTALL)
    assert len(entries) >= 2
    assert out.count("{") == out.count("}")
    for identifier, author in (("2402.19442", "Chen"), ("2503.12734", "He")):
        (entry,) = (entry for entry in entries if identifier in entry)
        assert re.search(rf"author\s*=.*{author}", entry)
        assert re.search(r"title\s*=", entry)
        assert re.search(r"year\s*=", entry)


def test_version_and_help() -> None:
    assert run("--version") == (0, f"spectral-icl, version {si.__version__}\n", "")
    for flag in ("--help", "-h"):
        status, out, err = run(flag)
        assert (status, err) == (0, "")
        assert re.search(r"^  flow +Solve", out, re.MULTILINE)
        assert re.search(r"^  cite +Print", out, re.MULTILINE)
    status, out, err = run("flow", "--help")
    assert (status, err) == (0, "")
    assert all(option in out for option in ("--out", "--plot", "--json", "--set", "Exit status"))


def test_interrupt_is_one_line_and_status_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(self: Experiment, progress: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr(Experiment, "solve", interrupted)
    status, out, err = run("flow", "--out", str(tmp_path / "run.nc"))
    assert status == 130
    assert err.strip("\n") == "Error: interrupted"  # after the line that the terminal shows as ^C
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(descriptor: int) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, _, err = run("flow", "--set", "flow.t_end=1.0", "--out", str(tmp_path / "run.nc"))
    assert status == 1
    assert re.fullmatch(r"Error: .*run\.nc.*\n", err)
    assert os.strerror(errno.ENOSPC).lower() in err.lower()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("missing", "args"),
    [
        ("xarray", ["--out", "run.nc"]),
        ("h5netcdf", ["--out", "run.nc"]),
        ("zarr", ["--out", "run.zarr"]),
        ("matplotlib", ["--plot", "run.pdf"]),
    ],
)
def test_missing_optional_package_is_one_line(tmp_path: Path, missing: str, args: list[str]) -> None:
    """In a process of its own: a package that was imported before cannot be missing any more."""
    code = f"import sys; sys.modules[{missing!r}] = None; from spectral_icl.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "flow", "--set", "flow.t_end=1.0", *args],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode not in (0, 130)
    complaint = rf"Error: .*{missing}.*pip install 'spectral-icl\[\w+\]'.*\n"
    assert re.fullmatch(complaint, uncompiled(done.stderr)), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_entry_point_end_to_end(tmp_path: Path, built_in: dict[str, Any]) -> None:
    (entry,) = entry_points(group="console_scripts", name="spectral-icl")
    assert entry.load() is cli.main
    (tmp_path / "flow.toml").write_text(BUILT_IN, "utf-8")
    done = subprocess.run(
        [
            Path(sys.executable).with_name("spectral-icl"),
            *["flow", "flow.toml", "--json", "--out", "run.zarr", "--plot", "run.pdf"],
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert uncompiled(done.stderr) == ""
    assert stable(strict(done.stdout)) == stable(built_in)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["flow.toml", "run.pdf", "run.zarr"]


def test_reported_times_do_not_change_the_final_state(built_in: dict[str, Any]) -> None:
    """`flow.t_eval` says when to report; loss, omega and mu are those of the end all the same."""
    few = report("--set", "flow.t_eval=[1.0, 2.0]")
    for key in ("loss", "task_loss", "omega", "mu", "time", "phases"):
        assert few[key] == built_in[key]
    status, out, _ = run("flow", "--set", "flow.t_eval=[1.0, 2.0]")
    assert (status, "4.484891" in out) == (0, True)


def test_a_flow_that_fails_before_its_first_reported_time() -> None:
    status, out, err = run("flow", "--json", "--set", "flow.t_eval=[100.0]", "--set", "flow.max_steps=3")
    assert status == 1
    assert strict(out)["outcome"] == "step_limit"
    assert err.count("\n") == 1


TINY = """
[problem]
task_sizes = [2, 2]
signal = 1.0
noise = 0.1
context_length = 100
[initial]
kind = "random"
positive = true
scale = 1.0
[flow]
max_steps = 200
"""


@pytest.mark.parametrize(
    "overrides",
    [
        ["problem.covariance=1e-13"],  # the limit of the theory, 7e12, is beyond what a state may hold
        ["problem.covariance=1e-13", "model.parametrization=merged", "flow.t_end=1e100"],
        ["problem.covariance=1e-13", "initial.scale=1e11", "flow.t_end=1e60"],
        ["problem.covariance=1e12", "initial.scale=1e-12"],
        ["problem.signal=1e-30", "problem.noise=0"],
        ["problem.signal=1e-30", "initial.scale=0.01"],
        ["problem.signal=1e12", "problem.noise=1e12", "initial.scale=1e-300"],
        ["model.key_scale=5e-324", "problem.noise=0", "problem.task_sizes=[1000000000, 2]"],
        ["model.parametrization=factored", "model.imbalance_omega=1e-200", "model.imbalance_mu=1e12"],
        ["problem.context_length=1", "flow.t_end=inf", "flow.stationary=5e-324"],
        ["flow.t_end=inf", "flow.stationary=1e-16"],
        ["flow.t_end=inf", "flow.stationary=1e12"],
    ],
    ids=lambda overrides: ", ".join(overrides),
)
def test_extreme_numbers_have_results_and_no_complaints(tmp_path: Path, overrides: list[str]) -> None:
    """What follows from what a user gave is computed, or said not to be; warnings are errors here."""
    file, out = tmp_path / "tiny.toml", tmp_path / "tiny.nc"
    file.write_text(TINY, "utf-8")
    given = [part for entry in overrides for part in ("--set", entry)]
    status, text, errors = run("flow", str(file), *given, "--out", str(out))
    assert status in (0, 1), errors
    assert errors.count("Error: ") == status
    assert out.exists()
    assert "nan" not in text
    found, text, _ = run("flow", str(file), *given, "--json")
    assert found == status
    strict(text)
