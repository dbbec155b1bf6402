"""What the claims about sparse regression are checked on: simulations of a problem, each made once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.sparse import predictors
from spectral_icl.sparse.filters import Steps
from spectral_icl.sparse.methods import USUAL
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import draw, excess_risk, most_prompts
from spectral_icl.sparse.simulation import Estimate, Simulation, simulate
from spectral_icl.sparse.tuning import Tuning
from spectral_icl.theorems.claim import UnmeasurableError

_WIDE, _FEWEST = 8, 50  # prompts of wide problems: so many times fewer, and at least so many
_FEATURES = 2**25  # drawn at once
_LAYERS = 3  # steps of gradient descent, and of P2O


Kept = dict[tuple[object, ...], Simulation]


@dataclass(frozen=True)
class Evidence:
    """A sparse problem and everything that the claims ask of it, simulated when first asked for.

    Attributes
    ----------
    problem : SparseProblem
    prompts : int
        To simulate; fewer where they take long.
    seed : int
    kept : dict
        Simulations made so far, by what was simulated: shared by evidence on other problems.
    """

    problem: SparseProblem
    prompts: int
    seed: int
    kept: Kept = field(default_factory=dict, repr=False, compare=False)

    def at(self, problem: SparseProblem) -> Evidence:
        """Evidence on another problem, from as many prompts."""
        return replace(self, problem=problem)

    def growing(self, doublings: int) -> Iterator[Evidence]:
        """Evidence from these prompts, then from twice as many, and so on: one more than ``doublings``.

        Less where that would take hours.
        """
        yield self
        for k in range(1, doublings + 1):
            if self.prompts * 2**k <= most_prompts(self.problem):
                yield replace(self, prompts=self.prompts * 2**k, kept={})

    @property
    def usual(self) -> Simulation:
        """Simulation of the usual methods."""
        return self._simulated(USUAL, self.prompts)

    @property
    def steps(self) -> Simulation:
        """Simulation of P2O and gradient descent in discrete steps, and ridge."""
        return self._simulated(("p2o_steps", "gd_steps", "ridge"), self.prompts)

    @property
    def with_lasso(self) -> Simulation:
        """Simulation of P2O and the Lasso, which needs scikit-learn."""
        try:
            return self._simulated(("p2o", "lasso"), self.prompts)
        except ProblemError as error:
            raise UnmeasurableError(f"{error.expected} is needed") from None

    @property
    def parts(self) -> Simulation:
        """Simulation of P2O, on and off the support, and its equivalent, from an eighth of the prompts."""
        methods = ("p2o", "p2o_support", "p2o_off", "p2o_equivalent")
        return self._simulated(methods, max(_FEWEST, self.prompts // _WIDE))

    def at_time(self, time: float, method: str) -> Simulation:
        """Simulation of a method of the P2O flow at one time, from three times the prompts."""
        return self._simulated((method,), 3 * self.prompts, time)

    @property
    def over_ridge(self) -> Estimate:
        """Risk of P2O over that of ridge at the best penalty: known for isotropic features, else tuned."""
        found = self.usual
        return found.ratio("p2o", "ridge", below=found.tuning.known if self.problem.isotropic else None)

    @property
    def fixed_steps(self) -> Estimate:
        """Risk of P2O over that of gradient descent after three steps of the best size for all prompts.

        Means are over prompts whose risk is clipped at that of predicting 0, since the tail is heavy.
        """
        problem = self.problem
        affordable = _FEATURES // (problem.n * problem.d)
        if affordable < _FEWEST:
            raise UnmeasurableError(f"{_FEWEST} prompts of this size do not fit into memory together")
        sample = draw(problem, min(self.prompts, affordable), np.random.default_rng(self.seed))
        scale = problem.s / problem.v
        best: list[Floats] = []
        for metric, sizes in (
            (predictors.correlations(sample.X, sample.y), scale * np.geomspace(0.05, 5.0, 40)),
            (None, np.geomspace(0.02, 2.0, 40)),
        ):
            found = predictors.spectral(sample.X, sample.y, metric)
            risks = [
                excess_risk(
                    found.apply(Steps(eta, _LAYERS)(found.eigenvalues))[:, 0], sample.w, problem.Sigma
                )
                for eta in sizes.tolist()
            ]
            clipped = np.minimum(np.array(risks), problem.signal)
            best.append(clipped[clipped.mean(axis=1).argmin()])
        return Simulation({"p2o": best[0][:, None], "gd": best[1][:, None]}, Tuning.of(problem)).ratio(
            "p2o", "gd"
        )

    def _simulated(self, methods: tuple[str, ...], prompts: int, time: float | None = None) -> Simulation:
        if prompts > most_prompts(self.problem):
            raise UnmeasurableError(f"{prompts} prompts of this size take hours")
        key = (self.problem, methods, prompts, time)
        if key not in self.kept:
            tuning = Tuning.of(self.problem, time)
            self.kept[key] = simulate(self.problem, methods, prompts, self.seed, tuning)
        return self.kept[key]
