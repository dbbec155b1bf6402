"""What a page of evidence says: text, plain objects, and the hypotheses of the claim."""

from __future__ import annotations

import json
import re

import pytest
from strict import strict

from spectral_icl.theorems.theorem import theorem_of
from spectral_icl.theorems.theorem_report import TheoremReport, line_text, written


@pytest.fixture(scope="module")
def report() -> TheoremReport:
    """Task allocation about two equal tasks, with three values or four of each variable."""
    theorem = theorem_of("task-allocation", points=3)
    return TheoremReport(theorem, tuple(theorem.ground.lines()), theorem.ground.over_plane())


def test_a_table_has_a_line_for_each_range(report: TheoremReport) -> None:
    texts = {line.variable.name: line_text(line) for line in report.lines}
    heading, columns, first, second = texts["lead"].splitlines()
    assert heading == "lead of a task's head m, 3 at the base"
    assert columns.split()[:3] == ["from", "to", "verdict"]
    assert re.search(r"n/a, fails +-\d+ .* every task has its own dominant head", first)
    assert re.search(r" 30 +holds +1 ", second)


def test_plain_objects_are_strict_and_whole(report: TheoremReport) -> None:
    found = strict(json.dumps(report.to_dict()))
    assert found["claim"] == "task-allocation"
    assert found["success"] is True
    assert sum(found["verdicts"].values()) == len(report.points)
    for line in found["variables"]:
        assert len(line["points"]) == len(line["values"])
        assert line["base"] in line["values"]
        assert line["ranges"][0]["first"] == line["values"][0]
        assert line["borders"] == [
            [one["last"], other["first"]]
            for one, other in zip(line["ranges"], line["ranges"][1:], strict=False)
        ]
        for point in line["points"]:
            (trial,) = point["trials"]
            assert point["margin"] == trial["margin"]
            assert bool(trial["missing"]) <= (point["verdict"] == "not applicable")
    plane = found["plane"]
    assert len(plane["margins"]) == len(plane["y"]["values"])
    assert {len(row) for row in plane["verdicts"]} == {len(plane["x"]["values"])}


def test_hypotheses_are_all_there_and_counted(report: TheoremReport) -> None:
    supposed = {text: (met, count) for text, met, count in report.supposed}
    assert all(met for met, _ in supposed.values())
    missing = "every task has its own dominant head"
    expected = sum(any(missing in part.missing for part in point.parts) for point in report.points)
    assert supposed[missing] == (True, expected)
    assert expected > 0
    assert supposed["weights are balanced"] == (True, 0)


def test_the_last_line_counts_points(report: TheoremReport) -> None:
    plane, total = report.to_text().splitlines()
    assert plane.startswith("over context length and size of the start: ")
    assert total.startswith(f"{len(report.points)} points: ")


@pytest.mark.parametrize(
    ("value", "text"), [(100.0, "100"), (0.0041234, "0.004123"), (111111.1, "111111"), (5e-6, "5e-06")]
)
def test_values_have_digits_enough(value: float, text: str) -> None:
    assert written(value) == text
