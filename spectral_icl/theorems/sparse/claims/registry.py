"""The claims about sparse regression by name, whose they are, and the places that document them."""

from __future__ import annotations

from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.claim import Claims
from spectral_icl.theorems.sparse.evidence import Evidence

CZZ = "Chen, Zhao and Zou (2024)"
DERIVED = "derived; theory/sparse"
OBSERVED = "observed here"
THRESHOLD = f"{CZZ}; the threshold is observed here"

CLAIMS: Claims[Evidence, SparseProblem] = Claims()
claim = CLAIMS.claim


def place(
    d: int = 64,
    s: int = 4,
    n: int = 128,
    noise: float = 0.25,
    *,
    weights: str = "pm",
    correlation: float = 0.0,
    support_variance: float = 1.0,
) -> SparseProblem:
    """A documented place: a usual problem but for what is given."""
    signal = 1.0
    return SparseProblem(d, s, n, noise, signal, weights, correlation, support_variance)


def named(problem: SparseProblem, *names: str) -> str:
    """The parameters that a trial is about, with their values."""
    short = {"correlation": "rho", "support_variance": "variance"}
    return ", ".join(f"{short.get(name, name)} = {getattr(problem, name):g}" for name in names)


def design(problem: SparseProblem) -> str:
    """What of the features is not isotropic, to be put after other parameters; nothing if all is."""
    if problem.correlation:
        return f", rho = {problem.correlation:g}"
    return "" if problem.isotropic else f", variance = {problem.support_variance:g}"
