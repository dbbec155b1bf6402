"""The look that all figures share, and how a figure is written."""

from __future__ import annotations

from pathlib import Path

from matplotlib import style
from matplotlib.figure import Figure

from spectral_icl.io.files import FIGURES, check_target, replacing

STYLE = Path(__file__).parents[1] / "paper.mplstyle"  # `matplotlib.style.use("spectral_icl.paper")` elsewhere
WIDTH = 6.75  # inches: a page's text width


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PDF, PNG or SVG; the file appears only once it is whole."""
    target = Path(path)
    check_target("path", target, FIGURES)
    with style.context(STYLE), replacing(target) as part:
        figure.savefig(part)
