"""The figure of a file: of a sweep's store, or of a saved flow."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from matplotlib.figure import Figure

from spectral_icl.figures.flow import flow_figure
from spectral_icl.figures.style import save
from spectral_icl.figures.sweep import summary, sweep_figure
from spectral_icl.io.checks import ProblemError
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.sweeps.plan import sweep_of
from spectral_icl.sweeps.store import is_sweep, open_sweep


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure and what it is of.

    Attributes
    ----------
    path : Path
        The file that it was made of.
    figure : Figure
    shows : tuple of str
        Quantities of its panels, or "flow".
    points : int
        Points of the sweep; 1 for a flow.
    left_out : dict of str to int
        How many of them are not good, by reason.
    """

    path: Path
    figure: Figure
    shows: tuple[str, ...]
    points: int = 1
    left_out: dict[str, int] = field(default_factory=dict)

    def save(self, target: Path | None = None) -> DrawingReport:
        """Write the figure, by default to a name made of ``path`` and ``shows`` in the current folder."""
        target = Path(f"{self.path.stem}-{'-'.join(self.shows)}.pdf") if target is None else target
        save(self.figure, target)
        return DrawingReport(self, target)


@dataclass(frozen=True, eq=False)
class DrawingReport:
    """A figure that was written.

    Attributes
    ----------
    drawing : Drawing
    target : Path
        The file of the figure.
    """

    drawing: Drawing
    target: Path

    def to_text(self) -> str:
        """What the figure shows, of how many points, and a line for every reason to leave some out."""
        drawing = self.drawing
        shows = ", ".join(drawing.shows)
        if drawing.shows == ("flow",):
            return f"{drawing.path}: {shows}"
        lines = [f"{drawing.path}: {shows} of {drawing.points} points"]
        lines += [f"  left out  {n}, {reason}" for reason, n in drawing.left_out.items()]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """Where the figure is, what it shows, of how many points, and how many are left out by reason."""
        return {
            "path": str(self.drawing.path),
            "shows": list(self.drawing.shows),
            "points": self.drawing.points,
            "left_out": self.drawing.left_out,
            "figure": str(self.target),
        }


def draw(
    path: Path,
    quantities: Sequence[str] = (),
    x: str | None = None,
    y: str | None = None,
    task: int | None = None,
    at: Mapping[str, float] | None = None,
) -> Drawing:
    """Draw what is in ``path``; the other arguments are those of `sweep_figure`, and for sweeps only.

    Raises
    ------
    ProblemError
        There is no sweep and no flow in ``path``, or it has not what is asked for.
    """
    if not os.path.exists(path):  # a name that is too long does not
        raise ProblemError("path", str(path), "an existing store of a sweep, or a saved flow")
    if not is_sweep(path):
        options = {"quantity": quantities, "x": x, "y": y, "task": task, "at": at}
        for name, value in options.items():
            if value not in (None, (), [], {}):
                raise ProblemError(name, value, "nothing for a flow, which is not a sweep")
        return Drawing(path, flow_figure(Solution.load(path)), ("flow",))
    sweep = sweep_of(open_sweep(path))
    shows = tuple(quantities) or tuple(sweep.suitable(task))
    figure = sweep_figure(sweep, shows, x=x, y=y, task=task, at=at)
    return Drawing(path, figure, shows, sweep.plan.size, summary(sweep))
