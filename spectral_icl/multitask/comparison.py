"""Flows of one head under each law of the context: when it emerges, and what it comes to rest at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import LARGEST, Floats, number
from spectral_icl.io.progress import tracked
from spectral_icl.multitask import initial
from spectral_icl.multitask.context import EXACT, check_kernel
from spectral_icl.multitask.flow.curve import Curve
from spectral_icl.multitask.flow.solution import IntegrationError
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.validity import LAWS, grid

_ALL = (EXACT, *LAWS)
_REST = 1e-8  # speed of a flow that has come to rest
_POINTS = 8  # of the loss per step


@dataclass(frozen=True, eq=False)
class FlowComparison:
    """The same start under every law, over context lengths N and dimensions D.

    Attributes
    ----------
    lengths, dimensions : ndarray, (N,) and (D,)
        L and d.
    time : mapping of str to ndarray, (N, D)
        By law, when the loss falls steepest, in the flow's units of time; NaN of a flow that failed, as where
        the first-order law or the tables of the exact one end on the way.
    limit : mapping of str to ndarray, (N, D)
        By law, its own excess at rest: the loss without query noise. NaN of a flow that failed.
    """

    lengths: Floats
    dimensions: Floats
    time: Mapping[str, Floats]
    limit: Mapping[str, Floats]

    def __post_init__(self) -> None:
        for values in (self.lengths, self.dimensions, *self.time.values(), *self.limit.values()):
            values.setflags(write=False)
        object.__setattr__(self, "time", MappingProxyType(dict(self.time)))
        object.__setattr__(self, "limit", MappingProxyType(dict(self.limit)))

    def __reduce__(self) -> tuple[type[FlowComparison], tuple[object, ...]]:
        """Pickle through the constructor; a mapping proxy cannot be pickled itself."""
        return FlowComparison, (self.lengths, self.dimensions, dict(self.time), dict(self.limit))

    def time_over(self, law: str) -> Floats:
        """Emergence time under the exact law over that of another, (N, D)."""
        return self.time[EXACT] / self.time[check_kernel(law)]

    def limit_over(self, law: str) -> Floats:
        """Excess at rest of the exact flow over that of another law's flow by its own law, (N, D)."""
        return self.limit[EXACT] / self.limit[check_kernel(law)]


def compare_flows(
    lengths: ArrayLike,
    dimensions: ArrayLike,
    signal: float = 1.0,
    noise: float = 0.1,
    scale: float = 0.01,
) -> FlowComparison:
    """Flows of one head on one task from a small start, under each law, over L and d.

    Parameters
    ----------
    lengths : array_like, (N,)
        Context lengths L >= 1; the exact law builds tables for each, which takes some seconds once.
    dimensions : array_like of int, (D,)
        Dimensions d >= 1 of the task.
    signal : float
        > 0. Signal power A of the task.
    noise : float
        >= 0. Variance sigma^2 of the label noise.
    scale : float
        Size of the start, `initial.dominant`.

    Returns
    -------
    FlowComparison

    Raises
    ------
    ProblemError
        Naming the argument, the value and what was expected.
    """
    many, dims = grid(lengths, dimensions)
    signal = number("signal", signal, minimum=0.0, above=True)
    noise = number("noise", noise, minimum=0.0)
    scale = number("scale", scale, minimum=0.0, maximum=LARGEST / 10.0, above=True)
    problems = [
        Problem(block_sizes=(d,), signal=((signal,),), noise=(noise,), context_length=length)
        for length, d in product(many, dims)
    ]
    found = [
        [_measured(p, law, scale) for law in _ALL] for p in tracked(problems, len(problems), unit="flows")
    ]
    times, limits = np.array(found).transpose(2, 1, 0).reshape(2, len(_ALL), len(many), len(dims))
    by_law = (dict(zip(_ALL, values, strict=True)) for values in (times, limits))
    return FlowComparison(np.array(many), np.array(dims), *by_law)


def _measured(problem: Problem, law: str, scale: float) -> tuple[float, float]:
    """When the loss falls steepest, and the excess at rest."""
    start = initial.dominant(problem, 1, scale)
    try:
        flow = gradient_flow(problem, *start, t_end=np.inf, stationary=_REST, kernel=law)
    except IntegrationError:
        return np.nan, np.nan
    return steepest(flow.trajectory), flow.final_loss - sum(problem.noise)


def steepest(trajectory: Curve) -> float:
    """When the total loss of a flow falls steepest, halfway between two of 8 points per step.

    Of a flow that is kept in outline, between two of the points that it has: 4 per step, or fewer of many.
    """
    times, by_task = trajectory.sampled(_POINTS)
    losses = by_task.sum(axis=1)
    first = int(np.argmin(np.diff(losses) / np.diff(times)))
    return float(0.5 * (times[first] + times[first + 1]))
