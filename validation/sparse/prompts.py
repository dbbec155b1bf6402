"""Prompts of sparse in-context regression, and the predictors that a trained model is held against."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from spectral_icl.io.checks import ProblemError, integer
from spectral_icl.sparse.problem import SparseProblem


class SparsePrompts(NamedTuple):
    """N prompts: what the model sees, and what it should say.

    Attributes
    ----------
    x : Tensor, (N, n, d)
        Covariates of the context.
    y : Tensor, (N, n)
        Their labels, with noise.
    query : Tensor, (N, d)
    coefficients : Tensor, (N, d)
        w, of which s entries are not zero.
    """

    x: Tensor
    y: Tensor
    query: Tensor
    coefficients: Tensor

    @property
    def target(self) -> Tensor:
        """Labels of the queries, without noise, (N,)."""
        return (self.coefficients * self.query).sum(dim=1)

    @property
    def moments(self) -> Tensor:
        """Second moments of the context's pairs (x; y), (N, d + 1, d + 1): all that linear attention sees."""
        pairs = torch.cat((self.x, self.y[:, :, None]), dim=2)
        return pairs.mT @ pairs / pairs.shape[1]

    def to(self, dtype: torch.dtype) -> SparsePrompts:
        """The same prompts in another precision."""
        return SparsePrompts(*(part.to(dtype) for part in self))


def draw(
    problem: SparseProblem, count: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> SparsePrompts:
    """``count`` prompts on the generator's device: covariates, coefficients and label noise are all drawn."""
    if not problem.isotropic:
        raise ProblemError("problem", problem, "independent features of variance 1")
    integer("count", count, minimum=1, maximum=10**9)
    d, n, device = problem.d, problem.n, generator.device

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype, device=device)

    x, query, noise = normal(count, n, d), normal(count, d), normal(count, n)
    order = torch.rand(count, d, generator=generator, dtype=dtype, device=device).argsort(dim=1)
    values = normal(count, problem.s)
    if problem.weights == "pm":
        values = values.sign()
    values *= (problem.signal / problem.s) ** 0.5
    w = torch.zeros(count, d, dtype=dtype, device=device).scatter_(1, order[:, : problem.s], values)
    y = torch.baddbmm(noise[:, :, None], x, w[:, :, None], beta=problem.noise**0.5)[:, :, 0]
    return SparsePrompts(x, y, query, w)


def best_penalty(problem: SparseProblem) -> float:
    """The best penalty of ridge regression, noise d / (n v), whatever the coefficients."""
    return problem.noise * problem.d / (problem.n * problem.signal)


def ridge(prompts: SparsePrompts, penalty: float) -> Tensor:
    """Coefficients of ridge regression, (N, d)."""
    moments = prompts.moments
    eye = torch.eye(moments.shape[1] - 1, dtype=moments.dtype, device=moments.device)
    found: Tensor = torch.linalg.solve(moments[:, :-1, :-1] + penalty * eye, moments[:, :-1, -1])
    return found


def oracle(prompts: SparsePrompts) -> Tensor:
    """Coefficients of least squares on the true support, (N, d)."""
    support = prompts.coefficients.ne(0.0)
    count = int(support[0].sum())
    where = support.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :count]
    x = prompts.x.gather(2, where[:, None, :].expand(-1, prompts.x.shape[1], -1))
    found = torch.linalg.solve(x.mT @ x, (x.mT @ prompts.y[:, :, None])[:, :, 0])
    return torch.zeros_like(prompts.coefficients).scatter(1, where, found)


def preprocessed_descent(prompts: SparsePrompts, first: float, a: float, b: float, steps: int) -> Tensor:
    """Coefficients of gradient descent whose metric the first layer has prepared, (N, d).

    beta = first r, and then ``steps`` times beta <- beta + (a + b r^2) o (r - Shat beta), with
    r = X^T y / n and Shat = X^T X / n. Without a this preprocesses, then optimizes; without b it is plain
    descent.
    """
    integer("steps", steps, minimum=0, maximum=10**6)
    n = prompts.x.shape[1]
    r = torch.einsum("nli,nl->ni", prompts.x, prompts.y) / n
    beta = first * r
    for _ in range(steps):
        residual = prompts.y - torch.einsum("nli,ni->nl", prompts.x, beta)
        beta = beta + (a + b * r**2) * torch.einsum("nli,nl->ni", prompts.x, residual) / n
    return beta
