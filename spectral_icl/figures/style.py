"""The look that all figures share, and how a figure is written."""

from __future__ import annotations

import io
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from spectral_icl.io.files import FIGURES, MADE_BY, check_target, put

STYLE = Path(__file__).parents[1] / "paper.mplstyle"  # `matplotlib.style.use("spectral_icl.paper")` elsewhere
WIDTH = 6.75  # inches: a page's text width


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PDF, PNG or SVG; the file appears only once it is whole, over nothing but another."""
    target = Path(path)
    check_target("path", target, FIGURES)
    put(target, rendered(figure, target.suffix.removeprefix(".")))


def rendered(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a file of that kind: pdf, png or svg."""
    stream = io.BytesIO()
    with style.context(STYLE):
        metadata = {"Software" if kind == "png" else "Creator": MADE_BY}
        figure.savefig(stream, format=kind, metadata=metadata)
    return stream.getvalue()
