"""Files of flows on single-index tasks: TOML tables checked and turned into a problem, a start and a flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spectral_icl.io.checks import ProblemError, Relabelled, integer, renamed, within
from spectral_icl.io.toml import SWEEP_KEYS, UNKNOWN, Tables, read_table, tables
from spectral_icl.multitask.experiment import ExplicitStart, ModelTable, Start, start_of
from spectral_icl.multitask.flow.options import MOST_STEPS, check_rtol, check_t_end
from spectral_icl.multitask.nonlinear.flow import SingleIndexFlow, check_start, gradient_flow
from spectral_icl.multitask.nonlinear.laws import check_kernel
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.state import State, check_heads

SECTIONS = ("nonlinear", "model", "initial", "flow")
BUILT_IN: dict[str, Any] = {
    "nonlinear": {
        "task_sizes": [50],
        "coefficients": [[0.3, 1.0, 0.5]],
        "noise": 0.1,
        "context_length": 5000,
    },
    "model": {
        "heads": 2,
        "kernel": "first-order",
        "parametrization": "factored",
        "imbalance_omega": 0.01,
        "imbalance_mu": 0.01,
    },
    "initial": {"kind": "random", "scale": 0.02, "seed": 1, "positive": True},
    "flow": {"t_end": 1000.0},
}
_MODEL_KEYS = frozenset(ModelTable.__dataclass_fields__)


@dataclass(frozen=True)
class NonlinearFlowTable:
    """``[flow]``: the arguments of `spectral_icl.multitask.nonlinear.gradient_flow`."""

    t_end: float = 200.0
    rtol: float = 1e-8
    max_steps: int = 20_000


@dataclass(frozen=True)
class NonlinearExperiment:
    """One flow on single-index tasks, ready to solve.

    Attributes
    ----------
    problem : SingleIndex
        The table ``[nonlinear]``.
    parametrization : Parametrization
    start : State
    model, initial, flow
        The other tables of the file, with defaults filled in; those of flows on linear tasks, but that a flow
        here has ``t_end``, ``rtol`` and ``max_steps`` alone.
    """

    problem: SingleIndex
    parametrization: Parametrization
    start: State
    model: ModelTable
    initial: Start
    flow: NonlinearFlowTable

    @classmethod
    def from_dict(cls, table: Tables) -> NonlinearExperiment:
        """The experiment of a parsed file.

        Raises
        ------
        ProblemError
            Naming the dotted path of the first wrong entry, its value and what was expected.
        """
        for key, entry in table.items():
            if key in SWEEP_KEYS:
                raise ProblemError(key, entry, f"no {key}: single-index tasks have no sweeps")
            if key not in SECTIONS:
                raise ProblemError(str(key), entry, UNKNOWN)
            if not isinstance(entry, Mapping):
                raise ProblemError(key, entry, f"a table [{key}]")
        if "nonlinear" not in table:
            expected = "a table [nonlinear] with task_sizes, coefficients, noise and context_length"
            raise ProblemError("nonlinear", None, expected)
        model = read_table(ModelTable, "model", table.get("model", {}))
        given = table.get("initial", {})
        start = read_table(start_of(given), "initial", {k: v for k, v in given.items() if k != "kind"})
        flow = read_table(NonlinearFlowTable, "flow", table.get("flow", {}))
        with within("nonlinear"):
            problem = SingleIndex.from_dict(table["nonlinear"])
        with within("model"):
            parametrization = model.build()
            model = replace(model, kernel=check_kernel(model.kernel))
            heads = check_heads(problem.frame, _heads(model, start, problem))
        with _within("initial"), renamed({"omega0": "omega", "mu0": "mu"}):
            at = check_start(problem, *start.build(problem.frame, heads, model.key_scale), model.kernel)
        with within("model"):
            parametrization.chart(problem.frame, at)
        with within("flow"):
            check_t_end(flow.t_end)
            check_rtol(flow.rtol)
            integer("max_steps", flow.max_steps, minimum=1, maximum=MOST_STEPS)
        return cls(problem, parametrization, at, model, start, flow)

    @classmethod
    def read(cls, file: Path | None, overrides: tuple[str, ...] = ()) -> NonlinearExperiment:
        """The experiment of a TOML file, or the built-in one, with ``section.key=value`` overrides."""
        return cls.from_dict(tables(file, overrides, BUILT_IN))

    def solve(self) -> SingleIndexFlow:
        """Solve the flow.

        Raises
        ------
        UnfinishedFlow
            The end was not reached.
        """
        return gradient_flow(
            self.problem,
            *self.start,
            parametrization=self.parametrization,
            t_end=self.flow.t_end,
            rtol=self.flow.rtol,
            max_steps=self.flow.max_steps,
            kernel=self.model.kernel,
        )


def _heads(model: ModelTable, start: Start, problem: SingleIndex) -> int:
    """model.heads, or else the rows of an explicit start, or else one head per task."""
    if model.heads is not None:
        return model.heads
    return max(1, len(start.omega)) if isinstance(start, ExplicitStart) else problem.tasks


def _within(section: str) -> Relabelled:
    """A block whose `ProblemError` names ``section.argument``, or ``model.argument`` if it is a key there."""
    return Relabelled(lambda name: f"{'model' if name in _MODEL_KEYS else section}.{name}")
