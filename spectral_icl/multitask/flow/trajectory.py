"""A solved curve t -> (omega, mu): nodes, and the integrator's own continuous extension between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, floats
from spectral_icl.kernels.integrator import evaluate
from spectral_icl.kernels.model import Chart, Model, Nodes
from spectral_icl.multitask.context import DEFAULT, pack
from spectral_icl.multitask.flow.curve import Curve
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, unflattened


@dataclass(frozen=True, eq=False)
class Trajectory(Curve):
    """The curve of one gradient flow, with dense evaluation.

    Attributes
    ----------
    problem : Problem
    chart : Chart
        Dual coordinates of the flat state.
    heads : int
    t : ndarray, (n + 1,)
        Times of the accepted steps.
    x : ndarray, (n + 1, N)
        Dual coordinates there.
    dense : ndarray, (n, K, N)
        Coefficients of the continuous extension on each step; its error is of the method's order.
    rests : bool
        Whether the flow came to rest at the last node, so that later times repeat it.
    kernel : str
        Name of the law of the context whose loss the flow descends.
    """

    problem: Problem
    chart: Chart
    heads: int
    t: Floats
    x: Floats
    dense: Floats
    rests: bool = False
    kernel: str = DEFAULT

    def __call__(self, t: ArrayLike) -> State:
        """Evaluate omega (..., H, B) and mu (..., H, I) at times ``t`` of any shape.

        Raises
        ------
        ProblemError
            If a time lies outside the solved interval.
        """
        first, last = self.t[0], self.t[-1]
        times = floats("t", t, f"times in [{first:g}, {last:g}]")
        outside = ~((times >= first) & (times <= (np.inf if self.rests else last)))
        if outside.any():
            raise ProblemError("t", float(times[outside].flat[0]), f"times in [{first:g}, {last:g}]")
        flat = np.minimum(times.ravel(), last)
        theta = np.empty((flat.size, self.x.shape[1]))
        evaluate(self.chart, self.nodes, flat, theta)
        return unflattened(theta.reshape(*times.shape, theta.shape[1]), self.shape)

    @property
    def nodes(self) -> Nodes:
        """Times, states and coefficients as the compiled functions take them."""
        return Nodes(self.t, self.x, self.dense)

    @property
    def model(self) -> Model:
        """The problem, packed for the law of the flow."""
        return pack(self.problem, self.kernel, self(self.t).omega, heads=self.heads)

    def refined(self, points: int) -> Floats:
        """Times that split every step into ``points`` equal parts, the nodes included."""
        if self.t.size == 1:
            return np.array(self.t)
        fractions = np.arange(points) / points
        inner = self.t[:-1, None] + np.diff(self.t)[:, None] * fractions
        return np.append(inner.ravel(), self.t[-1])

    def nearest(self, t: ArrayLike) -> Floats:
        """Times ``t``, and the end in place of later ones."""
        found: Floats = np.minimum(t, self.t[-1])
        return found

    def sampled(self, points: int) -> tuple[Floats, Floats]:
        """Times (S,) that split every step into ``points`` equal parts, and task losses (S, I) then."""
        times = self.refined(points)
        return times, losses_at(self.problem, self(times), self.kernel)

    def logit_variances(self, points: int) -> tuple[Floats, Floats]:
        """Such times (S,), and the logit variance of every head then, (S, H)."""
        times = self.refined(points)
        return times, self(times).omega ** 2 @ self.problem.logit_weight
