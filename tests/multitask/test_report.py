"""What is said of a solved flow (that it is right is tested where the commands are)."""

from __future__ import annotations

import json

import pytest

import spectral_icl as si
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
