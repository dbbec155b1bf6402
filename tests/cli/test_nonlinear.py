"""The command ``nonlinear``: its text, JSON, figure, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shell import run

import spectral_icl as si

QUICK = ("--set", "flow.t_end=20.0")


def test_text_and_json() -> None:
    status, out, err = run("nonlinear", *QUICK)
    assert (status, err) == (0, "")
    assert out.startswith("built-in single-index example\n")
    assert "reached the end (at t = 20)" in out
    status, out, _ = run("nonlinear", "--json", *QUICK)
    found = json.loads(out)
    p = si.nonlinear.SingleIndex.from_dict(found["problem"])
    loss = si.nonlinear.loss(p, found["omega"], found["mu"], found["kernel"])
    np.testing.assert_allclose(found["loss"], loss, rtol=1e-12)


def test_figure(tmp_path: Path) -> None:
    target = tmp_path / "nonlinear.svg"
    two = (
        "--set",
        "model.kernel=asymptotic",
        "--set",
        "nonlinear.task_sizes=[8, 6]",
        "--set",
        "nonlinear.coefficients=[0.3, 1.0]",
    )
    status, out, _ = run("nonlinear", "--plot", str(target), *QUICK, *two)
    assert status == 0
    assert f"wrote {target}" in out
    drawn = target.read_text("utf-8")
    for words in ("task 1", "degree 1", "head 1", "sum", "loss without noise"):
        assert words in drawn


def test_a_flow_that_leaves_its_range_is_reported_and_said(tmp_path: Path) -> None:
    file = tmp_path / "short.toml"
    file.write_text(
        "[nonlinear]\ntask_sizes = [2]\ncoefficients = [0.0, 1.0]\nnoise = 0.0\ncontext_length = 10\n"
        "[model]\nkernel = 'first-order'\nparametrization = 'merged'\n"
        "[initial]\nomega = [[0.6]]\nmu = [[6.0]]\n"
    )
    status, out, err = run("nonlinear", str(file), "--json")
    assert status == 1
    assert json.loads(out)["outcome"] == "left_range"
    assert err.startswith("Error: left the range of the first-order law")
    assert err.count("\n") == 1
    assert "tables" not in err


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("nonlinear.noise=-1", "Error: nonlinear.noise: expected"),
        ("nonlinear.covariance=2.0", "Error: nonlinear.covariance: expected nothing"),
        (
            "model.kernel=exact",
            "Error: model.kernel: expected one of 'asymptotic', 'first-order', got 'exact'",
        ),
        ("flow.stationary=1", "Error: flow.stationary: expected a known key"),
    ],
)
def test_bad_input_is_one_line(change: str, line: str) -> None:
    status, out, err = run("nonlinear", "--set", change)
    assert (status, out) == (2, "")
    assert err.startswith(line)
    assert err.count("\n") == 1


def test_other_commands_say_whose_the_file_is() -> None:
    file = str(Path(__file__).parents[2] / "examples" / "nonlinear.toml")
    status, _, err = run("flow", file)
    assert status == 2
    assert "nonlinear: expected no [nonlinear]: tasks here are linear (spectral-icl nonlinear solves" in err


@pytest.mark.parametrize("kind", ["scattered", "matrices"])
def test_another_kind_of_start_leaves_the_entries_of_the_built_in_one(kind: str) -> None:
    status, _, err = run("nonlinear", "--set", f"initial.kind={kind}", *QUICK)
    assert (status, err) == (0, "")
