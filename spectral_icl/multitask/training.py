"""What is said of paths of stochastic gradient descent beside their flow: their scatter, what is left out."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import cached_property

from spectral_icl.io.text import NEVER, plain, shortened, table
from spectral_icl.multitask.context import EXACT
from spectral_icl.multitask.flow.saturation import ACCURATE
from spectral_icl.multitask.flow.scatter import Scatter, Spread
from spectral_icl.multitask.flow.stochastic import StochasticFlow

NEAR_EDGE = 0.5  # of the edge of stability, beyond which steps are no small ones
LARGE = 0.1  # of the excess, beyond which noise is no small perturbation
_GAP = ("...", "", "", "", "", "")
_SPREADS = ("emergence", "escape", "imbalance")


@dataclass(frozen=True, eq=False)
class TrainingReport:
    """Paths in words.

    Attributes
    ----------
    paths : StochasticFlow
    """

    paths: StochasticFlow

    @cached_property
    def scatter(self) -> Scatter:
        """The numbers."""
        return Scatter.of(self.paths)

    def lines(self) -> list[str]:
        """A table of what scatters, what noise costs where the flow ends, and what is to be kept in mind."""
        paths, found = self.paths, self.scatter
        count = len(paths)
        title = f"SGD, step {paths.step:g}, batch {paths.batch}, {count} path{'s' * (count > 1)}"
        named = {
            "emergence of task {}": found.emergence,
            "escape of task {}": found.escape,
            "imbalance |D|, task {}": found.imbalance,
        }
        rows: list[tuple[str, ...]] = [(title, "flow", "median", "5 % to 95 %", "deviation", "paths")]
        for name, spreads in named.items():
            rows += shortened([_row(name.format(i), each, count) for i, each in enumerate(spreads)], _GAP)
        notes = ("imbalance: of the losing heads, when the flow has reached the task's plateau", self._cost)
        return [*table(rows), *(f"  {line}" for line in (*notes, self._edge, *self.warnings))]

    @property
    def _cost(self) -> str:
        """What noise costs at the end, by entries off the diagonals."""
        cost, found = self.paths.cost, self.scatter
        if not math.isfinite(found.stray_loss):
            return "entries off the diagonals: no stationary loss, beyond the edge of stability"
        share = "" if math.isnan(found.stray_share) else f", {_percent(found.stray_share)} of the excess"
        parts = f"KQ {cost.kq[-1]:.3g}, OV {cost.ov[-1]:.3g}"
        return (
            f"entries off the diagonals: stationary loss {found.stray_loss:.3g} at the end{share} ({parts})"
        )

    @property
    def _edge(self) -> str:
        """How large the step is for the landscape."""
        found = self.scatter
        worst = f"{found.edge:.3g} of that at the edge of stability (t = {found.edge_at:.4g})"
        return f"the step is at most {worst}, {found.final_edge:.3g} at the end"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the paths leave out where it matters, a sentence each."""
        paths, found, flow = self.paths, self.scatter, self.paths.flow
        said = []
        if found.lost:
            said.append(f"{found.lost} of {len(paths)} paths left all bounds: the step is too large for them")
        if found.edge > NEAR_EDGE:
            said.append(f"WARNING: beyond {NEAR_EDGE:g} of the edge of stability a step is no small one")
        if found.plateau_share > LARGE:
            share = found.plateau_share
            size = "" if math.isinf(share) else f" ({_percent(share)} of the excess)"
            said.append(
                f"WARNING: noise is no small perturbation of this plateau{size}; what it does on average is "
                "left out"
            )
        saturation = flow.saturation
        if saturation.law != EXACT and not saturation.excess_error <= ACCURATE:
            said.append(
                f"the noise is of leading order in 1/L, and the {saturation.law} law off by more than "
                f'{100.0 * ACCURATE:.0f} %: kernel = "exact" samples it'
            )
        if flow.parametrization.trains_factors and flow.problem.tasks > 1 and not paths.strays:
            said.append(
                "entries off the diagonals of O and V are too many to be followed: no imbalance is made"
            )
        return tuple(said)

    def to_dict(self) -> dict[str, object]:
        """All of that, and when each path emerged and escaped, without NaN or infinity (null instead)."""
        paths, found = self.paths, self.scatter
        numbers = asdict(found)
        spreads = {name: _columns(getattr(found, name)) for name in _SPREADS}
        spreads["emergence"]["paths"] = paths.emergence
        spreads["escape"]["paths"] = paths.escape
        spreads["imbalance"]["time"] = numbers.pop("imbalance_at")
        told: dict[str, object] = {
            "step": paths.step,
            "batch": paths.batch,
            "paths": len(paths),
            "seed": paths.seed,
            "noisy_queries": paths.noisy_queries,
            "strays": paths.strays,
            **spreads,
            **{name: value for name, value in numbers.items() if name not in _SPREADS},
            "stray_loss_kq": paths.cost.kq[-1],
            "stray_loss_ov": paths.cost.ov[-1],
            "warnings": self.warnings,
        }
        return plain(told)


def _columns(spreads: tuple[Spread, ...]) -> dict[str, object]:
    """Spreads of tasks as a list of all tasks for each of their numbers."""
    return {name: [getattr(spread, name) for spread in spreads] for name in Spread.__dataclass_fields__}


def _row(name: str, spread: Spread, count: int) -> tuple[str, ...]:
    """A row of the table: numbers of the flow and of those paths that have one."""
    has = f"{round(spread.share * count)} of {count}"
    if math.isnan(spread.median):
        return (name, _number(spread.flow), NEVER, NEVER, NEVER, has)
    ends = f"{_number(spread.low)} to {_number(spread.high)}"
    return (name, _number(spread.flow), _number(spread.median), ends, _number(spread.deviation, 3), has)


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else NEVER


def _percent(share: float) -> str:
    return f"{100.0 * share:.2g} %" if share < 1.0 else f"{100.0 * share:.0f} %"
