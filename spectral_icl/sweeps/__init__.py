"""Phase diagrams: many points, one store.

This face binds the kinds of points: a new one is a folder with its `Points`, and a line in `kinds`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spectral_icl.sweeps.points import Points


def kinds() -> tuple[type[Points[Any]], ...]:
    """The kinds of points that there are, first the one that a file has if nothing tells."""
    from spectral_icl.sweeps.multitask.points import FlowPoints  # the solvers behind them are slow to import
    from spectral_icl.sweeps.sparse.points import SparsePoints

    return FlowPoints, SparsePoints
