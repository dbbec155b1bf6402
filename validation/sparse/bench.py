"""What trained models are held against: prompts that nothing was trained on, and what is possible on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import SparseProblem
from validation.context import Context
from validation.sparse.linear_attention import LinearTransformer, Mask
from validation.sparse.probes import errors_of, ratio, squared_errors, trimmed
from validation.sparse.prompts import SparsePrompts, best_penalty, draw, oracle, ridge
from validation.sparse.training import watched


@dataclass
class Bench:
    """Prompts of one problem, and risks on them.

    Attributes
    ----------
    prompts : SparsePrompts
    few : SparsePrompts
        The first of them, for what takes long.
    ridge : ndarray, (N,)
        Squared errors of ridge regression.
    oracle : float
        Risk of least squares on the true support, over that of ridge regression.
    nothing : float
        Risk of predicting zero, over that of ridge regression.
    followed : float
        Risk of ridge regression on the prompts on which training follows the risk.
    """

    prompts: SparsePrompts
    few: SparsePrompts
    ridge: Floats
    oracle: float
    nothing: float
    followed: float

    @classmethod
    def of(
        cls,
        context: Context,
        problem: SparseProblem,
        sizes: tuple[int, int] | None = None,
    ) -> Bench:
        """The bench of a problem: on the device, with prompts of the context's seed.

        ``sizes`` are the numbers of prompts, all and few.
        """
        whole, few = sizes or context.pick((10_000, 2000), (20_000, 8000))
        label = f"sparse, bench of d = {problem.d}, s = {problem.s}, noise = {problem.noise:g}"
        prompts = draw(problem, whole, context.generator(label))
        doubles, followed = prompts.to(torch.float64), watched(problem, context.device, torch.float32)
        penalty = best_penalty(problem)
        level = errors_of(ridge(doubles, penalty), doubles)
        return cls(
            prompts=prompts,
            few=SparsePrompts(*(part[:few] for part in prompts)),
            ridge=level,
            oracle=ratio(errors_of(oracle(doubles), doubles), level)[0],
            nothing=ratio(errors_of(torch.zeros_like(doubles.query), doubles), level)[0],
            followed=trimmed(errors_of(ridge(followed, penalty), followed))[0],
        )

    def over_ridge(self, model: LinearTransformer, mask: Mask | None = None) -> tuple[float, float]:
        """A model's risk over that of ridge regression, largest errors of both left out, and its error."""
        return ratio(squared_errors(model, self.prompts, mask), self.ridge)
