"""A verification as one HTML page with its figures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from spectral_icl import optimal_plots, plots
from spectral_icl.claims import CLAIMS
from spectral_icl.files import PAGES, check_target, replacing
from spectral_icl.provenance import environment
from spectral_icl.theorems import Verdict
from spectral_icl.verify import Verified, count, formatted

_CLASSES = {Verdict.HOLDS: "holds", Verdict.FAILS: "fails", Verdict.NOT_APPLICABLE: "na"}


def page(results: Sequence[Verified]) -> str:
    """The page: what the claims are, the checks of every case, its flow, and the first case's benchmarks."""
    from jinja2 import Environment  # optional

    template = resources.files("spectral_icl").joinpath("verification.html").read_text("utf-8")
    named = {check.claim for result in results for check in result.checks}
    text: str = (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            results=[(result, _encoded(plots.flow_figure(result.flow))) for result in results],
            claims=[claim for name, claim in CLAIMS.items() if name in named],
            counts=count(results),
            formatted=formatted,
            classes=_CLASSES,
            benchmarks=_encoded(optimal_plots.optimal_figure(results[0].case.experiment.problem)),
            environment=environment(),
        )
    )
    return text


def save(results: Sequence[Verified], path: Path) -> None:
    """Write the page; the file appears only once it is whole."""
    check_target("path", path, PAGES)
    text = page(results)
    with replacing(path) as part:
        part.write_text(text, "utf-8")


def _encoded(figure: Figure) -> str:
    """A figure as SVG in base64, small because it has lines only."""
    stream = io.BytesIO()
    with style.context(plots.STYLE):
        figure.savefig(stream, format="svg")
    return base64.b64encode(stream.getvalue()).decode("ascii")
