"""What became of a run of a sweep, in words and as plain objects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectral_icl.io.checks import ProblemError
from spectral_icl.sweeps.engines import Lost
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import INVALID, Points
from spectral_icl.sweeps.tally import Tally

_UNTRUSTED = "saturated"  # of the format: what the guard of any points does not trust is told under this name


@dataclass(frozen=True)
class Report:
    """What became of a run.

    Attributes
    ----------
    path : Path
        The store.
    plan : Plan
    points : int
        Points of this run: all of the plan, or those of its shard.
    done : Tally
        Those of them that are in the store, whether this run solved them or an earlier one.
    lost : tuple of Lost
        Batches that could not be run.
    stopped : str, or None
        Why the run ended early, in one line.
    interrupted : bool
        Whether it was the user who ended it.
    title : str
        First line of the text: where the plan is from.
    """

    path: Path
    plan: Plan
    points: int
    done: Tally
    lost: tuple[Lost, ...] = ()
    stopped: str | None = None
    interrupted: bool = False
    title: str = "sweep"

    @property
    def status(self) -> int:
        """Exit status: 0 if every point is solved, 130 if interrupted, else 1."""
        if self.interrupted:
            return 130
        return int(self.stopped is not None or self.done.points < self.points or self.done.failed > 0)

    @property
    def complaint(self) -> str | None:
        """One line about points that are still to do, or None if there are none."""
        if self.stopped is None and not self.lost:
            return None
        reason = self.stopped or "; ".join(f"batch {entry.batch}: {entry.reason}" for entry in self.lost)
        return (
            f"{reason}. {self.done.points} of {self.points} points are safe in {self.path}: "
            "run the same command to continue"
        )

    def to_dict(self) -> dict[str, Any]:
        """The report as plain objects for JSON."""
        done, points = self.done, self.plan.points
        return {
            "path": str(self.path),
            "points": self.points,
            "solved": done.points - done.failed,
            "failed": {
                self._name(status): {"points": number, "first": first, "advice": self._advice(status, first)}
                for status, (number, first) in sorted(done.failures.items())
            },
            "pending": self.points - done.points,
            _UNTRUSTED: None if done.untrusted is None else done.untrusted._asdict(),
            points.headline: None if done.extent is None else list(done.extent),
            "lost_batches": [entry.batch for entry in self.lost],
            "stopped": self.stopped,
        }

    def to_text(self) -> str:
        """The report in lines for people."""
        done, points = self.done, self.plan.points
        lines = [f"{self.title}: {self.points} points", f"  solved    {done.points - done.failed}"]
        if done.extent is not None:
            low, high = done.extent
            lines[-1] += f", {points.headline} {low:.7g} to {high:.7g}"
        for status, (number, first) in sorted(done.failures.items()):
            advice = self._advice(status, first)
            lines.append(f"  {self._name(status):9} {number}, the first is point {first}: {advice}")
        if done.untrusted is not None and points.guard is not None:
            number, first = done.untrusted
            lines.append(
                f"  {_UNTRUSTED} {number} of the solved, the first is point {first}: {points.guard.reason}"
            )
        if self.points > done.points:
            lines.append(f"  pending   {self.points - done.points}")
        return "\n".join([*lines, f"wrote {self.path}"])

    def _name(self, status: int) -> str:
        return "invalid" if status == INVALID else self.plan.points.outcome(status)[0]

    def _advice(self, status: int, point: int) -> str:
        if status != INVALID:
            return self.plan.points.outcome(status)[1]
        try:
            self.plan.experiment(point)
        except ProblemError as error:
            return str(error)
        return "was invalid when it was solved; solve the failed points again"


def note(points: Points[Any], done: Tally) -> str:
    """What a progress line says about the points that are done."""
    extent = (
        "" if done.extent is None else f", {points.headline} {done.extent[0]:.4g} to {done.extent[1]:.4g}"
    )
    untrusted = "" if done.untrusted is None else f", {done.untrusted.number} {_UNTRUSTED}"
    return f"{done.failed} failed{untrusted}{extent}"
