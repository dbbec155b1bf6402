"""What the checks expect: every loss, gradient and flow of theory, in one place, where it can be spoilt.

Spoilt theory is how the checks are checked: a fault of `validation.context.FAULTS` that none of them sees
would be one that they are not worth running for.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from scipy.optimize import root
from torch import Tensor

from spectral_icl import Balanced, Factored, Merged, Problem, Solution, gradient_flow
from spectral_icl.io.checks import Floats
from spectral_icl.multitask import loss as reduced
from spectral_icl.multitask.flow.stochastic import StochasticFlow, stochastic_flow
from spectral_icl.multitask.noise.moments import gradient_noise
from spectral_icl.multitask.noise.plateau import stationary_cost
from spectral_icl.multitask.optimal import benchmarks as optimal
from spectral_icl.multitask.parametrization import key_scale_of
from spectral_icl.multitask.state import State
from validation.context import FAULTS, Context
from validation.multitask import large_length
from validation.multitask.full_model import FactoredAttention
from validation.multitask.prompts import Law

EXACT, ASYMPTOTIC = "exact", "asymptotic"

_ENDLESS = 1e9  # a context so long that the term in 1 / L is nothing
_PROMPTS = 40_000  # for the covariance of a gradient: 1 % of what it costs
_SCALED = 1.05  # key scale of a spoilt theory, over the right one


@dataclass(frozen=True)
class Theory:
    """The exact law of the context, the flows under it, and what is wrong with them on purpose.

    Attributes
    ----------
    fault : str or None
        ``no-length-term``: the context is endless. ``key-scale``: factors have one that is 5 % larger.
        ``sign``: of the first mu, wherever theory is asked. ``asymptotic``: in place of the exact law.
    """

    fault: str | None = None

    def __post_init__(self) -> None:
        if self.fault is not None and self.fault not in FAULTS:
            raise ValueError(f"fault = {self.fault!r}: expected None or one of {', '.join(FAULTS)}")

    @classmethod
    def of(cls, context: Context) -> Theory:
        """The theory of a context."""
        return cls(context.fault)

    @property
    def kernel(self) -> str:
        """Name of the law of the context."""
        return ASYMPTOTIC if self.fault == "asymptotic" else EXACT

    def problem(self, problem: Problem) -> Problem:
        """The problem as theory has it."""
        return _endless(problem) if self.fault == "no-length-term" else problem

    def state(self, at: State) -> State:
        """The state (H, B) and (H, I), or states with leading axes, as theory has it."""
        if self.fault != "sign":
            return at
        mu = at.mu.copy()
        mu[..., 0, 0] *= -1.0
        return State(at.omega, mu)

    def key_scale(self, problem: Problem) -> float:
        """The factor c in front of the logits of trained factors."""
        return key_scale_of(problem, None) * (_SCALED if self.fault == "key-scale" else 1.0)

    def loss(self, problem: Problem, at: State) -> float:
        """Population loss of a state, by quadrature, summed over tasks with the query noise."""
        return float(reduced.loss(self.problem(problem), *self.state(at), kernel=self.kernel))

    def losses_at(self, problem: Problem, at: State) -> Floats:
        """Losses of every task (..., I), from the flow's table; states are taken as they are."""
        return reduced.losses_at(self.problem(problem), at, self.kernel)

    def gradient(self, problem: Problem, at: State) -> State:
        """Gradient of the loss by blocks' common omega (H, B) and by mu (H, I), by quadrature."""
        return reduced.gradient(self.problem(problem), *self.state(at), kernel=self.kernel)

    def gradient_at(self, problem: Problem, at: State) -> State:
        """Gradient from the flow's table, of a state taken as it is."""
        return reduced.gradient_at(self.problem(problem), at, self.kernel)

    def hessian_at(self, problem: Problem, at: State) -> Floats:
        """Hessian by omega and then mu, head-major, from the flow's table, of a state taken as it is."""
        return reduced.hessian_at(self.problem(problem), at, self.kernel)

    def hessian(self, problem: Problem, at: State) -> Floats:
        """Hessian by omega and then mu, head-major, by quadrature."""
        return reduced.hessian(self.problem(problem), *self.state(at), kernel=self.kernel)

    def flow(
        self,
        problem: Problem,
        start: State,
        end: float,
        parametrization: Factored | Merged | None = None,
        times: Floats | None = None,
    ) -> Solution:
        """Gradient flow from a start to a time; of balanced factors unless told otherwise."""
        weights: Balanced | Factored | Merged = parametrization or Balanced()
        if not isinstance(weights, Merged):
            weights = replace(weights, key_scale=self.key_scale(problem))
        at = self.state(start)
        return gradient_flow(
            self.problem(problem), *at, parametrization=weights, t_end=end, t_eval=times, kernel=self.kernel
        )

    def stray_cost(self, problem: Problem, at: State, step: float, batch: int) -> float:
        """Loss that noise adds by entries off the diagonals of balanced factors, once it is stationary."""
        here, spoilt = self.state(at), self.problem(problem)
        states = State(here.omega[None], here.mu[None])
        kernel = self._noisy_kernel
        noise = gradient_noise(spoilt, states, kernel, prompts=_PROMPTS)
        weights = Balanced(key_scale=self.key_scale(problem))
        cost = stationary_cost(spoilt, weights, states, noise, step, float(batch), kernel)
        return float(cost.loss[0])

    def paths(
        self, problem: Problem, start: State, times: Floats, step: float, batch: int, count: int
    ) -> StochasticFlow:
        """Stochastic gradient descent of balanced factors in the reduced variables, so many times over.

        The paths do not depend on a command's seed: what is expected is the same for every seed.
        """
        return _paths(
            self.problem(problem),
            *(tuple(map(tuple, values.tolist())) for values in self.state(start)),
            tuple(times.tolist()),
            step,
            batch,
            count,
            self.key_scale(problem),
            self._noisy_kernel,
        )

    @property
    def _noisy_kernel(self) -> str:
        # endless prompts cannot be drawn, and need not be: the asymptotic law knows them in closed form
        return ASYMPTOTIC if self.fault == "no-length-term" else self.kernel

    def optimum(self, problem: Problem) -> State:
        """The best single head of a problem of one block."""
        return _optimum(self.problem(problem), self.kernel)

    def whole_gradient(self, kq: Tensor, ov: Tensor, problem: Problem, law: Law) -> tuple[Tensor, Tensor]:
        """Asymptotic gradient by the entries of whole matrices W^h (H, d, d) and U^h (H, I, I)."""
        if self.fault == "sign":
            ov = ov.clone()
            ov[0, 0, 0] *= -1.0
        return large_length.gradient(kq, ov, self.problem(problem), law)

    def whole_flow(self, model: FactoredAttention, problem: Problem, times: Floats) -> tuple[Floats, Floats]:
        """Asymptotic flow of a model's K, Q, V and O: the circuits (T, H, d, d) and (T, H, I, I) at times."""
        spoilt = copy.deepcopy(model)
        with torch.no_grad():
            spoilt.key_scale *= self.key_scale(problem) / key_scale_of(problem, None)
            if self.fault == "sign":
                spoilt.output[0, 0] *= -1.0
        return large_length.flow(spoilt, self.problem(problem), times)


@cache
def _endless(problem: Problem) -> Problem:
    return replace(problem, context_length=_ENDLESS)


@cache
def _paths(
    problem: Problem,
    omega: tuple[tuple[float, ...], ...],
    mu: tuple[tuple[float, ...], ...],
    times: tuple[float, ...],
    step: float,
    batch: int,
    count: int,
    key_scale: float,
    kernel: str,
) -> StochasticFlow:
    return stochastic_flow(
        problem,
        omega,
        mu,
        step=step,
        batch=batch,
        parametrization=Balanced(key_scale=key_scale),
        t_end=times[-1],
        t_eval=times,
        kernel=kernel,
        paths=count,
    )


@cache
def _optimum(problem: Problem, kernel: str) -> State:
    near = optimal.single_head(problem).weights
    assert near is not None

    def slope(x: Floats) -> Floats:
        by_omega, by_mu = reduced.gradient_at(problem, State(x[:1, None], x[1:, None]), kernel)
        return np.array([by_omega[0, 0], by_mu[0, 0]])

    found = root(slope, np.concatenate([near.omega[0], near.mu[0]]), tol=1e-9)
    return State(found.x[:1, None], found.x[1:, None])
