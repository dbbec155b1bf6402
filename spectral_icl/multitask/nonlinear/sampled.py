"""Softmax attention itself on drawn prompts of single-index tasks, with standard errors.

Features, directions and queries are drawn as the problem says; nothing of a law of the context is used for
the loss. Over label noise, which enters quadratically, the mean is taken exactly.

Most of a loss is known, the squared error r^2 of infinitely long prompts, and scatters with the query. What
prompts of finite length add to it, r^2 -> (r + e)^2, is sampled beside it with far smaller errors: of the
product 2 r e a part is taken away whose mean is zero exactly, that of the deviation of a mean over the
pairs, each weighted by its exponential over that exponential's mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, integer
from spectral_icl.multitask.nonlinear import hermite
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.softmax import LARGEST_PROMPT, Sample, weights_of
from spectral_icl.multitask.state import State, check_state

_CHUNK = 2_000_000  # features drawn at a time
_MOST = 10_000_000  # prompts


class Losses(NamedTuple):
    """Sampled losses of the tasks.

    Attributes
    ----------
    task : Sample, (I,)
        Squared error of the query, its label noise included.
    beyond : Sample, (I,)
        By how much it is above the squared error of infinitely long prompts and the query's noise: what a
        law of the context says in 1 / L.
    """

    task: Sample
    beyond: Sample


def losses(problem: SingleIndex, omega: ArrayLike, mu: ArrayLike, prompts: int, seed: int) -> Losses:
    """Losses of softmax attention, means over drawn prompts.

    Parameters
    ----------
    problem : SingleIndex
        With ``context_length`` rounded to whole pairs.
    omega, mu : array_like, (H, I)
    prompts : int
        At least 2.
    seed : int

    Returns
    -------
    Losses

    Raises
    ------
    ProblemError
        A shape does not fit, or prompts are too long to be drawn, L d > 4e5.
    """
    at = check_state(problem.frame, omega, mu)
    prompts = integer("prompts", prompts, minimum=2, maximum=_MOST)
    rng = np.random.default_rng(integer("seed", seed, minimum=0, maximum=2**63))
    length = round(problem.context_length)
    if length * problem.dimension > LARGEST_PROMPT:
        raise ProblemError("context_length", length, f"L d <= {LARGEST_PROMPT:g}, to sample prompts")
    chunks = [_errors(problem, at, *drawn) for drawn in _prompts(problem, length, prompts, rng)]
    squared, beyond = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return Losses(_sample(squared), _sample(beyond))


def _prompts(
    problem: SingleIndex, length: int, prompts: int, rng: np.random.Generator
) -> Iterator[tuple[Floats, Floats, Floats]]:
    """Features (n, L, d), queries (n, d) and directions (n, d), of length one in every block."""
    d, starts = problem.dimension, np.cumsum((0, *problem.task_sizes[:-1]))
    chunk = max(1, _CHUNK // (length * d))
    while prompts > 0:
        n = min(chunk, prompts)
        x, q, v = rng.normal(size=(n, length, d)), rng.normal(size=(n, d)), rng.normal(size=(n, d))
        v /= np.sqrt(np.repeat(np.add.reduceat(v**2, starts, axis=1), problem.task_sizes, axis=1))
        yield x, q, v
        prompts -= n


def _errors(problem: SingleIndex, at: State, x: Floats, q: Floats, v: Floats) -> tuple[Floats, Floats]:
    """Squared errors of softmax attention, and what they are above those of long prompts, (n, I)."""
    direction = q[:, None, :] * np.repeat(at.omega, problem.task_sizes, axis=1)
    logits = direction @ x.swapaxes(1, 2)  # (n, H, L)
    weights = weights_of(logits.copy())
    edges = np.cumsum((0, *problem.task_sizes))
    blocks = [slice(*edges[i : i + 2]) for i in range(problem.tasks)]
    index = np.stack([(x[:, :, b] @ v[:, b, None])[..., 0] for b in blocks])  # (I, n, L)
    t = np.stack([(q[:, b] * v[:, b]).sum(axis=1) for b in blocks])  # (I, n)
    labels, target = hermite.combined(problem.c, index), hermite.combined(problem.c, t)
    used = np.einsum("hi,nhl->inl", at.mu, weights)
    noise = np.array(problem.noise)[:, None]
    squared = ((used * labels).sum(axis=2) - target) ** 2 + noise * (1.0 + (used**2).sum(axis=2))
    read = hermite.evaluated(problem.tilted, at.omega.T[:, :, None] * t[:, None, :])  # (I, H, n)
    long = np.einsum("hi,ihn->in", at.mu, read) - target
    tilt = np.exp(logits - 0.5 * (direction**2).sum(axis=2)[:, :, None]) / logits.shape[2]
    deviation = np.einsum("nhl,inl->ihn", tilt, labels) - tilt.sum(axis=2).T * read
    free = 2.0 * long * np.einsum("hi,ihn->in", at.mu, deviation)
    return squared.T, (squared - long**2 - noise - free).T


def _sample(values: Floats) -> Sample:
    return Sample(values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values)))
