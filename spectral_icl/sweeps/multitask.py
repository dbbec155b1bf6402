"""Flows as the points of a sweep: what their file may vary, what is found for each, how many are solved."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from spectral_icl.io.checks import ProblemError
from spectral_icl.multitask.experiment import (
    DominantStart,
    Experiment,
    ExplicitStart,
    FlowTable,
    ModelTable,
    PaperStart,
    RandomStart,
    first_complaint,
)
from spectral_icl.multitask.flow.ensemble import Ensemble, gradient_flow_ensemble
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.flow.saturation import LIMIT
from spectral_icl.multitask.flow.solution import IntegrationError
from spectral_icl.multitask.optimal import benchmarks as optimal
from spectral_icl.multitask.problem import Problem
from spectral_icl.sweeps.axes import axis_values
from spectral_icl.sweeps.points import SOLVED, Kind, Limit, Record, Results, Variable

_BENCHMARKS = ("lower_bound", "head_per_task", "single_head", "gradient_step")
_KEPT = 2**10  # problems whose benchmarks are remembered; one of many tasks takes tens of kilobytes
_STARTS: dict[str, type[BaseModel]] = {
    "paper": PaperStart,
    "dominant": DominantStart,
    "random": RandomStart,
    "explicit": ExplicitStart,
}
_PROBLEM = (
    *("task_sizes", "tasks", "block_sizes", "signal", "noise", "snr"),
    *("context_length", "covariance"),
)


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _RecordTable(_Table):
    """``[record]``. What is Any here is checked by `_times`, which knows what to say about it."""

    state: bool = True
    phases: bool = True
    benchmarks: bool = True
    forecast: bool = False
    times: Any = None


class _File(_Table):
    record: _RecordTable


@dataclass(frozen=True, eq=False)
class FlowRecord(Record):
    """What is stored of a flow beside its loss: the ``[record]`` table, with ``times`` written out."""

    state: bool = True
    phases: bool = True
    benchmarks: bool = True
    forecast: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The ``[record]`` table."""
        record: dict[str, Any] = {
            "state": self.state,
            "phases": self.phases,
            "benchmarks": self.benchmarks,
            "forecast": self.forecast,
        }
        return record if self.times is None else {**record, "times": self.times.tolist()}


class FlowPoints(Kind[Experiment, FlowRecord]):
    """Points that are gradient flows."""

    name = "flows"
    sections = ("problem", "model", "initial", "flow")
    subject = "problem"
    seed = ("initial", "seed")
    replicated = "initial.seed of a random or dominant start"
    reserved = frozenset(
        {
            *("task", "head", "block", "time"),
            *("t", "loss", "saturation", "steps", "task_loss", "omega", "mu", "loss_curve"),
            *("emergence", "settled", "allocation", "escape"),
            *("lower_bound", "head_per_task", "single_head", "gradient_step"),
            *("emergence_predicted", "allocation_predicted", "escape_predicted"),
        }
    )
    headline = "loss"
    limit = Limit(
        "saturation",
        LIMIT,
        f"they left the large-L kernel's range (saturation above {LIMIT:g}),"
        " and their losses are not those of softmax attention",
    )
    least = 32

    def fields(self, section: str, base: Mapping[str, Any]) -> set[str]:
        """The keys of a section that are numbers, or lists of them."""
        if section == "problem":
            return set(_PROBLEM)
        if section == "model":
            return _numeric(ModelTable)
        if section == "initial":
            return _start_fields(base["initial"])
        return _numeric(FlowTable) - {"t_eval"} if section == "flow" else set()

    def point(self, table: Mapping[str, Any], like: Experiment | None = None) -> Experiment:
        """The experiment of a file, with the problem of another one if that is the same."""
        return Experiment.from_dict(table, None if like is None else like.problem)

    def settled(self, table: Mapping[str, Any], point: Experiment) -> dict[str, Any]:
        """The tables of an experiment, defaults filled in except for those of the problem."""
        if point.flow.t_eval is not None:
            expected = "nothing in a sweep: the times of its loss curves are record.times"
            raise ProblemError("flow.t_eval", point.flow.t_eval, expected)
        parts = {"model": point.model, "initial": point.initial, "flow": point.flow}
        filled = {name: part.model_dump(exclude_none=True) for name, part in parts.items()}
        return {"problem": table["problem"], **filled}

    def record(self, given: object) -> FlowRecord:
        """The ``[record]`` table."""
        try:
            table = _File.model_validate({"record": given}).record
        except ValidationError as error:
            raise first_complaint(error) from None
        times = None if table.times is None else _times(table.times)
        return FlowRecord(times, table.state, table.phases, table.benchmarks, table.forecast)

    def extents(
        self, first: Experiment, base: Mapping[str, Any], largest: Mapping[str, float]
    ) -> dict[str, int]:
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

    def variables(self, record: FlowRecord, base: Mapping[str, Any]) -> dict[str, Variable]:
        """What is found for a flow; results of fewer heads, blocks or tasks than the most are padded."""

        def real(*dims: str, name: str) -> Variable:
            return Variable(("point", *dims), "float64", np.nan, name)

        def head(name: str) -> Variable:
            return Variable(("point", "task"), "int16", -1, name)

        found = {
            "t": real(name="time reached"),
            "loss": real(name="loss at t, summed over tasks"),
            "saturation": real(name="largest logit variance over log L; the kernel is wrong above 0.5"),
            "steps": Variable(("point",), "int32", -1, "steps taken"),
            "task_loss": real("task", name="loss of each task at t"),
        }
        if record.state:
            found["omega"] = real("head", "block", name="KQ values at t")
            found["mu"] = real("head", "task", name="OV values at t")
        if record.phases:
            found["emergence"] = real("task", name="time of each task's steepest fall")
            found["settled"] = real("task", name="time at which each task reached its plateau")
            found["allocation"] = head("head that seized each task")
            found["escape"] = real("task", name="time at which a rival head left the plateau")
        if record.benchmarks:
            found["lower_bound"] = real(name="loss that no decomposable attention goes below")
            found["head_per_task"] = real(name="loss with a head for every task")
            found["single_head"] = real(name="best loss of one head")
            found["gradient_step"] = real(name="loss of one step of gradient descent")
        if record.forecast:
            found["emergence_predicted"] = real("task", name="predicted time of emergence")
            found["allocation_predicted"] = head("predicted head")
            found["escape_predicted"] = real("task", name="predicted time of escape")
        if record.times is not None:
            found["loss_curve"] = real("time", name="loss, summed over tasks")
        return found

    def solve(
        self,
        found: Results,
        members: Sequence[tuple[int, Experiment]],
        record: FlowRecord,
        threads: int | None,
    ) -> None:
        """Solve flows of one shape together. What fails keeps the numbers of the time that it reached."""
        groups: defaultdict[tuple[Any, ...], list[tuple[int, Experiment]]] = defaultdict(list)
        for row, point in members:
            groups[*point.start.omega.shape, point.problem.tasks, point.model.kernel].append((row, point))
        for group in groups.values():
            rows = np.array([row for row, _ in group])
            points = [point for _, point in group]
            _fill(found, rows, _ensemble(record, points, threads))
            if record.benchmarks:
                for name, losses in zip(
                    _BENCHMARKS, zip(*(_benchmarks(p.problem) for p in points), strict=True), strict=True
                ):
                    found[name][rows] = losses
            if record.forecast:
                for row, point in group:
                    if found["status"][row] in SOLVED:
                        _forecast(found, row, point)

    def outcome(self, status: int) -> tuple[str, str]:
        """As `Outcome` has it."""
        return Outcome(status).name.lower(), Outcome(status).advice


