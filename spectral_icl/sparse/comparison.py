"""The risk of every method on one problem: the theory's beside the simulated."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from spectral_icl.sparse.experiment import Study
from spectral_icl.sparse.hypotheses import Hypotheses, advantage
from spectral_icl.sparse.methods import METHODS, USUAL, best_risks
from spectral_icl.sparse.risk.best import NAN, Best, p2o_curve
from spectral_icl.sparse.risk.equivalent import Risk
from spectral_icl.sparse.simulation import ROUNDING, Estimate, Simulation, simulate
from spectral_icl.sparse.tuning import Tuning


@dataclass(frozen=True)
class MethodRisk:
    """Risk of a method at its best on one problem.

    Numbers are NaN where there is no theory, no simulation, or nothing to tune.

    Attributes
    ----------
    name : str
    theory, theory_error : float
        The risk by theory, and its standard error.
    simulated, se : float
        The simulated risk, least on the same prompts, and its standard error.
    tuned : float
        Time of the flow or penalty at which that is, by theory if there is one.
    """

    name: str
    theory: float = NAN
    theory_error: float = NAN
    simulated: float = NAN
    se: float = NAN
    tuned: float = NAN


@dataclass(frozen=True, eq=False)
class Comparison:
    """Risks of all methods on one problem.

    Attributes
    ----------
    study : Study
    methods : mapping of str to MethodRisk
    hypotheses : list of (str, bool)
        What the claim that P2O beats ridge supposes, and whether it is so here.
    curve : Risk
        The theory of P2O along ``tuning.p2o``.
    tuning : Tuning
    simulation : Simulation or None
    """

    study: Study
    methods: Mapping[str, MethodRisk]
    hypotheses: Hypotheses
    curve: Risk
    tuning: Tuning
    simulation: Simulation | None

    @property
    def grid(self) -> Tuning:
        """The tuning, by the name it had; for one more release."""
        warnings.warn("Comparison.grid is called Comparison.tuning now", DeprecationWarning, stacklevel=2)
        return self.tuning

    @property
    def advantage(self) -> Estimate:
        """Risk of P2O over that of ridge, both at their best, by theory; NaN if ridge has none, or is 0."""
        top, bottom = self.methods["p2o"], self.methods["ridge"]
        if not bottom.theory > ROUNDING * self.study.problem.signal:  # no theory, or nothing to win against
            return Estimate(NAN, NAN)
        return Estimate(top.theory / bottom.theory, top.theory_error / bottom.theory)

    @property
    def simulated_advantage(self) -> Estimate:
        """Risk of P2O over that of ridge, on the same simulated prompts; NaN without them, or over 0."""
        return Estimate(NAN, NAN) if self.simulation is None else self.simulation.ratio("p2o", "ridge")


def compare(study: Study, advance: Callable[[int], object] | None = None) -> Comparison:
    """Risks of all methods on the problem of a study, by theory and on the same simulated prompts.

    Parameters
    ----------
    study : Study
    advance : callable, optional
        Told how many prompts are done, after every batch.

    Returns
    -------
    Comparison
    """
    problem = study.problem
    tuning = Tuning.of(problem)
    of_theory, of_prompts = np.random.SeedSequence(study.seed).generate_state(2).tolist()
    curve = p2o_curve(problem, tuning.p2o, study.draws, of_theory)
    known = best_risks(problem, tuning, curve)
    names = (*USUAL, *(["lasso"] if study.lasso else []))
    simulation = (
        simulate(problem, names, study.prompts, of_prompts, tuning, advance) if study.prompts else None
    )
    methods = {}
    for name in names:
        found = known.get(name, Best(NAN))
        simulated, tuned = Estimate(NAN, NAN), found.tuned
        if simulation is not None:
            simulated, values = simulation.at_best(name), METHODS[name].values(tuning)
            if np.isnan(tuned) and values is not None:
                tuned = float(values[simulation.best(name)])
        error = NAN if np.isnan(found.risk) else found.error
        methods[name] = MethodRisk(name, found.risk, error, *simulated, tuned)
    return Comparison(study, methods, advantage(problem), curve, tuning, simulation)
