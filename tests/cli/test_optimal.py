"""The command ``optimal``: its table, JSON and figure."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from drawn_benchmarks import few_points
from shell import run
from strict import strict
from weights import slow

import spectral_icl as si


def test_optimal_table_and_json() -> None:
    status, out, err = run("optimal")
    assert (status, err) == (0, "")
    for line in (
        "best single head",
        "head-per-task limit",
        "H = I plateau",
        "lower bound",
        "one gradient step",
    ):
        assert re.search(rf"^  {re.escape(line)} +\d", out, re.MULTILINE)
    assert "not attained" in out
    _, out, _ = run("optimal", "--json")
    found = strict(out)["benchmarks"]
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    assert found["lower_bound"]["loss"] == si.optimal.lower_bound(p).loss
    assert found["best_of_2"]["infimum"] == pytest.approx(si.optimal.plateau(p).loss)
    weights = found["head_per_task"]["weights"]
    np.testing.assert_allclose(si.loss(p, weights["omega"], weights["mu"]), found["head_per_task"]["loss"])
    np.testing.assert_allclose(found["single_head"]["effective_dimension"], 20 * np.e)


def test_benchmarks_that_do_not_apply_are_said() -> None:
    _, out, _ = run("optimal", "--json", "--heads", "1", "--set", "problem.context_length=100.5")
    report = strict(out)
    assert "bayes" not in report["benchmarks"]
    assert "whole number of pairs" in report["missing"]["bayes"]
    assert "best_of_2" not in report["benchmarks"]


def test_optimal_figure_without_a_whole_number_of_pairs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few_points(monkeypatch)
    target = tmp_path / "optimal.svg"
    status, out, _ = run(
        "optimal", "--heads", "1", "--plot", str(target), "--set", "problem.context_length=9.5"
    )
    assert status == 0
    assert "no bayes: not computed, because it needs a whole number of pairs" in out
    assert "one gradient step" in target.read_text("utf-8")


@pytest.mark.parametrize("whole", [False, slow(True)])
def test_optimal_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    if not whole:
        few_points(monkeypatch)
    target = tmp_path / "optimal.svg"
    status, out, _ = run("optimal", "--heads", "1", "--plot", str(target))
    assert status == 0
    assert f"wrote {target}" in out
    drawn = target.read_text("utf-8")
    for words in ("best of 3 heads", "Bayes risk", "one gradient step", "lower bound"):
        assert words in drawn


def test_a_figure_at_the_largest_length_and_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it draws around the problem is within what a problem can be."""
    few_points(monkeypatch)
    extreme = ["--set", "problem.context_length=1e12", "--set", "problem.task_sizes=[1, 1000000000]"]
    status, _, err = run("optimal", "--heads", "1", "--plot", str(tmp_path / "optimal.svg"), *extreme)
    assert (status, err) == (0, "")


def test_a_table_has_a_bounded_number_of_lines() -> None:
    status, out, err = run("optimal", "--heads", "101")
    assert (status, out) == (2, "")
    assert err == "Error: heads: expected a whole number >= 1 and <= 100, got 101\n"
