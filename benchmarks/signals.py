"""What problems of many tasks cost before any flow: to be built and written, and their closed forms.

    python -m benchmarks.signals [--out DIR]

Seconds for 100, 1000 and 10,000 disjoint tasks of ten features, of equal power or of a power law
10 / (i + 1), and as many tasks on three blocks each. The unit is one pass over a dense array of 1000 x 1000
numbers, its sum, on the same machine in the same run. Peaks are of the memory that Python and NumPy allocate
meanwhile.
"""

from __future__ import annotations

import argparse
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import spectral_icl as si
from benchmarks import record
from spectral_icl.io.text import table
from spectral_icl.multitask.optimal import ridge

SIZES = (100, 1000, 10_000)
REPEATS = 5
REST: dict[str, Any] = {"noise": 0.1, "context_length": 1000}

Make = Callable[[], si.Problem]


def makers(tasks: int) -> dict[str, Make]:
    """Problems with so many tasks, by what they are called."""
    law = 10.0 / (1.0 + np.arange(tasks))
    step = max(1, tasks // 3)
    rows = [[((i + k * step) % tasks, 1.0 + k) for k in range(3)] for i in range(tasks)]
    return {
        "equal": lambda: si.Problem.multitask(task_sizes=(10,) * tasks, signal=10.0, **REST),
        "power law": lambda: si.Problem.multitask(task_sizes=(10,) * tasks, signal=law, **REST),
        "three blocks": lambda: si.Problem(block_sizes=(10,) * tasks, signal=rows, **REST),
    }


WORK: dict[str, Callable[[si.Problem], object]] = {
    "digest": si.Problem.digest,
    "repr": repr,
    "to_dict": si.Problem.to_dict,
    "home": lambda p: p.home,
    "lower bound": si.optimal.lower_bound,
    "single head": si.optimal.single_head,
    "head per task": si.optimal.head_per_task,
    "plateau": si.optimal.plateau,
    "small heads": si.optimal.small_heads,
    "gradient step": si.optimal.gradient_step,
    "Bayes": si.optimal.bayes,
}
DISJOINT = ("single head", "plateau")  # searched where tasks overlap
ONCE = ("Bayes",)  # that remembers tasks, and takes long for many unlike ones


def timed(name: str, make: Make, work: Callable[[si.Problem], object]) -> dict[str, float | None]:
    """The least seconds of a piece of work on a fresh problem, and the peak of its memory in MB."""
    took = []
    for _ in range(1 if name in ONCE else REPEATS):
        ridge.exact.cache_clear()
        problem = make()
        begin = perf_counter()
        work(problem)
        took.append(perf_counter() - begin)
    if name in ONCE:
        return {"seconds": min(took), "peak": None}
    problem = make()
    tracemalloc.start()
    work(problem)
    peak = tracemalloc.get_traced_memory()[1] / 1e6
    tracemalloc.stop()
    return {"seconds": min(took), "peak": peak}


def measured() -> list[dict[str, Any]]:
    """A row for every size, kind and piece of work."""
    rows = []
    for tasks in SIZES:
        for kind, make in makers(tasks).items():
            cases = {"build": lambda _, make=make: make(), **WORK}
            for name, work in cases.items():
                if kind == "three blocks" and name in DISJOINT:
                    continue
                rows.append({"tasks": tasks, "kind": kind, "work": name, **timed(name, make, work)})
    return rows


def unit() -> float:
    """Seconds of one pass over a dense array of 1000 x 1000 numbers."""
    dense, took = np.ones((1000, 1000)), []
    for _ in range(20):
        begin = perf_counter()
        dense.sum()
        took.append(perf_counter() - begin)
    return min(took)


def to_text(rows: list[dict[str, Any]], one: float) -> str:
    """A table of milliseconds, passes over an array, and megabytes, for each kind of problem."""
    lines = [record.machine_line(), f"one pass over 1000 x 1000 numbers: {1e3 * one:.2f} ms"]
    for kind in dict.fromkeys(row["kind"] for row in rows):
        head = ("", *(f"{what}, I = {size}" for what in ("ms", "passes", "MB") for size in SIZES))
        shown = [head]
        for work in dict.fromkeys(row["work"] for row in rows if row["kind"] == kind):
            each = [row for row in rows if (row["kind"], row["work"]) == (kind, work)]
            shown.append(
                (
                    work,
                    *(f"{1e3 * row['seconds']:.2f}" for row in each),
                    *(f"{row['seconds'] / one:.1f}" for row in each),
                    *("-" if row["peak"] is None else f"{row['peak']:.1f}" for row in each),
                )
            )
        lines += ["", kind, *table(shown)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    out = parser.parse_args().out
    one, rows = unit(), measured()
    text = to_text(rows, one)
    print(text)
    record.write(out, "signals", text, {"unit": one, "rows": rows})


if __name__ == "__main__":
    main()
