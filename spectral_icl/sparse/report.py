"""What is said of a comparison: a table for people, plain objects for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from spectral_icl.io.text import NEVER, plain, table
from spectral_icl.sparse.comparison import Comparison, MethodRisk
from spectral_icl.sparse.methods import METHODS

_RISKS = "mean squared error of the prediction for the noise-free label, each method at its best"
_COLUMNS = ("method", "theory", "simulated", "simulated / theory", "at")


@dataclass(frozen=True, eq=False)
class ComparisonReport:
    """A comparison in words.

    Attributes
    ----------
    comparison : Comparison
    title : str
        First line of the text: where the problem is from.
    """

    comparison: Comparison
    title: str

    def to_text(self) -> str:
        """The title, the problem, the table of risks, and whether P2O beats ridge."""
        found = self.comparison
        lines = [
            self.title,
            f"  problem   {_problem(found)}",
            f"  risks     {_RISKS}",
            "",
            *table([_COLUMNS, *map(_row, found.methods.values())]),
            "",
            *_verdict(found),
        ]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, object]:
        """Risks, hypotheses, curves along time and the study as plain objects; null for NaN and infinity."""
        found = self.comparison
        simulation = found.simulation
        made: dict[str, object] = plain(
            {
                "methods": {
                    name: {key: entry for key, entry in asdict(method).items() if key != "name"}
                    for name, method in found.methods.items()
                },
                "advantage": found.advantage._asdict(),
                "simulated_advantage": found.simulated_advantage._asdict(),
                "hypotheses": [{"text": text, "met": met} for text, met in found.hypotheses],
                "curve": {
                    "time": found.tuning.p2o,
                    "theory": found.curve.mean,
                    "theory_error": found.curve.se,
                    "simulated": None if simulation is None else simulation.mean("p2o"),
                    "se": None if simulation is None else simulation.se("p2o"),
                },
                **found.study.to_dict(),
            }
        )
        return made


def _problem(found: Comparison) -> str:
    """Sizes, noise and signal, and what else is unusual about the law of the prompts."""
    p = found.study.problem
    parts = [f"d = {p.d}, s = {p.s}, n = {p.n}, noise {p.noise:g}, signal {p.signal:g}"]
    if p.weights != "pm":
        parts.append("Gaussian weights")
    if p.correlation:
        parts.append(f"correlation {p.correlation:g}")
    if p.support_variance != 1.0:
        parts.append(f"variance {p.support_variance:g} on the support")
    return ", ".join(parts)


def _row(risk: MethodRisk) -> tuple[str, ...]:
    """Name, both risks, their ratio, and where the best is, of one method."""
    method = METHODS[risk.name]
    return (
        method.name,
        _with_error(risk.theory, risk.theory_error),
        _with_error(risk.simulated, risk.se),
        _ratio(risk),
        f"{method.parameter} = {risk.tuned:.4g}" if np.isfinite(risk.tuned) else "",
    )


def _verdict(found: Comparison) -> list[str]:
    """Lines on P2O over ridge, and on the hypotheses under which it is claimed to win."""
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


def _with_error(value: float, error: float) -> str:
    """A risk and its standard error, if it has one."""
    if np.isnan(value):
        return NEVER
    if np.isinf(value):
        return "infinite"
    return f"{value:.4g}" + (f" +- {error:.1g}" if error > 0.0 else "")


def _ratio(risk: MethodRisk) -> str:
    """The simulated risk over that of theory; empty where one is missing."""
    if not np.isfinite([risk.theory, risk.simulated]).all() or not min(risk.theory, risk.simulated) > 0.0:
        return ""
    ratio = risk.simulated / risk.theory
    error = ratio * np.hypot(risk.se / risk.simulated, risk.theory_error / risk.theory)
    return f"{ratio:.3f} +- {error:.1g}"
