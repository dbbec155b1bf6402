"""What is said of paths: the numbers that there are, and a line for whatever matters and is left out."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.report import FlowReport
from spectral_icl.multitask.training import TrainingReport

PROBLEM = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=10_000)
START = si.initial.paper(PROBLEM, 2, 0.1, 0.1, 0.2)


def paths(problem: si.Problem = PROBLEM, **options: Any) -> si.StochasticFlow:
    return si.stochastic_flow(
        problem, *START, **{"step": 0.05, "batch": 1000, "t_end": 60.0, "paths": 8, **options}
    )


@pytest.fixture(scope="module")
def told() -> TrainingReport:
    return TrainingReport(paths())


def saying(report: TrainingReport, text: str) -> bool:
    return any(text in line for line in report.lines())


def test_lines_have_the_numbers(told: TrainingReport) -> None:
    lines, found = told.lines(), told.scatter
    assert lines[0].split("  ")[1] == "SGD, step 0.05, batch 1000, 8 paths"
    (row,) = [line.split() for line in lines if line.startswith("  emergence of task 1")]
    assert float(row[4]) == pytest.approx(found.emergence[1].flow, rel=1e-3)
    assert float(row[5]) == pytest.approx(found.emergence[1].median, rel=1e-3)
    assert row[-3:] == ["8", "of", "8"]
    assert saying(told, f"stationary loss {found.stray_loss:.3g} at the end")
    assert max(map(len, lines)) <= 120


def test_a_gentle_step_has_no_warnings(told: TrainingReport) -> None:
    assert told.paths.flow.saturation.level == "accurate"
    assert told.warnings == ()


def test_large_noise_is_said_to_be_large() -> None:
    loud = TrainingReport(paths(batch=10))
    assert loud.scatter.plateau_share > 0.1
    assert saying(loud, "WARNING: noise is no small perturbation of this plateau")
    cost = loud.paths.cost
    part = 0.099 / loud.scatter.plateau_share
    quiet = TrainingReport(replace(loud.paths, cost=cost._replace(kq=part * cost.kq, ov=part * cost.ov)))
    assert quiet.scatter.plateau_share == pytest.approx(0.099)
    assert not saying(quiet, "WARNING")


def test_a_step_near_the_edge_is_said_to_be(told: TrainingReport) -> None:
    for edge, near in ((0.49, False), (0.51, True)):
        cost = told.paths.cost._replace(edge=np.full(told.paths.node.size, edge))
        assert (
            saying(TrainingReport(replace(told.paths, cost=cost)), "WARNING: beyond 0.5 of the edge") == near
        )


def test_paths_beyond_all_bounds_are_said_to_be() -> None:
    gone = TrainingReport(paths(step=5.0, batch=1))
    assert saying(gone, "8 of 8 paths left all bounds")
    assert saying(gone, "no stationary loss, beyond the edge of stability")
    json.dumps(gone.to_dict(), allow_nan=False)


def test_a_law_that_is_off_is_said_to_be_and_the_exact_one_named() -> None:
    short = replace(PROBLEM, context_length=100.0)
    assert saying(TrainingReport(paths(short)), 'kernel = "exact" samples it')


def test_what_is_not_followed_is_said(told: TrainingReport) -> None:
    assert saying(TrainingReport(replace(told.paths, strays=False)), "too many to be followed")
    merged = TrainingReport(paths(parametrization=si.Merged(), step=0.01, paths=2))
    assert not merged.paths.strays
    assert not saying(merged, "too many to be followed"), "nothing is unbalanced"


def test_plain_objects_have_every_path(told: TrainingReport) -> None:
    table: Any = json.loads(json.dumps(told.to_dict(), allow_nan=False))
    assert (table["step"], table["batch"], table["paths"], table["seed"]) == (0.05, 1000, 8, 0)
    assert table["noisy_queries"] is False
    assert np.array(table["emergence"]["paths"]) == pytest.approx(told.paths.emergence)
    for name in ("emergence", "escape"):
        assert np.shape(table[name]["paths"]) == (8, 2)
    for i in range(2):
        spread = told.scatter.emergence[i]
        assert table["emergence"]["median"][i] == spread.median
        assert table["emergence"]["deviation"][i] == spread.deviation
        assert table["escape"]["flow"][i] is None
        assert math.isfinite(table["imbalance"]["time"][i])
    assert table["stray_loss"] == pytest.approx(table["stray_loss_kq"] + table["stray_loss_ov"])
    assert table["edge"] >= table["final_edge"] > 0.0
    assert table["lost"] == 0
    assert table["warnings"] == []


def test_the_report_of_a_flow_has_them_if_there_are_any(told: TrainingReport) -> None:
    flow = told.paths.flow
    without, beside = FlowReport(flow, "title", {}), FlowReport(flow, "title", {}, told)
    assert "training" not in without.to_dict()
    assert beside.to_dict()["training"] == told.to_dict()
    assert beside.to_text() == without.to_text() + "\n\n" + "\n".join(told.lines())


def test_of_many_tasks_a_few_are_shown() -> None:
    many = si.Problem.multitask(task_sizes=(4,) * 14, signal=10.0, noise=0.09, context_length=10_000)
    start = si.initial.random(many, 2, 0.1, positive=True)
    report = TrainingReport(si.stochastic_flow(many, *start, step=0.05, batch=1000, t_end=1.0, paths=2))
    shown = [line.split()[3] for line in report.lines() if line.startswith("  emergence of task")]
    assert shown == ["0", "1", "2", "12", "13"]
