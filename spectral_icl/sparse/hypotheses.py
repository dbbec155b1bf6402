"""When preprocess-then-optimize wins, and by how much: what the claims suppose.

What decides is how far the correlations r_j = X'y/n of features with weight stand out from those without: a
weight's square over the variance of its correlation, n v/(s (v + s2)) for isotropic features, the `contrast`.
The constants are measured here (`python -m benchmarks.sparse_claims`), none is from a theorem.
"""

from __future__ import annotations

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.sparse.problem import SparseProblem

Hypotheses = list[Hypothesis]

SPARSE, VERY = 4, 16  # features per nonzero weight, at least, of sparse and very sparse weights
SHOWN, CLEAR = 16, 32  # contrast from which prompts show the support, and show it clearly
QUIET, LOUD = 10.0, 4.0  # signal over noise, and noise over signal, at most
CORRELATION, WEAK = 0.6, 0.3  # of neighbouring features, at most, for any advantage and for half the risk
VARIANCE, LARGE = 0.3, 0.5  # of features with weight, others having 1, at least, for the two
NOISY = 4.0  # signal over noise, at most, where noise is what limits


def contrast(problem: SparseProblem) -> float:
    """The squared mean of a correlation of a feature that has weight, over the variance of those without.

    a n v/(s (v + s2)) for signal v, noise s2 and the variance a of features with weight, at most 1.
    """
    p = problem
    return p.support_variance * p.n * p.signal / (p.s * (p.signal + p.noise))


def shows(problem: SparseProblem, least: float = SHOWN) -> Hypothesis:
    """The hypothesis that prompts show which features have weight, by a contrast of at least so much."""
    over = "" if problem.support_variance == 1.0 else "/variance"
    text = f"prompts that show the support, n >= {least:g} s (1 + noise/signal){over}"
    return Hypothesis(text, contrast(problem) >= least)


def sparse(problem: SparseProblem, features: int = SPARSE) -> Hypothesis:
    """The hypothesis that at most one of so many features has weight."""
    kind = "very sparse" if features >= VERY else "sparse"
    return Hypothesis(f"{kind} weights, d >= {features} s", problem.d >= features * problem.s)


def advantage(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that P2O beats ridge, each with whether the problem meets it."""
    p = problem
    return [
        sparse(p, VERY if p.correlation else SPARSE),  # neighbours of features with weight look like them
        shows(p),
        Hypothesis(
            f"noise from 1/{QUIET:g} to {LOUD:g} times the signal",
            p.signal <= QUIET * p.noise and p.noise <= LOUD * p.signal,
        ),
        *_design(p, CORRELATION, VARIANCE),
    ]


def half(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that P2O has at most half the risk of ridge: stricter than `advantage`."""
    p = problem
    return [
        sparse(p, VERY),
        shows(p),
        Hypothesis(
            f"noise from 1/{QUIET:g} of the signal to the signal",
            p.signal <= QUIET * p.noise and p.noise <= p.signal,
        ),
        *_design(p, WEAK, LARGE),
    ]


def plain(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of one variance, no correlation, and weights of one size."""
    return [isotropic(problem), one_size(problem)]


def isotropic(problem: SparseProblem) -> Hypothesis:
    """The hypothesis that the covariance of the features is the identity."""
    return Hypothesis("isotropic features", problem.isotropic)


def one_size(problem: SparseProblem) -> Hypothesis:
    """The hypothesis that weights differ in their signs alone."""
    return Hypothesis("weights of one size", problem.weights == "pm")


def noisy(problem: SparseProblem) -> Hypothesis:
    """The hypothesis that noise, more than the length of the flow, is what limits."""
    return Hypothesis(f"noise at least 1/{NOISY:g} of the signal", NOISY * problem.noise >= problem.signal)


def any_noise(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of `advantage` without its bound on how large the noise may be."""
    p = problem
    few, shown, _, *design = advantage(p)
    quiet = Hypothesis(f"noise at least 1/{QUIET:g} of the signal", QUIET * p.noise >= p.signal)
    return [few, shown, quiet, *design]


def near_oracle(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claims on P2O beside least squares on the support, and far below ridge."""
    p = problem
    return [
        *half(p),
        *plain(p),
        Hypothesis("16 pairs per feature", p.n >= 16 * p.d),
        Hypothesis("noise at most half the signal", 2.0 * p.noise <= p.signal),
    ]


def dense(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that ridge wins where all features have weight."""
    p = problem
    noise = Hypothesis(f"noise from 1/{QUIET:g} of the signal on", p.signal <= QUIET * p.noise)
    return [Hypothesis("d < n <= 4 d, d >= 8", p.d < p.n <= 4 * p.d and p.d >= 8), noise, *plain(p)]


def entangled(problem: SparseProblem) -> Hypotheses:
    """Hypotheses, beside strong correlation, of the claim that ridge wins on strongly correlated features."""
    p = problem
    return [
        Hypothesis("n >= 4 d, d <= 4 s, s >= 4", p.n >= 4 * p.d and p.d <= 4 * p.s and p.s >= 4),
        Hypothesis(f"noise at least 1/{QUIET:g} of the signal", QUIET * p.noise >= p.signal),
    ]


def below_bound(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that P2O is below what bounds gradient descent and ridge."""
    *others, correlated, _ = advantage(problem)
    *_, variance = half(problem)
    return [*others, correlated, variance]


def rate(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that the risk is at most a constant times s2 log(n) (s/n + d/n^2)."""
    enough = Hypothesis("n >= d", problem.n >= problem.d)
    return [*below_bound(problem), noisy(problem), enough, one_size(problem)]


def upper_bound(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that the risk is at most s2 log(n)^2 (s/n + d/n^2), with no other constant."""
    return [noisy(problem), Hypothesis("n >= 12 s", problem.n >= 12 * problem.s), *plain(problem)]


def deep(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that eight steps of P2O, of size 1 over the largest eigenvalue, beat ridge."""
    p = problem
    return [*advantage(p), *plain(p), noisy(p), Hypothesis("at most four nonzero weights", p.s <= 4)]


def shallow(problem: SparseProblem) -> Hypotheses:
    """Hypotheses of the claim that two such steps do not: rates of several features, and little noise."""
    p = problem
    return [
        *advantage(p),
        *plain(p),
        Hypothesis("n >= 4 d, d <= 4 s, s >= 4", p.n >= 4 * p.d and p.d <= 4 * p.s and p.s >= 4),
        Hypothesis("noise at most a quarter of the signal", 4.0 * p.noise <= p.signal),
    ]


def _design(problem: SparseProblem, correlation: float, variance: float) -> Hypotheses:
    """Hypotheses that neighbours correlate little, and that variances with weight are not far below 1."""
    p = problem
    return [
        Hypothesis(f"correlation at most {correlation:g}", abs(p.correlation) <= correlation),
        Hypothesis(f"variance on the support from {variance:g} to 1", variance <= p.support_variance <= 1.0),
    ]
