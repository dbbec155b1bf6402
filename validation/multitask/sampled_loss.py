"""The loss of decomposable weights in the full model, sampled over covariates and averaged over labels."""

from __future__ import annotations

import torch

from spectral_icl import Problem
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.full_model import expected_task_loss
from validation.multitask.prompts import Law
from validation.multitask.spectrum import decomposable
from validation.statistics import Estimate

_GROUPS = 100  # of prompts, whose means tell the error


def sampled_loss(context: Context, problem: Problem, at: State, prompts: int, label: str) -> Estimate:
    """Loss summed over tasks, as the mean of groups of prompts."""
    key = (problem.digest(), at.omega.tolist(), at.mu.tolist(), prompts)
    return Estimate.of(
        context.kept(label, key, lambda: _sampled(context, problem, at, prompts, label))["loss"]
    )


def _sampled(context: Context, problem: Problem, at: State, prompts: int, label: str) -> dict[str, Floats]:
    """Mean losses of the groups, (G,)."""
    law, generator = Law.of(problem, context.device), context.generator(label)
    kq, ov = decomposable(problem, at, law)
    size = max(1, prompts // _GROUPS)
    means = torch.zeros(_GROUPS, dtype=torch.float64, device="cpu")
    with torch.no_grad():
        for group in context.track(range(_GROUPS), label):
            for start in range(0, size, law.chunk):
                x, query = law.inputs(min(law.chunk, size - start), generator)
                losses = expected_task_loss(kq, ov, x, query, law).sum(dim=1)
                means[group] += losses.double().sum().cpu() / size
    return {"loss": means.numpy()}
