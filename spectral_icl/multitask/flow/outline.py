"""What is kept of a flow whose steps would not fit in memory: losses throughout, states at some times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import Floats, ProblemError, floats
from spectral_icl.kernels.integrator import evaluate
from spectral_icl.kernels.model import Chart, Nodes, Survey, System
from spectral_icl.kernels.phases import survey
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.flow.curve import Curve
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, unflattened

POINTS = 4  # samples of the loss per step, or fewer of very many steps
_MOST_SAMPLES = 2**24  # numbers: 128 MiB of task losses, above which every second sample is dropped
_MOST_STATES = 2**23  # numbers of the states of steps that are kept, as far as that leaves `_FEWEST` of them
_FEWEST, _ENOUGH = 16, 128


@dataclass(frozen=True, eq=False)
class Outline(Curve):
    """The curve of a large gradient flow, known at some times, with the losses of all of its steps.

    Attributes
    ----------
    problem : Problem
    chart : Chart
        Dual coordinates of the flat state.
    heads : int
    t : ndarray, (n + 1,)
        Times of the accepted steps.
    kept : ndarray, (T,)
        Times of the states that are kept, the first and the last step among them.
    states : ndarray, (T, N)
        Flat states there.
    times : ndarray, (S,)
        Times that split every step into equal parts.
    losses : ndarray, (S, I)
        Loss of every task there.
    variances : ndarray, (n + 1, H)
        Variance of the logits of every head, sum_b d_b kappa_b^2 omega_hb^2, at the steps.
    head : ndarray, (n + 1, I)
        The head with the largest share of what is learned of each task, -1 for none, at the steps.
    share : ndarray, (n + 1, I)
        Its share.
    rests : bool
        Whether the flow came to rest at the last step, so that later times repeat it.
    kernel : str
        Name of the law of the context whose loss the flow descends.
    """

    problem: Problem
    chart: Chart
    heads: int
    t: Floats
    kept: Floats
    states: Floats
    times: Floats
    losses: Floats
    variances: Floats
    head: NDArray[np.int64]
    share: Floats
    rests: bool = False
    kernel: str = DEFAULT

    def __call__(self, t: ArrayLike) -> State:
        """Omega (..., H, B) and mu (..., H, I) at times ``t`` of any shape, all of them in `kept`.

        Raises
        ------
        ProblemError
            At a time no state was kept.
        """
        expected = f"times of the {self.kept.size} states that are kept of a flow of this size "
        expected += "(t_eval chooses them; dense_output=True keeps every step)"
        times = floats("t", t, expected)
        last = self.kept[-1]
        asked = np.where(times > last, last, times) if self.rests else times
        at = np.minimum(np.searchsorted(self.kept, asked), self.kept.size - 1)
        unknown = ~(self.kept[at] == asked)
        if unknown.any():
            raise ProblemError("t", float(times[unknown].flat[0]), expected)
        return unflattened(self.states[at], self.shape)

    def nearest(self, t: ArrayLike) -> Floats:
        """The times of `kept` that are nearest to times ``t`` of any shape."""
        times = np.asarray(t, dtype=np.float64)
        found: Floats = self.kept[np.abs(self.kept - times[..., None]).argmin(axis=-1)]
        return found

    def refined(self, points: int) -> Floats:
        """The times of `kept`, however fine times are asked for."""
        return self.kept

    def sampled(self, points: int) -> tuple[Floats, Floats]:
        """The samples of the losses that there are: `times` and `losses`."""
        return self.times, self.losses

    def logit_variances(self, points: int) -> tuple[Floats, Floats]:
        """The steps, and the logit variance of every head then, (n + 1, H)."""
        return self.t, self.variances


class Outliner:
    """Makes an `Outline` of a flow from the pieces that it is solved in, none of which it keeps.

    Parameters
    ----------
    problem : Problem
    system : System
        The flow.
    times : ndarray or None
        Times of the states to keep, beside the first and the last; None for some of the steps.
    """

    def __init__(self, problem: Problem, system: System, times: Floats | None) -> None:
        self._problem, self._system, self._times = problem, system, times
        self._nodes: list[Floats] = []
        self._surveys: list[Survey] = []
        self._points, self._stride = POINTS, 1
        self._kept: list[tuple[float, Floats]] = []
        size = system.twin.size
        self._most = int(np.clip(_MOST_STATES // size, _FEWEST, _ENOUGH))

    def add(self, nodes: Nodes) -> None:
        """Take the next steps of the flow, of which the first node is the last one of the steps before."""
        steps = nodes.dense.shape[0]
        found = Survey.room(steps, self._points, self._system.shape)
        survey(self._system, nodes, self._problem.logit_weight, found)
        done = sum(t.size for t in self._nodes)
        skip = 1 if done else 0
        self._surveys.append(Survey._make(values[skip:] for values in found))
        self._nodes.append(nodes.t[skip:].copy())
        if self._times is None:
            self._keep_steps(nodes, skip, done)
        else:
            here = self._times[(self._times > nodes.t[0]) & (self._times <= nodes.t[-1])]
            self._kept += self._states(nodes, here if done else np.append(nodes.t[0], here))
        self._end = self._states(nodes, nodes.t[-1:])[0]
        while self._points > 1 and sum(s.losses.size for s in self._surveys) > _MOST_SAMPLES:
            self._thin()

    def _states(self, nodes: Nodes, times: Floats) -> list[tuple[float, Floats]]:
        """Times with the states there."""
        states = np.empty((times.size, nodes.x.shape[1]))
        evaluate(self._system.chart, nodes, times, states)
        return list(zip(times.tolist(), states, strict=True))

    def _keep_steps(self, nodes: Nodes, skip: int, done: int) -> None:
        """Keep every so many steps, and from then on half as many where they become too many."""
        chosen = [k for k in range(skip, nodes.t.size) if (done - skip + k) % self._stride == 0]
        self._kept += self._states(nodes, nodes.t[chosen])
        while len(self._kept) > self._most:
            self._kept = self._kept[::2]
            self._stride *= 2

    def _thin(self) -> None:
        """Drop every second sample of the losses; the steps themselves are never dropped."""
        self._points //= 2
        for k, found in enumerate(self._surveys):
            begin = min(k, 1)  # later pieces lack the sample at their first node
            self._surveys[k] = found._replace(times=found.times[begin::2], losses=found.losses[begin::2])

    def outline(self, rests: bool, kernel: str) -> Outline:
        """The outline of all that was added."""
        if self._kept[-1][0] != self._end[0]:
            self._kept.append(self._end)
        joined = Survey(*map(np.concatenate, zip(*self._surveys, strict=True)))
        return Outline(
            problem=self._problem,
            chart=self._system.chart,
            heads=self._system.shape[0],
            t=np.concatenate(self._nodes),
            kept=np.array([time for time, _ in self._kept]),
            states=np.array([state for _, state in self._kept]),
            times=joined.times,
            losses=joined.losses,
            variances=joined.variances,
            head=joined.head,
            share=joined.share,
            rests=rests,
            kernel=kernel,
        )
