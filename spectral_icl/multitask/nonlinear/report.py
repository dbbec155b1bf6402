"""What is said of a solved flow on single-index tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from spectral_icl.io.text import NEVER, plain, shortened, table
from spectral_icl.multitask.nonlinear.flow import SingleIndexFlow
from spectral_icl.multitask.nonlinear.learned import Learned, learned_at
from spectral_icl.multitask.nonlinear.optimal import BestHeads, best_head, best_pair, lower_bound

_MOST_SEARCHED = 4  # tasks of which the best heads are looked for, in seconds


@dataclass(frozen=True, eq=False)
class NonlinearReport:
    """A solved flow in words.

    Attributes
    ----------
    flow : SingleIndexFlow
    title : str
        First line of the text: where the problem is from.
    """

    flow: SingleIndexFlow
    title: str

    @cached_property
    def learned(self) -> Learned:
        """What the heads learned of every degree, at the end."""
        return learned_at(self.flow.problem, self.flow.final)

    @cached_property
    def best(self) -> Mapping[str, tuple[BestHeads, ...]]:
        """The best heads of every task, by name; none where there are many tasks."""
        problem, kernel = self.flow.problem, self.flow.kernel
        if problem.tasks > _MOST_SEARCHED:
            return {}
        finders = {"best_head": best_head, "best_pair": best_pair}
        tasks = range(problem.tasks)
        return {name: tuple(find(problem, i, kernel) for i in tasks) for name, find in finders.items()}

    def to_text(self) -> str:
        """A short account: what was solved, what was learned of every degree, and losses beside the best."""
        return "\n\n".join("\n".join(block) for block in (self._header(), self._degrees(), self._losses()))

    def to_dict(self) -> Mapping[str, object]:
        """The final state, what was learned and the benchmarks, with null for what is not finite."""
        flow, noise = self.flow, np.array(self.flow.problem.noise)
        best = {
            name: [{"omega": heads.omega, "mu": heads.mu, "loss": heads.loss} for heads in each]
            for name, each in self.best.items()
        }
        found: dict[str, object] = {
            "loss": float(flow.final_task_loss.sum()),
            "task_loss": flow.final_task_loss,
            "excess": flow.final_task_loss - noise,
            "time": flow.end,
            "omega": flow.final.omega,
            "mu": flow.final.mu,
            "learned": self.learned._asdict(),
            "optimal": best,
            "lower_bound": lower_bound(flow.problem),
            "success": flow.success,
            "outcome": flow.outcome.name.lower(),
            "message": flow.message,
            "kernel": flow.kernel,
            "parametrization": flow.parametrization.name,
            "gradients": flow.evaluations,
            "problem": flow.problem.to_dict(),
        }
        return plain(found)

    def _header(self) -> list[str]:
        flow, problem = self.flow, self.flow.problem
        heads = flow.omega.shape[1]
        return [
            self.title,
            f"  problem   {_counted(problem.tasks, 'single-index task')} of degree {problem.degree}, "
            f"d = {problem.dimension}, L = {problem.context_length:g}",
            f"  model     {_counted(heads, 'head')}, {flow.parametrization.name}, {flow.kernel} law",
            f"  solved    {flow.message}, {flow.evaluations} gradients",
        ]

    def _degrees(self) -> list[str]:
        degrees = range(self.flow.problem.degree + 1)
        rows = [("task", *(f"degree {k}" for k in degrees), "sum of mu")]
        rows += [
            (str(i), *map(_share, shares), f"{gain:.3g}")
            for i, (shares, gain) in enumerate(zip(self.learned.share, self.learned.gain, strict=True))
        ]
        gap = ("...", *("" for _ in rows[0][1:]))
        return [
            "share of every Hermite degree learned (1 all of it, below 0 made worse)",
            *table([rows[0], *shortened(rows[1:], gap)]),
        ]

    def _losses(self) -> list[str]:
        problem = self.flow.problem
        noise = np.array(problem.noise)
        columns = {"flow": self.flow.final_task_loss - noise}
        for name, each in self.best.items():
            columns[_NAMES[name]] = np.array([best.loss for best in each]) - noise
        columns["bound of the asymptotic law"] = lower_bound(problem) - noise
        rows = [(str(i), *(f"{column[i]:.6g}" for column in columns.values())) for i in range(problem.tasks)]
        gap = ("...", *("" for _ in columns))
        return [
            "loss without query noise, at the end and of the best heads",
            *table([("task", *columns), *shortened(rows, gap)]),
        ]


_NAMES = {"best_head": "best head", "best_pair": "best pair, sum of mu 0"}


def _counted(count: int, thing: str) -> str:
    return f"{count} {thing}{'s' * (count != 1)}"


def _share(value: float) -> str:
    return f"{value:.4g}" if np.isfinite(value) else NEVER
