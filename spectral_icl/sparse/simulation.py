"""Simulated risks of every method on the same prompts, with standard errors of risks and of their ratios."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, choice, integer, sequence
from spectral_icl.io.renamed import renamed
from spectral_icl.kernels.threads import one_thread
from spectral_icl.sparse.methods import METHODS, USUAL, Batch
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import Prompts, draw, most_prompts
from spectral_icl.sparse.rng import Random, generator
from spectral_icl.sparse.tuning import Tuning

_BATCH, _ESTIMATES = 2**22, 2**17  # features drawn at a time, and weights estimated at a time of a flow
ROUNDING = 1e-12  # of risks, in parts of the signal


class Estimate(NamedTuple):
    """A sampled mean and its standard error."""

    mean: float
    se: float


@dataclass(frozen=True, eq=False)
class Simulation:
    """Excess risks of methods on the same prompts.

    Attributes
    ----------
    risks : mapping of str to ndarray, (N, J)
        Of every prompt, averaged over queries exactly, at every value of the method's tuning; J = 1 if there
        is nothing to tune.
    tuning : Tuning
    rounding : float
        Of risks: one that is not above is 0.
    """

    risks: Mapping[str, Floats]
    tuning: Tuning
    rounding: float = 0.0

    @property
    def grid(self) -> Tuning:
        """The tuning, by the name it had; for one more release."""
        warnings.warn("Simulation.grid is called Simulation.tuning now", DeprecationWarning, stacklevel=2)
        return self.tuning

    def mean(self, method: str) -> Floats:
        """Mean risk (J,)."""
        found: Floats = self.risks[method].mean(axis=0)
        return found

    def se(self, method: str) -> Floats:
        """Standard error of the mean risk (J,)."""
        risks = self.risks[method]
        found: Floats = risks.std(axis=0, ddof=1) / np.sqrt(len(risks))
        return found

    def best(self, method: str) -> int:
        """Index of the least mean risk among the values of a method's tuning."""
        return int(np.argmin(self.mean(method)))

    def at_best(self, method: str) -> Estimate:
        """Least mean risk of a method, and its standard error."""
        k = self.best(method)
        return Estimate(float(self.mean(method)[k]), float(self.se(method)[k]))

    def ratio(self, method: str, other: str, at: int | None = None, below: int | None = None) -> Estimate:
        """Mean risk of a method over that of another, each at its best or at the given places of its tuning.

        NaN over a risk of 0. The prompts are the same, so that much of the noise cancels; the error is the
        linearised ratio's. It takes these places as given, which needs some twenty prompts or more.
        """
        top = self.risks[method][:, self.best(method) if at is None else at]
        bottom = self.risks[other][:, self.best(other) if below is None else below]
        if not bottom.mean() > self.rounding:
            return Estimate(float("nan"), float("nan"))
        value = top.mean() / bottom.mean()
        off = (top - value * bottom) / bottom.mean()
        return Estimate(float(value), float(off.std(ddof=1) / np.sqrt(len(off))))


@renamed(seed="rng", grid="tuning")
def simulate(
    problem: SparseProblem,
    methods: Sequence[str] = USUAL,
    prompts: int = 1000,
    rng: Random = 0,
    tuning: Tuning | None = None,
    advance: Callable[[int], object] | None = None,
) -> Simulation:
    """Risks of methods on the same sampled prompts of a problem.

    Parameters
    ----------
    problem : SparseProblem
    methods : sequence of str
        Keys of `methods.METHODS`: "p2o" and "gd" are the flows, "p2o_steps" and "gd_steps" take steps of
        size 1 over the prompt's largest eigenvalue, "p2o_support" and "p2o_off" are parts of the risk of
        "p2o" (for uncorrelated features), "p2o_equivalent" is its deterministic equivalent given the same r
        and |y|^2. "lasso" needs scikit-learn, and takes long.
    prompts : int
        2 to 10^6, and no more than take about an hour: `prompts.most_prompts`.
    rng : Generator or int, optional
        Source of the prompts, or its seed.
    tuning : Tuning, optional
        By default that of the problem, `Tuning.of`.
    advance : callable, optional
        Told how many prompts are done, after every batch.

    Returns
    -------
    Simulation

    Raises
    ------
    ProblemError
        An argument is malformed.
    """
    given = sequence("methods", methods, "names of methods")
    names = [choice(f"methods[{k}]", name, tuple(METHODS)) for k, name in enumerate(given)]
    count = integer("prompts", prompts, minimum=2, maximum=most_prompts(problem))
    draws = generator(rng)
    used = Tuning.of(problem) if tuning is None else tuning
    size = max(1, min(count, _BATCH // (problem.n * problem.d), _ESTIMATES // problem.d))
    risks: dict[str, Floats] = {}
    with one_thread():
        for start in range(0, count, size):
            sample = draw(problem, min(size, count - start), draws)
            for name, part in risks_on(sample, problem.Sigma, problem.noise, used, names).items():
                whole = risks.setdefault(name, np.empty((count, part.shape[1])))
                whole[start : start + size] = part
            if advance is not None:
                advance(len(sample.w))
    return Simulation(risks, used, ROUNDING * problem.signal)


def risks_on(
    prompts: Prompts, Sigma: Floats | None, noise: float, tuning: Tuning, methods: Iterable[str]
) -> dict[str, Floats]:
    """Excess risks (B, J) of every method on given prompts, with the label noise they were drawn with."""
    batch = Batch(prompts, Sigma, noise, tuning)
    return {name: METHODS[name].risks(batch) for name in methods}


@renamed(v="signal", s2="noise", Ts="times", trials="prompts", seed="rng")
def mc_risk(
    methods: Sequence[str],
    d: int,
    s: int,
    n: int,
    signal: float,
    noise: float,
    times: ArrayLike | None = None,
    prompts: int = 1000,
    rng: Random = 0,
    paired: bool = False,
) -> dict[str, dict[str, Floats]]:
    """Simulated risks of methods, isotropic features and weights +-sqrt(v/s).

    Parameters
    ----------
    methods : sequence of str
        See `simulate`.
    d, s, n : int
    signal, noise : float
        v = |w|^2, and the variance of the label noise.
    times : array_like (J,), optional
        Times of the flow of P2O.
    prompts : int
    rng : Generator or int, optional
        Source of the prompts, or its seed.
    paired : bool
        Whether to add the theory of "p2o" given each prompt's own r and |y|^2, as "p2o_equivalent".

    Returns
    -------
    dict of str to dict
        Of every method its ``mean`` and ``se``, (J,) each.
    """
    names = [*methods, *(["p2o_equivalent"] if paired and "p2o_equivalent" not in methods else [])]
    problem = SparseProblem(d, s, n, noise, signal)
    found = simulate(problem, names, prompts, rng, Tuning.of(problem, times))
    return {name: {"mean": found.mean(name), "se": found.se(name)} for name in names}
