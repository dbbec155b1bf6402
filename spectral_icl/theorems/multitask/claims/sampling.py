"""Sampled softmax attention beside a law of the context, and what of it can be sampled."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask import softmax
from spectral_icl.multitask.accuracy import excess_errors
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State
from spectral_icl.theorems.claim import SIGMAS, Finding, Trial, UnmeasurableError
from spectral_icl.theorems.multitask.evidence import Evidence

UNTOLD = 0.5  # estimated relative error of a law's excess from which nothing is claimed of it
SAMPLED = 0.05  # relative error of the excess beyond the estimated one that a sample has to rule out


def compared(problem: Problem, states: list[State], e: Evidence, needs: list[Hypothesis]) -> Trial:
    """Sampled excesses against the law's, to the error estimated for each state and `SAMPLED`.

    More prompts are drawn until every state is decided: its difference is more than three standard errors
    away from what is allowed, so that a verdict is wrong by chance with probability 0.0014 a state. If the
    allowed difference is still within the error bar in the end, there is none.
    """
    noise = float(np.sum(problem.noise))
    reduced = np.array([losses_at(problem, state, e.kernel).sum() for state in states]) - noise
    omega, mu = (np.array(values) for values in zip(*states, strict=True))
    told = excess_errors(problem, State(omega, mu), e.kernel)
    allowed = told + SAMPLED

    def measure() -> Finding:
        for prompts in dict.fromkeys(softmax.affordable(problem, more * e.prompts) for more in (1, 4, 16)):
            drawn = softmax.losses(problem, states, prompts, e.seed)
            sampled = drawn.mean - noise
            off, bar = np.abs(reduced - sampled) / sampled, drawn.error / sampled
            if (np.abs(off - allowed) > SIGMAS * bar).all():
                break
        else:
            worst = int(((off + SIGMAS * bar) / allowed).argmax())
            raise UnmeasurableError(
                f"{off[worst]:.1%} +- {bar[worst]:.1%} off against {allowed[worst]:.1%}, undecided with "
                f"{prompts} prompts"
            )
        worst = int((off / np.minimum(allowed, 1.0)).argmax())
        drawn_from = f"{prompts} prompts of {problem.context_length:g} pairs"
        what = f"sampled and reduced excess, within {allowed[worst]:.1%}; {drawn_from}"
        mean, error = float(sampled[worst]), float(drawn.error[worst])
        return Finding.sampled(mean, error, float(reduced[worst]), float(allowed[worst]), what)

    powers = float(e.powers.sum())
    as_zero = e.beyond_zero(bool((np.abs(reduced - powers) <= allowed * powers).all()))
    worst = float(told.max())
    text = f"the error estimated for the law is at most {UNTOLD:.0%}"
    known = "" if np.isfinite(worst) else " and known"
    return Trial(measure, needs, [Hypothesis(text + known, worst <= UNTOLD), as_zero])


def sampled(e: Evidence, longer: float = 1.0) -> Hypothesis:
    """Prompts, of so many times the problem's length, that are short enough to be drawn."""
    length, dimension = round(longer * e.problem.context_length), e.problem.dimension
    if e.problem.tasks * max(length, dimension) > softmax.LARGEST_OF_TASKS:
        return Hypothesis(
            f"tasks have at most {softmax.LARGEST_OF_TASKS:g} numbers of a prompt to sample", False
        )
    text = f"a prompt has at most {softmax.LARGEST_PROMPT:g} covariates to sample"
    return Hypothesis(text, length * dimension <= softmax.LARGEST_PROMPT)
