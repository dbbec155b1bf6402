"""A verification as one HTML page with its figures inside."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from spectral_icl.figures.flow import flow_figure
from spectral_icl.figures.optimal import optimal_figure
from spectral_icl.figures.style import rendered
from spectral_icl.io.files import PAGES, check_target, put
from spectral_icl.io.provenance import environment
from spectral_icl.theorems.claim import Check, Claim, Verdict
from spectral_icl.theorems.multitask.claims.registry import CLAIMS
from spectral_icl.theorems.report import SparseReport, SuiteReport, cells
from spectral_icl.theorems.sparse.claims.registry import CLAIMS as SPARSE_CLAIMS

_CLASSES = {Verdict.HOLDS: "holds", Verdict.FAILS: "fails", Verdict.NOT_APPLICABLE: "na"}


@dataclass(frozen=True)
class Section:
    """Checks that belong together, with what to know of them and the figure beside them, if there is one."""

    name: str
    about: str
    checks: Sequence[Check]
    problem: str = ""
    figure: Figure | None = None


def page(report: SuiteReport) -> str:
    """The page: what the claims are, the checks of every case, its flow, and the first case's benchmarks."""
    sections = [
        Section(
            result.case.name,
            result.case.about,
            result.checks,
            str(result.case.experiment.problem),
            flow_figure(result.flow),
        )
        for result in report.sections
    ]
    first = report.sections[0].case
    benchmarks = optimal_figure(first.experiment.problem, first.experiment.model.kernel)
    cases = "1 case" if len(sections) == 1 else f"{len(sections)} cases"
    return _rendered(cases, sections, CLAIMS.values(), report.verdicts, [(first.name, benchmarks)])


def sparse_page(report: SparseReport) -> str:
    """The page of the claims about sparse regression, a table for each."""
    found = [one.checks for one in report.sections]
    sections = [Section(checks[0].claim, checks[0].statement, checks) for checks in found]
    claims = "1 claim" if len(found) == 1 else f"{len(found)} claims"
    return _rendered(claims, sections, SPARSE_CLAIMS.values(), report.verdicts, [])


def _rendered(
    what: str,
    sections: Sequence[Section],
    claims: Iterable[Claim[Any, Any]],
    counts: Mapping[str, int],
    benchmarks: Sequence[tuple[str, Figure]],
) -> str:
    named = {check.claim for section in sections for check in section.checks}
    return rendered_by(
        "verification.html",
        what=what,
        sections=[(one, "" if one.figure is None else embedded(one.figure)) for one in sections],
        claims=[claim for claim in claims if claim.name in named],
        counts=counts,
        cells=cells,
        benchmarks=[(name, embedded(figure)) for name, figure in benchmarks],
    )


def rendered_by(template: str, **values: object) -> str:
    """A template of this folder with its values, and what every page says of verdicts and this machine."""
    from jinja2 import Environment  # optional

    source = resources.files("spectral_icl.figures").joinpath(template).read_text("utf-8")
    filled = Environment(autoescape=True).from_string(source)
    text: str = filled.render(classes=_CLASSES, environment=environment(), **values)
    return text


def save(report: SuiteReport, path: Path) -> None:
    """Write the page; the file appears only once it is whole."""
    write(page(report), path)


def save_sparse(report: SparseReport, path: Path) -> None:
    """Write the page of the claims about sparse regression."""
    write(sparse_page(report), path)


def write(text: str, path: Path) -> None:
    """Write a page; the file appears only once it is whole, over nothing but another page."""
    check_target("path", path, PAGES)
    put(path, text.encode())


def embedded(figure: Figure) -> str:
    """A figure as SVG in base64, small because it has lines only."""
    return base64.b64encode(rendered(figure, "svg")).decode("ascii")
