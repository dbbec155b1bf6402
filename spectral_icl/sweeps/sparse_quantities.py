"""What a sweep of sparse problems can show: the risks of all methods, and the advantage of P2O over ridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spectral_icl.io.checks import ProblemError, choice
from spectral_icl.sparse.methods import METHODS as KNOWN
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.quantities import Border, Quantity, Sweep
from spectral_icl.sweeps.sparse import METHODS, names

if TYPE_CHECKING:
    import xarray

METHOD = "method"  # dimension of the quantity "risk"

_LABELS = {
    "risk": "excess risk",
    "advantage": "risk of P2O / risk of ridge",
    "p2o_time": "best time of P2O",
}
_EQUAL = Border(1.0, "P2O as good as ridge")


class SparseSweep(Sweep):
    """The results of a sweep of sparse problems."""

    def __init__(self, data: xarray.Dataset, plan: Plan) -> None:
        methods = [name for name in METHODS if name in data]
        stacked = {
            risk: _stack([data[names(method)[k]] for method in methods])
            for k, risk in enumerate(names("risk"))
        }
        super().__init__(data.assign(stacked), plan)
        self.entries = {METHOD: {KNOWN[method].short: KNOWN[method].color for method in methods}}
        self._risks = ("risk", *methods)

    @property
    def names(self) -> list[str]:
        """The quantities that this sweep has."""
        first = ["risk", "advantage", *self._risks[1:]]
        rest = {str(name) for name in self.data.data_vars} - {"status", *first, *names("risk")}
        return first + sorted(rest)

    def suitable(self, task: int | None = None) -> list[str]:
        """All risks over one axis, and the advantage over several."""
        return ["risk"] if len(self.dims) < 2 else ["advantage"]

    def quantity(self, name: str, task: int | None = None) -> Quantity:
        """A quantity by name; there are no tasks.

        Risks and the advantage are the simulated ones, with the theory's beside them, or the theory's alone
        if nothing was simulated.
        """
        choice("quantity", name, self.names)
        if task is not None:
            raise ProblemError("task", task, "nothing for sparse problems, which have no tasks")
        text = _LABELS.get(name) or (f"excess risk of {KNOWN[name].short}" if name in KNOWN else name)
        if name != "advantage" and name not in self._risks:
            return Quantity(name, text, _finite(self.data[name]), self.trouble())
        border = _EQUAL if name == "advantage" else None
        by_theory, simulated, error = (self.data[each] for each in names(name))
        simulated = _finite(simulated).where(~np.isinf(by_theory))  # which no mean of samples tends to
        by_theory = _finite(by_theory)
        if not bool(simulated.notnull().any()):
            return Quantity(name, text, by_theory, self.trouble(), measured="theory", border=border)
        return Quantity(
            name=name,
            label=text,
            values=simulated,
            trouble=self.trouble(),
            theory={"theory": by_theory},
            measured="simulated",
            error=error,
            border=border,
        )


def _stack(arrays: list[xarray.DataArray]) -> xarray.DataArray:
    """Arrays of all methods as one."""
    import xarray  # optional, and slow to import

    return xarray.concat(arrays, METHOD)


def _finite(values: xarray.DataArray) -> xarray.DataArray:
    """Without the infinite risks, which have no place in a figure."""
    return values.where(np.isfinite(values))
