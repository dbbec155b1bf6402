"""What a sweep can show: quantities on its grid, the theory's values beside them, and which points count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from spectral_icl.sweeps.points import INVALID, PENDING, SOLVED

if TYPE_CHECKING:
    import xarray

    from spectral_icl.sweeps.plan import Plan

REPLICATE = "replicate"

# Why a point is left out; of several reasons the first one counts. `Sweep.reasons` has the words.
GOOD, MISSING, UNFIT, FAILED, UNTRUSTED = range(5)


class Class(NamedTuple):
    """What a class of points is called, and its colour; None for one of the figure's own."""

    text: str
    color: str | None = None


@dataclass(frozen=True, eq=False)
class Quantity:
    """One quantity on the grid of a sweep.

    Attributes
    ----------
    name, label : str
    values : xarray.DataArray
        Over the dimensions of the sweep, and those of its own that it has, such as "task" and "time".
    trouble : xarray.DataArray
        Of every point `GOOD` or a code of why it is left out.
    shown_as : "numbers", "times", "classes" or "shares"
        Times are NaN where something has not happened before the end. Shares are 1 or 0 for a point, and the
        mean over several. Classes are the keys of ``classes``.
    theory : dict of str to xarray.DataArray
        Curves of the theory by name. The first is what the values should be.
    classes : mapping of int to Class
        Names and colours of the values that are classes.
    as_share : str
        The quantity that stands for classes where a point has several runs, which have no middle; empty if
        there is none.
    measured : str
        What the values are called beside the theory.
    error : xarray.DataArray, or None
        Standard errors of values that were sampled.
    break_even : float, or None
        Where the comparison tips: below this ratio > 0 one method is better, above it the other. A line in
        line plots; in heat maps a contour and the middle of the colour scale.
    break_even_text : str
        Its legend entry.
    """

    name: str
    label: str
    values: xarray.DataArray
    trouble: xarray.DataArray
    shown_as: Literal["numbers", "times", "classes", "shares"] = "numbers"
    theory: dict[str, xarray.DataArray] = field(default_factory=dict)
    classes: Mapping[int, Class] = field(default_factory=dict)
    as_share: str = ""
    measured: str = "flow"
    error: xarray.DataArray | None = None
    break_even: float | None = None
    break_even_text: str = ""


class Sweep(ABC):
    """The results of a sweep, as `open_sweep` reads them, with what follows from them.

    Attributes
    ----------
    labels : mapping of str to str
        Quantities that such sweeps may have, in the order of lists, and what axes call them.
    data : xarray.Dataset
    plan : Plan
    dims : tuple of str
        Dimensions of the grid, without "replicate".
    entries : mapping of str to mapping of str to str
        Dimensions whose places have names rather than numbers: these, with their colours.
    reasons : dict of int to str
        Why points are left out, in words, by the codes of `trouble`.
    """

    labels: ClassVar[Mapping[str, str]]

    def __init__(self, data: xarray.Dataset, plan: Plan) -> None:
        self.data = data
        self.plan = plan
        self.dims = tuple(dim.name for dim in self.plan.dims if dim.name != REPLICATE)
        self.entries: Mapping[str, Mapping[str, str]] = {}
        self.reasons = {
            MISSING: "not solved yet",
            UNFIT: "not a valid experiment",
            FAILED: "not solved to its end",
        }
        if plan.points.guard is not None:
            self.reasons[UNTRUSTED] = plan.points.guard.legend

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

    def trouble(self, guarded: bool = True) -> xarray.DataArray:
        """Of every point `GOOD` or a code of why it is left out.

        Parameters
        ----------
        guarded : bool
            Whether to leave out what the guard of the points does not trust.
        """
        status = self.data["status"].values
        found = np.where(np.isin(status, SOLVED), GOOD, FAILED)
        found = np.where(status == INVALID, UNFIT, found)
        found = np.where(status == PENDING, MISSING, found).astype(np.int64)
        guard = self.plan.points.guard
        if guarded and guard is not None:
            beyond = (found == GOOD) & ~(self.data[guard.name].values <= guard.most)
            found = np.where(beyond, UNTRUSTED, found)
        return self.data["status"].copy(data=found)
