"""The best attention under the exact law."""

from __future__ import annotations

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.exact import Exact
from spectral_icl.multitask.optimal.optima import Benchmark, Optima, optima
from spectral_icl.multitask.problem import Problem

BELOW_BAYES = "bound on the Bayes risk"  # not to be taken for the bounds that other laws have


@optima(Exact, "exact")
class ExactOptima(Optima):
    """The optima under the law of softmax attention itself."""

    def lower_bound(self, problem: Problem) -> Benchmark:
        """What no predictor goes below, since none is known that is of attention alone.

        It is below the Bayes risk too, which takes longer than what asks for this bound at every flow.
        """
        losses = below_bayes(problem) + np.asarray(problem.noise)
        return Benchmark(BELOW_BAYES, float(losses.sum()), losses, False, None, law=self.law)


def below_bayes(problem: Problem) -> Floats:
    """A bound (I,) on Bayes risks without query noise: sum_b A_b / (1 + L A_b / (d_b sigma^2)).

    The risk is E tr (T^-1 + Z^T Z / sigma^2)^-1, see `ridge`, and the trace of an inverse is convex: the mean
    is at least the value at E Z^T Z = L (Jensen). It is zero without noise, and close to the risk where L is
    large against d.
    """
    signal, sizes = np.asarray(problem.signal), np.asarray(problem.block_sizes, dtype=np.float64)
    seen = sizes * np.asarray(problem.noise)[:, None]
    known = seen + problem.context_length * signal
    least: Floats = (signal * np.divide(seen, known, out=np.zeros_like(seen), where=known > 0.0)).sum(axis=1)
    return least
