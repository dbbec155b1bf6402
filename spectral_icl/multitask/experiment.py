"""Experiment files: TOML tables checked against a schema and turned into a problem, a start and a flow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Tag, ValidationError

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.toml import SWEEP_KEYS, tables
from spectral_icl.multitask import initial
from spectral_icl.multitask.context import check_kernel
from spectral_icl.multitask.flow.options import check_options
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.loss import State, check_heads, state
from spectral_icl.multitask.parametrization import Balanced, Factored, Merged, Parametrization
from spectral_icl.multitask.problem import Problem

BUILT_IN: dict[str, Any] = {
    "problem": {
        "task_sizes": [10, 10],
        "signal": [10.0, 10.0],
        "noise": 0.09,
        "context_length": 100,
    },
    "model": {"heads": 2},
    "initial": {"kind": "paper"},
    "flow": {"t_end": 200.0},
}

Table = list[list[float]]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ModelTable(_Table):
    """``[model]``: heads, parametrization and kernel."""

    heads: int | None = None
    parametrization: Literal["balanced", "factored", "merged"] = "balanced"
    imbalance_omega: float | Table | None = None
    imbalance_mu: float | Table | None = None
    key_scale: float | None = None
    kernel: str = "large-L"

    def build(self) -> Parametrization:
        """The parametrization; an imbalance is for "factored" alone, and needed there."""
        factored = self.parametrization == "factored"
        for key in ("imbalance_omega", "imbalance_mu"):
            value = getattr(self, key)
            if factored and value is None:
                raise ProblemError(key, value, 'a number with parametrization = "factored"')
            if not factored and value is not None:
                raise ProblemError(key, value, 'nothing unless parametrization = "factored"')
        if self.parametrization == "merged":
            if self.key_scale is not None:
                raise ProblemError("key_scale", self.key_scale, "nothing for merged weights")
            return Merged()
        if factored:
            return Factored(self.imbalance_omega, self.imbalance_mu, self.key_scale)  # type: ignore[arg-type]
        return Balanced(self.key_scale)


class PaperStart(_Table):
    """``[initial]`` with kind = "paper"."""

    kind: Literal["paper"] = "paper"
    qk: float = 0.1
    ov_low: float = 0.1
    ov_high: float = 0.2

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """The start of the authors' code."""
        return initial.paper(problem, heads, self.qk, self.ov_low, self.ov_high, key_scale)


class DominantStart(_Table):
    """``[initial]`` with kind = "dominant"."""

    kind: Literal["dominant"]
    scale: float = 0.01
    margin: float = 0.5
    seed: int | None = None

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """A small start with one leading head per task."""
        return initial.dominant(problem, heads, self.scale, self.margin, self.seed)


class RandomStart(_Table):
    """``[initial]`` with kind = "random"."""

    kind: Literal["random"]
    scale: float = 0.01
    seed: int = 0
    positive: bool = False

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """Independent Gaussian entries."""
        return initial.random(problem, heads, self.scale, self.seed, self.positive)


class ExplicitStart(_Table):
    """``[initial]`` with omega and mu given entry by entry."""

    kind: Literal["explicit"] = "explicit"
    omega: Table
    mu: Table

    def build(self, problem: Problem, heads: int, key_scale: float | None) -> State:
        """The arrays themselves, which must have ``heads`` rows."""
        at = state(problem, self.omega, self.mu)
        if at.omega.shape[0] != heads:
            raise ProblemError("omega", f"{at.omega.shape[0]} heads", f"model.heads = {heads} heads")
        return at


def _kind(table: Any) -> str | None:
    if not isinstance(table, Mapping):
        return None
    explicit = "kind" not in table and ("omega" in table or "mu" in table)
    return "explicit" if explicit else table.get("kind", "paper")


Start = Annotated[
    Annotated[PaperStart, Tag("paper")]
    | Annotated[DominantStart, Tag("dominant")]
    | Annotated[RandomStart, Tag("random")]
    | Annotated[ExplicitStart, Tag("explicit")],
    Discriminator(_kind),
]


