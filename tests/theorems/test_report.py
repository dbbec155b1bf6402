"""Reports of checks: a line for every check, and strict JSON."""

from __future__ import annotations

import json
import re

from strict import strict

import spectral_icl as si
from spectral_icl.theorems.multitask.check import names
from spectral_icl.theorems.report import CaseReport, SuiteReport


def test_text_has_a_line_for_every_check(results: list[CaseReport]) -> None:
    for result in results:
        heading, columns, *lines = result.to_text().splitlines()
        assert heading == f"{result.case.name}: {result.case.about}"
        assert columns.split() == ["claim", "verdict", "measured", "predicted", "margin", "what"]
        assert [line.split()[0] for line in lines] == names()
    assert re.fullmatch(
        r"11 cases: \d+ holds, 0 fails, \d+ not applicable", SuiteReport(tuple(results)).to_text()
    )
    assert "+-" in results[0].to_text()


def test_json_is_strict_and_whole(results: list[CaseReport]) -> None:
    report = strict(json.dumps(SuiteReport(tuple(results)).to_dict()))
    assert report["success"] is True
    assert sum(report["verdicts"].values()) == sum(len(case["checks"]) for case in report["cases"])
    for case in report["cases"]:
        assert si.Problem.from_dict(case["problem"]).digest() == case["digest"]
        for check in case["checks"]:
            assert check["verdict"] in {"holds", "fails", "not applicable"}
            assert {"claim", "statement", "reference", "reason", "measured", "predicted", "margin"} <= set(
                check
            )
