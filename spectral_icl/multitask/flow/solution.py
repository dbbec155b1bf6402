"""The result of a gradient flow: immutable, self-describing, saved and loaded whole."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io import files
from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.io.text import MANY, listed
from spectral_icl.multitask.context import check_kernel
from spectral_icl.multitask.flow import phases, record, saturation
from spectral_icl.multitask.flow.census import Census
from spectral_icl.multitask.flow.curve import Curve
from spectral_icl.multitask.flow.emergence import Forecast
from spectral_icl.multitask.flow.forecast import forecast
from spectral_icl.multitask.flow.options import Options, Outcome, Stats, check_options
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.parametrization import PARAMETRIZATIONS, Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_heads

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class Solution:
    """A solved gradient flow.

    Attributes
    ----------
    problem : Problem
    parametrization : Balanced, Factored or Merged
    t : ndarray, (T,)
        ``t_eval`` if it was given, else the times of the accepted steps, or of those that are kept.
    trajectory : Trajectory or Outline
        The curve behind `__call__`: of a large flow an `Outline`, that has states at some times alone.
    outcome : Outcome
    stats : Stats
    options : Options
        t_end, rtol, kernel, stationary and max_steps of the call.
    environment : mapping of str to str
        Versions, platform and time of the run.
    tied_heads : tuple of tuples of int
        Groups of heads that start equal. The flow keeps them equal, and so does the solution.
    """

    problem: Problem
    parametrization: Parametrization
    t: Floats
    trajectory: Curve
    outcome: Outcome
    stats: Stats
    options: Options
    environment: Mapping[str, str]
    tied_heads: tuple[tuple[int, ...], ...] = ()

    def __post_init__(self) -> None:
        self.t.setflags(write=False)
        object.__setattr__(self, "environment", MappingProxyType(dict(self.environment)))

    def __reduce__(self) -> tuple[type[Solution], tuple[object, ...]]:
        """Pickle through the constructor; a mapping proxy cannot be pickled itself."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Solution, (*(values | {"environment": dict(self.environment)}).values(),)

    def __call__(self, t: ArrayLike) -> State:
        """Dense output: omega (..., H, B) and mu (..., H, I) at times ``t`` of any shape in the interval."""
        return self.trajectory(t)

    @cached_property
    def _states(self) -> State:
        states = self.trajectory(self.t)
        for values in states:
            values.setflags(write=False)
        return states

    @property
    def omega(self) -> Floats:
        """KQ values at `t`, (T, H, B)."""
        return self._states.omega

    @property
    def mu(self) -> Floats:
        """OV values at `t`, (T, H, I)."""
        return self._states.mu

    @property
    def heads(self) -> int:
        """Number of heads H."""
        return self.trajectory.heads

    @property
    def key_scale(self) -> float:
        """The key scale c of the flow (1 for merged weights)."""
        return self.parametrization.scale(self.problem)

    @cached_property
    def task_loss(self) -> Floats:
        """Loss of every task at `t`, (T, I), query noise included."""
        losses = losses_at(self.problem, self._states, self.options.kernel)
        losses.setflags(write=False)
        return losses

    @cached_property
    def loss(self) -> Floats:
        """Loss at `t`, (T,): the sum of `task_loss`."""
        total: Floats = self.task_loss.sum(axis=1)
        total.setflags(write=False)
        return total

    @cached_property
    def final(self) -> State:
        """The state that the flow reached, whatever times `t` reports: omega (H, B) and mu (H, I)."""
        return self.trajectory(self.trajectory.t[-1])

    @cached_property
    def final_task_loss(self) -> Floats:
        """Loss of every task at `final`, (I,)."""
        return losses_at(self.problem, self.final, self.options.kernel)

    @property
    def final_loss(self) -> float:
        """Loss at `final`."""
        return float(self.final_task_loss.sum())

    @cached_property
    def phases(self) -> phases.Phases:
        """Warm-up, emergence, convergence and escape, measured, beside the predicted times."""
        return phases.measure(self.trajectory, self.key_scale)

    @cached_property
    def forecast(self) -> tuple[Forecast, ...]:
        """The emergence of every task, predicted from the start: its time and head, or why there is none."""
        start = self.trajectory(self.trajectory.t[0])
        return forecast(self.problem, start, self.trajectory.chart, self.key_scale, self.options.kernel)

    @property
    def allocation(self) -> tuple[int | None, ...]:
        """Head that seized each task; None for a task that has not emerged."""
        return tuple(task.head for task in self.phases.tasks)

    @property
    def shares(self) -> Floats:
        """Share of each head in the map learned for each task at the end, (H, I).

        Shares of a task sum to 1; a head that works against the others has a negative one. NaN where
        nothing is learned at all.
        """
        return phases.shares(self.problem, *self.final)

    @cached_property
    def saturation(self) -> saturation.Saturation:
        """How far the flow's law of the context is from softmax attention, and whether its range was left."""
        return saturation.measure(self.trajectory)

    @property
    def success(self) -> bool:
        """Whether the flow was solved to its end or to rest."""
        return self.outcome.success

    @property
    def message(self) -> str:
        """How the integration ended, what to try if it failed, and whether the law is not to be trusted."""
        left = [] if self.saturation.trusted else [str(self.saturation)]
        return "; ".join([self._ended, *left, *self._ties])

    @property
    def _ended(self) -> str:
        return f"{self.outcome.advice} at t = {self.trajectory.t[-1]:.6g} after {self.stats.steps} steps"

    @property
    def _ties(self) -> list[str]:
        advice = "start equal and stay so (perturb the start to break the tie)"
        return [f"{text} {advice}" for text in ties(self.tied_heads)]

    def __repr__(self) -> str:
        return "\n".join(["<Solution>", *(f"  {key:15} {value}" for key, value in self._facts())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for key, value in self._facts()
        )
        return f"<table><caption>spectral-icl Solution</caption>{rows}</table>"

    def _facts(self) -> list[tuple[str, str]]:
        """Lines of `repr`, as (key, text): facts that are known or have been measured by now; no more."""
        p, measured = self.problem, vars(self)
        size = f"{p.tasks} tasks, {p.blocks} blocks, d = {p.dimension}, L = {p.context_length:g}"
        kind = f"{self.heads} heads, {self.parametrization.name}, {self.options.kernel} law"
        facts = [
            ("problem", size),
            ("model", kind),
            ("time", f"0 to {self.trajectory.t[-1]:g}, reported at {self.t.size} times"),
            ("outcome", "; ".join([self._ended, *self._ties])),
        ]
        if "final_task_loss" in measured:
            facts.append(("loss", f"{self.final_loss:.6g} at the end"))
        if "phases" in measured:
            heads = ", ".join(f"task {i}: {_head(h)}" for i, h in enumerate(self.allocation))
            many = p.tasks > MANY
            facts.append(("allocation", str(Census.of(self.phases, self.heads)) if many else heads))
        if "saturation" in measured:
            facts.append(("law", str(self.saturation)))
        return facts

    def to_xarray(self) -> xarray.Dataset:
        """The flow as an `xarray.Dataset` over (time, head, block, task).

        Everything is dimensionless. The attribute ``provenance`` is one JSON string with the problem, the
        parametrization, the options, the outcome, the package versions, the platform, and the checksum of all
        that and of the numbers. The ``node_*`` variables hold the continuous extension, so that a loaded
        solution is evaluated like this one. Of a flow that is kept in outline they hold what was noted at its
        steps; ``kept_*`` are its states, ``sample_*`` its task losses within the steps.
        """
        import xarray  # optional, and slow to import

        arrays = {
            "omega": self.omega,
            "mu": self.mu,
            "task_loss": self.task_loss,
            "loss": self.loss,
            **record.arrays_of(self.trajectory),
            "time": self.t,
            "head": np.arange(self.heads),
            "block": np.arange(self.problem.blocks),
            "task": np.arange(self.problem.tasks),
        }
        header = self._header()
        header["checksum"] = record.checksum(header, arrays)
        dims = record.dimensions(arrays)
        data = xarray.Dataset({name: (dims[name], values) for name, values in arrays.items()})
        for name, label in _LABELS.items():
            data[name].attrs.update(long_name=label, units="1")
        data.attrs["provenance"] = json.dumps(header, allow_nan=False)
        return data

    def _header(self) -> dict[str, Any]:
        """All that the arrays of the dataset do not say, as JSON has it."""
        options = asdict(self.options)
        if np.isinf(self.options.t_end):
            options["t_end"] = None  # JSON knows no infinity
        return {
            "format": files.FLOW,
            "problem": self.problem.to_dict(),
            "digest": self.problem.digest(),
            "parametrization": {
                "name": self.parametrization.name,
                **vars(self.parametrization),
            },
            "heads": self.heads,
            "options": options,
            "outcome": self.outcome.name,
            "message": self.message,
            "stats": asdict(self.stats),
            "tied_heads": self.tied_heads,
            "environment": dict(self.environment),
        }

    @classmethod
    def from_xarray(cls, data: xarray.Dataset) -> Solution:
        """The inverse of `to_xarray`.

        Raises
        ------
        ProblemError
            If the dataset is not a whole flow.
        """
        try:
            header = json.loads(data.attrs["provenance"])
            known = header["format"] == files.FLOW
        except (KeyError, TypeError, ValueError, RecursionError):
            known = False
        if not known:
            raise ProblemError("data", data.attrs.get("provenance"), f"a dataset of format {files.FLOW!r}")
        try:
            return cls._rebuilt(data, header)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = str(error) if type(error) is ValueError else repr(error)
            expected = f"a flow with nothing missing or damaged ({reason[:160]})"
            raise ProblemError("data", dict(data.sizes), expected) from None

    @classmethod
    def _rebuilt(cls, data: xarray.Dataset, header: dict[str, Any]) -> Solution:
        problem = Problem.from_dict(header["problem"])
        heads = check_heads(problem, header["heads"])
        outcome = Outcome[header["outcome"]]
        arrays = record.checked_arrays(data, problem, heads)
        record.check_numbers(arrays, rests=outcome is Outcome.STATIONARY)
        written = header.pop("checksum", None)  # files of before there was one have none
        whole = written in (None, record.checksum(header, arrays))
        if not (whole and problem.has_digest(header["digest"])):
            raise ValueError("its numbers are others than those that were written")
        parametrization = dict(header["parametrization"])
        options = Options(**header["options"])
        options = replace(
            options,
            kernel=check_kernel(options.kernel),  # old files have old names
            t_end=np.inf if options.t_end is None else options.t_end,
        )
        check_options(options.t_end, options.rtol, options.stationary, options.max_steps)
        return cls(
            problem=problem,
            parametrization=PARAMETRIZATIONS[parametrization.pop("name")](**parametrization),
            t=arrays["time"],
            trajectory=record.curve_of(
                arrays, problem, heads, rests=outcome is Outcome.STATIONARY, kernel=options.kernel
            ),
            outcome=outcome,
            stats=Stats(**header["stats"]),
            options=options,
            environment=header["environment"],
            tied_heads=tuple(map(tuple, header["tied_heads"])),
        )

    def save(self, path: str | Path) -> None:
        """Write the flow as NetCDF (``.nc``) or Zarr (``.zarr``); the file appears only once it is whole.

        Raises
        ------
        ProblemError
            The name cannot be written, or something other than a saved flow is there.
        """
        files.write(self.to_xarray(), Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Solution:
        """Read a flow that `save` wrote.

        Raises
        ------
        ProblemError
            It is not one, or not all that was written.
        """
        data = files.read(Path(path))
        try:
            return cls.from_xarray(data)
        except ProblemError as error:
            raise ProblemError("path", str(path), error.expected) from None


_LABELS = {
    "omega": r"KQ value $\omega$",
    "mu": r"OV value $\mu$",
    "task_loss": "task loss",
    "loss": "loss",
    "time": "gradient-flow time",
}


def ties(groups: Sequence[Sequence[int]]) -> list[str]:
    """The heads of groups in words, one text a group, but for those of many groups together."""
    if len(groups) > MANY:
        largest = max(groups, key=len)
        return [f"heads in {len(groups)} groups, the largest {listed(largest)},"]
    return [f"heads {listed(group)}" for group in groups]


def _head(head: int | None) -> str:
    return "not emerged" if head is None else f"head {head}"


class IntegrationError(RuntimeError):
    """An integration that did not reach its end.

    Attributes
    ----------
    solution : Solution or None
        The part that was solved.
    """

    def __init__(self, message: str, solution: Solution | None = None) -> None:
        super().__init__(message)
        self.solution = solution