def _times(given: object) -> NDArray[np.float64]:
    """Times of the loss curves."""
    name, way, listed = "record.times", "values", given
    if isinstance(given, Mapping):
        if len(given) != 1 or not set(given) <= {"linear", "log"}:
            raise ProblemError(name, given, "a list of times, {linear = [...]} or {log = [...]}")
        ((way, listed),) = given.items()
        name = f"{name}.{way}"
    times = axis_values(name, way, listed).astype(np.float64)
    if times[0] < 0.0 or not np.isfinite(times).all() or (np.diff(times) <= 0.0).any():
        raise ProblemError(name, listed, "increasing times >= 0")
    return times


def _start_fields(table: Mapping[str, Any]) -> set[str]:
    """The numeric fields of the start that an ``[initial]`` table describes."""
    explicit = "kind" not in table and ("omega" in table or "mu" in table)
    kind = table.get("kind", "explicit" if explicit else "paper")
    start = _STARTS.get(kind) if isinstance(kind, str) else None
    if start is None:
        raise ProblemError("initial.kind", kind, f"one of {sorted(_STARTS)}")
    return _numeric(start)


def _numeric(model: type[BaseModel]) -> set[str]:
    """The fields of a table that may be numbers, or lists of lists of them."""
    numeric = {int, float, list[list[float]]}
    found = {
        name: {field.annotation, *get_args(field.annotation)} for name, field in model.model_fields.items()
    }
    return {name for name, kinds in found.items() if kinds & numeric}


def _ensemble(record: FlowRecord, points: list[Experiment], threads: int | None) -> Ensemble:
    """The flows of points of one shape."""
    flows = [point.flow for point in points]
    stationary = np.array([np.nan if flow.stationary is None else flow.stationary for flow in flows])
    return gradient_flow_ensemble(
        [point.problem for point in points],
        np.array([point.start.omega for point in points]),
        np.array([point.start.mu for point in points]),
        parametrization=[point.parametrization for point in points],
        t_end=np.array([flow.t_end for flow in flows]),
        t_eval=record.times,
        rtol=np.array([flow.rtol for flow in flows]),
        kernel=points[0].model.kernel,
        stationary=None if np.isnan(stationary).all() else stationary,
        max_steps=np.array([flow.max_steps for flow in flows]),
        phases=record.phases,
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
def _benchmarks(problem: Problem) -> tuple[float, ...]:
    return tuple(_benchmark(name, problem) for name in _BENCHMARKS)


def _benchmark(name: str, problem: Problem) -> float:
    """A benchmark loss; NaN where its weights are beyond the numbers that are computed with."""
    try:
        return float(getattr(optimal, name)(problem).loss)
    except ProblemError:
        return np.nan


def _forecast(found: Results, row: int, point: Experiment) -> None:
    """Put the theory's predictions for a point into its row."""
    try:
        solution = point.solve()  # an ensemble keeps no trajectory
    except IntegrationError:
        return
    for task in solution.forecast:
        if task.time is not None:
            found["emergence_predicted"][row, task.task] = task.time
        if task.head is not None:
            found["allocation_predicted"][row, task.task] = task.head
    for escape in solution.phases.escapes:
        if escape.predicted_time is not None:
            found["escape_predicted"][row, escape.task] = escape.predicted_time
