"""A solved flow as numbers and words to draw: whatever shows it has nothing left to work out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from spectral_icl.explore.choices import Choices
from spectral_icl.explore.export import script, toml
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.optimal.benchmarks import Benchmark
from spectral_icl.multitask.report import FlowReport, benchmarks

_POINTS = 150  # of a curve, beside the steps of the integrator
_CELLS = 300  # of an axis, each of which has one step at most: a pixel or two
_BEFORE = 20.0  # part of the warm-up at which a logarithmic axis of time begins
_DECADES = 1e3  # which it spans where there is no warm-up


@dataclass(frozen=True, eq=False)
class Frame:
    """All that is on the page for one flow.

    Attributes
    ----------
    solution : Solution
    title : str
        Where the flow is from.
    start : mapping of str to object
        What the weights started from, as a file says it.
    toml, script : str
        The flow as a file and as Python.
    times : ndarray, (T,)
        Increasing and positive, for a logarithmic axis.
    task_loss : ndarray, (T, I)
    omega : ndarray, (T, H, B)
    mu : ndarray, (T, H, I)
    bounds : mapping of str to Benchmark
        What attention could reach, by key; none before `with_bounds`, which may take longer than the flow.
    text : str
        The report that `spectral-icl flow` prints; empty before `complete`, which takes longer than flows.
    """

    solution: Solution
    title: str
    start: Mapping[str, object]
    toml: str
    script: str
    times: Floats
    task_loss: Floats
    omega: Floats
    mu: Floats
    bounds: Mapping[str, Benchmark] = field(default_factory=dict)
    text: str = ""

    def with_bounds(self) -> Frame:
        """The same flow with its benchmarks."""
        return replace(self, bounds=benchmarks(self.solution.problem, self.solution.options.kernel))

    def complete(self) -> Frame:
        """The same flow with its benchmarks and its report."""
        report = FlowReport(self.solution, self.title, self.start)
        return replace(self.with_bounds(), text=report.to_text())

    def looks_like(self, other: Frame | None) -> bool:
        """Whether the pictures of another frame are those of this one."""
        return other is not None and self.solution is other.solution and self.bounds == other.bounds

    @cached_property
    def spans(self) -> dict[str, tuple[float, float]]:
        """Start and end of every phase on the axis of time, by name."""
        first, last = self.times[0], self.times[-1]
        spans = self.solution.phases.spans(last)
        return {name: (max(start, first), min(end, last)) for name, (start, end) in spans.items()}

    def moment(self, fraction: float) -> float:
        """The time at a fraction of the axis."""
        first, last = self.times[0], self.times[-1]
        return float(last if fraction >= 1.0 else first * (last / first) ** fraction)

    def fraction(self, time: float) -> float:
        """The fraction of the axis at a time."""
        first, last = self.times[0], self.times[-1]
        return float(np.clip(np.log(time / first) / np.log(last / first), 0.0, 1.0))

    def blocks_of(self, task: int) -> list[int]:
        """The blocks that carry the signal of a task."""
        found: list[int] = self.solution.problem.signal.blocks_of(task).tolist()
        return found


def solved(choices: Choices, title: str) -> Frame:
    """The flow that was chosen, solved; its benchmarks are left to `Frame.complete`.

    Raises
    ------
    ProblemError
        The choices do not make a flow.
    IntegrationError
        Its end was not reached.
    """
    table = choices.table()
    experiment = Experiment.from_dict(table)
    solution = experiment.solve()
    times = _times(solution)
    curve = solution(times)
    return Frame(
        solution=solution,
        title=title,
        start=experiment.initial.to_dict(),
        toml=toml(table),
        script=script(table),
        times=times,
        task_loss=losses_at(solution.problem, curve, solution.options.kernel),
        omega=curve.omega,
        mu=curve.mu,
    )


def _times(solution: Solution) -> Floats:
    """The integrator's steps on a logarithmic axis, with an even grid added where they are sparse there."""
    steps = solution.trajectory.t
    end = float(steps[-1])
    if end == 0.0:  # at rest from the start: any later time repeats it
        end = min(solution.options.t_end, 1.0)
    onset = solution.phases.warm_up[1]
    start = min(onset / _BEFORE, end / 2.0) if onset > 0.0 else end / _DECADES
    inside = steps[(steps > start) & (steps < end)]
    cells = np.floor(_CELLS * np.log(inside / start) / np.log(end / start))
    apart = inside[np.diff(cells, prepend=-1.0) > 0.0]
    return np.union1d(apart, np.geomspace(start, end, _POINTS))


def spread(values: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places for labels at values, moved as little as it takes to be ``gap`` apart and between the ends."""
    places = [0.0] * len(values)
    order = sorted(range(len(values)), key=lambda k: values[k])
    last = low - gap
    for k in order:
        last = places[k] = max(values[k], last + gap)
    last = high + gap
    for k in reversed(order):
        last = places[k] = min(places[k], last - gap)
    return places
