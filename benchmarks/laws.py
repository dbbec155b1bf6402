"""What the first-order law of the context costs over the asymptotic one.

    python -m benchmarks.laws [--repeats N] [--out DIR]

Tasks of size 10, L = 1000, H heads, both laws from the same positive start to t = 1e4. Four things are timed:

- field: the gradient of the loss, in a compiled loop, so that a call from Python does not hide it;
- Hessian: alone, in a compiled loop too, from the work arrays of one gradient;
- flow: the public call of `gradient_flow`, its steps being of the law;
- member: the public call of `gradient_flow_ensemble` of 32 starts on one thread, over their number.

Times are those of the processor, the best of the repeats, in which laws and measurements take turns. Equal
tasks, as in the first cases, spare the first-order law some powers; the last two cases have other sizes, and
tasks that share their blocks.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit

import spectral_icl as si
from benchmarks import record
from spectral_icl.kernels import law
from spectral_icl.kernels.compile import ALGEBRA
from spectral_icl.multitask.context import pack

LAWS = ("asymptotic", "first-order")
PARTS = {"field": 1e9, "hessian": 1e9, "flow": 1e3, "member": 1e3}  # units in a second
UNITS = {"field": "ns", "hessian": "ns", "flow": "ms", "member": "ms"}
TARGET = 2.0  # of a flow with four heads and three tasks
T_END = 1e4
MEMBERS = 32
_CALLS = 4_000  # in a compiled loop
_SPREAD = 0.01  # size of the differences between heads where field and Hessian are timed


@njit(error_model="numpy", fastmath=set(ALGEBRA))
def _gradients(model, omega, mu, grad_omega, grad_mu, work, calls):
    for _ in range(calls):
        law.gradient(model, omega, mu, grad_omega, grad_mu, work)


@njit(error_model="numpy", fastmath=set(ALGEBRA))
def _hessians(model, omega, mu, work, out, calls):
    for _ in range(calls):
        law.hessian(model, omega, mu, work, out)


class Case(NamedTuple):
    """A problem and the number of heads."""

    label: str
    problem: si.Problem
    heads: int


def cases() -> list[Case]:
    """Sizes, then unequal and overlapping tasks at the size of the target."""
    sizes = [(heads, tasks) for heads in (1, 2, 4, 8) for tasks in (1, 2, 4)]
    sizes.insert(sizes.index((4, 4)), (4, 3))
    found = [Case("", _disjoint([10] * tasks), heads) for heads, tasks in sizes]
    found.append(Case("sizes 8, 10, 12", _disjoint([8, 10, 12]), 4))
    shared = si.Problem(
        block_sizes=(10, 10, 10),
        signal=((6.0, 3.0, 1.0), (1.0, 6.0, 3.0), (3.0, 1.0, 6.0)),
        noise=0.1,
        context_length=1000,
    )
    return [*found, Case("shared blocks", shared, 4)]


def _disjoint(sizes: list[int]) -> si.Problem:
    return si.Problem.multitask(task_sizes=sizes, signal=10.0, noise=0.1, context_length=1000)


def start(case: Case, seed: int) -> si.State:
    """A small positive start, with a dominant head for every task if there are enough."""
    if case.heads >= case.problem.tasks:
        return si.initial.dominant(case.problem, case.heads, seed=seed)
    return si.initial.random(case.problem, case.heads, seed=seed, positive=True)


def calls(case: Case, kernel: str) -> dict[str, Callable[[], int]]:
    """What is timed, by part; every call returns the number of its repetitions."""
    problem, heads = case.problem, case.heads
    model = pack(problem, kernel)
    shape = heads, problem.blocks, problem.tasks
    work = law.scratch(model, shape)
    spread = _SPREAD * np.arange(heads * problem.blocks).reshape(heads, -1) / heads
    at = 0.2 + spread, np.ones((heads, problem.tasks))
    slope = np.empty(shape[:2]), np.empty((heads, problem.tasks))
    size = heads * (problem.blocks + problem.tasks)
    curvature = np.empty((size, size))
    single = start(case, 1)
    many = [np.array(values) for values in zip(*(start(case, seed) for seed in range(MEMBERS)), strict=True)]

    def field() -> int:
        _gradients(model, *at, *slope, work, _CALLS)
        return _CALLS

    def hessian() -> int:
        _hessians(model, *at, work, curvature, _CALLS)
        return _CALLS

    def flow() -> int:
        si.gradient_flow(problem, *single, t_end=T_END, kernel=kernel)
        return 1

    def member() -> int:
        found = si.gradient_flow_ensemble(problem, *many, t_end=T_END, kernel=kernel, threads=1)
        if not found.success.all():
            raise RuntimeError(f"{case}: {found}")
        return MEMBERS

    return {"field": field, "hessian": hessian, "flow": flow, "member": member}


def measure(case: Case, repeats: int) -> dict[str, Any]:
    """Seconds of every part under both laws, their ratios, and the steps of the flow."""
    timed = {kernel: calls(case, kernel) for kernel in LAWS}
    seconds = {part: dict.fromkeys(LAWS, np.inf) for part in PARTS}
    for repeat in range(-1, repeats):  # the first compiles
        for part in PARTS:
            for kernel in LAWS:
                began = time.process_time()
                count = timed[kernel][part]()
                spent = (time.process_time() - began) / count
                if repeat >= 0:
                    seconds[part][kernel] = min(seconds[part][kernel], spent)
    steps = {}
    for kernel in LAWS:
        solved = si.gradient_flow(case.problem, *start(case, 1), t_end=T_END, kernel=kernel)
        steps[kernel] = int(solved.stats.steps)
    return {
        "heads": case.heads,
        "tasks": case.problem.tasks,
        "label": case.label,
        "seconds": seconds,
        "ratio": {part: seconds[part][LAWS[1]] / seconds[part][LAWS[0]] for part in PARTS},
        "steps": steps,
    }


def line(found: dict[str, Any]) -> str:
    """A row of the table of the text."""
    cells = []
    for part, unit in PARTS.items():
        asymptotic, first = (unit * found["seconds"][part][kernel] for kernel in LAWS)
        digits = 0 if unit == 1e9 else 3
        cells.append(f"{asymptotic:9.{digits}f} {first:9.{digits}f} {found['ratio'][part]:6.2f}")
    steps = f"{found['steps'][LAWS[0]]:6d} {found['steps'][LAWS[1]]:6d}"
    return f"{found['heads']:3d} {found['tasks']:3d}  " + " |".join(cells) + f" | {steps}  {found['label']}"


def main() -> None:
    parser = argparse.ArgumentParser(description="the cost of the first-order law over the asymptotic one")
    parser.add_argument("--repeats", type=int, default=10, help="of which the best counts")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    found = [measure(case, options.repeats) for case in cases()]
    flow = next(one for one in found if (one["heads"], one["tasks"]) == (4, 3))["ratio"]["flow"]
    heading = " |".join(f"{f'{part}, {UNITS[part]}':^26}" for part in PARTS)
    lines = [
        record.machine_line(),
        f"best of {options.repeats}; asymptotic, first-order, and the ratio; flows to t = {T_END:g}",
        "",
        f"  H   I  {heading} | steps of the flow",
        *(line(one).rstrip() for one in found),
        "",
        f"flow at H = 4, I = 3: {flow:.2f} times, {'within' if flow <= TARGET else 'ABOVE'} {TARGET:g}",
    ]
    text = "\n".join(lines)
    print(text)
    record.write(options.out, "laws", text, {"repeats": options.repeats, "target": TARGET, "cases": found})


if __name__ == "__main__":
    main()
