"""Flows as the points of a sweep: what their file may vary, what is found for each, how many are solved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import LARGEST, Floats, ProblemError
from spectral_icl.io.toml import Tables, read_table
from spectral_icl.kernels.model import Emerged
from spectral_icl.multitask.context import OF_LARGE
from spectral_icl.multitask.experiment import SECTIONS, Experiment, ExplicitStart, numeric_keys, seeded_starts
from spectral_icl.multitask.flow.ensemble import Ensemble, gradient_flow_ensemble
from spectral_icl.multitask.flow.escape import find_escapes
from spectral_icl.multitask.flow.forecast import forecast
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.flow.saturation import LIMIT
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS
from spectral_icl.multitask.parametrization import to_primal_state
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import check_dense
from spectral_icl.sweeps.axes import axis_values
from spectral_icl.sweeps.multitask.labels import LABELS, NUMBERED, TOGETHER
from spectral_icl.sweeps.multitask.quantities import FlowSweep
from spectral_icl.sweeps.points import Guard, Points, Results, Variable

_KEPT = 2**10  # problems whose benchmarks are remembered; one of many tasks takes tens of kilobytes


def _real(*dims: str, name: str) -> Variable:
    return Variable(("point", *dims), "float64", np.nan, name)


def _head(name: str) -> Variable:
    return Variable(("point", "task"), "int16", -1, name)


_ALWAYS = {
    "t": _real(name="time reached"),
    "loss": _real(name="loss at t, summed over tasks"),
    "saturation": _real(name="largest logit variance over log L; no law in 1/L holds above 0.5"),
    "steps": Variable(("point",), "int32", -1, "steps taken"),
    "task_loss": _real("task", name="loss of each task at t"),
}
# by the key of [record] that asks for them, in the order in which they are stored
_RECORDED: dict[str, dict[str, Variable]] = {
    "state": {
        "omega": _real("head", "block", name="KQ values at t"),
        "mu": _real("head", "task", name="OV values at t"),
    },
    "phases": {
        "emergence": _real("task", name="time of each task's steepest fall; 0 if under way at the start"),
        "settled": _real("task", name="time at which each task reached its plateau"),
        "allocation": _head("head that seized each task"),
        "escape": _real("task", name="time at which a rival head left the plateau"),
    },
    "benchmarks": {
        "lower_bound": _real(name="loss that no decomposable attention goes below"),
        "head_per_task": _real(name="loss with a head for every task"),
        "single_head": _real(name="best loss of one head"),
        "gradient_step": _real(name="loss of one step of gradient descent"),
    },
    "forecast": {
        "emergence_predicted": _real("task", name="predicted time of emergence"),
        "allocation_predicted": _head("predicted head"),
        "escape_predicted": _real("task", name="predicted time of escape"),
    },
    "times": {"loss_curve": _real("time", name="loss, summed over tasks")},
}
_BENCHMARKS = tuple(_RECORDED["benchmarks"])
_EVERY = _ALWAYS | {name: variable for group in _RECORDED.values() for name, variable in group.items()}


@dataclass(frozen=True)
class _RecordTable:
    """The keys of ``[record]``; `_times` knows what to say about the times."""

    state: bool = True
    phases: bool = True
    benchmarks: bool = True
    forecast: bool = False
    times: object = None


@dataclass(frozen=True, eq=False)
class FlowPoints(Points[Experiment]):
    """Gradient flows, and what is recorded of each beside its loss: the ``[record]`` table.

    Attributes
    ----------
    state, phases, benchmarks, forecast : bool
    times : ndarray, or None
        Of the loss curves, written out.
    """

    name = "flows"
    sections = SECTIONS
    shared_section = "problem"
    seed = ("initial", "seed")
    replicated = f"initial.seed of a {' or '.join(seeded_starts())} start"
    results = _EVERY
    headline = "loss"
    guard = Guard(
        name="saturation",
        most=LIMIT,
        reason=f"they left the range of laws in 1/L (saturation above {LIMIT:g}),"
        " and their losses are not those of softmax attention",
        legend=f"law invalid (saturation > {LIMIT:g})",
    )
    least_batch = 32
    labels = LABELS
    sweep = FlowSweep

    state: bool = True
    phases: bool = True
    benchmarks: bool = True
    forecast: bool = False
    times: Floats | None = None

    @classmethod
    def recording(cls, record: object) -> Self:
        """Flows of which is recorded what a ``[record]`` table says."""
        table = read_table(_RecordTable, "record", record)
        times = None if table.times is None else _times(table.times)
        return cls(table.state, table.phases, table.benchmarks, table.forecast, times)

    def record(self) -> dict[str, Any]:
        """The ``[record]`` table, its times written out."""
        record = asdict(self)
        times = record.pop("times")
        return record if times is None else {**record, "times": times.tolist()}

    @classmethod
    def numeric_keys(cls, section: str, base: Tables) -> set[str]:
        """The keys of a section that are numbers, or lists of them."""
        return numeric_keys(section, base[section]) if section in SECTIONS else set()

    def point(self, table: Tables, like: Experiment | None = None) -> Experiment:
        """The experiment of a file, with the problem of ``like`` if there is one."""
        made = Experiment.from_dict(table, None if like is None else like.problem)
        if made.model.kernel not in OF_LARGE:
            check_dense("model.heads", made.problem, len(made.start.omega))  # as ensembles do
        return made

    def settled(self, table: Tables, point: Experiment) -> dict[str, Any]:
        """The tables of an experiment, defaults filled in except for those of the problem."""
        if point.flow.t_eval is not None:
            expected = "nothing in a sweep: the times of its loss curves are record.times"
            raise ProblemError("flow.t_eval", point.flow.t_eval, expected)
        if point.flow.dense_output is not None:
            raise ProblemError(
                "flow.dense_output", point.flow.dense_output, "nothing in a sweep: no steps are kept"
            )
        parts = {"model": asdict(point.model), "initial": point.initial.to_dict(), "flow": asdict(point.flow)}
        filled = {name: {k: v for k, v in part.items() if v is not None} for name, part in parts.items()}
        return {"problem": table["problem"], **filled}

    def extents(self, first: Experiment, base: Tables, largest: Mapping[str, float]) -> dict[str, int]:
        """The largest (H, B, I) of any point."""
        heads, blocks = first.start.omega.shape
        tasks = first.problem.tasks
        if "problem.tasks" in largest:
            blocks = tasks = int(largest["problem.tasks"])
        if "model.heads" in largest:
            heads = int(largest["model.heads"])
        elif "heads" not in base["model"] and not isinstance(first.initial, ExplicitStart):
            heads = tasks
        return {"head": heads, "block": blocks, "task": tasks}

    def variables(self, base: Tables) -> dict[str, Variable]:
        """What is found for a flow; results of fewer heads, blocks or tasks than the most are padded."""
        found = dict(_ALWAYS)
        for key, group in _RECORDED.items():
            asked = self.times is not None if key == "times" else getattr(self, key)
            found |= group if asked else {}
        return found

    def solve(self, found: Results, members: Sequence[tuple[int, Experiment]], threads: int | None) -> None:
        """Solve flows of one shape together. What fails keeps the numbers of the time that it reached."""
        groups: defaultdict[tuple[Any, ...], list[tuple[int, Experiment]]] = defaultdict(list)
        for row, point in members:
            groups[*point.start.omega.shape, point.problem.tasks, point.model.kernel].append((row, point))
        for group in groups.values():
            rows = np.array([row for row, _ in group])
            points = [point for _, point in group]
            solved = _ensemble(self, points, threads)
            _fill(found, rows, solved)
            if self.benchmarks:
                losses = np.array([_benchmarks(p.problem, p.model.kernel) for p in points])
                for k, name in enumerate(_BENCHMARKS):
                    found[name][rows] = losses[:, k]
            if self.forecast:
                for member, (row, point) in enumerate(group):
                    if solved.success[member]:
                        _forecast(found, row, point, solved.phases_of(member))

    def outcome(self, status: int) -> tuple[str, str]:
        """Name and advice of an `Outcome`."""
        return Outcome(status).name.lower(), Outcome(status).advice

    @classmethod
    def label(cls, path: str, dimension: str = "", paths: Collection[str] = ()) -> str:
        """The text of an axis; imbalances that vary together are one number D."""
        return TOGETHER.get(frozenset(paths)) or super().label(path, dimension)

    @classmethod
    def place(cls, path: str, value: float) -> str:
        """A place along an axis in words, such as H = 2 or task 0."""
        return f"{path} {value:g}" if path in NUMBERED else super().place(path, value)


def _times(given: object) -> NDArray[np.float64]:
    """Times of the loss curves."""
    name, way, listed = "record.times", "values", given
    if isinstance(given, Mapping):
        if len(given) != 1 or not set(given) <= {"linear", "log"}:
            raise ProblemError(name, given, "a list of times, {linear = [...]} or {log = [...]}")
        ((way, listed),) = given.items()
        name = f"{name}.{way}"
    times = axis_values(name, way, listed).astype(np.float64)
    if not ((times >= 0.0) & (times <= LARGEST)).all() or (np.diff(times) <= 0.0).any():
        raise ProblemError(name, listed, f"increasing times >= 0 and <= {LARGEST:g}")
    return times


def _ensemble(recorded: FlowPoints, points: list[Experiment], threads: int | None) -> Ensemble:
    """The flows of points of one shape."""
    flows = [point.flow for point in points]
    stationary = np.array([np.nan if flow.stationary is None else flow.stationary for flow in flows])
    return gradient_flow_ensemble(
        [point.problem for point in points],
        np.array([point.start.omega for point in points]),
        np.array([point.start.mu for point in points]),
        parametrization=[point.parametrization for point in points],
        t_end=np.array([flow.t_end for flow in flows]),
        t_eval=recorded.times,
        rtol=np.array([flow.rtol for flow in flows]),
        kernel=points[0].model.kernel,
        stationary=None if np.isnan(stationary).all() else stationary,
        max_steps=np.array([flow.max_steps for flow in flows]),
        phases=recorded.phases or recorded.forecast,
        threads=threads,
    )


def _fill(found: Results, rows: NDArray[np.int64], ensemble: Ensemble) -> None:
    """Put an ensemble's results into the rows of its members, at the front of what is padded."""
    found["status"][rows] = ensemble.outcome
    for name in found:
        values = getattr(ensemble, name, None)
        if values is not None:
            there: tuple[Any, ...] = (rows, *(slice(n) for n in values.shape[1:]))
            found[name][there] = values


@lru_cache(maxsize=_KEPT)
def _benchmarks(problem: Problem, kernel: str) -> tuple[float, ...]:
    return tuple(_benchmark(name, problem, kernel) for name in _BENCHMARKS)


def _benchmark(name: str, problem: Problem, kernel: str) -> float:
    """A benchmark loss; NaN where the law has none."""
    try:
        return float(BENCHMARKS[name].of(problem, kernel).loss)
    except ProblemError:
        return np.nan


def _forecast(found: Results, row: int, point: Experiment, phases: Emerged) -> None:
    """Put the theory's predictions for a point into its row, from its start and what was measured of it."""
    problem, kernel = point.problem, point.model.kernel
    chart = point.parametrization.chart(problem, point.start)
    scale = point.parametrization.scale(problem)
    start = to_primal_state(chart, point.start)
    for task in forecast(problem, start, chart, scale, kernel):
        if task.time is not None:
            found["emergence_predicted"][row, task.task] = task.time
        if task.head is not None:
            found["allocation_predicted"][row, task.task] = task.head
    for escape in find_escapes(problem, chart, phases, kernel):
        if escape.predicted_time is not None:
            found["escape_predicted"][row, escape.task] = escape.predicted_time
