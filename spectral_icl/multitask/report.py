"""A solved flow as text for people and as plain objects for programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from functools import lru_cache
from typing import Any

from spectral_icl.io.text import NEVER, plain, table
from spectral_icl.multitask.flow.phases import Emergence
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS, Benchmark
from spectral_icl.multitask.problem import Problem


@lru_cache(maxsize=8)
def benchmarks(problem: Problem) -> Mapping[str, Benchmark]:
    """The benchmark losses that a flow is reported beside; text and figure share one search for them."""
    return {key: BENCHMARKS[key].find(problem) for key in ("single_head", "head_per_task", "lower_bound")}


def as_json(solution: Solution) -> dict[str, Any]:
    """The final state, the phases and the benchmarks of a flow, without NaN or infinity (null instead)."""
    spent = solution.saturation
    summary: dict[str, Any] = plain(
        {
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
            "optimal": {name: bound.loss for name, bound in benchmarks(solution.problem).items()},
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
    )
    return summary


def as_text(solution: Solution, title: str, start: str) -> str:
    """A short account: what was solved, its phases, its allocation, its loss beside the benchmarks."""
    blocks = [
        _header(solution, title, start),
        _phases(solution),
        _allocation(solution),
        _losses(solution),
    ]
    return "\n\n".join("\n".join(block) for block in blocks)


def _header(solution: Solution, title: str, start: str) -> list[str]:
    problem, options = solution.problem, solution.options
    length = f"{problem.context_length:g}"
    return [
        title,
        f"  problem   {problem.tasks} tasks, {problem.blocks} blocks, d = {problem.dimension}, "
        f"L = {length}  [{problem.digest()[:12]}]",
        f"  model     {solution.heads} heads, {solution.parametrization.name}, "
        f"{options.kernel} kernel, key scale {solution.key_scale:.4g}",
        f"  start     {start}",
        f"  solved    {solution.outcome.advice} at t = {solution.trajectory.t[-1]:g} "
        f"in {solution.stats.steps} steps (rtol {options.rtol:g})",
        f"  kernel    {solution.saturation}",
        *(
            f"  tied      heads {', '.join(map(str, group))} start equal and stay so"
            for group in solution.tied_heads
        ),
    ]


def _phases(solution: Solution) -> list[str]:
    phases = solution.phases
    rows = [("phase", "measured", "predicted", "of a lone head")]
    rows.append(("warm-up", _interval(phases.warm_up), "", ""))
    for task, forecast in zip(phases.tasks, solution.forecast, strict=True):
        name = f"emergence of task {task.task}"
        rows.append((name, _time(task.time), _predicted(forecast.time), _predicted(task.predicted_time)))
    rows.append(("convergence", _interval(phases.convergence), "", ""))
    for escape in phases.escapes:
        name = f"escape of task {escape.task}, head {escape.head}"
        rows.append((name, _time(escape.time), _predicted(escape.predicted_time), ""))
    if not phases.escapes:
        conserved = solution.parametrization.name == "balanced"
        rows.append(("escape", "never: signs are conserved" if conserved else "none seen", "", ""))
    remarks = sorted({forecast.remark for forecast in solution.forecast if forecast.remark})
    return table(rows) + [f"  no predicted emergence: {remark}" for remark in remarks]


def _allocation(solution: Solution) -> list[str]:
    rows = [("task", "head", "predicted", "share", "plateau", "final loss")]
    final = solution.final_task_loss
    for task in solution.phases.tasks:
        rows.append(
            (
                str(task.task),
                _head(task.head),
                _head(task.predicted_head),
                _share(task),
                _time(task.plateau, 6),
                f"{final[task.task]:.6g}",
            )
        )
    return table(rows)


def _losses(solution: Solution) -> list[str]:
    final = solution.final_loss
    rows = [("loss (sum over tasks)", "", "final / benchmark")]
    rows.append(("final", f"{final:.6f}", ""))
    for bound in benchmarks(solution.problem).values():
        rows.append((bound.name, f"{bound.loss:.6f}", f"{final / bound.loss:.6f}"))
    return table(rows)


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
