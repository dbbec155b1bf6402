"""The best attention under the first-order law: bound and small heads in closed form, others by search.

The law is the beginning of a series in 1/L, and its loss falls without bound towards the edge of its range,
where the second term overtakes the first. So weights are sought where the correction to what a head reads
off, P_hh t_hhb / L, is at most a half (`TRUSTED`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.kernels.model import frozen
from spectral_icl.multitask.accuracy import terms
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.loss import task_loss
from spectral_icl.multitask.optimal.optima import Benchmark, Optima, Optimum, optima
from spectral_icl.multitask.optimal.profile import Profile
from spectral_icl.multitask.optimal.search import (
    BAD,
    MOST_ONE_HEAD,
    SAME,
    SPREAD,
    STARTS,
    Found,
    check_searched,
    distinct,
    head_starts,
    search,
)
from spectral_icl.multitask.optimal.small import centred, near_small_heads
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_dense

_LAW = "first-order"
TRUSTED = 0.5  # share of what a head reads off that the correction of order 1/L may take back
_AT_REST = 1.0 + 1e-9  # the correction of heads that are zero, and a little


@optima(_LAW)
class FirstOrderOptima(Optima):
    """The optima under the law that is complete to order 1/L."""

    def lower_bound(self, problem: Problem) -> Benchmark:
        """The bound to leading order in 1/L, which is the loss of one gradient step."""
        return self.made("lower_bound", gradient_step_losses(problem))

    def single_head(self, problem: Problem) -> Benchmark:
        """The best head by search over its omega; one task has one variable for every block of it."""
        attention = _Attention(problem, 1)
        signal = problem.signal.dense()
        rows = np.vstack([np.sqrt(signal), np.sqrt(signal.sum(axis=0))])
        starts = [0.8 * row / np.linalg.norm(row) for row in rows[-STARTS:]]
        starts += [0.2 * start for start in starts[-1:]]
        if problem.tasks > 1:
            used = signal.any(axis=0)
            starts += list(0.5 * np.random.default_rng(0).normal(size=(STARTS, used.size)) * used)
        found = search(attention.objective, attention.unit, [attention.inside(start) for start in starts])[0]
        if not (found.loss < BAD * attention.unit and attention.trusts(found.point, 0.99)):
            expected = "longer prompts: first order in 1/L has no best head here"
            raise ProblemError("context_length", problem.context_length, expected)
        weights = attention.weights(found.point)
        return self.made("single_head", task_loss(problem, *weights, self.law), weights)

    def _better(self, problem: Problem, weights: State, gain: float) -> bool:
        """Whether weights gain more than the law may be wrong at them."""
        told = float(terms(problem, *weights).excess_error(self.law)[0])
        left = float((task_loss(problem, *weights, self.law) - np.asarray(problem.noise)).sum())
        return gain > told * left

    def head_budget(self, problem: Problem, heads: int) -> Benchmark:
        """The infimum over H small heads: a_i / L, and (1 - 1/L) of the asymptotic one at L - 1."""
        losses = centred(problem, heads, problem.context_length - 1.0) + np.asarray(problem.noise)
        name = f"infimum of {heads} small heads"
        return Benchmark(name, float(losses.sum()), losses, False, None, law=self.law)

    def best(self, problem: Problem, heads: int, seed: int) -> Optimum:
        """The best of heads as they are, or of small heads."""
        if heads == 1:
            one = self.single_head(problem)
            assert one.weights is not None
            return self.optimum(problem, one.weights, one.loss, ((one.loss, 0),), "")
        noise = float(np.sum(problem.noise))
        small = self.head_budget(problem, heads).loss
        attention = _Attention(problem, heads)
        starts = [attention.inside(start) for start in head_starts(problem, heads, seed)]
        ends = [
            end
            for end in search(attention.objective, attention.unit, starts)
            if end.loss < BAD * attention.unit and attention.trusts(end.point, 0.99)
        ]
        small_ones = Found(small - noise, np.empty(0))
        # Heads that drift together at zero approach the infimum of small ones from above; and a gain that is
        # less than the error of the law at these weights is none.
        gain = small - noise - ends[0].loss if ends else 0.0
        if gain > SAME * attention.unit and self._better(problem, attention.weights(ends[0].point), gain):
            weights = attention.weights(ends[0].point)
            apart = _least_distance(weights.omega * attention.scale) > SPREAD
            remark = "" if apart else "infimum not attained: heads coalesce and mu diverges"
            minima = distinct(sorted([*ends, small_ones], key=lambda end: end.loss), noise)
            return self.optimum(problem, weights, ends[0].loss + noise, minima, remark)
        minima = distinct([small_ones, *(end for end in ends if end.loss >= small_ones.loss)], noise)
        weights = attention.with_best_mu(near_small_heads(problem, heads) / attention.scale)
        remark = f"infimum not attained: the heads are small (shown {SPREAD:g} apart) and mu diverges"
        return self.optimum(problem, weights, small, minima, remark)


def gradient_step_losses(problem: Problem) -> Floats:
    """Losses (I,) of one gradient step of the best size for every task and block."""
    losses: Floats = _gradient_step_excess(problem) + np.asarray(problem.noise)
    return losses


def _gradient_step_excess(problem: Problem) -> Floats:
    """These losses without query noise, which may be lost in it."""
    signal, sizes = problem.signal, np.asarray(problem.block_sizes, dtype=np.float64)
    power = signal.power
    spread = power + problem.variance[signal.task] * sizes[signal.block]  # A (1 + phi d)
    return signal.by_task(power * spread / (spread + problem.context_length * power))


class _Attention:
    """The least excess over mu of heads at omega, in coordinates x that cover the law's range.

    x = sqrt(d) v / sqrt(1 - 2 v^2) with v = kappa omega, so that every x is inside.
    """

    def __init__(self, problem: Problem, heads: int) -> None:
        if heads == 1:
            check_searched(problem, heads, MOST_ONE_HEAD)
        check_dense("heads", problem, heads)
        self.root = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64))
        self.kappa = np.asarray(problem.covariance)
        self.scale = self.root * self.kappa  # of omega in w
        self.length = problem.context_length
        self.shape = heads, problem.blocks
        model: Any = pack(problem, _LAW)
        noiseless = frozen(model._replace(noise=np.zeros(problem.tasks)))  # it would drown a small excess
        self.profile = Profile(noiseless, heads, problem.blocks, problem.tasks)
        # the lower bound's excess, in units of which the search works
        self.unit = max(float(_gradient_step_excess(problem).sum()), 1e-300)

    def inside(self, w: Floats) -> Floats:
        """The coordinates (H B,) of heads w (H B,), those past the trusted range pulled back into it."""
        v = w.reshape(self.shape) / self.root
        while not self._trusted(v):
            v = 0.8 * v
        return (self.root * v / np.sqrt(1.0 - 2.0 * v**2)).ravel()

    def objective(self, x: Floats) -> tuple[float, Floats]:
        """Excess and gradient by x, over the lower bound's excess."""
        y = x.reshape(self.shape) / self.root
        root = np.sqrt(1.0 + 2.0 * y**2)
        v = y / root
        mu = self.profile.best_mu(v / self.kappa) if self._trusted(v) else None
        if mu is None:
            return BAD, np.zeros_like(x)
        loss = float(self.profile.losses(v / self.kappa, mu).sum())
        by_x = self.profile.slope(v / self.kappa, mu) / (self.kappa * root**3 * self.root)
        return loss / self.unit, by_x.ravel() / self.unit

    def weights(self, x: Floats) -> State:
        """The weights at x (H B,), with the best mu."""
        y = x.reshape(self.shape) / self.root
        return self.with_best_mu(y / np.sqrt(1.0 + 2.0 * y**2) / self.kappa)

    def with_best_mu(self, omega: Floats) -> State:
        """The weights with heads at omega (H, B) and the best mu for them."""
        mu = self.profile.best_mu(omega)
        assert mu is not None
        return State(omega, mu)

    def trusts(self, x: Floats, part: float) -> bool:
        """Whether heads at x (H B,) are inside that part of the trusted range, if there is one."""
        if not part * TRUSTED * self.length > _AT_REST:
            return False
        y = x.reshape(self.shape) / self.root
        return self._trusted(y / np.sqrt(1.0 + 2.0 * y**2), part)

    def _trusted(self, v: Floats, part: float = 1.0) -> bool:
        """Whether the correction to what any head reads off is small."""
        left = 1.0 - 2.0 * v**2
        if not (left > 0.0).all():
            return False
        exponent = -0.5 * (self.root**2 * np.log(left)).sum(axis=1) - np.log(left).min(axis=1)
        return bool((exponent < np.log(max(part * TRUSTED * self.length, _AT_REST))).all())


def _least_distance(w: Floats) -> float:
    """The least distance between two heads w (H, B)."""
    apart = np.linalg.norm(w[:, None, :] - w[None, :, :], axis=2)
    return float(apart[~np.eye(len(w), dtype=bool)].min())
