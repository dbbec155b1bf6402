"""The loss of decomposable weights in the full model, sampled over covariates and averaged over labels."""

from __future__ import annotations

import torch

from spectral_icl import Problem
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.full_model import expected_task_loss
from validation.multitask.prompts import Law
from validation.multitask.spectrum import decomposable


def sampled_loss(
    context: Context, problem: Problem, at: State, prompts: int, label: str, seed: int
) -> tuple[float, float]:
    """Loss summed over tasks, and its standard error."""
    law = Law.of(problem, context.device)
    generator = law.generator(seed)
    kq, ov = decomposable(problem, at, law)
    losses = []
    with torch.no_grad():
        for start in context.track(range(0, prompts, law.chunk), label):
            x, query = law.inputs(min(law.chunk, prompts - start), generator)
            losses.append(expected_task_loss(kq, ov, x, query, law).sum(dim=1).double().cpu())
    values = torch.cat(losses)
    return float(values.mean()), float(values.std() / len(values) ** 0.5)
