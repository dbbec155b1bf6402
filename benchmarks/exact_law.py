"""What the exact law costs, beside the asymptotic one in the same run.

    python -m benchmarks.exact_law [--out DIR]

A compiled gradient over that of the asymptotic law, called from Python, for numbers of heads and blocks (one
task for each block, d = 10, L = 100, tables that reach 2); a whole two-task flow over an asymptotic one; the
seconds to build a table and to read one, with its errors of K, of its derivatives and of 4 M - D D
in units of the concentrations; and an ensemble of 1000 two-task flows.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter
from timeit import repeat
from typing import Any

import numpy as np

import spectral_icl as si
from benchmarks import record
from spectral_icl.io.text import table
from spectral_icl.kernels import law
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.exact import stored
from spectral_icl.multitask.exact.packing import packed
from spectral_icl.multitask.exact.table import build

HEADS, BLOCKS = (1, 2, 4, 8), (1, 2, 4)
TABLES = ((10.0, 2.0), (100.0, 2.0), (100.0, 8.0), (100.0, 32.0), (1e4, 8.0))
FLOWS, SEEDS = 1000, 10


def problem(blocks: int) -> si.Problem:
    """A task of ten features for each block."""
    return si.Problem.multitask(task_sizes=(10,) * blocks, signal=10.0, noise=0.09, context_length=100)


def seconds(call: Any, number: int) -> float:
    """The least time of a call."""
    return min(repeat(call, number=number, repeat=5)) / number


def field(heads: int, blocks: int) -> dict[str, Any]:
    """Microseconds of a gradient under either law."""
    p = problem(blocks)
    at = si.initial.random(p, heads, seed=0, positive=True)
    took = []
    for model in (packed(p, 2.0), pack(p)):
        work = law.scratch(model, (heads, blocks, blocks))
        slope = si.State(np.empty_like(at.omega), np.empty_like(at.mu))

        def call(model: Any = model, work: Any = work, slope: si.State = slope) -> None:
            law.gradient(model, *at, *slope, work)

        call()
        took.append(1e6 * seconds(call, 200))
    return {"heads": heads, "blocks": blocks, "exact": took[0], "asymptotic": took[1]}


def flows() -> dict[str, Any]:
    """Seconds of a two-task flow under either law, and of an ensemble under the exact one."""
    p = problem(2)
    start = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    took = {}
    for kernel in ("exact", "asymptotic"):
        si.gradient_flow(p, *start, kernel=kernel)
        took[kernel] = seconds(lambda kernel=kernel: si.gradient_flow(p, *start, kernel=kernel), 3)
    starts = [si.initial.random(p, 2, seed=seed, positive=True) for seed in range(FLOWS)]
    omega, mu = (np.array(values) for values in zip(*starts, strict=True))
    si.gradient_flow_ensemble(p, omega[:SEEDS], mu[:SEEDS], kernel="exact")
    begin = perf_counter()
    many = si.gradient_flow_ensemble(p, omega, mu, kernel="exact")
    return {**took, "ensemble": perf_counter() - begin, "solved": int(many.success.sum())}


def tables() -> list[dict[str, Any]]:
    """Seconds to build and to read tables, and their errors."""
    rows = []
    for length, reach in TABLES:
        begin = perf_counter()
        made = build(length, reach)
        took = perf_counter() - begin
        path = stored.file_of(length, reach)
        stored.table_of(length, reach)
        begin = perf_counter()
        if path is not None:
            stored.read(path, length, reach)
        row = {"length": length, "reach": reach, "build": took, "read": perf_counter() - begin}
        rows.append({**row, "errors": made.errors.tolist()})
    return rows


def to_text(fields: list[dict[str, Any]], solved: dict[str, Any], made: list[dict[str, Any]]) -> str:
    """Three tables."""
    first = [("heads", "blocks", "exact, us", "asymptotic, us", "ratio")]
    for one in fields:
        ratio = one["exact"] / one["asymptotic"]
        sizes = (str(one["heads"]), str(one["blocks"]))
        first.append((*sizes, f"{one['exact']:.1f}", f"{one['asymptotic']:.1f}", f"{ratio:.0f}"))
    last = [("L", "reach", "built in, s", "read in, ms", "error of K", "derivatives", "4 M - D D")]
    for one in made:
        errors = (f"{value:.0e}" for value in one["errors"])
        cost = (f"{one['build']:.2f}", f"{1e3 * one['read']:.1f}")
        last.append((f"{one['length']:g}", f"{one['reach']:g}", *cost, *errors))
    ratio = solved["exact"] / solved["asymptotic"]
    flow = f"a two-task flow takes {1e3 * solved['exact']:.0f} ms, {ratio:.0f} asymptotic ones"
    many = f"{solved['solved']} of {FLOWS} such flows in {solved['ensemble']:.0f} s"
    return "\n".join([record.machine_line(), "", *table(first), "", flow, many, "", *table(last)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    out = parser.parse_args().out
    fields = [field(heads, blocks) for heads in HEADS for blocks in BLOCKS]
    solved, made = flows(), tables()
    text = to_text(fields, solved, made)
    print(text)
    record.write(out, "exact_law", text, {"fields": fields, "flows": solved, "tables": made})


if __name__ == "__main__":
    main()
