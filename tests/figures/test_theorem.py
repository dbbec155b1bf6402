"""The page of evidence is one file that says where the claim holds, and what it supposes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pages import Page

import spectral_icl as si
from spectral_icl.figures.theorem import save, theorem_page
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.margins import Line
from spectral_icl.theorems.theorem import theorem_of
from spectral_icl.theorems.theorem_report import TheoremReport, line_text

ABSENT = Verdict.NOT_APPLICABLE


@pytest.fixture(scope="module")
def report() -> TheoremReport:
    """A claim that is sampled nowhere, with few values."""
    theorem = theorem_of("single-vs-multi", points=2)
    return TheoremReport(theorem, tuple(theorem.ground.lines()), theorem.ground.over_plane())


def test_a_page_has_every_range_and_hypothesis(report: TheoremReport) -> None:
    page = Page()
    page.feed(theorem_page(report))
    assert page.open == []
    text = " ".join(" ".join(page.words).split())
    for line in report.lines:
        assert f"{line.variable.label} {line.variable.symbol}, " in text
    for hypothesis, _, count in report.supposed:
        assert hypothesis in text
        assert f"{count} of {len(report.points)} points" in text
    assert len(page.pictures) == 2


def test_a_range_without_its_hypotheses_says_that_the_claim_fails_there(report: TheoremReport) -> None:
    """As the table in words does."""
    variable, (low, high) = report.lines[0].variable, report.lines[0].points[:2]
    failing = replace(high, parts=tuple(part._replace(verdict=ABSENT, margin=-0.5) for part in high.parts))
    line = Line(variable, variable.values[:2], (low, failing))
    assert line.ranges[-1].verdict is ABSENT
    assert "n/a, fails" in line_text(line)
    assert ">n/a, fails<" in theorem_page(TheoremReport(report.theorem, (*report.lines, line), None))


def test_without_a_plane_there_is_one_picture(report: TheoremReport) -> None:
    page = Page()
    page.feed(theorem_page(TheoremReport(report.theorem, report.lines, None)))
    assert len(page.pictures) == 1


def test_a_page_has_a_name_that_it_can_have(report: TheoremReport, tmp_path: Path) -> None:
    with pytest.raises(si.ProblemError, match=r"a name ending in \.html"):
        save(report, tmp_path / "page.txt")