class FlowTable(_Table):
    """``[flow]``: the arguments of `gradient_flow`."""

    t_end: float = 200.0
    t_eval: list[float] | None = None
    rtol: float = 1e-8
    stationary: float | None = None
    max_steps: int = 100_000

    def check(self) -> None:
        """Raise what `gradient_flow` would raise for these arguments (except for ``t_eval``)."""
        check_options(self.t_end, self.rtol, self.stationary, self.max_steps)


class _File(_Table):
    problem: dict[str, Any]
    model: ModelTable = ModelTable()
    initial: Start = PaperStart()
    flow: FlowTable = FlowTable()


@dataclass(frozen=True)
class Experiment:
    """One flow, ready to solve.

    Attributes
    ----------
    problem : Problem
    parametrization : Balanced, Factored or Merged
    start : State
    model, initial, flow
        The tables of the file, with defaults filled in.
    """

    problem: Problem
    parametrization: Parametrization
    start: State
    model: ModelTable
    initial: PaperStart | DominantStart | RandomStart | ExplicitStart
    flow: FlowTable

    @classmethod
    def from_dict(cls, table: Mapping[str, Any], problem: Problem | None = None) -> Experiment:
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
        try:
            file = _File.model_validate(dict(table))
        except ValidationError as error:
            raise first_complaint(error) from None
        if problem is None:
            with _section("problem"):
                problem = Problem.from_dict(file.problem)
        with _section("model"):
            parametrization = file.model.build()
            check_kernel(file.model.kernel)
            heads = _heads(file, problem)
            check_heads(problem, heads)
        with _section("initial"):
            start = state(problem, *file.initial.build(problem, heads, file.model.key_scale))
        if isinstance(parametrization, Factored):  # imbalances have a shape, which may not fit
            with _section("model"):
                parametrization.chart(problem, start)
        with _section("flow"):
            file.flow.check()
        return cls(problem, parametrization, start, file.model, file.initial, file.flow)

    @classmethod
    def read(cls, path: Path | None, overrides: tuple[str, ...] = ()) -> Experiment:
        """The experiment of a TOML file, or the built-in one, with ``section.key=value`` overrides."""
        return cls.from_dict(tables(path, overrides, BUILT_IN))

    def solve(self) -> Solution:
        """Solve the flow.

        Raises
        ------
        IntegrationError
            The end was not reached.
        """
        with _section("flow"):
            return gradient_flow(
                self.problem,
                *self.start,
                parametrization=self.parametrization,
                kernel=self.model.kernel,
                **self.flow.model_dump(),
            )


def _heads(file: _File, problem: Problem) -> int:
    """model.heads, or else the rows of an explicit start, or else one head per task."""
    if file.model.heads is not None:
        return file.model.heads
    if isinstance(file.initial, ExplicitStart):
        return max(1, len(file.initial.omega))
    return problem.tasks


@contextmanager
def _section(name: str) -> Iterator[None]:
    """Put a section's name in front of the argument that a `ProblemError` names: the one that has it."""
    try:
        yield
    except ProblemError as error:
        owner = "model" if error.argument in ModelTable.model_fields else name
        raise ProblemError(f"{owner}.{error.argument}", error.value, error.expected) from None


def first_complaint(error: ValidationError) -> ProblemError:
    """The first complaint of the schema as a `ProblemError`."""
    complaint = error.errors()[0]
    tags = {"paper", "dominant", "random", "explicit"}
    branches = {*tags, "float", "list[list[float]]"}  # of unions, which the schema's paths go through
    where = [part for part in complaint["loc"] if part not in branches]
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in where)[1:]
    value = complaint.get("input")
    kind = complaint["type"]
    if kind == "missing":
        return ProblemError(path, None, "a value")
    if kind == "extra_forbidden":
        return ProblemError(path, value, "a known key (is it a typing error?)")
    if kind == "union_tag_invalid":
        return ProblemError(f"{path}.kind", _kind(value), f"one of {sorted(tags)}")
    message = complaint["msg"].removeprefix("Input should be ")
    return ProblemError(path, value, message)
