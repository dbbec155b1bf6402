"""What is said of the benchmarks of a problem."""

from __future__ import annotations

import io
import json
import sys

import pytest

import spectral_icl as si
from spectral_icl.multitask.optimal import report as report_module
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS
from spectral_icl.multitask.optimal.report import benchmark_report

PROBLEM = si.Problem.multitask(task_sizes=(4, 6), signal=(10.0, 5.0), noise=0.09, context_length=100)


def test_every_benchmark_has_the_name_of_the_table() -> None:
    for key, reference in BENCHMARKS.items():
        assert reference.find is getattr(si.optimal, key)
        assert reference.find(PROBLEM).name == reference.name


def test_optima_stand_before_the_bound_that_they_approach() -> None:
    report = benchmark_report(PROBLEM, "a title", heads=2)
    before = ["single_head", "head_per_task", "plateau"]
    exact = ["small_heads", "gradient_step", "bayes"]
    assert list(report.found) == [*before, "best_of_1", "best_of_2", "lower_bound", *exact]
    assert report.missing == {}
    lines = report.to_text().splitlines()
    assert lines[0] == "a title"
    for found in report.found.values():
        assert any(line.strip().startswith(found.name) for line in lines)
    json.dumps(report.to_dict(), allow_nan=False)


def test_what_does_not_apply_has_a_reason() -> None:
    alone = si.Problem.multitask(task_sizes=(4,), signal=10.0, noise=0.09, context_length=100.5)
    report = benchmark_report(alone, "")
    assert set(report.missing) == {"plateau", "bayes"}
    assert "  no plateau: not computed, because it needs at least two tasks" in report.to_text()
    assert report.to_dict()["missing"] == report.missing


@pytest.mark.parametrize("kernel", ["asymptotic", "first-order"])
def test_numbers_of_a_law_and_exact_ones_stand_apart(kernel: str) -> None:
    """A bound of the asymptotic law is no bound on what is exact, and its table holds no exact number."""
    report = benchmark_report(PROBLEM, "", heads=1, kernel=kernel)
    first, second = report.to_text().split("exact at this L and d, under no law")
    assert f"softmax attention under the {kernel} law" in first
    exact = {found.name for found in report.found.values() if found.law == "exact"}
    assert exact == {"any number of small heads", "one gradient step", "Bayes risk (ridge)"}
    for found in report.found.values():
        own, other = (second, first) if found.name in exact else (first, second)
        assert found.law == ("exact" if found.name in exact else kernel)
        assert found.name in own
        assert found.name not in other


def test_searches_are_bounded_unless_heads_are_asked_for() -> None:
    many = si.Problem.multitask(task_sizes=(2,) * 200, signal=1.0, noise=0.1, context_length=100)
    report = benchmark_report(many, "")
    assert {key for key in report.found if key.startswith("best")} == {"best_of_1"}
    assert "variables H B take minutes" in report.missing["best_of_2_to_201"]
    with pytest.raises(si.ProblemError, match="heads: expected H B <= 400"):
        si.optimal.minimise(many, 3)
    few = si.Problem.multitask(task_sizes=(2,) * 30, signal=1.0, noise=0.1, context_length=100)
    searched, missing = report_module._searched(few, None, "asymptotic")
    assert searched == [1, 2, 3, 4, 31]  # the last is known in closed form
    assert set(missing) == {"best_of_5_to_30"}
    assert report_module._searched(few, 6, "asymptotic") == ([1, 2, 3, 4, 5, 6], {})


def test_a_terminal_sees_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr(sys, "stderr", shown)
    benchmark_report(PROBLEM, "", heads=1)
    assert "best of 1]" in shown.getvalue()
