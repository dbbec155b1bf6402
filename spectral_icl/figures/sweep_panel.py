"""The numbers of a panel: a quantity as its view has it, what replicates come to, and which points count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from spectral_icl.figures.sweep_view import View
from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.sweeps.quantities import GOOD, REPLICATE, UNTRUSTED, Quantity, Sweep

if TYPE_CHECKING:
    import xarray

AWAITED = "not before the end"  # legend entry of what has not happened
_QUORUM = 0.5  # share of the replicates of a point that must be good: fewer are a biased sample


@dataclass(frozen=True, eq=False)
class Panel:
    """A quantity along the lines (or y), x and the replicates of a view, sorted by x and y.

    Attributes
    ----------
    quantity : Quantity
    x, rows : ndarray, (n,) and (m,)
        Values along x, and along y or of the lines; a zero if there is one line.
    values : ndarray, (m, n, replicates)
    trouble : ndarray of int, (m, n, replicates)
        `GOOD` or a code of ``reasons``.
    reasons : mapping of int to str
        Why points are left out.
    counted : ndarray of int
        ``trouble`` with each point of the sweep once, for the counts in the legend: where the rows are
        results of the same points (one per task, say), the first row alone.
    theory : dict of str to ndarray, (m, n)
    error : ndarray, (m, n), or None
        Standard errors of sampled values; None with replicates, which tell by themselves.
    """

    quantity: Quantity
    x: Floats
    rows: Floats
    values: Floats
    trouble: NDArray[np.int64]
    reasons: Mapping[int, str]
    counted: NDArray[np.int64]
    theory: dict[str, Floats]
    error: Floats | None

    @classmethod
    def of(cls, quantity: Quantity, view: View) -> Panel:
        """The panel of a quantity; dimensions that a result does not depend on are written out."""
        order: dict[str, NDArray[np.int64]] = {}
        along: dict[str, Floats] = {}
        for dim in (view.x, view.rows):
            if dim is not None:
                values = view.values(dim)
                order[dim] = np.argsort(values, kind="stable")
                along[dim] = values[order[dim]]
        replicates = view.sweep.data.sizes.get(REPLICATE, 1)

        def laid(found: xarray.DataArray) -> NDArray[Any]:
            found = found.isel({d: i for d, i in view.fixed.items() if d in found.dims})
            shape = {dim: along[dim].size for dim in order} | {REPLICATE: replicates}
            missing = {dim: n for dim, n in shape.items() if dim not in found.dims}
            found = found.drop_vars(list(found.coords)).expand_dims(missing)
            found = found.isel({dim: index for dim, index in order.items() if dim not in missing})
            dims = ((view.rows,) if view.rows else ()) + (view.x, REPLICATE)
            laid_out = np.asarray(found.transpose(*dims).values)
            return laid_out if view.rows else laid_out[None]

        trouble = laid(quantity.trouble)
        theory = {name: laid(curve).astype(np.float64) for name, curve in quantity.theory.items()}
        theory = {name: _quantile(curve, 0.5, ~np.isnan(curve)) for name, curve in theory.items()}
        error = None if replicates > 1 else quantity.error
        return cls(
            quantity=quantity,
            x=along[view.x],
            rows=along[view.rows] if view.rows else np.zeros(1),
            values=laid(quantity.values).astype(np.float64),
            trouble=trouble,
            reasons=view.sweep.reasons,
            counted=trouble if view.rows in quantity.trouble.dims else trouble[:1],
            theory={name: curve for name, curve in theory.items() if np.isfinite(curve).any()},
            error=None if error is None else laid(error)[..., 0],
        )

    @property
    def replicates(self) -> int:
        """Runs of every point."""
        return int(self.values.shape[-1])

    @cached_property
    def good(self) -> NDArray[np.bool_]:
        """Which runs count, (m, n, replicates)."""
        return np.asarray(self.trouble == GOOD)

    @cached_property
    def verdict(self) -> NDArray[np.int64]:
        """`GOOD` where enough runs are, else the most frequent reason why not, (m, n)."""
        counts = np.stack([(self.trouble == code).sum(axis=-1) for code in range(UNTRUSTED + 1)])
        worst = 1 + counts[1:].argmax(axis=0)
        return np.where(counts[GOOD] >= _QUORUM * self.replicates, GOOD, worst)

    @cached_property
    def middle(self) -> Floats:
        """The median of the good runs, or the mean of shares, (m, n); NaN where there is none."""
        if self.quantity.shown_as != "shares":
            return self.quantile(0.5)
        known = self.good & ~np.isnan(self.values)
        count = known.sum(axis=-1)
        mean = np.where(known, self.values, 0.0).sum(axis=-1) / np.where(count, count, np.nan)
        return np.where(self.verdict == GOOD, mean, np.nan)

    def quantile(self, q: float) -> Floats:
        """A quantile of the good runs, (m, n); NaN where there is none."""
        if self.quantity.shown_as == "times":
            found = _quantile_of_times(self.values, q, self.good)
        else:
            found = _quantile(self.values, q, self.good & ~np.isnan(self.values))
        return np.where(self.verdict == GOOD, found, np.nan)

    @property
    def absent(self) -> NDArray[np.bool_]:
        """Where points are good and there is no value, (m, n)."""
        return np.asarray((self.verdict == GOOD) & np.isnan(self.middle))

    def left_out(self) -> dict[int, str]:
        """Legend entries by reason for what is left out: why, and how many points."""
        runs = " runs" if self.replicates > 1 else ""
        counts = {code: int((self.counted == code).sum()) for code in self.reasons}
        return {
            code: f"{self.reasons[code]}: {n} of {self.counted.size}{runs}" for code, n in counts.items() if n
        }


def as_share(sweep: Sweep, quantity: Quantity) -> Quantity:
    """The share that stands for the classes of several runs, which have no middle."""
    if not quantity.as_share:
        raise ProblemError("task", "one task", "no task: the heads of several runs have no middle")
    return sweep.quantity(quantity.as_share)


def _quantile(values: Floats, q: float, known: NDArray[np.bool_]) -> Floats:
    """A quantile of the known values along the last axis.

    That of `numpy.nanquantile`, which calls Python once a place: hundreds of times slower on a large map.
    """
    ordered = np.sort(np.where(known, values, np.nan), axis=-1)  # NaN last
    place = q * np.maximum(known.sum(axis=-1) - 1, 0)
    low = np.floor(place).astype(np.int64)
    lower, upper = _entry(ordered, low), _entry(ordered, np.ceil(place).astype(np.int64))
    return np.asarray(lower + (place - low) * (upper - lower))


def _quantile_of_times(values: Floats, q: float, good: NDArray[np.bool_]) -> Floats:
    """A quantile along the last axis of the good times, one of them: NaN has not come, and is the latest."""
    ordered = np.sort(np.where(good, values, np.nan), axis=-1)
    return _entry(ordered, np.maximum(np.ceil(q * good.sum(axis=-1)).astype(np.int64) - 1, 0))


def _entry(ordered: Floats, place: NDArray[np.int64]) -> Floats:
    return np.asarray(np.take_along_axis(ordered, place[..., None], axis=-1)[..., 0])
