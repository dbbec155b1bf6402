"""The risk of every method on one problem: the theory's beside the simulated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from spectral_icl.io.text import NEVER, plain, table
from spectral_icl.sparse.experiment import Study
from spectral_icl.sparse.hypotheses import Hypotheses, advantage
from spectral_icl.sparse.methods import LABELS
from spectral_icl.sparse.risk import best as theory
from spectral_icl.sparse.risk.equivalent import Risk
from spectral_icl.sparse.simulation import USUAL, Estimate, Grid, Simulation, simulate

_TUNED = {"p2o": "T", "gd": "T", "ridge": "lambda", "lasso": "lambda"}
_NAN = float("nan")
_ROUNDING = 1e-12  # of the signal, below which a risk is none


@dataclass(frozen=True)
class Method:
    """A method at its best on one problem.

    Attributes
    ----------
    name : str
    theory, theory_error : float
        Its risk by theory, and the standard error of that; NaN if there is no theory for it.
    simulated, se : float
        Its simulated risk, at its best on the same prompts, and the standard error; NaN if not simulated.
    tuned : float
        Time of the flow or penalty at its best, by theory if there is one; NaN if there is nothing to tune.
    """

    name: str
    theory: float = _NAN
    theory_error: float = _NAN
    simulated: float = _NAN
    se: float = _NAN
    tuned: float = _NAN


@dataclass(frozen=True, eq=False)
class Comparison:
    """All methods on one problem.

    Attributes
    ----------
    study : Study
    methods : mapping of str to Method
    hypotheses : list of (str, bool)
        What the claim that P2O beats ridge supposes, and whether it is so here.
    curve : Risk
        The theory of P2O along ``grid.p2o``.
    grid : Grid
    simulation : Simulation or None
    """

    study: Study
    methods: Mapping[str, Method]
    hypotheses: Hypotheses
    curve: Risk
    grid: Grid
    simulation: Simulation | None

    @property
    def advantage(self) -> Estimate:
        """Risk of P2O over that of ridge, both at their best, by theory; NaN if ridge has none, or is 0."""
        top, bottom = self.methods["p2o"], self.methods["ridge"]
        if not bottom.theory > _ROUNDING * self.study.problem.signal:  # no theory, or nothing to win against
            return Estimate(_NAN, _NAN)
        return Estimate(top.theory / bottom.theory, top.theory_error / bottom.theory)

    @property
    def simulated_advantage(self) -> Estimate:
        """The same, simulated on the same prompts; NaN if nothing was simulated."""
        negligible = _ROUNDING * self.study.problem.signal
        if self.simulation is None or self.simulation.at_best("ridge").mean <= negligible:
            return Estimate(_NAN, _NAN)
        return self.simulation.ratio("p2o", "ridge")


def compare(study: Study, advance: Callable[[int], object] | None = None) -> Comparison:
    """Put all methods side by side.

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
    grid = Grid.of(problem)
    of_theory, of_prompts = np.random.SeedSequence(study.seed).generate_state(2).tolist()
    curve = theory.p2o_curve(problem, grid.p2o, study.draws, of_theory)
    known = theory.best(problem, grid, curve)
    names = (*USUAL, *(["lasso"] if study.lasso else []))
    simulation = simulate(problem, names, study.prompts, of_prompts, grid, advance) if study.prompts else None
    methods = {}
    for name in names:
        found = known.get(name, theory.Best(_NAN))
        simulated, tuned = Estimate(_NAN, _NAN), found.tuned
        if simulation is not None:
            simulated, axis = simulation.at_best(name), grid.axis(name)
            if np.isnan(tuned) and axis is not None:
                tuned = float(axis[simulation.best(name)])
        error = _NAN if np.isnan(found.risk) else found.error
        methods[name] = Method(name, found.risk, error, *simulated, tuned)
    return Comparison(study, methods, advantage(problem), curve, grid, simulation)


def as_text(found: Comparison, title: str) -> str:
    """A table for people."""
    p = found.study.problem
    kind = "" if p.weights == "pm" else ", Gaussian weights"
    if p.correlation:
        kind += f", correlation {p.correlation:g}"
    if p.support_variance != 1.0:
        kind += f", variance {p.support_variance:g} on the support"
    lines = [
        title,
        f"  problem   d = {p.d}, s = {p.s}, n = {p.n}, noise {p.noise:g}, signal {p.signal:g}{kind}",
        "  risks     mean squared error of the prediction for the noise-free label, each method at its best",
        "",
    ]
    rows: list[tuple[str, ...]] = [("method", "theory", "simulated", "simulated / theory", "at")]
    for method in found.methods.values():
        rows.append(
            (
                LABELS[method.name],
                _risk(method.theory, method.theory_error),
                _risk(method.simulated, method.se),
                _ratio(method),
                f"{_TUNED[method.name]} = {method.tuned:.4g}" if np.isfinite(method.tuned) else "",
            )
        )
    lines += table(rows)
    lines += ["", *_verdict(found)]
    return "\n".join(lines)


def _verdict(found: Comparison) -> list[str]:
    """Who wins, and whether that was to be expected."""
    sampled = found.study.prompts > 0
    ratio = found.simulated_advantage if sampled else found.advantage
    lines = []
    if np.isfinite(ratio.mean):
        how = "simulated on the same prompts" if sampled else "by theory"
        lines.append(f"  P2O / ridge = {ratio.mean:.3f} +- {ratio.se:.1g}, {how}")
    unmet = [text for text, met in found.hypotheses if not met]
    lines.append(
        "  the hypotheses under which P2O beats ridge are met"
        if not unmet
        else f"  no advantage over ridge is claimed here: not met are: {'; '.join(unmet)}"
    )
    return lines


def as_json(found: Comparison) -> dict[str, Any]:
    """The same as plain objects, without NaN or infinity (null instead), with the curves along time."""
    simulation = found.simulation
    made: dict[str, Any] = plain(
        {
            "methods": {
                name: {key: entry for key, entry in asdict(method).items() if key != "name"}
                for name, method in found.methods.items()
            },
            "advantage": found.advantage._asdict(),
            "simulated_advantage": found.simulated_advantage._asdict(),
            "hypotheses": [{"text": text, "met": met} for text, met in found.hypotheses],
            "curve": {
                "time": found.grid.p2o,
                "theory": found.curve.mean,
                "theory_error": found.curve.se,
                "simulated": None if simulation is None else simulation.mean("p2o"),
                "se": None if simulation is None else simulation.se("p2o"),
            },
            **found.study.to_dict(),
        }
    )
    return made


def _risk(value: float, error: float) -> str:
    if np.isnan(value):
        return NEVER
    if np.isinf(value):
        return "infinite"
    return f"{value:.4g}" + (f" +- {error:.1g}" if error > 0.0 else "")


def _ratio(method: Method) -> str:
    if not np.isfinite([method.theory, method.simulated]).all() or method.theory <= 0.0:
        return ""
    ratio = method.simulated / method.theory
    error = ratio * np.hypot(method.se / method.simulated, method.theory_error / method.theory)
    return f"{ratio:.3f} +- {error:.1g}"
