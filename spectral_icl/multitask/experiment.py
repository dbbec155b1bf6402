"""Experiment files: TOML tables checked against a schema and turned into a problem, a start and a flow."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, get_args

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, Relabelled, choice
from spectral_icl.io.toml import SWEEP_KEYS, UNKNOWN, Tables, field_types, read_table, tables
from spectral_icl.multitask import initial
from spectral_icl.multitask.context import DEFAULT, check_kernel
from spectral_icl.multitask.flow.options import check_descent, check_entries, check_options, check_steps
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.flow.stochastic import StochasticFlow, paths_about
from spectral_icl.multitask.parametrization import PARAMETRIZATIONS, Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_heads, check_state

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SECTIONS = ("problem", "model", "initial", "flow")
TRAINING = "training"  # of a flow alone: a sweep has no paths
PROBLEM_KEYS = (  # the numbers that `Problem.from_dict` understands
    *("task_sizes", "tasks", "block_sizes", "signal", "decay", "noise", "snr"),
    *("context_length", "covariance"),
)

BUILT_IN: dict[str, Any] = {
    "problem": {
        "task_sizes": [10, 10],
        "signal": [10.0, 10.0],
        "noise": 0.09,
        "context_length": 100,
    },
    "model": {"heads": 2},
    "initial": {"kind": "paper", "qk": 0.1, "ov_low": 0.1, "ov_high": 0.2},
    "flow": {"t_end": 200.0},
}

Table = list[list[float]]

STARTS: dict[str, type[Start]] = {}  # by kind, filled by the classes themselves


@dataclass(frozen=True)
class ModelTable:
    """``[model]``: heads, parametrization and kernel."""

    heads: int | None = None
    parametrization: object = "balanced"  # a name, of which `build` lists those that there are
    imbalance_omega: float | Table | None = None
    imbalance_mu: float | Table | None = None
    key_scale: float | None = None
    kernel: str = DEFAULT

    def build(self) -> Parametrization:
        """The parametrization, of the keys that it takes; others are for other ones, and refused."""
        name = choice("parametrization", self.parametrization, tuple(PARAMETRIZATIONS))
        taken = _arguments(PARAMETRIZATIONS[name])
        given = {}
        for key in ("imbalance_omega", "imbalance_mu", "key_scale"):
            value = getattr(self, key)
            if value is not None and key not in taken:
                owners = [other for other, cls in PARAMETRIZATIONS.items() if key in _arguments(cls)]
                only = f'nothing unless parametrization = "{owners[0]}"'
                raise ProblemError(key, value, only if len(owners) == 1 else f"nothing for {name} weights")
            if value is None and taken.get(key, False):
                raise ProblemError(key, value, f'a number with parametrization = "{name}"')
            if value is not None:
                given[key] = value
        return PARAMETRIZATIONS[name](**given)


def _arguments(parametrization: type[Parametrization]) -> dict[str, bool]:
    """The arguments of a parametrization, and whether they must be given."""
    parameters = signature(parametrization).parameters.values()
    return {argument.name: argument.default is argument.empty for argument in parameters}


@dataclass(frozen=True)
class Start(ABC):
    """An ``[initial]`` table: a dataclass with the keys of the kind of start that it is.

    A new kind is a subclass, ``class NewStart(Start, kind="new")``, and nothing else.

    Attributes
    ----------
    kind : str
        Entry ``kind`` of the table.
    """

    kind: ClassVar[str]

    def __init_subclass__(cls, kind: str) -> None:
        cls.kind = kind
        STARTS[kind] = cls

    @abstractmethod
    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """The state (omega, mu) that a flow of ``heads`` heads starts from."""

    def to_dict(self) -> dict[str, Any]:
        """The table, its kind first and its defaults filled in, but for those that depend on the problem."""
        return {"kind": self.kind, **{key: v for key, v in asdict(self).items() if v is not None}}


@dataclass(frozen=True)
class PaperStart(Start, kind="paper"):
    """``[initial]`` with kind = "paper"; what is left out is that of the authors' code, by L^(-3/4)."""

    qk: float | None = None
    ov_low: float | None = None
    ov_high: float | None = None

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """The start of the authors' code."""
        return initial.paper(problem, heads, self.qk, self.ov_low, self.ov_high, key_scale)


@dataclass(frozen=True)
class RandomStart(Start, kind="random"):
    """``[initial]`` with kind = "random"."""

    scale: float = 0.01
    seed: int = 0
    positive: bool = False

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """A start of independent Gaussian entries."""
        return initial.random(problem, heads, self.scale, self.seed, self.positive)


@dataclass(frozen=True)
class DominantStart(Start, kind="dominant"):
    """``[initial]`` with kind = "dominant"."""

    scale: float = 0.01
    margin: float = 0.5
    seed: int | None = None

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """A small start with one leading head per task."""
        return initial.dominant(problem, heads, self.scale, self.margin, self.seed)


