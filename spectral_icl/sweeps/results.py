"""The results of a sweep with what they can show, which depends on the kind of its points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spectral_icl.sweeps.multitask import FlowPoints
from spectral_icl.sweeps.multitask_quantities import FlowSweep
from spectral_icl.sweeps.quantities import Sweep, plan_of
from spectral_icl.sweeps.sparse import SparsePoints
from spectral_icl.sweeps.sparse_quantities import SparseSweep

if TYPE_CHECKING:
    import xarray

_SWEEPS: dict[type, type[Sweep]] = {FlowPoints: FlowSweep, SparsePoints: SparseSweep}


def sweep_of(data: xarray.Dataset | Sweep) -> Sweep:
    """A sweep of a dataset, or one whose plan, which takes a while to read, has been read already."""
    if isinstance(data, Sweep):
        return data
    plan = plan_of(data)
    return _SWEEPS[type(plan.kind)](data, plan)
