"""Simulations that the claims share: each problem is simulated once."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.sparse import predictors
from spectral_icl.sparse.filters import Steps
from spectral_icl.sparse.methods import USUAL
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import draw, excess_risk
from spectral_icl.sparse.simulation import Estimate, Simulation, simulate
from spectral_icl.sparse.tuning import Tuning

_WIDE, _FEWEST = 8, 50  # times fewer prompts where d is far above n, and no fewer than
_FEATURES = 2**25  # drawn at once
_LAYERS = 3


@dataclass(frozen=True)
class Evidence:
    """Simulated risks on demand.

    Attributes
    ----------
    prompts : int
        To simulate for each problem; fewer where they take long.
    seed : int
    """

    prompts: int
    seed: int
    _kept: dict[object, Simulation] = field(default_factory=dict)

    def larger(self, factor: int) -> Evidence:
        """The same with more prompts."""
        return Evidence(self.prompts * factor, self.seed)

    def usual(self, problem: SparseProblem) -> Simulation:
        """The usual methods on a problem."""
        return self._simulated(problem, USUAL, self.prompts)

    def steps(self, problem: SparseProblem) -> Simulation:
        """The discrete methods, and ridge."""
        return self._simulated(problem, ("p2o_steps", "gd_steps", "ridge"), self.prompts)

    def with_lasso(self, problem: SparseProblem) -> Simulation:
        """P2O and the Lasso."""
        return self._simulated(problem, ("p2o", "lasso"), self.prompts)

    def few(self, problem: SparseProblem) -> Simulation:
        """P2O in parts, and its equivalent, on the fewest prompts."""
        methods = ("p2o", "p2o_support", "p2o_off", "p2o_equivalent")
        return self._simulated(problem, methods, max(_FEWEST, self.prompts // _WIDE))

    def at_time(self, problem: SparseProblem, time: float, method: str) -> Simulation:
        """A method of the P2O flow at one time, on more prompts."""
        return self._simulated(problem, (method,), 3 * self.prompts, time)

    def over_ridge(self, problem: SparseProblem) -> Estimate:
        """P2O over ridge, at the best penalty: the known one for isotropic features, else the tuned one."""
        found = self.usual(problem)
        return found.ratio("p2o", "ridge", below=found.tuning.known if problem.isotropic else None)

    def fixed_steps(self, problem: SparseProblem) -> Estimate:
        """P2O over gradient descent after three steps, each of the best size, one for all prompts.

        Means are over prompts whose risk is clipped at that of predicting 0, since the tail is heavy.
        """
        affordable = max(_FEWEST, _FEATURES // (problem.n * problem.d))
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

    def _simulated(
        self, problem: SparseProblem, methods: tuple[str, ...], prompts: int, time: float | None = None
    ) -> Simulation:
        key = (problem, methods, prompts, time)
        if key not in self._kept:
            self._kept[key] = simulate(problem, methods, prompts, self.seed, Tuning.of(problem, time))
        return self._kept[key]
