"""What a sweep can show: quantities on its grid, the theory's values beside them, and which points count."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from spectral_icl.multitask.flow.saturation import LIMIT
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import INVALID, SOLVED
from spectral_icl.sweeps.store import PENDING

if TYPE_CHECKING:
    import xarray

REPLICATE = "replicate"

# Why a point is left out; of several reasons the first one counts.
GOOD, MISSING, UNFIT, FAILED, SATURATED = range(5)
REASONS = {
    MISSING: "not solved yet",
    UNFIT: "not a valid experiment",
    FAILED: "not solved to its end",
    SATURATED: f"kernel invalid (saturation > {LIMIT:g})",
}


class Border(NamedTuple):
    """A value > 0 of a ratio on whose sides different things are true, and what is true there."""

    value: float
    text: str


@dataclass(frozen=True, eq=False)
class Quantity:
    """One quantity on the grid of a sweep.

    Attributes
    ----------
    name, label : str
    values : xarray.DataArray
        Over the dimensions of the sweep, and those of its own that it has, such as "task" and "time".
    trouble : xarray.DataArray
        Of every point `GOOD` or one of `REASONS`.
    theory : dict of str to xarray.DataArray
        Curves of the theory by name. The first is what the values should be.
    kinds : dict of int to str
        Names of the values if they are classes; empty if they are numbers.
    awaited : bool
        Whether NaN means that something has not happened before the end of the flow.
    share : bool
        Whether it is 1 or 0 for a point, and a share of several.
    measured : str
        What the values are called beside the theory.
    error : xarray.DataArray, or None
        Standard errors of values that were sampled.
    border : Border, or None
    """

    name: str
    label: str
    values: xarray.DataArray
    trouble: xarray.DataArray
    theory: dict[str, xarray.DataArray] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    awaited: bool = False
    share: bool = False
    measured: str = "flow"
    error: xarray.DataArray | None = None
    border: Border | None = None


class Sweep(ABC):
    """The results of a sweep, as `grid.open_sweep` reads them, with what follows from them.

    Attributes
    ----------
    data : xarray.Dataset
    plan : Plan
    dims : tuple of str
        Dimensions of the grid, without "replicate".
    entries : mapping of str to mapping of str to str
        Dimensions whose places have names rather than numbers: these, with their colours.
    """

    def __init__(self, data: xarray.Dataset, plan: Plan) -> None:
        self.data = data
        self.plan = plan
        self.dims = tuple(dim.name for dim in self.plan.dims if dim.name != REPLICATE)
        self.entries: Mapping[str, Mapping[str, str]] = {}

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """The quantities that this sweep has."""

    @abstractmethod
    def suitable(self, task: int | None = None) -> list[str]:
        """The quantities that are shown if none is asked for."""

    @abstractmethod
    def quantity(self, name: str, task: int | None = None) -> Quantity:
        """A quantity by name, of one task or of all."""

    def trouble(self) -> xarray.DataArray:
        """`GOOD` or one of `REASONS` for every point."""
        status = self.data["status"].values
        found = np.where(np.isin(status, SOLVED), GOOD, FAILED)
        found = np.where(status == INVALID, UNFIT, found)
        found = np.where(status == PENDING, MISSING, found).astype(np.int64)
        return self.data["status"].copy(data=found)


def plan_of(data: xarray.Dataset) -> Plan:
    """The plan that a dataset was made by."""
    return Plan.from_dict(json.loads(data.attrs["provenance"])["plan"])
