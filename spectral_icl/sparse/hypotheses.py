"""When preprocess-then-optimize beats ridge: what the claim supposes, with the constants it is checked at."""

from __future__ import annotations

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.sparse.problem import SparseProblem

Hypotheses = list[Hypothesis]

SPARSE, VERY = 4, 16  # features per nonzero weight, at least, of sparse and very sparse weights
LENGTH = 12  # context pairs per nonzero weight, at least
SNR, QUIET = 0.25, 100.0  # signal over noise, at least and at most
CORRELATION = 0.6  # of neighbouring features, at most
VARIANCE = 0.3  # of features with weight, at least, others having 1


def advantage(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that P2O beats ridge, each with whether the problem meets it."""
    p = problem
    return [
        Hypothesis(f"sparse weights, d >= {SPARSE} s", p.d >= SPARSE * p.s),
        Hypothesis(f"prompts that show the support, n >= {LENGTH} s", p.n >= LENGTH * p.s),
        Hypothesis(
            f"signal over noise from {SNR:g} to {QUIET:g}", SNR * p.noise <= p.signal <= QUIET * p.noise
        ),
        Hypothesis(f"correlation at most {CORRELATION:g}", abs(p.correlation) <= CORRELATION),
        Hypothesis(f"variance on the support from {VARIANCE:g} to 1", VARIANCE <= p.support_variance <= 1.0),
    ]


def half(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that P2O has at most half the risk of ridge: `advantage` and two more."""
    p = problem
    return [
        *advantage(p),
        Hypothesis(f"very sparse weights, d >= {VERY} s", p.d >= VERY * p.s),
        Hypothesis("noise <= signal", p.noise <= p.signal),
    ]


def any_noise(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of `advantage` without its bound on how large the noise may be."""
    p = problem
    sparse, long, _, *design = advantage(p)
    quiet = Hypothesis(f"noise at least 1/{QUIET:g} of the signal", QUIET * p.noise >= p.signal)
    return [sparse, long, quiet, *design]
