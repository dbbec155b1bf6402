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


class Embedded(NamedTuple):
    """The sampled gradient in the authors' embedding, tokens (x; y).

    Attributes
    ----------
    kq : Sample
        By W_XX above W_YX, (H, d + I, d).
    ov : Sample
        By U_X before U_Y, (H, I, d + I).
    gaps : Sample
        Differences of neighbours on the diagonal of W_XX that share a block, (H, P).
    """

    kq: Sample
    ov: Sample
    gaps: Sample


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
    by_kq, by_ov = _Moments(kq), _Moments(ov)
    for by_key, q, error, read in _slopes(problem, kq, ov, prompts, seed, embedded=False):
        by_kq.add_outer("nhd,ne->hde", by_key, q)
        by_ov.add_outer("ni,nhk->hik", error, read)
    return by_kq.sample(), by_ov.sample()


def embedded_gradient(problem: Problem, kq: Floats, ov: Floats, prompts: int, seed: int) -> Embedded:
    """Gradient of the loss in the embedding of the authors' code: tokens (x; y), a query (q; 0), sampled.

    The loss of one prompt is |sum_h U^h Z softmax(Z^T W^h (q; 0)) - G q|^2 with tokens Z = (X; Y).

    Parameters
    ----------
    problem : Problem
    kq : ndarray, (H, d + I, d)
        The columns of W^h that see the query: W_XX above W_YX. The others meet the zeros of (q; 0).
    ov : ndarray, (H, I, d + I)
        The rows of U^h that predict: U_X before U_Y.
    prompts : int
    seed : int
    """
    of_block = np.repeat(np.arange(problem.blocks), problem.block_sizes)
    pairs = np.flatnonzero(of_block[1:] == of_block[:-1])
    by_kq, by_ov, gaps = _Moments(kq), _Moments(ov), _Moments(np.zeros((len(kq), pairs.size)))
    for by_key, q, error, read in _slopes(problem, kq, ov, prompts, seed, embedded=True):
        by_kq.add_outer("nhd,ne->hde", by_key, q)
        by_ov.add_outer("ni,nhk->hik", error, read)
        diagonal = by_key[:, :, : problem.dimension] * q[:, None, :]
        gaps.add(diagonal[:, :, pairs + 1] - diagonal[:, :, pairs])
    return Embedded(by_kq.sample(), by_ov.sample(), gaps.sample())


def embedded(problem: Problem, at: State) -> tuple[Floats, Floats]:
    """Decomposable weights in the authors' embedding, for `embedded_gradient`: W_YX = 0 and U_X = 0."""
    kq, ov = decomposable(problem, at)
    below, before = (0, problem.tasks), (problem.dimension, 0)
    return np.pad(kq, ((0, 0), below, (0, 0))), np.pad(ov, ((0, 0), (0, 0), before))


def _slopes(
    problem: Problem, kq: Floats, ov: Floats, prompts: int, seed: int, *, embedded: bool
) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """Factors of the gradients of single prompts, chunk by chunk: those by W^h and those by U^h.

    The gradient by W^h is the outer product of (N, H, k) and the query (N, d), that by U^h of the error
    (N, I) and what the head has read (N, H, v). Keys are the covariates and values the labels, or tokens
    (x; y) are both if they are ``embedded``.
    """
    rng = np.random.default_rng(seed)
    prior, noise = _prior(problem), np.asarray(problem.noise)
    for x, q in _prompts(problem, prompts, rng, len(kq), ov.size):
        g = rng.normal(size=(x.shape[0], *prior.shape)) * np.sqrt(prior)
        y = np.einsum("nld,nid->nil", x, g)
        y += rng.normal(size=y.shape) * np.sqrt(noise)[:, None]
        keys, values = x, y.swapaxes(1, 2)
        if embedded:
            keys = values = np.concatenate([x, values], axis=2)
        p = _attention(keys, np.einsum("hde,ne->nhd", kq, q, optimize=True))
        read = p @ values
        error = 2.0 * (np.einsum("hik,nhk->ni", ov, read) - np.einsum("nid,nd->ni", g, q))
        by_p = np.einsum("ni,hik->nhk", error, ov, optimize=True) @ values.swapaxes(1, 2)
        by_logit = p * (by_p - (p * by_p).sum(axis=2, keepdims=True))
        yield by_logit @ keys, q, error, read


class _Moments:
    """Sums of samples of an array and of their squares."""

    def __init__(self, like: Floats) -> None:
        self.total, self.squares, self.count = np.zeros_like(like), np.zeros_like(like), 0

    def add(self, samples: Floats) -> None:
        """Add samples (N, ...)."""
        self.total += samples.sum(axis=0)
        self.squares += (samples**2).sum(axis=0)
        self.count += len(samples)

    def add_outer(self, product: str, one: Floats, other: Floats) -> None:
        """Add N samples that are outer products, which are not made one by one."""
        self.total += np.einsum(product, one, other, optimize=True)
        self.squares += np.einsum(product, one**2, other**2, optimize=True)
        self.count += len(one)

    def sample(self) -> Sample:
        """Their mean, and its standard error."""
        mean = self.total / self.count
        variance = np.maximum(self.squares / self.count - mean**2, 0.0)
        return Sample(mean, np.sqrt(variance / self.count))


def decomposable(problem: Problem, at: State) -> tuple[Floats, Floats]:
    """The whole matrices W^h (H, d, d) and U^h (H, I, I) of decomposable weights."""
    omega = np.repeat(at.omega, problem.block_sizes, axis=1)
    return omega[:, :, None] * np.eye(problem.dimension), at.mu[:, :, None] * np.eye(problem.tasks)


def _attention(x: Floats, direction: Floats) -> Floats:
    """Softmax over the pairs of the logits x_l . direction_h, (N, H, L)."""
    return weights_of(direction @ x.swapaxes(1, 2))


def weights_of(logits: Floats) -> Floats:
    """Softmax over the last axis, in the place of the logits."""
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
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
