"""Small heads, and what they can read off: the loss that they have under every law of the context.

Heads whose omega goes to zero while mu grows add up to linear attention, with the loss

    sum_b A_ib (1 - T_ib)^2 + (s_i / n) sum_b d_b T_ib^2

of a read-off T in H - 1 dimensions, at a length n and up to a factor that depend on the law: L under the
asymptotic law; a_i / L and (1 - 1/L) of it at n = L for softmax attention itself, at n = L - 1 under the
first-order law.
"""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.multitask.optimal.search import SPREAD, Coalescing, frame, random_starts, search
from spectral_icl.multitask.problem import Problem

_MOST_SEARCHED = 1000  # variables H B of a search over small heads: of more it may take many minutes
_MOST_DECOMPOSED = 2**20  # entries I B of a singular value decomposition, which then takes a second


def small_heads(problem: Problem, heads: int | None, length: float) -> Floats:
    """Infimum (I,) over H small heads, or any number, of task losses without query noise, at another length.

    Of the loss sum_b A_ib (1 - T_ib)^2 + (s_i / length) sum_b d_b T_ib^2, which small heads have under every
    law, at a length and up to a factor that depend on the law.
    """
    signal, noise = problem.signal, np.asarray(problem.noise)
    if not length > 0.0:
        all_of_it: Floats = problem.variance - noise
        return all_of_it
    own = worth(problem, length)
    if heads is None or heads > rank(problem):
        return signal.by_task(signal.power / (1.0 + own))
    if problem.home is None:
        if heads * problem.blocks > _MOST_SEARCHED:
            expected = f"H B <= {_MOST_SEARCHED} where tasks overlap, for the best of them to be searched"
            raise ProblemError("heads", heads, expected)
        limit = Coalescing(problem, heads, small=True, length=length)
        best = search(limit.objective, limit.unit, limit_starts(problem, heads, 0))[0]
        return limit.task_losses(best.point)
    power: Floats = problem.variance - noise
    filled: Floats = power / (1.0 + own * water_filling(power * own, own, heads - 1.0))
    return filled


def centred(problem: Problem, heads: int | None, length: float) -> Floats:
    """Task losses (I,) without query noise of heads that see centred pairs: a_i / L and 1 - 1/L of these."""
    whole = problem.context_length
    power = problem.variance - np.asarray(problem.noise)
    losses: Floats = power / whole + (1.0 - 1.0 / whole) * small_heads(problem, heads, length)
    return losses


def near_small_heads(problem: Problem, heads: int) -> Floats:
    """Heads w (H, B) at a small spread, whose loss comes close to that of `small_heads`."""
    if heads > rank(problem):
        return near_bound(problem, heads)
    limit = Coalescing(problem, heads, small=True)
    return limit.weights(search(limit.objective, limit.unit, limit_starts(problem, heads, 0))[0].point)


def near_bound(problem: Problem, heads: int) -> Floats:
    """Heads w (H, B) close to the lower bound: small, orthogonal to all ones, spanning the targets."""
    spanned = rank(problem)
    basis = np.linalg.svd(targets(problem), full_matrices=False)[2][:spanned]
    w = np.zeros((heads, problem.blocks))
    w[: spanned + 1] = SPREAD * frame(spanned + 1)[:, 1:] @ basis
    return w


def gain(problem: Problem, length: float | None = None) -> Floats:
    """L A_ib / (s_i d_b), (I, B): what a context, of that length, is worth against a block's size."""
    return problem.signal.dense(worth(problem, length))


def worth(problem: Problem, length: float | None = None) -> Floats:
    """`gain` of the nonzeros of the signal alone, (n,)."""
    signal, sizes = problem.signal, np.asarray(problem.block_sizes, dtype=np.float64)
    length = problem.context_length if length is None else length
    ratio: Floats = length * signal.power / (problem.variance[signal.task] * sizes[signal.block])
    return ratio


def rank(problem: Problem) -> int:
    """Dimensions that the tasks' best maps span: at most min(I, B).

    Of overlapping tasks with very many entries I B, what their maps would span if no two were alike.
    """
    kept = problem.kept
    if rank not in kept:
        kept[rank] = _rank(problem)
    spanned: int = kept[rank]
    return spanned


def _rank(problem: Problem) -> int:
    if problem.home is not None:  # the singular values of the maps are their entries
        values = _targets(problem)
        least = values.max() * max(problem.signal.shape) * np.finfo(np.float64).eps
        return int((values > least).sum())
    if problem.signal.entries > _MOST_DECOMPOSED:
        from scipy.sparse.csgraph import structural_rank  # slow to import

        return int(structural_rank(problem.signal.sparse()))
    return int(np.linalg.matrix_rank(targets(problem)))


def targets(problem: Problem) -> Floats:
    """The maps sqrt(d_b) T_ib (I, B) with the lower bound's loss, T_ib = 1 / (1 + s_i d_b / (L A_ib))."""
    return problem.signal.dense(_targets(problem))


def _targets(problem: Problem) -> Floats:
    """The entries of `targets` in the nonzeros of the signal, (n,)."""
    own = worth(problem)
    root = np.sqrt(np.asarray(problem.block_sizes, dtype=np.float64))[problem.signal.block]
    reached: Floats = root * own / (1.0 + own)
    return reached


def water_filling(weight: Floats, gain: Floats, budget: float) -> Floats:
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


def limit_starts(problem: Problem, heads: int, seed: int) -> list[Floats]:
    """Bases and directions to search `Coalescing` from: the targets' leading directions, and random ones."""
    rng = np.random.default_rng(seed)
    blocks = problem.blocks
    leading = np.linalg.svd(targets(problem), full_matrices=False)[2][:heads]
    starts = [np.concatenate([np.zeros(blocks), leading[: heads - 1].ravel()]), leading.ravel()]
    # neither a zero base nor directions in a subspace of the blocks may be where a symmetry traps the search
    starts = [start + 0.01 * rng.normal(size=start.size) for start in starts]
    return starts + [
        rng.normal(0.0, blocks**-0.5, heads * blocks) for _ in range(random_starts(heads * blocks))
    ]
