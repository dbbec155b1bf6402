"""What is said of the benchmarks of a problem: a table of all for people, plain objects for programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, integer
from spectral_icl.io.progress import tracked
from spectral_icl.io.text import NEVER, plain, table
from spectral_icl.multitask.context import DEFAULT, EXACT, check_kernel
from spectral_icl.multitask.optimal.benchmarks import (
    BENCHMARKS,
    LOST,
    Benchmark,
    Optimum,
    effective_dimension,
    excess,
    minimise,
)
from spectral_icl.multitask.optimal.optima import optima_of
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import MOST_DENSE, check_heads

_MOST_LISTED = 100  # lines of the best of H heads, each of which is searched, or built and looked at
_MOST_SHOWN = 20  # tasks whose effective dimensions are listed in a line
_BUDGET = 400  # variables H B that are searched in all, unless heads are asked for


@dataclass(frozen=True, eq=False)
class BenchmarkReport:
    """All benchmarks of a problem side by side.

    Attributes
    ----------
    problem : Problem
    title : str
        First line of the text: where the problem is from.
    found : dict of str to Benchmark
        By key, those of `BENCHMARKS` and the numerical optima ``best_of_H``.
    missing : dict of str to str
        Why the others do not apply, by key.
    kernel : str
        The law of the context.
    """

    problem: Problem
    title: str
    found: dict[str, Benchmark]
    missing: dict[str, str]
    kernel: str = DEFAULT

    def to_text(self) -> str:
        """Two tables: attention under the law, and what is exact at any L and d.

        They are to be compared only if the law is exact too.
        """
        problem = self.problem
        of_softmax = ", within the errors shown, and so beside the next table" if self.kernel == EXACT else ""
        lines = [
            self.title,
            f"  problem   {problem.tasks} tasks, {problem.blocks} blocks, d = {problem.dimension}, "
            f"L = {problem.context_length:g}  [{problem.digest()[:12]}]",
            f"  losses    sum over tasks with query noise {float(np.sum(problem.noise)):g}; "
            "excess is without it",
            "",
            f"  softmax attention under the {self.kernel} law{of_softmax}",
            *self._table("excess / bound", "lower_bound", exact=False),
            "",
            "  exact at this L and d, under no law",
            *self._table("excess / step", "gradient_step", exact=True),
        ]
        lines += [f"  no {_words(key)}: {reason}" for key, reason in self.missing.items()]
        return "\n".join(lines)

    def _table(self, ratio: str, unit: str, exact: bool) -> list[str]:
        """The benchmarks of a law, or those of none, over one of them."""
        known = self.found.get(unit)
        least = 0.0 if known is None else excess(self.problem, known.loss)
        rows: list[tuple[str, ...]] = [("benchmark", "loss", "excess", "", ratio, "X of every task", "")]
        of_none = [key for key, reference in BENCHMARKS.items() if reference.exact]
        listed = [found for key, found in self.found.items() if (key in of_none) == exact]
        return table(rows + [_row(self.problem, benchmark, least) for benchmark in listed])

    def to_dict(self) -> dict[str, object]:
        """Every benchmark, with weights where some have the loss, and the problem; null for infinity."""
        return plain(
            {
                "benchmarks": {key: _entry(self.problem, found) for key, found in self.found.items()},
                "missing": self.missing,
                "kernel": self.kernel,
                "problem": self.problem.to_dict(),
                "digest": self.problem.digest(),
            }
        )


def benchmark_report(
    problem: Problem, title: str, heads: int | None = None, kernel: str = DEFAULT
) -> BenchmarkReport:
    """Every benchmark of a problem, and the numerical optimum for 1 to ``heads`` heads.

    Parameters
    ----------
    problem : Problem
    title : str
    heads : int, optional
        By default one more than tasks, without those in between that take minutes to search.
    kernel : str
        Law of the context.
    """
    searched, missing = _searched(problem, heads, kernel)
    made: dict[str, Callable[[Problem], Benchmark]] = {}
    for key, reference in BENCHMARKS.items():
        if key == "lower_bound":  # before which the best of so many heads stand
            made |= {f"best_of_{h}": partial(minimise, heads=h, kernel=kernel) for h in searched}
        made[key] = partial(reference.of, kernel=kernel)
    found: dict[str, Benchmark] = {}
    for key, find in tracked(made.items(), len(made), unit="benchmarks", named=lambda item: _words(item[0])):
        try:
            found[key] = find(problem)
        except ProblemError as error:
            missing[key] = f"not computed, because it needs {error.expected}"
    return BenchmarkReport(problem, title, found, missing, check_kernel(kernel))


def _searched(problem: Problem, heads: int | None, kernel: str) -> tuple[list[int], dict[str, str]]:
    """The numbers of heads whose best is searched, and why others are not: all asked for, or the first."""
    if heads is not None:
        most = integer("heads", check_heads(problem, heads), minimum=1, maximum=_MOST_LISTED)
        return list(range(1, most + 1)), {}
    optima, left, searched, skipped = optima_of(kernel), _BUDGET, [], []
    for count in range(1, problem.tasks + 2):
        variables = optima.searched(problem, count)
        fits = count * (problem.blocks + problem.tasks) <= MOST_DENSE
        if count == 1 or (variables <= left and fits):
            searched.append(count)
            left -= variables
        else:
            skipped.append(count)
    if not skipped:
        return searched, {}
    last = f"_to_{skipped[-1]}" if len(skipped) > 1 else ""
    why = f"not computed, because searches over more than {_BUDGET} variables H B take minutes"
    return searched, {f"best_of_{skipped[0]}{last}": f"{why}, unless heads are asked for"}


def _words(key: str) -> str:
    return key.replace("_", " ")


def _row(problem: Problem, benchmark: Benchmark, bound: float) -> tuple[str, ...]:
    """A line of the table; ``bound`` is the excess that ratios are over, 0 if none is known."""
    # of an infimum the value itself, not that of the weights that come close
    loss = benchmark.infimum if isinstance(benchmark, Optimum) else benchmark.loss
    ratio = f"{excess(problem, loss) / bound:.4f}" if bound > LOST * loss else NEVER
    kind = "infimum" if isinstance(benchmark, Optimum) and not benchmark.attained else ""
    dimensions = effective_dimension(problem, benchmark)
    own = f"{excess(problem, loss):.6f}"
    return benchmark.name, f"{loss:.6f}", own, kind, ratio, _listed(dimensions), _remark(benchmark)


def _entry(problem: Problem, benchmark: Benchmark) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": benchmark.name,
        "loss": benchmark.loss,
        "task_loss": benchmark.task_loss,
        "effective_dimension": effective_dimension(problem, benchmark),
        "attained": benchmark.attained,
        "law": benchmark.law,
        "excess": excess(problem, benchmark.loss),
        "error": benchmark.error,
        "weights": None if benchmark.weights is None else benchmark.weights._asdict(),
    }
    if isinstance(benchmark, Optimum):
        entry |= {"infimum": benchmark.infimum, "minima": benchmark.minima, "remark": benchmark.remark}
    return entry


def _listed(dimensions: Floats) -> str:
    texts = [NEVER if np.isnan(x) else f"{x:.4g}" for x in dimensions]
    if len(texts) > _MOST_SHOWN:
        texts = [*texts[:3], "...", texts[-1]]
    return ", ".join(texts)


def _remark(benchmark: Benchmark) -> str:
    remark = benchmark.remark.removeprefix("infimum ") if isinstance(benchmark, Optimum) else ""
    return remark or (f"+- {benchmark.error:.1g}" if benchmark.error else "")