@dataclass(frozen=True)
class ScatteredStart(Start, kind="scattered"):
    """``[initial]`` with kind = "scattered"; within blocks if ``[problem]`` has by_feature = true."""

    scale: float = 0.01
    margin: float = 0.5
    scatter: float = 0.5
    seed: int = 0

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """A dominated start of entries that scatter."""
        return initial.scattered(problem, heads, self.scale, self.margin, self.scatter, self.seed)


@dataclass(frozen=True)
class MatricesStart(Start, kind="matrices"):
    """``[initial]`` with kind = "matrices": what random K, Q, V and O have on their diagonals."""

    size: float = 0.1
    seed: int = 0

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """The decomposable part of random matrices."""
        return initial.matrices(problem, heads, self.size, self.seed, key_scale)


@dataclass(frozen=True)
class ExplicitStart(Start, kind="explicit"):
    """``[initial]`` with omega and mu given entry by entry."""

    omega: Table
    mu: Table

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """The arrays themselves, which must have ``heads`` rows."""
        at = check_state(problem, self.omega, self.mu)
        if at.omega.shape[0] != heads:
            raise ProblemError("omega", f"{at.omega.shape[0]} heads", f"model.heads = {heads} heads")
        return at


def start_of(table: Tables) -> type[Start]:
    """The class of an ``[initial]`` table: that of its kind, or without one explicit if it has arrays."""
    explicit = "omega" in table or "mu" in table
    kind = table.get("kind", "explicit" if explicit else "paper")
    known = isinstance(kind, str) and kind in STARTS
    return STARTS[kind if known else choice("initial.kind", kind, sorted(STARTS))]


def seeded_starts() -> list[str]:
    """The kinds of starts that are drawn with a seed."""
    return [kind for kind, start in STARTS.items() if "seed" in field_types(start)]


def _read_start(table: object) -> Start:
    """The start that an ``[initial]`` table describes."""
    if not isinstance(table, Mapping):
        raise ProblemError("initial", table, "a table [initial]")
    return read_table(start_of(table), "initial", {k: v for k, v in table.items() if k != "kind"})


@dataclass(frozen=True)
class FlowTable:
    """``[flow]``: the arguments of `gradient_flow`."""

    t_end: float = 200.0
    t_eval: list[float] | None = None
    rtol: float = 1e-8
    stationary: float | None = None
    max_steps: int = 100_000
    dense_output: bool | None = None

    def check(self) -> None:
        """Raise what `gradient_flow` would raise for these arguments (except for ``t_eval``)."""
        check_options(self.t_end, self.rtol, self.stationary, self.max_steps)


@dataclass(frozen=True)
class TrainingTable:
    """``[training]``: the arguments of `stochastic_flow`, of paths about the flow."""

    step: float
    batch: int
    paths: int = 64
    seed: int = 0
    noisy_queries: bool = False

    @classmethod
    def read(cls, table: object) -> TrainingTable:
        """The table of a file; a step without a batch is told what is missing."""
        if isinstance(table, Mapping) and table.keys() <= field_types(TrainingTable).keys():
            for key, what in (("step", "a learning rate"), ("batch", "a number of prompts")):
                if key not in table:
                    raise ProblemError(f"{TRAINING}.{key}", None, f"{what}: paths have a step and a batch")
        return read_table(cls, TRAINING, table)

    def check(self, problem: Problem, heads: int, t_end: float) -> None:
        """Raise what `stochastic_flow` would raise for these arguments, before a flow is solved."""
        check_descent(**asdict(self))
        check_entries(problem, heads)
        if math.isfinite(t_end):
            check_steps(self.step, t_end)


def numeric_keys(section: str, table: Tables) -> set[str]:
    """The keys of a section that may be a number or rows of numbers: what a sweep can vary.

    Parameters
    ----------
    section : str
    table : mapping
        The section itself, since the keys of ``[initial]`` depend on its kind.
    """
    if section == "problem":
        return set(PROBLEM_KEYS)
    kinds: dict[str, type[DataclassInstance]] = {"model": ModelTable, "flow": FlowTable}
    if section == "initial":
        kinds["initial"] = start_of(table)
    types = field_types(kinds[section]) if section in kinds else {}
    return {name for name, kind in types.items() if {kind, *get_args(kind)} & {int, float, Table}}


