"""What comes before the first step and what a step costs: imports, compiling, calls, single steps.

    python -m benchmarks.startup [--repeats N] [--out DIR]

Seconds are the median wall time of fresh subprocesses, with one thread but for `spectral-icl warm` on all
cores. The compiling runs each start from an empty numba cache in a temporary folder; the runs after them
share it. Microseconds are of this process: of a flow that is over at once, Python included, and of the
compiled integrator alone per step, on flows of `benchmarks.work_precision`: by implicit steps to t = 2e5, by
explicit ones as far as `gradient_flow` takes them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import spectral_icl as si
from benchmarks import record, work_precision
from spectral_icl.kernels.integrator import integrate
from spectral_icl.kernels.model import (
    ALWAYS_IMPLICIT,
    BUFFER_FULL,
    EXPLICIT,
    Limits,
    Methods,
    Nodes,
    Progress,
    System,
)
from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.parametrization import to_dual

_COMMAND = Path(sys.executable).with_name("spectral-icl")
_IMPORTS = {
    "python -c pass": "pass",
    "import numpy, numba": "import numpy, numba",
    "import spectral_icl": "import spectral_icl",
}
# numba says nothing about a cache hit on its own: ask every compiled function after a flow.
_HITS = """
import spectral_icl as si
from spectral_icl.kernels.compile import entries
p = si.Problem.multitask(task_sizes=(10, 10), signal=10., noise=0.09, context_length=100)
sol = si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2))
sol.loss, sol.phases, sol.allocation
stats = [f.stats for f in entries]
print(sum(sum(s.cache_hits.values()) for s in stats), sum(sum(s.cache_misses.values()) for s in stats))
"""
_FLOW = """
import spectral_icl as si
p = si.Problem.multitask(task_sizes=(10, 10), signal=10., noise=0.09, context_length=100)
si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2))
"""
_ENSEMBLE = """
import spectral_icl as si
p = si.Problem.multitask(task_sizes=(10, 10), signal=10., noise=0.09, context_length=100)
starts = [si.initial.random(p, 2, seed=seed, positive=True) for seed in range(8)]
si.gradient_flow_ensemble(p, *zip(*starts), t_eval=[0., 100.], phases=True, threads=1)
"""
SIZES = [(1, 1), (4, 3)]  # H and I
_RTOL = 1e-10
_METHODS = Methods(DORMAND_PRINCE, RODAS5P)
_CAPACITY = 20_000
_CALLS, _RUNS = 1000, 50


def timed(command: list[str], cache: Path) -> tuple[float, str]:
    """Seconds and standard output of one subprocess."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


def cache_files(cache: Path) -> dict[str, int]:
    """Index and code files in a numba cache, with their modification times."""
    return {
        str(path.relative_to(cache)): path.stat().st_mtime_ns
        for path in cache.rglob("*")
        if path.suffix in (".nbi", ".nbc")
    }


def call_overhead() -> list[float]:
    """Microseconds of calls of `gradient_flow` whose flow is over at once."""
    problem = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    start = si.initial.paper(problem, 2, 0.1, 0.1, 0.2)
    si.gradient_flow(problem, *start, t_end=1e-3)
    seconds = []
    for _ in range(_CALLS):
        began = time.perf_counter()
        si.gradient_flow(problem, *start, t_end=1e-3)
        seconds.append(time.perf_counter() - began)
    return [1e6 * second for second in seconds]


def step_costs(heads: int, tasks: int) -> dict[str, dict[str, float]]:
    """Steps, taken or refused, and microseconds of each (best and median of runs), explicit and implicit."""
    problem, start = work_precision.flow(heads, tasks)
    chart = si.Balanced().chart(problem, start)
    for values in chart:
        values.setflags(write=False)  # as `gradient_flow` does, whose compiled code this is
    x = to_dual(chart, start)
    system = System(pack(problem), chart, np.arange(x.size), (heads, problem.blocks, tasks))
    limits = Limits(work_precision.T_END, _RTOL, 0.0, _CAPACITY)

    def run(mode: int, nodes: Nodes) -> tuple[Progress, float]:
        progress = Progress.begun(mode)
        nodes.x[0] = x
        began = time.perf_counter()
        integrate(system, _METHODS, limits, progress, nodes)
        return progress, time.perf_counter() - began

    found = {}
    for name, mode, capacity in (
        ("explicit", EXPLICIT, _explicit_steps(system, limits, x)),
        ("implicit", ALWAYS_IMPLICIT, _CAPACITY),
    ):
        room = Nodes.room(capacity, RODAS5P.dense.shape[0], x.size)
        steps = int(run(mode, room)[0].counts[:2].sum())
        each = [1e6 * run(mode, room)[1] / steps for _ in range(_RUNS)]
        found[name] = {"steps": steps, "best": min(each), "median": median(each)}
    return found


