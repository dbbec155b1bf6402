"""The best attention under the asymptotic law: closed forms, and the limit of coalescing heads.

For disjoint tasks and kappa = 1 the effective dimensions X_i are

    one head, equal tasks   e d       head per task   e d_i             H = I plateau   d_i / (1 - 1/H)
    lower bound             d_i
"""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.multitask.loss import task_loss
from spectral_icl.multitask.optimal.optima import Benchmark, Optima, Optimum, optima
from spectral_icl.multitask.optimal.search import (
    SAME,
    SPREAD,
    STARTS,
    Attention,
    Coalescing,
    distinct,
    frame,
    head_starts,
    random_starts,
    search,
    with_best_mu,
)
from spectral_icl.multitask.problem import Problem


@optima(Asymptotic, "asymptotic")
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
            w[home] = np.sqrt(_water_filling(power * worth, worth, 1.0))
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

    def head_budget(self, problem: Problem, heads: int) -> Benchmark:
        """The infimum over H small heads; see `benchmarks.head_budget`."""
        losses = small_heads(problem, heads, problem.context_length)
        name = f"infimum of {heads} small heads"
        losses = losses + np.asarray(problem.noise)
        return Benchmark(name, float(losses.sum()), losses, False, None, law=self.law)

    def best(self, problem: Problem, heads: int, seed: int) -> Optimum:
        """The best of heads as they are, or of the limit in which they coalesce."""
        if heads > rank(problem):
            bound = self.lower_bound(problem).loss
            enough = rank(problem) + 1
            remark = f"infimum not attained: the lower bound, for any {enough} heads or more, as omega -> 0"
            return self._optimum(problem, near_bound(problem, heads), bound, ((bound, 0),), remark)
        noise = float(np.sum(problem.noise))
        limit = Coalescing(problem, heads)
        ends = search(limit.objective, limit.unit, _limit_starts(problem, heads, seed))
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
        return self._optimum(problem, w, infimum, distinct(ends, noise), "" if attained else remark)

    def _optimum(
        self,
        problem: Problem,
        w: Floats,
        infimum: float,
        minima: tuple[tuple[float, int], ...],
        remark: str,
    ) -> Optimum:
        """The optimum with heads near w (H, B); a remark says why the infimum is not attained."""
        weights = with_best_mu(problem, w)
        losses = task_loss(problem, *weights)
        loss = float(losses.sum())
        return Optimum(
            name=best_of(len(w)),
            loss=loss,
            task_loss=losses,
            attained=not remark,
            weights=weights,
            law=self.law,
            infimum=infimum if remark else loss,
            minima=minima,
            remark=remark,
        )


def best_of(heads: int) -> str:
    """The name of the best of so many heads."""
    return f"best of {heads} head{'s' if heads > 1 else ''}"


def small_heads(problem: Problem, heads: int | None, length: float) -> Floats:
    """Infimum (I,) over H small heads, or any number, of task losses without query noise, at another length.

    Of the loss sum_b A_ib (1 - T_ib)^2 + (s_i / length) sum_b d_b T_ib^2, which small heads have under every
    law, at a length and up to a factor that depend on the law.
    """
    signal, noise = np.asarray(problem.signal), np.asarray(problem.noise)
    if not length > 0.0:
        all_of_it: Floats = problem.variance - noise
        return all_of_it
    worth = gain(problem, length)
    if heads is None or heads > rank(problem):
        least: Floats = (signal / (1.0 + worth)).sum(axis=1)
        return least
    if problem.home is None:
        limit = Coalescing(problem, heads, small=True, length=length)
        best = search(limit.objective, limit.unit, _limit_starts(problem, heads, 0))[0]
        return limit.task_losses(best.point)
    own = worth[np.arange(problem.tasks), list(problem.home)]
    power: Floats = problem.variance - noise
    filled: Floats = power / (1.0 + own * _water_filling(power * own, own, heads - 1.0))
    return filled


def near_small_heads(problem: Problem, heads: int, length: float) -> Floats:
    """Heads w (H, B) at a small spread, whose loss comes close to that of `small_heads`."""
    if heads > rank(problem):
        return near_bound(problem, heads)
    limit = Coalescing(problem, heads, small=True, length=length)
    return limit.weights(search(limit.objective, limit.unit, _limit_starts(problem, heads, 0))[0].point)


def gain(problem: Problem, length: float | None = None) -> Floats:
    """L A_ib / (s_i d_b), (I, B): what a context, of that length, is worth against a block's size."""
    sizes = np.asarray(problem.block_sizes, dtype=np.float64)
    length = problem.context_length if length is None else length
    ratio: Floats = length * np.asarray(problem.signal) / (problem.variance[:, None] * sizes)
    return ratio


def near_bound(problem: Problem, heads: int) -> Floats:
    """Heads w (H, B) close to the lower bound: small, orthogonal to all ones, spanning the targets."""
    spanned = rank(problem)
    basis = np.linalg.svd(_targets(problem))[2][:spanned]
    w = np.zeros((heads, problem.blocks))
    w[: spanned + 1] = SPREAD * frame(spanned + 1)[:, 1:] @ basis
    return w


def _targets(problem: Problem) -> Floats:
    """The maps sqrt(d_b) T_ib (I, B) with the lower bound's loss, T_ib = 1 / (1 + s_i d_b / (L A_ib))."""
    worth = gain(problem)
    reached: Floats = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64)) * worth / (1.0 + worth)
    return reached


def rank(problem: Problem) -> int:
    """Dimensions that the tasks' best maps span: at most min(I, B)."""
    return int(np.linalg.matrix_rank(_targets(problem)))


def _water_filling(weight: Floats, gain: Floats, budget: float) -> Floats:
    """The p in [0, 1]^I with sum ``budget`` that minimises sum_i weight_i / gain_i / (1 + gain_i p_i)."""
    from scipy.optimize import brentq  # slow to import, and only needed here

    if budget >= gain.size:
        return np.ones_like(gain)
    # Below this gain a task's loss is linear in p to rounding; floors keep the level resolved.
    gain = np.maximum(gain, 1e-9)
    root = np.sqrt(np.maximum(weight, 1e-300) / max(float(weight.max()), 1e-300))

    def filled(log_level: float) -> Floats:
        p: Floats = np.clip((root * np.exp(log_level) - 1.0) / gain, 0.0, 1.0)
        return p

    high = float((np.log1p(gain) - np.log(root)).max())
    level = float(brentq(lambda x: float(filled(x).sum()) - budget, 0.0, high, xtol=1e-15))
    p = filled(level)
    result: Floats = p * (budget / p.sum())
    return result


def _limit_starts(problem: Problem, heads: int, seed: int) -> list[Floats]:
    """Bases and directions to search `Coalescing` from: the targets' leading directions, and random ones."""
    rng = np.random.default_rng(seed)
    blocks = problem.blocks
    leading = np.linalg.svd(_targets(problem))[2][:heads]
    starts = [np.concatenate([np.zeros(blocks), leading[: heads - 1].ravel()]), leading.ravel()]
    # neither a zero base nor directions in a subspace of the blocks may be where a symmetry traps the search
    starts = [start + 0.01 * rng.normal(size=start.size) for start in starts]
    return starts + [
        rng.normal(0.0, blocks**-0.5, heads * blocks) for _ in range(random_starts(heads * blocks))
    ]
