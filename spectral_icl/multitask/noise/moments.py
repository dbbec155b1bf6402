"""Covariance over prompts of the gradient at decomposable weights: what the noise of a batch is made of.

The gradient by an entry of U^h or W^h is a product of two numbers that are linear in the labels,

    dloss/dU^h_ij = 2 e_i r_j^h,     dloss/dW^h_jk = 2 sum_i mu_hi e_i c_ij^h q_k,

the error e_i of the prediction, what head h reads of task j, r_j^h = sum_l p_l y_jl, and what its tilt reads,
c_ij^h = Cov_p(y_i, x_j). Its covariance is a sum of products of the second moments of these. They are in
closed form to leading order in 1/L and, of what the query does, in 1/d; under the exact law they are sampled.
"""

from __future__ import annotations

from functools import singledispatch
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.exact import Exact
from spectral_icl.kernels.first_order import FirstOrder
from spectral_icl.kernels.model import Model
from spectral_icl.kernels.threads import available_cores
from spectral_icl.multitask.context import DEFAULT, pack, unknown
from spectral_icl.multitask.noise.leading import leading_order
from spectral_icl.multitask.noise.sampled import Drawn, averaged
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State


class GradientNoise(NamedTuple):
    """Covariances of one prompt's gradient at K states, and curvatures; a batch of b has 1/b of the former.

    Attributes
    ----------
    entries : ndarray, (K, N, N)
        Of the gradient by one entry of the diagonals of W, averaged over its block (H, B), then by mu (H, I).
    crossed : ndarray, (K, I, I, H, H)
        Of that by U^h_ij and U^k_ij, i != j; zero where i = j.
    swapped : ndarray, (K, I, I, H, H)
        Of that by U^h_ij and U^k_ji.
    curvature : ndarray, (K, I, H, H)
        Second derivative of the loss by U^h_ij and U^k_ij, of any i: it depends on the label j that is read.
    stray : ndarray, (K, B, B, H, H)
        Covariance of the gradient by one entry of W off its diagonal, from a row of block b, a column of c.
    bend : ndarray, (K, B, B, H, H)
        Second derivative of the loss by it.
    """

    entries: Floats
    crossed: Floats
    swapped: Floats
    curvature: Floats
    stray: Floats
    bend: Floats


def gradient_noise(
    problem: Problem,
    at: State,
    kernel: str = DEFAULT,
    *,
    noisy_queries: bool = False,
    prompts: int = 4000,
    seed: int = 0,
    threads: int | None = None,
) -> GradientNoise:
    """How the gradient of one prompt scatters at decomposable weights.

    Parameters
    ----------
    problem : Problem
    at : State
        K states, omega (K, H, B) and mu (K, H, I).
    kernel : str
        Law of the context. The asymptotic and the first-order one have a closed form, to leading order in
        1/L; under the exact law covariates are drawn, the same for all states, and labels averaged over.
    noisy_queries : bool
        Whether the query's label has noise in training, which the population gradient does not see.
    prompts, seed : int
        Of what is drawn; errors are some percent at 4000.
    threads : int, optional
        All cores by default; the result does not depend on it.

    Returns
    -------
    GradientNoise

    Raises
    ------
    ProblemError
        There is no such law.
    """
    hidden = np.asarray(problem.noise) if noisy_queries else np.zeros(problem.tasks)
    drawn = Drawn(prompts, seed, available_cores() if threads is None else threads)
    return _noise(pack(problem, kernel, at.omega), problem, at, hidden, drawn)


@singledispatch
def _noise(model: Model, problem: Problem, at: State, hidden: Floats, drawn: Drawn) -> GradientNoise:
    """The covariances by the law of a model; ``hidden`` (I,) is the noise of the queries' labels."""
    unknown(model, "a known covariance of the gradient")


@_noise.register(Asymptotic)
@_noise.register(FirstOrder)
def _(model: Model, problem: Problem, at: State, hidden: Floats, drawn: Drawn) -> GradientNoise:
    each = [
        leading_order(problem, State(omega, mu), hidden) for omega, mu in zip(at.omega, at.mu, strict=True)
    ]
    return GradientNoise(*(np.array(values) for values in zip(*each, strict=True)))


@_noise.register
def _(model: Exact, problem: Problem, at: State, hidden: Floats, drawn: Drawn) -> GradientNoise:
    return GradientNoise(*averaged(problem, at, hidden, drawn))