def _explicit_steps(system: System, limits: Limits, x: work_precision.Floats) -> int:
    """How many steps the flow takes before the first implicit one."""
    progress, nodes = Progress.begun(), Nodes.room(1, RODAS5P.dense.shape[0], x.size)
    nodes.x[0] = x
    count = 0
    while True:
        status, _ = integrate(system, _METHODS, limits, progress, nodes)
        if status != BUFFER_FULL or progress.counts[4] > 0:
            return count
        nodes.x[0] = nodes.x[1]
        count += 1


def main() -> None:
    parser = argparse.ArgumentParser(description="import, compile and start-up times")
    parser.add_argument("--repeats", type=int, default=9, help="fewer of what compiles")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    flow, helping = [str(_COMMAND), "flow"], [str(_COMMAND), "--help"]
    seconds: dict[str, list[float]] = {}
    facts: dict[str, Any] = {}

    warm = [str(_COMMAND), "warm"]
    compiling = {
        "spectral-icl flow, empty cache (compiles)": (flow, options.repeats // 3),
        "first gradient_flow, empty cache": ([sys.executable, "-c", _FLOW], options.repeats // 3),
        "first ensemble, empty cache (compiles)": ([sys.executable, "-c", _ENSEMBLE], options.repeats // 9),
        "spectral-icl warm --workers 1, empty cache": ([*warm, "--workers", "1"], options.repeats // 9),
        "spectral-icl warm, empty cache": (warm, options.repeats // 9),
    }
    for name, (command, repeats) in compiling.items():
        seconds[name] = []
        for _ in range(max(1, repeats)):
            with tempfile.TemporaryDirectory() as folder:
                seconds[name].append(timed(command, Path(folder))[0])
    with tempfile.TemporaryDirectory() as folder:
        timed(warm, Path(folder))
        seconds["spectral-icl warm, again"] = [timed(warm, Path(folder))[0] for _ in range(options.repeats)]
        everything = cache_files(Path(folder))
        facts["warm_files"] = len(everything)
        facts["warm_bytes"] = sum((Path(folder) / name).stat().st_size for name in everything)
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        timed(flow, cache)
        before = cache_files(cache)
        facts["cache_files"] = len(before)
        facts["cache_bytes"] = sum((cache / name).stat().st_size for name in before)
        commands = {name: [sys.executable, "-c", code] for name, code in _IMPORTS.items()}
        commands |= {"spectral-icl flow, again": flow, "spectral-icl --help": helping}
        for command in commands.values():
            timed(command, cache)  # the operating system's file cache is warm from here on
        for _ in range(options.repeats):
            for name, command in commands.items():
                seconds.setdefault(name, []).append(timed(command, cache)[0])
        after = cache_files(cache)
        facts["rewritten"] = sorted(name for name in after if after[name] != before.get(name))
        facts["hits"], facts["misses"] = map(int, timed([sys.executable, "-c", _HITS], cache)[1].split())

    calls = call_overhead()
    facts["call_microseconds"] = {"best": min(calls), "median": median(calls)}
    facts["step_microseconds"] = {f"H={heads}, I={tasks}": step_costs(heads, tasks) for heads, tasks in SIZES}

    medians = {name: median(values) for name, values in seconds.items()}
    lines = [record.machine_line(), "", "seconds, median (smallest, largest) of fresh interpreters"]
    for name, values in seconds.items():
        lines.append(
            f"  {name:<42} {medians[name]:7.3f}  ({min(values):.3f}, {max(values):.3f}; {len(values)} runs)"
        )
    lines += [
        "",
        f"numba cache after one flow: {facts['cache_files']} files, {facts['cache_bytes'] / 1e6:.1f} MB",
        f"files written by the later flows: {', '.join(facts['rewritten']) or 'none'}",
        f"a later flow in Python: {facts['hits']} compiled functions loaded, {facts['misses']} compiled",
        f"numba cache after all is compiled: {facts['warm_files']} files, {facts['warm_bytes'] / 1e6:.1f} MB",
        "",
        "microseconds, best (median)",
        f"  {'gradient_flow to t_end = 1e-3':<42} {min(calls):7.1f}  ({median(calls):.1f}; {_CALLS} calls)",
    ]
    for size, kinds in facts["step_microseconds"].items():
        for kind, cost in kinds.items():
            what = f"one {kind} step, {size}"
            runs = f"{_RUNS} runs of {cost['steps']} steps"
            lines.append(f"  {what:<42} {cost['best']:7.3f}  ({cost['median']:.3f}; {runs})")
    text = "\n".join(lines)
    print(text)
    record.write(options.out, "startup", text, {"seconds": seconds, "medians": medians, **facts})


if __name__ == "__main__":
    main()
