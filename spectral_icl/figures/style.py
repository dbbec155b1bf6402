"""The look that all figures share, and how a figure is written."""

from __future__ import annotations

import io
from contextlib import AbstractContextManager
from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from spectral_icl.io.files import FIGURES, MADE_BY, check_target, put

STYLE = Path(__file__).parents[1] / "paper.mplstyle"  # `matplotlib.style.use("spectral_icl.paper")` elsewhere
WIDTH = 6.75  # inches: a page's text width


# which part of matplotlib draws each format: the user's own may be for windows or notebooks
_BACKENDS = {"pdf": "pdf", "png": "agg", "svg": "svg"}


def styled() -> AbstractContextManager[None]:
    """A block in which figures look as ours do, whatever the user's matplotlib is set to."""
    return style.context(["default", STYLE])


def rendered(figure: Figure, kind: str) -> bytes:
    """A figure as the content of a file of that kind: pdf, png or svg."""
    stream = io.BytesIO()
    metadata = {"Software" if kind == "png" else "Creator": MADE_BY}
    with styled():
        figure.savefig(stream, format=kind, backend=_BACKENDS[kind], metadata=metadata)
    return stream.getvalue()


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PDF, PNG or SVG; the file appears only once it is whole, over nothing but another."""
    target = Path(path)
    check_target("path", target, FIGURES)
    put(target, rendered(figure, target.suffix.removeprefix(".")))
