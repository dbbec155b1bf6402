"""What a sweep of flows can show."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import ProblemError, choice, integer
from spectral_icl.multitask.context import check_kernel
from spectral_icl.multitask.flow.saturation import LIMIT
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS
from spectral_icl.multitask.problem import Problem
from spectral_icl.sweeps.quantities import Class, Quantity, Sweep

if TYPE_CHECKING:
    import xarray

    from spectral_icl.sweeps.plan import Plan

# Patterns of allocation
NONE_LEARNED, SOME_LEARNED, SHARED, OWN = range(4)
PATTERNS = {
    NONE_LEARNED: Class("no task learned", "0.85"),
    SOME_LEARNED: Class("not all tasks learned", "#f0e442"),
    SHARED: Class("a head serves several tasks", "#e69f00"),
    OWN: Class("a head for each task", "#0072b2"),
}

_BENCHMARKS = {key: BENCHMARKS[key].name for key in ("head_per_task", "single_head", "lower_bound")}
_LABELS = {
    "loss": "loss",
    "gap": "excess loss / lower bound",
    "separation": "excess loss / head per task",
    "excess": "loss without query noise",
    "emergence": "emergence time",
    "emergence_median": "median emergence time of the tasks",
    "settled": "time to reach the plateau",
    "escape": "escape time",
    "emergence_predicted": "predicted emergence time",
    "escape_predicted": "predicted escape time",
    "saturation": r"largest logit variance / $\log L$",
    "t": "time reached",
    "steps": "steps",
    "task_loss": "task loss",
    "omega": r"KQ value $\omega$",
    "mu": r"OV value $\mu$",
    "loss_curve": "loss",
    **{key: BENCHMARKS[key].name for key in ("lower_bound", "head_per_task", "single_head")},
    "gradient_step": f"{BENCHMARKS['gradient_step'].name}, exact",
    "allocation": "allocation",
    "learned": "share of tasks learned",
    "own_heads": "share of runs with a head for each task",
    "as_predicted": "share of runs with the predicted heads",
}
# a time that is not there has not come: NaN is later than all others
_TIMES = ("emergence", "emergence_median", "settled", "escape", "emergence_predicted", "escape_predicted")
_OF_LAW = (
    "loss",
    "gap",
    "separation",
    "excess",
    "task_loss",
    "loss_curve",
    *_BENCHMARKS,
)  # whose label says whose numbers they are
_LAST = ("emergence", "settled", "emergence_predicted")  # of several tasks, the last one's
# numbers that a saturated flow does not make wrong
_ALWAYS = ("saturation", "steps", "t", *_BENCHMARKS, "gradient_step", "emergence_predicted")
_SHARES = ("own_heads", "as_predicted")
_OVER = {"gap": "lower_bound", "separation": "head_per_task"}  # excess losses, in units of that of these
_OF_TASKS = {"learned": "allocation", "emergence_median": "emergence"}  # what they are counted from


class FlowSweep(Sweep):
    """The results of a sweep of flows."""

    labels = _LABELS

    def __init__(self, data: xarray.Dataset, plan: Plan) -> None:
        super().__init__(data, plan)
        self.tasks = int(data.sizes["task"])

    @property
    def names(self) -> list[str]:
        """The quantities that this sweep has."""
        here = {str(name) for name in self.data.data_vars} - {"status", "allocation_predicted"}
        if "lower_bound" in here:
            here |= set(_OVER)
        if "allocation" in here:
            here |= {"own_heads", "learned", "emergence_median"}
        if "allocation_predicted" in self.data:
            here |= {"as_predicted"}
        here |= {"excess"}
        first = [name for name in self.labels if name in here]
        return first + sorted(here - set(first))

    def suitable(self, task: int | None = None) -> list[str]:
        """The quantities that are shown if none is asked for."""
        here = self.names
        varied = {path for dim in self.plan.dims for path in dim.values}

        def has(name: str) -> bool:
            return name in here and bool(self.data[name].notnull().any())

        if has("escape") and any("imbalance" in path for path in varied):
            return ["escape"]
        if "gap" in here and varied & {"problem.tasks", "model.heads"} and task is None:
            return ["gap"]
        if self.plan.replicated and self.tasks > 1 and "allocation" in here:
            return ["allocation"]
        total = "loss" if task is None else "task_loss"
        return [total, "emergence"] if has("emergence") else [total]

    def quantity(self, name: str, task: int | None = None) -> Quantity:
        """A quantity by name, of one task or of all.

        Of all tasks, emergence and settling are those of the last task, escape that of the first one, and
        allocation is one of `PATTERNS`; of one task, allocation is the number of its head. Of many tasks the
        share that is learned and the median of the emergences tell more than the last one.
        """
        choice("quantity", name, self.names)
        per_task = name != "emergence_median" and (
            name in ("allocation", "learned", *_SHARES) or "task" in self._raw(name).dims
        )
        if task is not None:
            task = integer("task", task, minimum=0, maximum=self.tasks - 1)
            if not per_task:
                raise ProblemError("task", task, f"nothing for {name}, which is not of one task")
        text = self.labels.get(name, name)
        if name in _OF_LAW:
            text += f", {check_kernel(self.plan.base['model']['kernel'])} law"
        if per_task and self.tasks > 1 and name in _TIMES:
            whose = "first task" if name.startswith("escape") else "last task"
            text += f", {whose if task is None else f'task {task}'}"
        elif task is not None:
            text += f", task {task}"
        if name == "allocation":
            return self._allocation(text, task)
        return Quantity(
            name=name,
            label=text,
            values=self._shares(name, task) if name in _SHARES else self._reduced(name, task),
            trouble=self.trouble(guarded=name not in _ALWAYS),
            shown_as=_shown_as(name),
            theory=self._theory(name, task),
        )

    def _raw(self, name: str) -> xarray.DataArray:
        if name == "excess" or name in _OVER:
            return self.data["loss"]
        return self.data[_OF_TASKS.get(name, name)]

    def _reduced(self, name: str, task: int | None) -> xarray.DataArray:
        """A recorded or derived number, of one task, or of all where there is one number for all."""
        if name == "excess":
            return self.data["loss"] - self._noise()
        if name in _OVER:
            return self._over(_OVER[name], "loss")
        if name == "emergence_median":
            return self._median("emergence")
        if name == "learned":
            return self._learned(task)
        found = self._raw(name)
        if "task" not in found.dims:
            return found
        if task is not None:
            return found.isel(task=task)
        if name not in _TIMES:
            return found
        if name in _LAST:  # not there if one of the tasks that there are has none
            late = found.where(found.notnull() | ~self._exists(), np.inf).max("task")
            return late.where(np.isfinite(late))
        return found.min("task")

    def _learned(self, task: int | None) -> xarray.DataArray:
        """The share of tasks that are learned, or whether one is."""
        learned = (self.data["allocation"] >= 0).where(self._exists())
        return learned.mean("task") if task is None else learned.isel(task=task)

    def _median(self, name: str) -> xarray.DataArray:
        """When half of the tasks that there are have emerged, if they have, or are predicted to."""
        exists, times = self._exists(), self.data[name].fillna(np.inf)
        axis = times.get_axis_num("task")
        count = exists.sum("task", keepdims=True)
        ordered = np.sort(times.where(exists, np.inf).values, axis=axis)
        half = np.take_along_axis(ordered, np.maximum((count.values - 1) // 2, 0), axis=axis)
        found = times.isel(task=0, drop=True).copy(data=half.squeeze(axis))
        return found.where(np.isfinite(found))

    def _exists(self) -> xarray.DataArray:
        """Which tasks a point has: results are padded to the most of any."""
        return self.data["task_loss"].notnull()

    def _theory(self, name: str, task: int | None) -> dict[str, xarray.DataArray]:
        made: dict[str, Callable[[str], xarray.DataArray]] = {
            "loss": lambda key: self.data[key],
            "excess": lambda key: self.data[key] - self._noise(),
            **{ratio: partial(self._over, unit) for ratio, unit in _OVER.items()},
        }
        if name in made and "lower_bound" in self.data:
            keys = [key for key in _BENCHMARKS if key != _OVER.get(name)]
            return {_BENCHMARKS[key]: made[name](key) for key in keys}
        if name == "emergence_median" and "emergence_predicted" in self.data:
            return {"predicted": self._median("emergence_predicted")}
        predicted = f"{name}_predicted"
        if predicted in self.data:
            return {"predicted": self._reduced(predicted, task)}
        if name == "saturation":
            limit = self.data["saturation"].copy(data=np.full(self.data["saturation"].shape, LIMIT))
            return {"limit of the law's range": limit}
        return {}

    def _over(self, unit: str, key: str) -> xarray.DataArray:
        """The excess of a loss over that of a benchmark."""
        noise = self._noise()
        bound = self.data[unit] - noise
        return (self.data[key] - noise) / bound.where(bound > 0.0)

    def _noise(self) -> xarray.DataArray:
        """Query noise summed over tasks, on the dimensions that it depends on."""
        import xarray  # optional, and slow to import

        fields = {"problem.noise", "problem.snr", "problem.tasks", "problem.signal", "problem.decay"}
        names = [
            dim.name for dim in self.plan.dims if any(path.partition("[")[0] in fields for path in dim.values)
        ]
        sizes = [self.data.sizes[dim.name] for dim in self.plan.dims]
        found = np.full([self.data.sizes[name] for name in names], np.nan)
        for indices in product(*(range(n) for n in found.shape)):
            at = dict(zip(names, indices, strict=True))
            k = int(np.ravel_multi_index([at.get(dim.name, 0) for dim in self.plan.dims], sizes))
            try:
                found[indices] = sum(Problem.from_dict(self.plan.table(k)["problem"]).noise)
            except ProblemError:  # no problem, and no point either
                continue
        return xarray.DataArray(found, dims=names)

    def _allocation(self, text: str, task: int | None) -> Quantity:
        heads = self.data["allocation"]
        if task is not None:
            most = int(self.data["allocation"].max())
            classes = {-1: Class("not learned", "0.85")}
            classes |= {h: Class(f"head {h}") for h in range(max(most, 0) + 1)}
            return Quantity(
                "allocation", text, heads.isel(task=task), self.trouble(), "classes", classes=classes
            )
        found = self.trouble().copy(data=_patterns(heads.values, self._exists().values))
        return Quantity(
            name="allocation",
            label=text,
            values=found,
            trouble=self.trouble(),
            shown_as="classes",
            classes=PATTERNS,
            as_share="own_heads",
        )

    def _shares(self, name: str, task: int | None) -> xarray.DataArray:
        """Whether every task (or one) has a head of its own, or the predicted one; NaN where none is."""
        heads, exists = self.data["allocation"], self._exists()
        if name == "own_heads" and task is None:
            found: NDArray[Any] = _patterns(heads.values, exists.values) == OWN
            return self.trouble().copy(data=found.astype(np.float64))
        if name == "own_heads":
            mine = heads.isel(task=task)
            return ((mine >= 0) & ((heads == mine).sum("task") == 1)).astype(np.float64)
        forecast = self.data["allocation_predicted"]
        if task is not None:
            heads, forecast, exists = (each.isel(task=task) for each in (heads, forecast, exists))
            return (heads == forecast).astype(np.float64).where(forecast >= 0)
        known = ((forecast >= 0) | ~exists).all("task")
        return ((heads == forecast) | ~exists).all("task").astype(np.float64).where(known)


def _shown_as(name: str) -> Literal["numbers", "times", "shares"]:
    """How a quantity other than the allocation is shown; a prediction is a number, there or not."""
    if name in _SHARES:
        return "shares"
    return "times" if name in _TIMES and not name.endswith("predicted") else "numbers"


def _patterns(heads: NDArray[Any], exists: NDArray[np.bool_]) -> NDArray[np.int64]:
    """The pattern of every point from the heads of its tasks, (..., I)."""
    learned = (heads >= 0) & exists
    ordered = np.sort(np.where(learned, heads, -1 - np.arange(heads.shape[-1])), axis=-1)
    shared = (np.diff(ordered, axis=-1) == 0).any(axis=-1)
    found = np.where(shared, SHARED, OWN)
    found = np.where(learned.sum(axis=-1) < exists.sum(axis=-1), SOME_LEARNED, found)
    return np.where(learned.any(axis=-1), found, NONE_LEARNED).astype(np.int64)
