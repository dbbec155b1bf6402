"""How far paths of stochastic gradient descent scatter about their flow, in numbers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.stochastic import StochasticFlow
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.optimal.benchmarks import LOST, excess

LOW, HIGH = 0.05, 0.95  # quantiles of a band


@dataclass(frozen=True)
class Spread:
    """Of a number that some paths have.

    Attributes
    ----------
    flow : float
        The flow's own; NaN if it has none.
    median, low, high, deviation : float
        Over the paths that have one: the median, the quantiles at 5 and at 95 %, the standard deviation (of
        one path alone it is NaN). All are NaN if no path has one.
    share : float
        Part of all paths that have one.
    """

    flow: float
    median: float
    low: float
    high: float
    deviation: float
    share: float

    @classmethod
    def of(cls, values: Floats, flow: float) -> Spread:
        """The spread of values (P, ...), of which those that are not finite are missing, about a flow's."""
        has = np.isfinite(values)
        found = values[has]
        share = float(has.reshape(len(values), -1).any(axis=1).mean())
        if not found.size:
            return cls(flow, np.nan, np.nan, np.nan, np.nan, share)
        low, high = np.quantile(found, (LOW, HIGH)).tolist()
        deviation = float(found.std(ddof=1)) if found.size > 1 else np.nan
        return cls(flow, float(np.median(found)), low, high, deviation, share)


@dataclass(frozen=True)
class Scatter:
    """What noise does to a flow.

    Attributes
    ----------
    emergence, escape : tuple of Spread
        Times, one per task.
    imbalance : tuple of Spread
        Sizes, of all heads but the task's winner, of the diagonals of V V^T - O^T O when the flow has reached
        the task's plateau, one per task.
    imbalance_at : tuple of float
        When that is; NaN of a task that has none.
    stray_loss, stray_share : float
        Stationary loss by entries off the diagonals at the end, and that over the excess of the flow there;
        NaN where the excess is lost in the query noise.
    plateau_share : float
        The largest such share from the end of the emergence on; at the end if the flow has not emerged.
    edge, edge_at, final_edge : float
        Largest step over that at the edge of stability, when that is, and what it is at the end.
    lost : int
        Paths that have left all bounds.
    """

    emergence: tuple[Spread, ...]
    escape: tuple[Spread, ...]
    imbalance: tuple[Spread, ...]
    imbalance_at: tuple[float, ...]
    stray_loss: float
    stray_share: float
    plateau_share: float
    edge: float
    edge_at: float
    final_edge: float
    lost: int

    @classmethod
    def of(cls, paths: StochasticFlow) -> Scatter:
        """The scatter of paths."""
        flow = paths.flow
        tasks = flow.phases.tasks
        escapes = {escape.task: escape.time for escape in flow.phases.escapes}
        settled = tuple(float(task.settled) for task in tasks)
        share = _stray_shares(paths)
        settling = np.nan_to_num(flow.phases.convergence[0], nan=np.inf)
        late = share[(paths.node >= settling) & ~np.isnan(share)]
        sharpest = int(paths.cost.edge.argmax())
        return cls(
            emergence=tuple(Spread.of(paths.emergence[:, i], task.time) for i, task in enumerate(tasks)),
            escape=tuple(Spread.of(paths.escape[:, i], escapes.get(i, np.nan)) for i in range(len(tasks))),
            imbalance=tuple(_imbalance(paths, i, time) for i, time in enumerate(settled)),
            imbalance_at=settled,
            stray_loss=float(paths.cost.loss[-1]),
            stray_share=float(share[-1]),
            plateau_share=float(late.max() if late.size else share[-1]),
            edge=float(paths.cost.edge[sharpest]),
            edge_at=float(paths.node[sharpest]),
            final_edge=float(paths.cost.edge[-1]),
            lost=int(np.isnan(paths.omega[:, -1]).any(axis=(1, 2)).sum()),
        )


def _imbalance(paths: StochasticFlow, task: int, time: float) -> Spread:
    """The spread of the losing heads' imbalance on a task, in size, at a time."""
    flow = paths.flow
    losing = [head for head in range(flow.heads) if head != flow.allocation[task]]
    if not losing or not np.isfinite(time):
        return Spread.of(np.full((len(paths), 1), np.nan), np.nan)
    conserved = np.broadcast_to(flow.parametrization.imbalance("mu"), paths.imbalance.shape[2:])
    at = int(np.abs(paths.t - time).argmin())
    return Spread.of(np.abs(paths.imbalance[:, at, losing, task]), float(np.median(conserved[losing, task])))


def _stray_shares(paths: StochasticFlow) -> Floats:
    """The stationary loss by entries off the diagonals over the excess of the flow, (K,)."""
    flow = paths.flow
    losses = losses_at(flow.problem, flow(paths.node), flow.options.kernel).sum(axis=1)
    own = np.array([excess(flow.problem, float(loss)) for loss in losses])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(own > LOST * losses, paths.cost.loss / own, np.nan)
