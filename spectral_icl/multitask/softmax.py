"""The full model, sampled: softmax attention on drawn prompts, with standard errors.

Nothing of the reduced system is used here: logits, softmax, predictions and the gradient by whole matrices
W^h and U^h are those of the model, so that claims about it can be checked.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State

_CHUNK = 2_000_000  # covariates drawn at a time
_ARRAYS = 8  # times the size of these, that what is made of them may have
LARGEST_PROMPT = 4e5  # L d up to which enough prompts can be drawn
LARGEST_OF_TASKS = 4e6  # I d and I L, the numbers that all tasks have of one prompt
_WORK = 40_000_000  # covariates drawn in all, unless fewer prompts are asked for
_FEWEST = 100  # prompts, below which an error bar means little


class Sample(NamedTuple):
    """Means over prompts and their standard errors."""

    mean: Floats
    error: Floats


class Losses(NamedTuple):
    """Sampled losses of S weights on the same prompts.

    Attributes
    ----------
    task : Sample
        Of every task, (S, I).
    mean, error : ndarray, (S,)
        Of the sum over tasks.
    gap_error : ndarray, (S, S)
        Standard error of the difference of two means, which is small because the prompts are the same.
    """

    task: Sample
    mean: Floats
    error: Floats
    gap_error: Floats


def affordable(problem: Problem, prompts: int) -> int:
    """``prompts``, or as many as a second or so allows, at least a hundred."""
    return int(min(prompts, max(_FEWEST, _WORK // (_length(problem) * problem.dimension))))


def losses(problem: Problem, states: list[State], prompts: int, seed: int) -> Losses:
    """Loss of several weights on the same prompts.

    Covariates and queries are drawn; over coefficients and label noise, which enter quadratically, the mean
    is taken exactly: sum_j Var(g_ij) (q_j - sum_h mu_hi (X p_h)_j)^2 + sigma_i^2 (1 + |sum_h mu_hi p_h|^2).

    Parameters
    ----------
    problem : Problem
        With ``context_length`` rounded to whole pairs.
    states : list of State
    prompts : int
    seed : int
    """
    _length(problem)  # before arrays are made of all tasks' coefficients
    prior, noise = _prior(problem), np.asarray(problem.noise)
    drawn: list[Floats] = []
    most = max(len(state.omega) for state in states)
    for x, q in _prompts(problem, prompts, np.random.default_rng(seed), most):
        drawn.append(np.stack([_losses(problem, state, x, q, prior, noise) for state in states], axis=1))
    by_task = np.concatenate(drawn)  # (N, S, I)
    total = by_task.sum(axis=2)
    root = np.sqrt(total.shape[0])
    return Losses(
        task=Sample(by_task.mean(axis=0), by_task.std(axis=0) / root),
        mean=total.mean(axis=0),
        error=total.std(axis=0) / root,
        gap_error=(total[:, :, None] - total[:, None, :]).std(axis=0) / root,
    )


def _losses(problem: Problem, at: State, x: Floats, q: Floats, prior: Floats, noise: Floats) -> Floats:
    """Losses (N, I) given covariates (N, L, d) and queries (N, d)."""
    omega = np.repeat(at.omega, problem.block_sizes, axis=1)
    weights = _attention(x, q[:, None, :] * omega)  # (N, H, L)
    read = np.einsum("hi,nhd->nid", at.mu, weights @ x)
    used = np.einsum("hi,nhl->nil", at.mu, weights)
    signal = np.einsum("id,nid->ni", prior, (q[:, None, :] - read) ** 2)
    losses: Floats = signal + noise * (1.0 + (used**2).sum(axis=2))
    return losses


def interference(
    problem: Problem, at: State, kernel: Floats, scale: Floats, prompts: int, seed: int
) -> Sample:
    """Mean squared distance of answers from kernel smoothers, over the mean square of these, by task, (I,).

    The smoother of task i is the Nadaraya-Watson estimate with the kernel exp(``kernel[i]`` x . q) on its
    block, times ``scale[i]``. Over coefficients and label noise the means are taken exactly, as in `losses`.

    Parameters
    ----------
    problem : Problem
        Of disjoint tasks.
    at : State
        Weights of softmax attention.
    kernel, scale : ndarray, (I,)
    prompts : int
    seed : int
    """
    assert problem.home is not None
    prior, noise = _prior(problem), np.asarray(problem.noise)
    ends = np.cumsum(problem.block_sizes)
    own = [slice(ends[b] - problem.block_sizes[b], ends[b]) for b in problem.home]
    distances: list[Floats] = []
    squares: list[Floats] = []
    for x, q in _prompts(problem, prompts, np.random.default_rng(seed), len(at.omega) + problem.tasks):
        omega = np.repeat(at.omega, problem.block_sizes, axis=1)
        used = np.einsum("hi,nhl->nil", at.mu, _attention(x, q[:, None, :] * omega))
        local = np.empty_like(used)
        for i, block in enumerate(own):
            bumps = np.exp(kernel[i] * np.einsum("nld,nd->nl", x[:, :, block], q[:, block]))
            local[:, i] = scale[i] * bumps / bumps.sum(axis=1, keepdims=True)
        for kept, weights in ((distances, used - local), (squares, local)):
            read = np.einsum("id,nid->ni", prior, (weights @ x) ** 2)
            kept.append(read + noise * (weights**2).sum(axis=2))
    distance, square = np.concatenate(distances), np.concatenate(squares)
    mean = distance.mean(axis=0) / square.mean(axis=0)
    spread = (distance - mean * square).std(axis=0) / np.sqrt(len(square))
    return Sample(mean, spread / square.mean(axis=0))


def gradient(problem: Problem, kq: Floats, ov: Floats, prompts: int, seed: int) -> tuple[Sample, Sample]:
    """Gradient of the full model's loss by the whole matrices W^h (H, d, d) and U^h (H, I, I), sampled.

    The loss of one prompt is |sum_h U^h Y softmax(X^T W^h q) - G q|^2 with coefficients G, labels Y and
    everything else drawn afresh.
    """
    rng = np.random.default_rng(seed)
    prior, noise = _prior(problem), np.asarray(problem.noise)
    sums = [np.zeros_like(kq), np.zeros_like(kq), np.zeros_like(ov), np.zeros_like(ov)]
    count = 0
    for x, q in _prompts(problem, prompts, rng, len(kq), ov.size):
        g = rng.normal(size=(x.shape[0], *prior.shape)) * np.sqrt(prior)
        y = np.einsum("nld,nid->nil", x, g)
        y += rng.normal(size=y.shape) * np.sqrt(noise)[:, None]
        p = _attention(x, np.einsum("hde,ne->nhd", kq, q))
        read = np.einsum("nil,nhl->nhi", y, p)
        error = 2.0 * (np.einsum("hik,nhk->ni", ov, read) - np.einsum("nid,nd->ni", g, q))
        by_ov = np.einsum("ni,nhk->nhik", error, read)
        by_p = np.einsum("ni,hik,nkl->nhl", error, ov, y, optimize=True)
        by_logit = p * (by_p - (p * by_p).sum(axis=2, keepdims=True))
        by_key = by_logit @ x  # (N, H, d); the gradient by W^h is its outer product with q
        sums[0] += np.einsum("nhd,ne->hde", by_key, q)
        sums[1] += np.einsum("nhd,ne->hde", by_key**2, q**2)
        sums[2] += by_ov.sum(axis=0)
        sums[3] += (by_ov**2).sum(axis=0)
        count += x.shape[0]
    return _sample(sums[0], sums[1], count), _sample(sums[2], sums[3], count)


def decomposable(problem: Problem, at: State) -> tuple[Floats, Floats]:
    """The whole matrices W^h (H, d, d) and U^h (H, I, I) of decomposable weights."""
    omega = np.repeat(at.omega, problem.block_sizes, axis=1)
    return omega[:, :, None] * np.eye(problem.dimension), at.mu[:, :, None] * np.eye(problem.tasks)


def _attention(x: Floats, direction: Floats) -> Floats:
    """Softmax over the pairs of the logits x_l . direction_h, (N, H, L)."""
    logits = direction @ x.swapaxes(1, 2)
    logits -= logits.max(axis=2, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=2, keepdims=True)
    return logits


def _prompts(
    problem: Problem, prompts: int, rng: np.random.Generator, heads: int, beside: int = 0
) -> Iterator[tuple[Floats, Floats]]:
    """Covariates (n, L, d) and queries (n, d), chunk by chunk.

    Few enough at a time for what so many heads make of them too, and for ``beside`` numbers of each prompt.
    """
    length, root = _length(problem), np.sqrt(np.repeat(problem.covariance, problem.block_sizes))
    made = (heads + problem.tasks) * max(length, root.size) + beside
    chunk = max(1, _CHUNK // max(length * root.size, made // _ARRAYS))
    while prompts > 0:
        n = min(chunk, prompts)
        yield rng.normal(size=(n, length, root.size)) * root, rng.normal(size=(n, root.size)) * root
        prompts -= n


def _length(problem: Problem) -> int:
    length = round(problem.context_length)
    if length * problem.dimension > LARGEST_PROMPT:
        raise ProblemError("context_length", length, f"L d <= {LARGEST_PROMPT:g}, to sample prompts")
    if problem.tasks * max(length, problem.dimension) > LARGEST_OF_TASKS:
        expected = f"I d and I L <= {LARGEST_OF_TASKS:g}, to sample prompts"
        raise ProblemError("problem", f"{problem.tasks} tasks", expected)
    return length


def _prior(problem: Problem) -> Floats:
    """Variance of every coefficient, (I, d)."""
    scale = np.asarray(problem.block_sizes) * np.asarray(problem.covariance)
    prior: Floats = np.repeat(problem.signal.dense() / scale, problem.block_sizes, axis=1)
    return prior


def _sample(total: Floats, squares: Floats, count: int) -> Sample:
    mean = total / count
    return Sample(mean, np.sqrt(np.maximum(squares / count - mean**2, 0.0) / count))