@dataclass(frozen=True)
class Experiment:
    """One flow, ready to solve.

    Attributes
    ----------
    problem : Problem
    parametrization : Parametrization
    start : State
    model, initial, flow
        The tables of the file, with defaults filled in.
    training : TrainingTable or None
        None if there is no such table.
    """

    problem: Problem
    parametrization: Parametrization
    start: State
    model: ModelTable
    initial: Start
    flow: FlowTable
    training: TrainingTable | None = None

    @classmethod
    def from_dict(cls, table: Tables, problem: Problem | None = None) -> Experiment:
        """The experiment of a parsed file.

        Parameters
        ----------
        table : mapping
            The file.
        problem : Problem, optional
            What ``table["problem"]`` describes, if it is known already; built from the table if None.

        Raises
        ------
        ProblemError
            Naming the dotted path of the first wrong entry, its value and what was expected.
        """
        for key in SWEEP_KEYS:
            if key in table:
                expected = f"no {key}: a flow is one point, not a sweep (spectral-icl sweep solves those)"
                raise ProblemError(key, table[key], expected)
        if "sparse" in table:
            expected = "no [sparse]: a flow is not a sparse problem (spectral-icl sparse looks at those)"
            raise ProblemError("sparse", table["sparse"], expected)
        if "nonlinear" in table:
            expected = "no [nonlinear]: tasks here are linear (spectral-icl nonlinear solves those)"
            raise ProblemError("nonlinear", table["nonlinear"], expected)
        for key in table:
            if key not in (*SECTIONS, TRAINING):
                raise ProblemError(str(key), table[key], UNKNOWN)
        if "problem" not in table:
            raise ProblemError("problem", None, "a value")
        if not isinstance(table["problem"], Mapping):
            raise ProblemError("problem", table["problem"], "a table [problem]")
        model = read_table(ModelTable, "model", table.get("model", {}))
        start = _read_start(table.get("initial", {}))
        flow = read_table(FlowTable, "flow", table.get("flow", {}))
        training = TrainingTable.read(table[TRAINING]) if TRAINING in table else None
        if problem is None:
            with _within("problem"):
                problem = Problem.from_dict(table["problem"])
        with _within("model"):
            parametrization = model.build()
            model = replace(model, kernel=check_kernel(model.kernel))
            heads = _heads(model, start, problem)
            check_heads(problem, heads)
        with _within("initial"):
            at = check_state(problem, *start.build(problem, heads, model.key_scale))
        shaped = [parametrization.imbalance(c).ndim > 0 for c in ("omega", "mu")]  # which may not fit
        if any(shaped):
            with _within("model"):
                parametrization.chart(problem, at)
        with _within("flow"):
            flow.check()
        if training is not None:
            with _OF_TRAINING:
                training.check(problem, heads, flow.t_end)
        return cls(problem, parametrization, at, model, start, flow, training)

    @classmethod
    def read(cls, file: Path | None, overrides: tuple[str, ...] = ()) -> Experiment:
        """The experiment of a TOML file, or the built-in one, with ``section.key=value`` overrides."""
        return cls.from_dict(tables(file, overrides, BUILT_IN))

    def solve(self, progress: Callable[[float], None] | None = None) -> Solution:
        """Solve the flow; ``progress`` as in `gradient_flow`.

        Raises
        ------
        IntegrationError
            The end was not reached.
        """
        with _within("flow"):
            return gradient_flow(
                self.problem,
                *self.start,
                parametrization=self.parametrization,
                kernel=self.model.kernel,
                progress=progress,
                **asdict(self.flow),
            )

    def train(
        self, solution: Solution, progress: Callable[[int], None] | None = None
    ) -> StochasticFlow | None:
        """Paths of stochastic gradient descent about a solved flow of this experiment, to the flow's end.

        Parameters
        ----------
        solution : Solution
            Recorded is what suits it: early times as well as late ones, and more of its emergences.
        progress : callable, optional
            As in `stochastic_flow`.

        Returns
        -------
        StochasticFlow or None
            None of an experiment without a table ``[training]``.

        Raises
        ------
        ProblemError
            The flow is too short for the step, or there are too many paths to record.
        """
        if self.training is None:
            return None
        end = float(solution.trajectory.t[-1])
        with _OF_TRAINING:
            times = _recorded(solution, end)
            return paths_about(solution, t_eval=times, progress=progress, **asdict(self.training))


def _recorded(solution: Solution, end: float) -> Floats:
    """Times at which paths are recorded: even ones, those of a logarithmic axis, and of the emergence."""
    onset, settled = solution.phases.emergence
    parts = [np.linspace(0.0, end, _RECORDS)]
    if 0.0 < onset < end:
        parts.append(np.geomspace(onset / 20.0, end, _RECORDS))
        parts.append(np.linspace(onset, settled if settled < end else end, _RECORDS))
    return np.unique(np.clip(np.concatenate(parts), 0.0, end))


def _heads(model: ModelTable, start: Start, problem: Problem) -> int:
    """model.heads, or else the rows of an explicit start, or else one head per task."""
    if model.heads is not None:
        return model.heads
    if isinstance(start, ExplicitStart):
        return max(1, len(start.omega))
    return problem.tasks


_RECORDS = 201  # of each kind of times of paths
_OTHERS = {"omega0": "model.heads", "t_end": "flow.t_end", "kernel": "model.kernel"}
_OF_TRAINING = Relabelled(
    lambda name: _OTHERS.get(name, f"{TRAINING}.{name}"),
)
_MODEL_KEYS = frozenset(field.name for field in fields(ModelTable))


def _within(section: str) -> Relabelled:
    """A block whose `ProblemError` names ``section.argument``, or ``model.argument`` if it is a key there."""
    return Relabelled(lambda name: f"{'model' if name in _MODEL_KEYS else section}.{name}")
