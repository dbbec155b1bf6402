"""A problem for the full model, weights for it, and what stops its training. Needs PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

import spectral_icl as si
from spectral_icl.multitask.state import State
from validation.multitask import full_model
from validation.multitask.prompts import Law

CPU = torch.device("cpu")

# unequal blocks, an overlap, an eigenvalue that is not 1, unequal noise
PROBLEM = si.Problem(
    block_sizes=(3, 2),
    signal=((1.0, 0.5), (0.3, 2.0)),
    noise=(0.1, 0.4),
    context_length=12,
    covariance=(1.0, 0.6),
)
AT = State(np.array([[0.4, -0.2], [0.1, 0.5]]), np.array([[1.2, -0.3], [0.4, 0.8]]))


def general(law: Law, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole matrices of two heads."""
    generator = law.generator(seed)
    kq = 0.3 * torch.randn(2, 5, 5, generator=generator, **law.like)
    ov = torch.randn(2, 2, 2, generator=generator, **law.like)
    return kq, ov


def factored(law: Law, seed: int = 0) -> full_model.FactoredAttention:
    """Factors of two heads, at random."""
    return full_model.FactoredAttention.random(PROBLEM, 2, 0.8, law, law.generator(seed))


def stop_after(steps: int) -> Callable[[Iterable[int], str], Iterator[int]]:
    """A track that is interrupted between two steps."""

    def track(items: Iterable[int], _: str) -> Iterator[int]:
        for count, item in enumerate(items):
            if count == steps:
                raise KeyboardInterrupt
            yield item

    return track
