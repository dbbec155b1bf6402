"""The best attention under the asymptotic law: closed forms, and the limit of coalescing heads.

For disjoint tasks and kappa = 1 the effective dimensions X_i are

    one head, equal tasks   e d       head per task   e d_i             H = I plateau   d_i / (1 - 1/H)
    lower bound             d_i
"""

from __future__ import annotations

import numpy as np

from spectral_icl.multitask.loss import task_loss
from spectral_icl.multitask.optimal.optima import Benchmark, Optima, Optimum, optima
from spectral_icl.multitask.optimal.search import (
    SAME,
    SPREAD,
    STARTS,
    Attention,
    Coalescing,
    distinct,
    head_starts,
    search,
    with_best_mu,
)
from spectral_icl.multitask.optimal.small import (
    gain,
    limit_starts,
    near_bound,
    rank,
    small_heads,
    water_filling,
)
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State


@optima("asymptotic")
class AsymptoticOptima(Optima):
    """The optima under the law of Chen, Sheen, Wang and Yang (2024)."""

    def lower_bound(self, problem: Problem) -> Benchmark:
        """The bound by Schur's product theorem; see `benchmarks.lower_bound`."""
        losses = (np.asarray(problem.signal) / (1.0 + gain(problem))).sum(axis=1) + np.asarray(problem.noise)
        return self.made("lower_bound", losses)

    def single_head(self, problem: Problem) -> Benchmark:
        """A water-filling of the exponent over disjoint tasks; searched where they overlap."""
        signal = np.asarray(problem.signal)
        w = np.zeros(problem.blocks)
        if problem.home is not None:
            home = list(problem.home)
            worth = gain(problem)[np.arange(problem.tasks), home] / np.e
            power = problem.variance - np.asarray(problem.noise)
            w[home] = np.sqrt(water_filling(power * worth, worth, 1.0))
        else:
            limit = Coalescing(problem, 1)
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
        """Explicit over disjoint tasks, and asked for once per task of a flow; searched elsewhere."""
        if problem.home is None:
            return super().head_per_task(problem)
        tasks, home = np.arange(problem.tasks), list(problem.home)
        power = np.array([problem.signal[task][block] for task, block in enumerate(home)])
        sizes = np.array(problem.block_sizes, dtype=np.float64)[home]
        worth = problem.context_length * power / (np.e * problem.variance * sizes)
        weights = State(np.zeros((problem.tasks, problem.blocks)), np.zeros((problem.tasks, problem.tasks)))
        weights.omega[tasks, home] = 1.0 / (np.array(problem.covariance)[home] * np.sqrt(sizes))
        weights.mu[tasks, tasks] = np.sqrt(sizes) * worth / (1.0 + worth)
        return self.made("head_per_task", power / (1.0 + worth) + np.asarray(problem.noise), weights)

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
