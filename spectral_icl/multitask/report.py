"""What is said of a solved flow: a short account for people, plain objects for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.text import MANY, NEVER, plain, shortened, table
from spectral_icl.multitask.flow.census import QUANTILES, Census
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.phases import Emergence
from spectral_icl.multitask.flow.solution import Solution, ties
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS, LOST, Benchmark, excess
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.training import TrainingReport

_MOST_OF_START = 100  # letters
_HARDEST = 3  # of many tasks
_GAP = ("...", "", "", "")


@lru_cache(maxsize=8)
def benchmarks(problem: Problem, kernel: str) -> Mapping[str, Benchmark]:
    """The benchmarks that a flow is reported beside, by key; text and figure share one search for them.

    Of a law of the context of which none are known there are none.
    """
    found = {}
    for key in ("single_head", "head_per_task", "lower_bound"):
        with suppress(ProblemError):
            found[key] = BENCHMARKS[key].of(problem, kernel)
    return found


@dataclass(frozen=True, eq=False)
class FlowReport:
    """A solved flow in words.

    Attributes
    ----------
    solution : Solution
    title : str
        First line of the text: where the problem is from.
    start : mapping of str to object
        What the weights started from, as a file says it.
    training : TrainingReport or None
        What was found of paths of stochastic gradient descent, if there are any.
    """

    solution: Solution
    title: str
    start: Mapping[str, object]
    training: TrainingReport | None = None

    def to_text(self) -> str:
        """A short account: what was solved, its phases, its allocation, its loss beside the benchmarks.

        With more than a dozen tasks, the first and the last few of them, and quantiles and counts of all.
        """
        start = ", ".join(f"{key} {value}" for key, value in self.start.items())[:_MOST_OF_START]
        blocks = [
            [self.title, *_header(self.solution, start)],
            _phases(self.solution),
            _allocation(self.solution),
            _losses(self.solution),
            *([] if self.training is None else [self.training.lines()]),
        ]
        return "\n\n".join("\n".join(block) for block in blocks)

    def to_dict(self) -> dict[str, object]:
        """The final state, the phases and the benchmarks, without NaN or infinity (null instead)."""
        solution = self.solution
        spent = solution.saturation
        known = benchmarks(solution.problem, solution.options.kernel)
        found: dict[str, object] = {
            "loss": solution.final_loss,
            "task_loss": solution.final_task_loss,
            "time": solution.trajectory.t[-1],
            "omega": solution.final.omega,
            "mu": solution.final.mu,
            "allocation": solution.allocation,
            "shares": solution.shares,
            "tied_heads": solution.tied_heads,
            "phases": asdict(solution.phases),
            "forecast": [asdict(task) for task in solution.forecast],
            "excess": excess(solution.problem, solution.final_loss),
            "share_learned": _share_learned(solution.problem, solution.final_loss),
            "optimal": {name: bound.loss for name, bound in known.items()},
            "optimal_excess": {name: excess(solution.problem, bound.loss) for name, bound in known.items()},
            "saturation": {"valid": spent.valid, **asdict(spent)},
            "success": solution.success,
            "outcome": solution.outcome.name.lower(),
            "message": solution.message,
            "stats": asdict(solution.stats),
            "options": asdict(solution.options),
            "problem": solution.problem.to_dict(),
            "digest": solution.problem.digest(),
            "environment": dict(solution.environment),
        }
        if self.training is not None:
            found["training"] = self.training.to_dict()
        return plain(found)


def _header(solution: Solution, start: str) -> list[str]:
    problem, options = solution.problem, solution.options
    length = f"{problem.context_length:g}"
    return [
        f"  problem   {problem.tasks} tasks, {problem.blocks} blocks, d = {problem.dimension}, "
        f"L = {length}  [{problem.digest()[:12]}]",
        f"  model     {solution.heads} heads, {solution.parametrization.name}, "
        f"{options.kernel} law, key scale {solution.key_scale:.4g}",
        f"  start     {start}",
        f"  solved    {solution.outcome.advice} at t = {solution.trajectory.t[-1]:g} "
        f"in {solution.stats.steps} steps (rtol {options.rtol:g})",
        *(f"  {'' if k else 'accuracy':8}  {line}" for k, line in enumerate(solution.saturation.lines)),
        *(f"  tied      {text} start equal and stay so" for text in ties(solution.tied_heads)),
    ]


def _phases(solution: Solution) -> list[str]:
    phases = solution.phases
    emergences = []
    for task, forecast in zip(phases.tasks, solution.forecast, strict=True):
        name = f"emergence of task {task.task}"
        measured = _time(task.time) + (", under way" if task.under_way else "")
        emergences.append((name, measured, _predicted(forecast.time), _predicted(task.predicted_time)))
    escapes = []
    for escape in phases.escapes:
        name = f"escape of task {escape.task}, head {escape.head}"
        escapes.append((name, _time(escape.time), _predicted(escape.predicted_time), ""))
    if not escapes:
        conserved = solution.parametrization.conserves_signs
        unknown = isinstance(solution.trajectory, Outline)
        seen = "not looked for: not all steps were kept" if unknown else "none seen"
        escapes.append(("escape", "never: signs are conserved" if conserved else seen, "", ""))
    rows = [
        ("phase", "measured", "predicted", "of a lone head"),
        ("warm-up", _interval(phases.warm_up), "", ""),
        *shortened(emergences, _GAP),
        ("convergence", _interval(phases.convergence), "", ""),
        *shortened(escapes, _GAP),
    ]
    remarks = sorted({forecast.remark for forecast in solution.forecast if forecast.remark})
    reasons = [f"  no predicted emergence: {remark}" for remark in remarks]
    return [*table(rows), *(_emergences(solution) if solution.problem.tasks > MANY else []), *reasons]


def _emergences(solution: Solution) -> list[str]:
    """Quantiles of the times at which many tasks emerged."""
    phases = solution.phases
    census = Census.of(phases, solution.heads)
    of_all = {
        "measured": census.times.tolist(),
        "predicted": [task.time for task in solution.forecast if task.time is not None],
        "of a lone head": [task.predicted_time for task in phases.tasks if task.predicted_time is not None],
    }
    rows = [(census.emerged, "tasks", *(f"{q:.0%}" for q in QUANTILES))]
    for name, times in of_all.items():
        if times:
            rows.append((name, str(len(times)), *(_time(time) for time in np.quantile(times, QUANTILES))))
    return ["", *table(rows)]


def _allocation(solution: Solution) -> list[str]:
    final = solution.final_task_loss
    tasks = [
        (
            str(task.task),
            _head(task.head),
            _head(task.predicted_head),
            _share(task),
            _time(task.plateau, 6),
            f"{final[task.task]:.6g}",
        )
        for task in solution.phases.tasks
    ]
    gap = ("...", *[""] * 5)
    rows = [("task", "head", "predicted", "share", "plateau", "final loss"), *shortened(tasks, gap)]
    if len(tasks) <= MANY:
        return table(rows)
    census = Census.of(solution.phases, solution.heads)
    return [*table(rows), f"  {census.allocation}", f"  hardest tasks: {_hardest(solution)}"]


def _hardest(solution: Solution) -> str:
    """The tasks of which most of the signal is left, with the part of it."""
    problem = solution.problem
    with np.errstate(invalid="ignore", divide="ignore"):  # of tasks without signal there is nothing to learn
        left = (solution.final_task_loss - np.asarray(problem.noise)) / problem.power
    ranked = np.argsort(-np.nan_to_num(left, nan=-np.inf), kind="stable")[:_HARDEST]
    return ", ".join(f"{task} ({100.0 * left[task]:.3g} % of its signal left)" for task in ranked)


def _losses(solution: Solution) -> list[str]:
    """Totals, and what the verdicts are about: excesses over the query noise, which nothing reduces."""
    problem, law = solution.problem, solution.options.kernel
    final = solution.final_loss
    rows = [(f"{law} law, sum over tasks", "loss", "excess", "final / benchmark, of excesses")]
    rows.append(("final", f"{final:.6f}", f"{excess(problem, final):.6f}", ""))
    for bound in benchmarks(problem, law).values():
        rows.append(
            (
                bound.name,
                f"{bound.loss:.6f}",
                f"{excess(problem, bound.loss):.6f}",
                _ratio(problem, final, bound),
            )
        )
    share = _share_learned(problem, final)
    shown = f"{share:.4f}" if share <= 1.0 and math.isfinite(share) else NEVER
    return [*table(rows), f"  share of the signal learned: {shown}"]


def _share_learned(problem: Problem, final: float) -> float:
    """The part of the signal that a loss has less than zero weights; NaN if it is lost in the query noise."""
    power = float(problem.power.sum())
    return 1.0 - excess(problem, final) / power if power > LOST * final else math.nan


def _ratio(problem: Problem, final: float, bound: Benchmark) -> str:
    """The excess of a loss over that of a benchmark, unless it is lost in the query noise."""
    unit, own = excess(problem, bound.loss), excess(problem, final)
    known = unit > LOST * bound.loss and 0.0 < own < math.inf
    return f"{own / unit:.6f}" if known else NEVER


def _interval(interval: tuple[float, float]) -> str:
    return f"{_time(interval[0])} to {_time(interval[1])}"


def _time(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}" if math.isfinite(value) else NEVER


def _predicted(time: float | None) -> str:
    return NEVER if time is None else _time(time)


def _head(head: int | None) -> str:
    return NEVER if head is None else str(head)


def _share(task: Emergence) -> str:
    return f"{task.share:.4f}" if math.isfinite(task.share) else NEVER
