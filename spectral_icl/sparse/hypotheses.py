"""When preprocess-then-optimize beats ridge: what the claim supposes, with the constants it is checked at."""

from __future__ import annotations

from spectral_icl.sparse.problem import SparseProblem

Hypotheses = list[tuple[str, bool]]

SPARSE = 4  # features per nonzero weight,
LENGTH = 12  # context pairs per nonzero weight,
SNR = 0.25  # signal over noise
CORRELATION = 0.6
VARIANCE = 0.3  # of features with weight


def advantage(problem: SparseProblem) -> Hypotheses:
    """The hypotheses of the claim that P2O beats ridge, and whether they are met."""
    p = problem
    return [
        (f"sparse weights, d >= {SPARSE} s", p.d >= SPARSE * p.s),
        (f"prompts that show the support, n >= {LENGTH} s", p.n >= LENGTH * p.s),
        (f"signal over noise >= {SNR:g}", p.signal >= SNR * p.noise),
        (f"correlation at most {CORRELATION:g}", abs(p.correlation) <= CORRELATION),
        (f"variance on the support at least {VARIANCE:g}", p.support_variance >= VARIANCE),
    ]


def sparse(problem: SparseProblem) -> Hypotheses:
    """Of these, that there are enough features and pairs for every nonzero weight."""
    return advantage(problem)[:2]
