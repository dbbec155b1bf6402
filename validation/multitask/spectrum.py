"""Between whole matrices and their spectrum: omega, mu, what is off the diagonals, and imbalances."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from spectral_icl import Problem
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.state import State
from validation.multitask.prompts import Law

Factors = tuple[Tensor, Tensor, Tensor, Tensor]  # K, Q (H, d, d), V and O (H, I, I)


def decomposable(problem: Problem, at: State, law: Law) -> tuple[Tensor, Tensor]:
    """The diagonal W^h (H, d, d) and U^h (H, I, I) of semi-singular values."""
    omega = np.repeat(at.omega, problem.block_sizes, axis=1)
    diagonals = (torch.as_tensor(values, **law.like) for values in (omega, at.mu))
    kq, ov = (torch.diag_embed(values) for values in diagonals)
    return kq, ov


def spectral(problem: Problem, kq: Tensor, ov: Tensor) -> State:
    """Means of the diagonal of W^h over every block, (H, B), and the diagonal of U^h, (H, I)."""
    return State(by_block(problem, diagonal(kq)), diagonal(ov))


def stray(matrices: Tensor) -> Floats:
    """Root mean square of the entries off the diagonal, per head, (H,); zero if there are none."""
    size = matrices.shape[-1]
    off = matrices.detach() - torch.diag_embed(torch.diagonal(matrices.detach(), dim1=-2, dim2=-1))
    squares = _array((off**2).sum(dim=(-2, -1)))
    root: Floats = np.sqrt(squares / max(1, size * (size - 1)))
    return root


def imbalance(problem: Problem, factors: Factors) -> State:
    """Diagonals of K K^T - Q Q^T, block means (H, B), and of V V^T - O^T O, (H, I).

    The gradient flow conserves both matrices, of any weights; noise and finite steps do not.
    """
    # In double precision: of two nearly balanced factors the difference of squares cancels.
    k, q, v, o = (factor.detach().double() for factor in factors)
    kq = (k**2).sum(dim=-1) - (q**2).sum(dim=-1)
    ov = (v**2).sum(dim=-1) - (o**2).sum(dim=-2)
    return State(by_block(problem, _array(kq)), _array(ov))


def effective_imbalance(problem: Problem, factors: Factors) -> State:
    """The imbalances at which the reduced flow is as fast as whole matrices, (H, B) and (H, I).

    A gradient that is diagonal, g, moves mu_i = (O V)_ii at the rate -g [(O O^T)_ii + (V^T V)_ii], where the
    reduced flow has -g (D^2 + 4 mu_i^2)^(1/2); and so for omega.
    """
    k, q, v, o = (factor.detach().double() for factor in factors)
    speeds = State(
        by_block(problem, _array((k**2).sum(dim=-2) + (q**2).sum(dim=-2))),
        _array((v**2).sum(dim=-2) + (o**2).sum(dim=-1)),
    )
    products = spectral(problem, k.mT @ q, o @ v)
    squares = (speed**2 - 4.0 * product**2 for speed, product in zip(speeds, products, strict=True))
    return State(*(np.sqrt(np.maximum(square, 0.0)) for square in squares))


def diagonal(matrices: Tensor) -> Floats:
    """The diagonals of (H, n, n) matrices, (H, n), in double precision."""
    return _array(torch.diagonal(matrices.detach(), dim1=-2, dim2=-1))


def by_block(problem: Problem, values: Floats) -> Floats:
    """Means over the coordinates of every block, along the last axis."""
    sizes = np.asarray(problem.block_sizes)
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    means: Floats = np.add.reduceat(values, starts, axis=-1) / sizes
    return means


def _array(tensor: Tensor) -> Floats:
    values: Floats = tensor.detach().double().cpu().numpy()
    return values
