"""All benchmark losses of a problem side by side, as text and as plain objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.io.text import NEVER, plain, table
from spectral_icl.multitask.loss import check_heads
from spectral_icl.multitask.optimal.benchmarks import (
    BENCHMARKS,
    Benchmark,
    Optimum,
    effective_dimension,
    excess,
    minimise,
)
from spectral_icl.multitask.problem import Problem


@dataclass(frozen=True)
class Yardsticks:
    """The benchmarks of a problem, by key; those that do not apply have a reason instead."""

    problem: Problem
    found: dict[str, Benchmark]
    missing: dict[str, str]


def collect(problem: Problem, heads: int | None = None) -> Yardsticks:
    """Every benchmark, and the numerical optimum for 1 to ``heads`` heads, by default one more than tasks."""
    most = problem.tasks + 1 if heads is None else check_heads(problem, heads)
    made: dict[str, Callable[[Problem], Benchmark]] = {}
    for key, reference in BENCHMARKS.items():
        if key == "lower_bound":  # before which the best of so many heads stand
            made |= {f"best_of_{h}": partial(minimise, heads=h) for h in range(1, most + 1)}
        made[key] = reference.find
    found: dict[str, Benchmark] = {}
    missing: dict[str, str] = {}
    for key, benchmark in made.items():
        try:
            found[key] = benchmark(problem)
        except ProblemError as error:
            missing[key] = str(error)
    return Yardsticks(problem, found, missing)


def as_text(yardsticks: Yardsticks, title: str) -> str:
    """A table: loss, loss over the lower bound, effective dimension of every task."""
    problem = yardsticks.problem
    bound = excess(problem, yardsticks.found["lower_bound"].loss)
    rows: list[tuple[str, ...]] = [("benchmark", "loss", "", "excess / bound", "X of every task", "")]
    for benchmark in yardsticks.found.values():
        # of an infimum the value itself, not that of the weights that come close
        loss = benchmark.infimum if isinstance(benchmark, Optimum) else benchmark.loss
        ratio = f"{excess(problem, loss) / bound:.4f}" if bound > 0.0 else NEVER
        kind = "infimum" if isinstance(benchmark, Optimum) and not benchmark.attained else ""
        dimensions = effective_dimension(problem, benchmark)
        rows.append((benchmark.name, f"{loss:.6f}", kind, ratio, _listed(dimensions), _remark(benchmark)))
    head = [
        title,
        f"  problem   {problem.tasks} tasks, {problem.blocks} blocks, d = {problem.dimension}, "
        f"L = {problem.context_length:g}  [{problem.digest()[:12]}]",
        f"  losses    sum over tasks with query noise {float(np.sum(problem.noise)):g}; excess is without it",
    ]
    lines = [*head, "", *table(rows)]
    lines += [f"  no {key.replace('_', ' ')}: {reason}" for key, reason in yardsticks.missing.items()]
    return "\n".join(lines)


def as_json(yardsticks: Yardsticks) -> dict[str, Any]:
    """The same as plain objects, with weights where some have the loss."""
    problem = yardsticks.problem
    made: dict[str, Any] = plain(
        {
            "benchmarks": {key: _entry(problem, found) for key, found in yardsticks.found.items()},
            "missing": yardsticks.missing,
            "problem": problem.to_dict(),
            "digest": problem.digest(),
        }
    )
    return made


def _entry(problem: Problem, benchmark: Benchmark) -> dict[str, Any]:
    entry = {
        "name": benchmark.name,
        "loss": benchmark.loss,
        "task_loss": benchmark.task_loss,
        "effective_dimension": effective_dimension(problem, benchmark),
        "attained": benchmark.attained,
        "error": benchmark.error,
        "weights": None if benchmark.weights is None else benchmark.weights._asdict(),
    }
    if isinstance(benchmark, Optimum):
        entry |= {"infimum": benchmark.infimum, "minima": benchmark.minima, "remark": benchmark.remark}
    return entry


def _listed(dimensions: Floats) -> str:
    return ", ".join(f"{x:.4g}" for x in dimensions)


def _remark(benchmark: Benchmark) -> str:
    if isinstance(benchmark, Optimum):
        return benchmark.remark.removeprefix("infimum ")
    return f"+- {benchmark.error:.1g}" if benchmark.error else ""
