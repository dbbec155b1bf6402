"""Solve a range of a plan's points: a dict of arrays, the same for a point whatever range it is solved in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import ProblemError, integer
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import INVALID, Variable


def variables(plan: Plan) -> dict[str, Variable]:
    """What `solve` finds for every point of a plan, without its status."""
    return plan.kind.variables(plan.record, plan.base)


def solve(plan: Plan, start: int, stop: int, threads: int | None = 1) -> dict[str, NDArray[Any]]:
    """Results of the points ``start`` to ``stop`` of a plan, by name.

    Parameters
    ----------
    plan : Plan
    start, stop : int
        0 <= start <= stop <= plan.size.
    threads : int, optional
        To solve them with; all cores if None.

    Returns
    -------
    dict of str to ndarray
        ``status`` (int8) and every one of `variables`, padded to `Plan.extents`. A point whose status
        is not 0 or 1 failed: its numbers are those that it reached, or none at all if it is `INVALID`.
    """
    stop = integer("stop", stop, minimum=0, maximum=plan.size)
    start = integer("start", start, minimum=0, maximum=stop)
    lengths = {"point": stop - start, **plan.extents}
    if plan.record.times is not None:
        lengths["time"] = plan.record.times.size
    found = {
        name: np.full([lengths[dim] for dim in variable.dims], variable.fill, variable.dtype)
        for name, variable in variables(plan).items()
    }
    found["status"] = np.full(stop - start, INVALID, np.int8)
    valid = [
        (row, point)
        for row, point in enumerate(plan.experiments(start, stop))
        if not isinstance(point, ProblemError)
    ]
    plan.kind.solve(found, valid, plan.record, threads)
    return found
