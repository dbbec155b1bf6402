"""What a sweep of sparse problems can show: the risks of all methods, and the advantage of P2O over ridge."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spectral_icl.io.checks import ProblemError, choice
from spectral_icl.sparse.methods import COMPARED
from spectral_icl.sparse.methods import METHODS as KNOWN
from spectral_icl.sweeps.quantities import Quantity, Sweep

if TYPE_CHECKING:
    import xarray

    from spectral_icl.sweeps.plan import Plan

METHOD = "method"  # dimension of the quantity "risk"

_LABELS = {
    "risk": "excess risk",
    "advantage": "risk of P2O / risk of ridge",
    **{method: f"excess risk of {KNOWN[method].short}" for method in COMPARED},
    "p2o_time": "best time of P2O",
}


def names(method: str) -> tuple[str, str, str]:
    """What the risk of a method is called: by theory, simulated, and the standard error of that."""
    return method, f"{method}_mc", f"{method}_se"


class SparseSweep(Sweep):
    """The results of a sweep of sparse problems."""

    labels = _LABELS

    def __init__(self, data: xarray.Dataset, plan: Plan) -> None:
        methods = [name for name in COMPARED if name in data]
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
        text = self.labels.get(name, name)
        if name != "advantage" and name not in self._risks:
            return Quantity(name, text, _finite(self.data[name]), self.trouble())
        tips = name == "advantage"
        even = 1.0 if tips else None
        even_text = "P2O as good as ridge" if tips else ""
        by_theory, simulated, error = (self.data[each] for each in names(name))
        simulated = _finite(simulated).where(~np.isinf(by_theory))  # which no mean of samples tends to
        by_theory = _finite(by_theory)
        if not bool(simulated.notnull().any()):
            return Quantity(
                name=name,
                label=text,
                values=by_theory,
                trouble=self.trouble(),
                measured="theory",
                break_even=even,
                break_even_text=even_text,
            )
        return Quantity(
            name=name,
            label=text,
            values=simulated,
            trouble=self.trouble(),
            theory={"theory": by_theory},
            measured="simulated",
            error=error,
            break_even=even,
            break_even_text=even_text,
        )


def _stack(arrays: list[xarray.DataArray]) -> xarray.DataArray:
    """Arrays of all methods as one."""
    import xarray  # optional, and slow to import

    return xarray.concat(arrays, METHOD)


def _finite(values: xarray.DataArray) -> xarray.DataArray:
    """The risks, NaN where they are infinite: those have no place in a figure."""
    return values.where(np.isfinite(values))
