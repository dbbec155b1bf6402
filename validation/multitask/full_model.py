"""Multi-head softmax attention with whole matrices, as it is trained."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from spectral_icl import Problem
from spectral_icl.multitask.parametrization import key_scale_of
from spectral_icl.multitask.state import State
from validation.multitask.prompts import Law, Prompts
from validation.multitask.spectrum import decomposable


class Attention(nn.Module):
    """One layer of H heads without a residual: yhat = sum_h U^h Y softmax(X^T W^h q)."""

    def kq(self) -> Tensor:
        """The KQ circuits W^h, (H, d, d)."""
        raise NotImplementedError

    def ov(self) -> Tensor:
        """The OV circuits U^h, (H, I, I)."""
        raise NotImplementedError

    def forward(self, prompts: Prompts) -> Tensor:
        """Predictions for the queries, (N, I)."""
        read = weights(self.kq(), prompts.x, prompts.query) @ prompts.y.mT  # (N, H, I)
        return torch.einsum("hij,nhj->ni", self.ov(), read)


class FactoredAttention(Attention):
    """Trained as Q, K, V and O: W^h = c (K^h)^T Q^h and U^h = O^h V^h.

    Parameters
    ----------
    key, query : Tensor, (H, r, d)
    value : Tensor, (H, r', I)
    output : Tensor, (H, I, r')
    key_scale : float
        c, the factor in front of the logits.
    """

    def __init__(self, key: Tensor, query: Tensor, value: Tensor, output: Tensor, key_scale: float) -> None:
        super().__init__()
        self.key, self.query = nn.Parameter(key), nn.Parameter(query)
        self.value, self.output = nn.Parameter(value), nn.Parameter(output)
        self.key_scale = key_scale

    def kq(self) -> Tensor:
        """W^h = c (K^h)^T Q^h, (H, d, d)."""
        return self.key_scale * self.key.mT @ self.query

    def ov(self) -> Tensor:
        """U^h = O^h V^h, (H, I, I)."""
        return self.output @ self.value

    def factors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """K, Q, V and O with the hidden units that look at covariates, and those that read labels."""
        return self.key, self.query, self.value, self.output

    @classmethod
    def balanced(cls, problem: Problem, at: State, law: Law) -> FactoredAttention:
        """Diagonal factors with k^2 = q^2 and v^2 = o^2, and the key scale (d + I)^(-1/2)."""
        scale = key_scale_of(problem, None)
        kq, ov = decomposable(problem, at, law)
        key, value = (kq.abs() / scale).sqrt(), ov.abs().sqrt()
        return cls(key, key * kq.sign(), value, value * ov.sign(), scale)

    @classmethod
    def random(
        cls, problem: Problem, heads: int, size: float, law: Law, generator: torch.Generator
    ) -> FactoredAttention:
        """Independent N(0, size^2) entries of all four matrices, and the key scale (d + I)^(-1/2)."""
        sizes = (problem.dimension,) * 2 + (problem.tasks,) * 2
        key, query, value, output = (
            size * torch.randn(heads, n, n, generator=generator, **law.like) for n in sizes
        )
        return cls(key, query, value, output, key_scale_of(problem, None))


class JointAttention(FactoredAttention):
    """The embedding of the authors' code: tokens (x; y), a query (q; 0), and square matrices of size d + I.

    Attention may then look at labels, and predictions may copy covariates. Neither helps, and the population
    gradient of decomposable weights keeps both at zero; sampled gradients do not.

    Parameters
    ----------
    inner : FactoredAttention
        Weights of the parts that look at covariates and read labels; all others are zero.
    """

    def __init__(self, inner: FactoredAttention) -> None:
        size, tasks = inner.key.shape[-1], inner.value.shape[-1]
        after, before = (0, tasks, 0, tasks), (size, 0, size, 0)
        super().__init__(
            nn.functional.pad(inner.key.detach(), after),
            nn.functional.pad(inner.query.detach(), after),
            nn.functional.pad(inner.value.detach(), before),
            nn.functional.pad(inner.output.detach(), before),
            inner.key_scale,
        )
        self.size = size

    def factors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The hidden units that started to look at covariates, and those that started to read labels."""
        looking, reading = slice(None, self.size), slice(self.size, None)
        return (
            self.key[:, looking],
            self.query[:, looking],
            self.value[:, reading],
            self.output[:, :, reading],
        )

    def kq(self) -> Tensor:
        """The part of W^h between covariates, (H, d, d)."""
        return super().kq()[:, : self.size, : self.size]

    def ov(self) -> Tensor:
        """The part of U^h between labels, (H, I, I)."""
        return super().ov()[:, self.size :, self.size :]

    def forward(self, prompts: Prompts) -> Tensor:
        """Predictions for the queries, (N, I)."""
        tokens = torch.cat((prompts.x, prompts.y.mT), dim=-1)
        p = weights(super().kq()[:, :, : self.size], tokens, prompts.query)
        return torch.einsum("hij,nhj->ni", super().ov()[:, self.size :], p @ tokens)


class MergedAttention(Attention):
    """Trained as W (H, d, d) and U (H, I, I) themselves."""

    def __init__(self, kq: Tensor, ov: Tensor) -> None:
        super().__init__()
        self.w, self.u = nn.Parameter(kq), nn.Parameter(ov)

    def kq(self) -> Tensor:
        """W^h, (H, d, d)."""
        return self.w

    def ov(self) -> Tensor:
        """U^h, (H, I, I)."""
        return self.u

    @classmethod
    def diagonal(cls, problem: Problem, at: State, law: Law) -> MergedAttention:
        """Decomposable weights."""
        return cls(*decomposable(problem, at, law))


def weights(kq: Tensor, x: Tensor, query: Tensor) -> Tensor:
    """Attention weights softmax(X^T W^h q), (N, H, L)."""
    return torch.softmax(torch.einsum("hde,ne->nhd", kq, query) @ x.mT, dim=-1)


def task_loss(model: Attention, prompts: Prompts, law: Law) -> Tensor:
    """Squared error of every task, averaged over prompts, (I,), with the query noise that it cannot avoid."""
    told: Tensor = model(prompts)
    return ((told - prompts.target) ** 2).mean(dim=0) + law.noise


def expected_task_loss(kq: Tensor, ov: Tensor, x: Tensor, query: Tensor, law: Law) -> Tensor:
    """The loss of every prompt and task, (N, I), averaged exactly over coefficients and label noise.

    With p^h the attention weights, sum_jd Var(g_jd) (delta_ij q_d - sum_h U^h_ij (X^T p^h)_d)^2
    + sum_j sigma_j^2 |sum_h U^h_ij p^h|^2 + sigma_i^2.
    """
    p = weights(kq, x, query)
    read = torch.einsum("hij,nhd->nijd", ov, p @ x)
    used = torch.einsum("hij,nhl->nijl", ov, p)
    wanted = torch.eye(ov.shape[-1], device=x.device, dtype=x.dtype)[:, :, None] * query[:, None, None, :]
    signal = torch.einsum("jd,nijd->ni", law.prior, (wanted - read) ** 2)
    return signal + (used**2).sum(dim=-1) @ law.noise + law.noise
