"""What the methods are tuned over: times of flows, numbers of steps, penalties."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import LARGEST, Floats
from spectral_icl.sparse.filters import Flow
from spectral_icl.sparse.problem import SparseProblem

_STEP = 1.2  # from one time to the next


@dataclass(frozen=True, eq=False)
class Tuning:
    """The times, numbers of steps and penalties among which every method takes its best.

    Attributes
    ----------
    p2o, gd : ndarray
        Times of the flows.
    ridge, lasso : ndarray
        Penalties.
    steps : ndarray of int
        Steps of the discrete methods, each of size 1 over the prompt's largest eigenvalue.
    """

    p2o: Floats
    gd: Floats
    ridge: Floats
    lasso: Floats
    steps: NDArray[np.int64]

    @classmethod
    def of(cls, problem: SparseProblem, times: ArrayLike | None = None) -> Tuning:
        """A tuning for a problem, so fine that the best of each method is within a percent of its best.

        Times begin with 0, where the prediction is 0; ``times`` replaces those of P2O. The best ridge penalty
        of an isotropic design, which is known, is the middle one.
        """
        p = problem
        power = p.signal + p.noise
        # rates of the features: what noise moves, at most, and what features with weight move at, at least
        fast = p.signal / p.s * max(1.0, p.support_variance**2) + power / p.n
        slow = p.signal / p.s * min(1.0, p.support_variance**2)
        stretch = max(1.0, p.d / p.n) * max(1.0, p.support_variance)
        ratio = max(p.noise, 1e-12 * p.v) * p.d / (p.n * p.v)
        level = np.sqrt(max(p.noise, 1e-6 * p.v) * np.log(max(p.d, 2)) / p.n)
        return cls(
            p2o=_times(0.01 / fast, 1e4 / slow) if times is None else Flow(times).times,
            gd=_times(0.02 / stretch, 4e4 / min(1.0, p.support_variance)),
            ridge=ratio * np.geomspace(0.05, 20.0, 25),
            lasso=level * np.geomspace(0.15, 4.0, 24),
            steps=np.array([1, 2, 4, 8, 16, 32], dtype=np.int64),
        )

    @property
    def known(self) -> int:
        """Place in ``ridge`` of the best penalty for isotropic features, which is known: the middle."""
        return len(self.ridge) // 2


def _times(first: float, last: float) -> Floats:
    """Times 0 and from first to last, each a fifth above the one before."""
    last = min(last, LARGEST)
    count = int(np.ceil(np.log(last / first) / np.log(_STEP)))
    return np.concatenate([[0.0], np.geomspace(first, last, count)])
