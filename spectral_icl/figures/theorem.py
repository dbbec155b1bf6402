"""A theorem's page of evidence as one HTML page with its figures inside."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from spectral_icl.figures.margins import margins_figure, plane_figure
from spectral_icl.figures.page import embedded, write
from spectral_icl.io.provenance import environment
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.theorem_report import TheoremReport, mark, written

_CLASSES = {Verdict.HOLDS: "holds", Verdict.FAILS: "fails", Verdict.NOT_APPLICABLE: "na"}


def theorem_page(report: TheoremReport) -> str:
    """The page: what the theorem says and supposes, where it holds by how much, and where it stops."""
    from jinja2 import Environment  # optional

    template = resources.files("spectral_icl.figures").joinpath("theorem.html").read_text("utf-8")
    text: str = (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            report=report,
            theorem=report.theorem,
            claim=report.theorem.claim,
            lines=embedded(margins_figure(report.lines)),
            plane=embedded(plane_figure(report.plane)) if report.plane else "",
            classes=_CLASSES,
            mark=mark,
            written=written,
            environment=environment(),
        )
    )
    return text


def save(report: TheoremReport, path: Path) -> None:
    """Write the page; the file appears only once it is whole."""
    write(theorem_page(report), path)
