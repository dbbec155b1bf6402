"""Covariance of a prompt's gradient under the exact law: over drawn covariates, and exactly over labels.

Its terms are products of two second moments given the covariates, sums over four attentions: no table has
them. What the law has exactly, E[e_i^2] and E[r_j^h r_j^k], is taken from it, since the imbalance of a
circuit is a small difference of such products.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import reduce
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.noise import Moments, Regression, add_moments
from spectral_icl.multitask.context import EXACT
from spectral_icl.multitask.loss import hessian_at, losses_at
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

_COVARIATES = 1_000_000  # drawn at a time


class Drawn(NamedTuple):
    """How many prompts are drawn, by which seed, on how many threads."""

    prompts: int
    seed: int
    threads: int


def averaged(problem: Problem, at: State, hidden: Floats, drawn: Drawn) -> tuple[Floats, ...]:
    """The fields of `spectral_icl.multitask.noise.moments.GradientNoise` at K states.

    Parameters
    ----------
    problem : Problem
        Its context length is rounded to whole pairs.
    at : State, (K, H, B) and (K, H, I)
    hidden : ndarray, (I,)
        Noise of the queries' labels, as they are trained on.
    drawn : Drawn
    """
    sums = _sums(problem, at, hidden, drawn)
    gradient, mean, error, read, crossed, swapped, stray, bend = (values / drawn.prompts for values in sums)
    entries = gradient - np.einsum("kn,km->knm", mean, mean)

    heads, tasks = at.mu.shape[1:]
    size, first = mean.shape[1], heads * problem.blocks
    exact_error = losses_at(problem, at, EXACT) - np.asarray(problem.noise)
    curvature = np.empty_like(read)
    for k, (omega, mu) in enumerate(zip(at.omega, at.mu, strict=True)):
        whole = hessian_at(problem, State(omega, mu), EXACT)
        by_mu = whole[first:size, first:size].reshape(heads, tasks, heads, tasks)
        curvature[k] = np.einsum("hiki->ihk", by_mu)
    # the ratio of the product's mean to the product of means scatters less than either
    means = np.einsum("ki,kjhm->kijhm", error, read)
    exact = np.einsum("ki,kjhm->kijhm", exact_error + hidden, 0.5 * curvature)
    with np.errstate(invalid="ignore", divide="ignore"):
        better = np.where(means != 0.0, crossed / means * exact, 0.0)
    return entries, better, swapped, curvature, stray, bend


def _sums(problem: Problem, at: State, hidden: Floats, drawn: Drawn) -> Moments:
    """Sums over drawn prompts."""
    heads, blocks, tasks = at.omega.shape[1], problem.blocks, problem.tasks
    states, size = len(at.omega), heads * (blocks + tasks)
    sizes, kappa = np.asarray(problem.block_sizes), np.asarray(problem.covariance)
    length = max(1, round(problem.context_length))
    regression = Regression(
        block=np.repeat(np.arange(blocks), sizes),
        first=np.concatenate([[0], np.cumsum(sizes)[:-1]]),
        sizes=sizes.astype(np.float64),
        prior=np.array(problem.signal) / (sizes * kappa),
        noise=np.array(problem.noise),
        hidden=hidden,
    )
    shapes = (
        (size, size),
        (size,),
        (tasks,),
        (tasks, heads, heads),
        (tasks, tasks, heads, heads),
        (tasks, tasks, heads, heads),
        (blocks, blocks, heads, heads),
        (blocks, blocks, heads, heads),
    )
    root = np.sqrt(np.repeat(kappa, sizes))
    chunk = max(1, _COVARIATES // (length * root.size))
    omega, mu = (np.ascontiguousarray(values) for values in at)

    def part(first: int) -> Moments:
        rng, count = np.random.default_rng([drawn.seed, first]), min(chunk, drawn.prompts - first)
        query = rng.standard_normal((count, root.size)) * root
        x = rng.standard_normal((count, length, root.size)) * root
        sums = Moments(*(np.zeros((states, *shape)) for shape in shapes))
        add_moments(regression, omega, mu, x, query, sums)
        return sums

    with ThreadPoolExecutor(drawn.threads) as pool:
        parts = pool.map(part, range(0, drawn.prompts, chunk))
        return reduce(lambda one, other: Moments(*map(np.add, one, other)), parts)
