"""Prompts of in-context multi-task linear regression, drawn afresh in batches on any device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from torch import Tensor

from spectral_icl import Problem
from spectral_icl.io.checks import Floats

_COVARIATES, _MOST = 4_000_000, 50_000  # covariates and prompts drawn at a time


class Like(TypedDict):
    """Where tensors are and how precise, as keywords for `torch` functions."""

    device: torch.device
    dtype: torch.dtype


class Prompts(NamedTuple):
    """N prompts: what the model sees, and what it should say.

    Attributes
    ----------
    x : Tensor, (N, L, d)
        Covariates of the context.
    y : Tensor, (N, I, L)
        Their labels, with noise.
    query : Tensor, (N, d)
    target : Tensor, (N, I)
        Labels of the query, without noise.
    """

    x: Tensor
    y: Tensor
    query: Tensor
    target: Tensor


@dataclass(frozen=True)
class Law:
    """The distribution of a problem's prompts as tensors of one device and precision.

    Attributes
    ----------
    length : int
        L, the problem's ``context_length``, which must be whole.
    root : Tensor, (d,)
        Standard deviation of every covariate.
    prior : Tensor, (I, d)
        Variance of every task coefficient, A_ib / (d_b kappa_b).
    noise : Tensor, (I,)
        Variance of the label noise.
    """

    length: int
    root: Tensor
    prior: Tensor
    noise: Tensor

    @classmethod
    def of(cls, problem: Problem, device: torch.device, dtype: torch.dtype = torch.float32) -> Law:
        """The law of a problem."""
        if problem.context_length != round(problem.context_length):
            raise ValueError(f"context_length = {problem.context_length}: prompts have whole lengths")
        sizes, kappa = np.asarray(problem.block_sizes), np.asarray(problem.covariance)
        prior = np.repeat(np.asarray(problem.signal) / (sizes * kappa), sizes, axis=1)

        def tensor(values: Floats) -> Tensor:
            return torch.as_tensor(values, dtype=dtype, device=device)

        return cls(
            length=round(problem.context_length),
            root=tensor(np.sqrt(np.repeat(kappa, sizes))),
            prior=tensor(prior),
            noise=tensor(np.asarray(problem.noise)),
        )

    @property
    def chunk(self) -> int:
        """How many prompts to draw at a time where many are needed."""
        return max(1, min(_MOST, _COVARIATES // (self.length * self.root.numel())))

    @property
    def like(self) -> Like:
        """Device and precision of the law's tensors."""
        return Like(device=self.root.device, dtype=self.root.dtype)

    def generator(self, seed: int) -> torch.Generator:
        """A random generator on the law's device."""
        return torch.Generator(self.root.device).manual_seed(seed)

    def inputs(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Covariates (N, L, d) and queries (N, d)."""
        size = self.root.numel()
        x = torch.randn(count, self.length, size, generator=generator, **self.like)
        query = torch.randn(count, size, generator=generator, **self.like)
        return x.mul_(self.root), query.mul_(self.root)

    def draw(self, count: int, generator: torch.Generator) -> Prompts:
        """``count`` prompts: covariates, coefficients and label noise are all drawn."""
        x, query = self.inputs(count, generator)
        coefficients = torch.randn(count, *self.prior.shape, generator=generator, **self.like)
        coefficients *= self.prior.sqrt()
        noise = torch.randn(count, self.noise.numel(), self.length, generator=generator, **self.like)
        y = torch.baddbmm(noise.mul_(self.noise.sqrt()[:, None]), coefficients, x.mT)
        return Prompts(x, y, query, torch.einsum("nid,nd->ni", coefficients, query))
