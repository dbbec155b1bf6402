"""What a fresh interpreter costs: imports, the first flow (which compiles) and the next ones.

    python -m benchmarks.startup [--repeats N] [--out DIR]

Every number is the median wall time of fresh subprocesses, with one thread. The compiling runs each start
from an empty numba cache in a temporary folder; the runs after them share it.
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

from benchmarks import record

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


def main() -> None:
    parser = argparse.ArgumentParser(description="import, compile and start-up times")
    parser.add_argument("--repeats", type=int, default=9, help="of everything but the compilation (a third)")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    flow, helping = [str(_COMMAND), "flow"], [str(_COMMAND), "--help"]
    seconds: dict[str, list[float]] = {}
    facts: dict[str, Any] = {}

    first = seconds["spectral-icl flow, empty cache (compiles)"] = []
    for _ in range(max(1, options.repeats // 3)):
        with tempfile.TemporaryDirectory() as folder:
            first.append(timed(flow, Path(folder))[0])
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

    medians = {name: median(values) for name, values in seconds.items()}
    beyond = medians["import spectral_icl"] - medians["import numpy, numba"]
    facts["import_beyond_numpy_numba"] = beyond
    lines = [record.machine_line(), "", "seconds, median (smallest, largest) of fresh interpreters"]
    for name, values in seconds.items():
        lines.append(
            f"  {name:<42} {medians[name]:7.3f}  ({min(values):.3f}, {max(values):.3f}; {len(values)} runs)"
        )
    lines += [
        f"  import spectral_icl beyond numpy and numba {beyond:7.3f}",
        "",
        f"numba cache after one flow: {facts['cache_files']} files, {facts['cache_bytes'] / 1e6:.1f} MB",
        f"files written by the later flows: {', '.join(facts['rewritten']) or 'none'}",
        f"a later flow in Python: {facts['hits']} compiled functions loaded, {facts['misses']} compiled",
    ]
    text = "\n".join(lines)
    print(text)
    record.write(options.out, "startup", text, {"seconds": seconds, "medians": medians, **facts})


if __name__ == "__main__":
    main()
