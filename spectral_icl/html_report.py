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
from spectral_icl.solution import IntegrationError
from spectral_icl.validation import ProblemError
from spectral_icl.verify import Verified, count, formatted

_CLASSES = {"holds": "holds", "FAILS": "fails", "n/a": "na"}


def page(results: Sequence[Verified]) -> str:
    """The page: what the claims are, the checks of every case, its flow, and the first case's benchmarks."""
    from jinja2 import Environment  # optional

    template = resources.files("spectral_icl").joinpath("verification.html").read_text("utf-8")
    named = {check.claim for result in results for check in result.checks}
    text: str = (
        Environment(autoescape=True)
        .from_string(template)
        .render(
            results=[(result, _flow(result)) for result in results],
            claims=[claim for name, claim in CLAIMS.items() if name in named],
            counts=count(results),
            formatted=formatted,
            classes=_CLASSES,
            benchmarks=_benchmarks(results[0]),
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


def _flow(result: Verified) -> str:
    """The figure of the case's own flow, to the end that its file names."""
    try:
        solution = result.case.experiment.solve()
    except IntegrationError as error:
        if error.solution is None:
            return ""
        solution = error.solution
    return _encoded(plots.flow_figure(solution))


def _benchmarks(result: Verified) -> str:
    try:
        return _encoded(optimal_plots.optimal_figure(result.case.experiment.problem))
    except ProblemError:  # part of a pair in the context: there is no Bayes risk
        return ""


def _encoded(figure: Figure) -> str:
    """A figure as SVG in base64, small because it has lines only."""
    stream = io.BytesIO()
    with style.context(plots.STYLE):
        figure.savefig(stream, format="svg")
    return base64.b64encode(stream.getvalue()).decode("ascii")
