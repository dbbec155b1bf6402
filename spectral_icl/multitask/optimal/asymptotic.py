"""The best attention under the asymptotic law: closed forms, and the limit of coalescing heads.

For disjoint tasks and kappa = 1 the effective dimensions X_i are

    one head, equal tasks   e d       head per task   e d_i             H = I plateau   d_i / (1 - 1/H)
    lower bound             d_i
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.loss import task_loss
from spectral_icl.multitask.optimal.optima import Benchmark, Optima, Optimum, best_of, fits, optima
from spectral_icl.multitask.optimal.search import (
    MOST_SEARCHED,
    SAME,
    SPREAD,
    STARTS,
    Attention,
    Coalescing,
    distinct,
    head_starts,
    one_head,
    search,
    with_best_mu,
)
from spectral_icl.multitask.optimal.small import (
    limit_starts,
    near_bound,
    rank,
    small_heads,
    water_filling,
    worth,
)
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State


@optima("asymptotic")
class AsymptoticOptima(Optima):
    """The optima under the law of Chen, Sheen, Wang and Yang (2024)."""

    def lower_bound(self, problem: Problem) -> Benchmark:
        """The bound by Schur's product theorem; see `benchmarks.lower_bound`."""
        signal = problem.signal
        losses = signal.by_task(signal.power / (1.0 + worth(problem))) + np.asarray(problem.noise)
        return self.made("lower_bound", losses)

    def single_head(self, problem: Problem) -> Benchmark:
        """A water-filling of the exponent over disjoint tasks; searched where they overlap."""
        if problem.home is not None:
            own = worth(problem) / np.e
            power = problem.variance - np.asarray(problem.noise)
            share = water_filling(power * own, own, 1.0)
            w = np.zeros(problem.blocks)
            w[problem.signal.block] = np.sqrt(share)
            losses = power / (1.0 + own * share) + np.asarray(problem.noise)
            return self.made("single_head", losses, one_head(problem, w))
        limit = Coalescing(problem, 1)
        signal = limit.power
        used = signal.any(axis=0)
        # every task's own optimum, spread over its blocks, and all of them at once, on the unit sphere
        rows = np.vstack([np.sqrt(signal), np.sqrt(signal.sum(axis=0))])
        starts = [row / np.linalg.norm(row) + 0.01 * used for row in rows[-STARTS:]]
        drawn = np.random.default_rng(0).normal(size=(STARTS, used.size))
        starts += list(drawn * used)
        w = search(limit.objective, limit.unit, starts)[0].point
        weights = with_best_mu(problem, w[None, :])
        return self.made("single_head", task_loss(problem, *weights), weights)

    def head_per_task(self, problem: Problem) -> Benchmark:
        """Explicit, of several blocks a task too: the best exponent of a head is 1 whatever they are."""
        signal, noise = problem.signal, np.asarray(problem.noise)
        losses = signal.by_task(signal.power / (1.0 + _own_worth(problem))) + noise
        weights = None
        if fits(problem, problem.tasks):
            omega, mu = own_heads(problem)
            weights = State(signal.dense(omega), np.diag(mu))
        made = self.made("head_per_task", losses, weights)
        return replace(made, attained=True)

    def head_budget(self, problem: Problem, heads: int) -> Benchmark:
        """The infimum over H small heads; see `benchmarks.head_budget`."""
        losses = small_heads(problem, heads, problem.context_length)
        name = f"infimum of {heads} small heads"
        losses = losses + np.asarray(problem.noise)
        return Benchmark(name, float(losses.sum()), losses, False, None, law=self.law)

    def searched(self, problem: Problem, heads: int) -> int:
        """Variables that `best` searches over, H B; 0 from so many heads on that they reach the bound."""
        return 0 if heads > rank(problem) else super().searched(problem, heads)

    def best(self, problem: Problem, heads: int, seed: int) -> Optimum:
        """The best of heads as they are, or of the limit in which they coalesce."""
        if heads == 1 and problem.home is not None and problem.blocks > MOST_SEARCHED:
            one = vars(self.single_head(problem)) | {"name": best_of(1)}
            return Optimum(**one, infimum=one["loss"], minima=((one["loss"], 0),))
        if heads > rank(problem):
            bound = self.lower_bound(problem).loss
            enough = rank(problem) + 1
            remark = f"infimum not attained: the lower bound, for any {enough} heads or more, as omega -> 0"
            return self.optimum(
                problem, with_best_mu(problem, near_bound(problem, heads)), bound, ((bound, 0),), remark
            )
        noise = float(np.sum(problem.noise))
        limit = Coalescing(problem, heads)
        ends = search(limit.objective, limit.unit, limit_starts(problem, heads, seed))
        w, infimum = limit.weights(ends[0].point), ends[0].loss + noise
        attained = heads == 1
        if heads > 1:
            attention = Attention(problem, heads)
            found = search(attention.objective, attention.unit, head_starts(problem, heads, seed))
            # Heads that drift together approach the limit from above: only a clear gain is another minimum.
            attained = found[0].loss < ends[0].loss - SAME * limit.unit
            if attained:
                w, infimum = found[0].point.reshape(heads, -1), found[0].loss + noise
            ends = sorted([*ends, *found], key=lambda end: end.loss)
        remark = f"infimum not attained: the heads coalesce (shown {SPREAD:g} apart) and mu diverges"
        weights = with_best_mu(problem, w)
        return self.optimum(problem, weights, infimum, distinct(ends, noise), "" if attained else remark)


def own_heads(problem: Problem) -> tuple[Floats, Floats]:
    """The head-per-task limit without its zeros: omega of every nonzero of the signal (n,), mu (I,).

    With t_b = 1 / (1 + e s d_b / (L A_b)) what the head of a task reads off, mu^2 = sum_b d_b t_b^2 and
    omega_b = t_b / (kappa_b mu), so that its exponent sum_b d_b kappa_b^2 omega_b^2 is 1.
    """
    signal, worth = problem.signal, _own_worth(problem)
    root = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64))[signal.block]
    read = root * worth / (1.0 + worth)
    mu = np.sqrt(signal.by_task(read**2))
    kappa = np.asarray(problem.covariance)[signal.block]
    return read / mu[signal.task] / (kappa * root), mu


def _own_worth(problem: Problem) -> Floats:
    """L A_ib / (e s_i d_b) of the nonzeros, (n,): what a context is worth to a head of the task's own."""
    signal, sizes = problem.signal, np.asarray(problem.block_sizes, dtype=np.float64)
    noisy = np.e * problem.variance[signal.task] * sizes[signal.block]
    worth: Floats = problem.context_length * signal.power / noisy
    return worth
