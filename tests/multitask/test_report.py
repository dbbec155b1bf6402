"""What is said of a solved flow (that it is right is tested where the commands are)."""

from __future__ import annotations

import json

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.flow.solution import ties
from spectral_icl.multitask.report import FlowReport, benchmarks


@pytest.fixture(scope="module")
def report() -> FlowReport:
    p = si.Problem.multitask(task_sizes=(4, 4), signal=10.0, noise=0.09, context_length=100)
    flow = si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2), t_end=1.0)
    return FlowReport(flow, "a title", {"kind": "paper", "omega": [0.1] * 1000})


def test_text_has_a_title_and_a_start_that_fits_a_line(report: FlowReport) -> None:
    lines = report.to_text().splitlines()
    assert lines[0] == "a title"
    (start,) = [line for line in lines if line.startswith("  start")]
    assert start.startswith("  start     kind paper, omega [0.1, ")
    assert len(start) == 12 + 100
    assert not lines[-1].isspace()


def test_plain_objects_are_json(report: FlowReport) -> None:
    table = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert table["loss"] == report.solution.final_loss
    assert table["digest"] == report.solution.problem.digest()
    assert list(table["optimal"]) == ["single_head", "head_per_task", "lower_bound"]


def test_text_and_figure_share_their_benchmarks(report: FlowReport) -> None:
    solution = report.solution
    asked = (solution.problem, solution.options.kernel)
    assert benchmarks(*asked) is benchmarks(*asked)


@pytest.fixture(scope="module")
def many() -> FlowReport:
    power = [10.0 / (1 + task) for task in range(30)]
    p = si.Problem.multitask(task_sizes=[4] * 30, signal=power, noise=0.1, context_length=1000)
    start = si.initial.dominant(p, 30, 0.01)
    return FlowReport(si.gradient_flow(p, *start, t_end=300.0, rtol=1e-6), "a title", {"kind": "dominant"})


def test_of_many_tasks_the_text_has_the_first_the_last_and_quantiles_of_all(many: FlowReport) -> None:
    lines = many.to_text().splitlines()
    assert len(lines) < 50
    assert max(map(len, lines)) <= 120
    shown = [int(line.split()[3]) for line in lines if line.startswith("  emergence of task")]
    assert shown == [0, 1, 2, 28, 29]
    assert lines.count("  ...") == 2
    tasks = many.solution.phases.tasks
    times = [task.time for task in tasks if task.head is not None]
    assert 0 < len(times) < 30
    (heading,) = [k for k, line in enumerate(lines) if "tasks emerged" in line]
    assert lines[heading].split()[:3] == [str(len(times)), "of", "30"]
    name, count, *quantiles = lines[heading + 1].split()
    assert (name, int(count)) == ("measured", len(times))
    assert [float(q) for q in quantiles] == pytest.approx(
        np.quantile(times, [0.05, 0.25, 0.5, 0.75, 0.95]), rel=1e-3
    )
    (heads,) = [line for line in lines if "tasks per head" in line]
    assert heads == f"  tasks per head: {len(times)} heads have 1, {30 - len(times)} heads have 0"
    (hardest,) = [line for line in lines if "hardest tasks" in line]
    left = (many.solution.final_task_loss - 0.1) / many.solution.problem.power
    assert hardest.split()[2] == str(left.argmax())


def test_of_many_tasks_plain_objects_have_all(many: FlowReport) -> None:
    table = many.to_dict()
    for key in ("task_loss", "allocation", "forecast"):
        assert len(table[key]) == 30, key  # type: ignore[arg-type]
    assert len(table["phases"]["tasks"]) == 30  # type: ignore[index]


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([(0, 1), (2, 3, 4)], ["heads 0, 1", "heads 2, 3, 4"]),
        ([tuple(range(40))], ["heads 0, 1, 2, ..., 38, 39"]),
        (
            [(k, k + 1) for k in range(0, 40, 2)] + [(50, 51, 52)],
            ["heads in 21 groups, the largest 50, 51, 52,"],
        ),
    ],
)
def test_heads_that_are_tied_take_few_lines(groups: list[tuple[int, ...]], words: list[str]) -> None:
    assert ties(groups) == words
