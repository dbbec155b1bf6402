"""A problem for trained linear attention, and its prompts. Needs PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.transformer.attention import Head
from spectral_icl.sparse.transformer.model import LinTF
from validation.sparse import prompts as sparse_prompts
from validation.sparse.linear_attention import LinearTransformer
from validation.sparse.prompts import SparsePrompts

PROBLEM = SparseProblem(d=4, s=2, n=20, noise=0.25)
HEADS = (3, 1, 2)


def prompts(count: int = 30, seed: int = 0, problem: SparseProblem = PROBLEM) -> SparsePrompts:
    """Prompts in double precision."""
    return sparse_prompts.draw(problem, count, torch.Generator().manual_seed(seed), torch.float64)


def numpy_of(model: LinearTransformer) -> LinTF:
    """The package's model with the same weights."""
    parts = [[w.detach().double().numpy() for w in kind] for kind in (model.value, model.key, model.query)]
    layers = [Head(*heads) for heads in zip(*parts, strict=True)]
    embed, readout = (w.detach().double().numpy() for w in (model.embed, model.readout))
    return LinTF.from_weights(embed, readout, layers)


def asked(model: LinTF, data: SparsePrompts, **options: Any) -> np.ndarray:
    """Predictions of the package's model on prompts, or whatever else the options ask for."""
    return model.forward(data.x.numpy(), data.y.numpy(), data.query.numpy(), **options)
