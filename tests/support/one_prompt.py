"""Gradients of drawn prompts' losses by all entries of W and U, from the definition of the model."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import spectral_icl as si
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.state import State


class Slopes(NamedTuple):
    """Gradients of N prompts."""

    entries: (
        Floats  # (N, H (B + I)) by one entry of a block of W, averaged over it, then by the diagonal of U
    )
    kq: Floats  # (N, H, d, d)
    ov: Floats  # (N, H, I, I)


def slopes(problem: si.Problem, at: State, prompts: int, seed: int, *, noisy_queries: bool = False) -> Slopes:
    """Of prompts whose covariates, coefficients and labels are all drawn."""
    rng = np.random.default_rng(seed)
    sizes, kappa = np.asarray(problem.block_sizes), np.asarray(problem.covariance)
    block = np.repeat(np.arange(problem.blocks), sizes)
    root = np.sqrt(kappa[block])
    spread = np.sqrt(np.array(problem.signal) / (sizes * kappa))[:, block]  # (I, d)
    length, noise = round(problem.context_length), np.sqrt(problem.noise)
    tasks = problem.tasks
    x = rng.standard_normal((prompts, length, block.size)) * root
    query = rng.standard_normal((prompts, block.size)) * root
    g = rng.standard_normal((prompts, tasks, block.size)) * spread
    y = np.einsum("nid,nld->nil", g, x) + noise[:, None] * rng.standard_normal((prompts, tasks, length))
    target = np.einsum("nid,nd->ni", g, query)
    if noisy_queries:
        target = target + noise * rng.standard_normal(target.shape)
    logits = np.einsum("nld,hd,nd->nhl", x, at.omega[:, block], query)
    p = np.exp(logits - logits.max(axis=2, keepdims=True))
    p /= p.sum(axis=2, keepdims=True)
    read = np.einsum("nhl,nil->nhi", p, y)
    error = np.einsum("hi,nhi->ni", at.mu, read) - target
    mean = np.einsum("nhl,nld->nhd", p, x)
    tilt = np.einsum("nhl,nil,nld->nhid", p, y, x) - read[..., None] * mean[:, :, None]
    kq = 2.0 * np.einsum("ni,hi,nhid,ne->nhde", error, at.mu, tilt, query)
    ov = 2.0 * np.einsum("ni,nhj->nhij", error, read)
    own = np.einsum("nhdd->nhd", kq) @ (np.eye(problem.blocks)[block] / sizes)
    entries = np.concatenate(
        [own.reshape(prompts, -1), np.einsum("nhii->nhi", ov).reshape(prompts, -1)], axis=1
    )
    return Slopes(entries, kq, ov)


def covariance(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Covariance over prompts of two gradients (N, ...), entry by entry, and its standard error."""
    products = (one - one.mean(axis=0)) * (other - other.mean(axis=0))
    error: Floats = products.std(axis=0, ddof=1) / np.sqrt(len(products))
    found: Floats = products.mean(axis=0)
    return found, error
