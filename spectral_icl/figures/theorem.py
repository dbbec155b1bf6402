"""A theorem's page of evidence as one HTML page with its figures inside."""

from __future__ import annotations

from pathlib import Path

from spectral_icl.figures.margins import margins_figure, plane_figure
from spectral_icl.figures.page import embedded, rendered_by, write
from spectral_icl.theorems.theorem_report import TheoremReport, mark, written


def theorem_page(report: TheoremReport) -> str:
    """The page: what the theorem says and supposes, where it holds by how much, and where it stops."""
    return rendered_by(
        "theorem.html",
        report=report,
        theorem=report.theorem,
        claim=report.theorem.claim,
        lines=embedded(margins_figure(report.lines)),
        plane=embedded(plane_figure(report.plane)) if report.plane else "",
        mark=mark,
        written=written,
    )


def save(report: TheoremReport, path: Path) -> None:
    """Write the page; the file appears only once it is whole."""
    write(theorem_page(report), path)
