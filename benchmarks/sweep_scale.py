"""A sweep of 10^5 points: its rate and memory, and whether 50 kills change a byte of it.

    python -m benchmarks.sweep_scale [--points N] [--kills K] [--out DIR]

Two tasks, three heads, balanced, to t = 1e4, over context length, noise and replicates, with the phases and
the benchmarks of every point, by `spectral-icl sweep` on all cores. First it runs undisturbed, while its
resident memory is read ten times a second. Then the same command is killed with SIGKILL, children included,
K times, each after a random time (seed 0) that is chosen so that the kills fall all over the work, and
repeated until it is done. The two stores are compared file by file, with SOURCE_DATE_EPOCH set for both: the
time of creation is the one thing in a store that is not a result.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks import record

PLAN = """
seed = 1
[problem]
task_sizes = [10, 10]
signal = [10.0, 10.0]
noise = 0.09
context_length = 100
[model]
heads = 3
[initial]
kind = "random"
scale = 0.05
positive = true
[flow]
t_end = 1e4
rtol = 1e-6
[[axis]]
path = "problem.context_length"
log = [50, 5000, 50]
[[axis]]
path = "problem.noise"
log = [0.01, 10, 40]
[[axis]]
path = "initial.seed"
replicates = {replicates}
"""
_ENVIRONMENT = {**os.environ, "SOURCE_DATE_EPOCH": "1700000000"}


def start(plan: Path, store: Path) -> subprocess.Popen[bytes]:
    """The sweep as a process of its own session."""
    script = str(Path(sys.executable).with_name("spectral-icl"))
    command = [script, "sweep", str(plan), "--out", str(store), "--json"]
    return subprocess.Popen(
        command,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def resident(pid: int) -> float:
    """Resident memory of a process in MiB; 0 once it has gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def undisturbed(plan: Path, store: Path) -> tuple[float, list[float], dict[str, object]]:
    """Seconds, resident memory every tenth of a second, and the report."""
    began = time.perf_counter()
    process = start(plan, store)
    memory = []
    while process.poll() is None:
        memory.append(resident(process.pid))
        time.sleep(0.1)
    seconds = time.perf_counter() - began
    assert process.stdout is not None
    return seconds, memory, json.loads(process.stdout.read())


def killed(plan: Path, store: Path, kills: int, seconds: float) -> list[float]:
    """Run and kill, then run to the end; the share of points that was done at every kill."""
    rng = np.random.default_rng(0)
    batches = len(list((store.with_name("whole.zarr") / "status" / "c").iterdir()))
    done = []
    for _ in range(kills):
        process = start(plan, store)
        # a start takes about two seconds before it solves anything
        time.sleep(rng.uniform(0.5, 2.5 + 2.0 * seconds / kills))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        finished = store / "status" / "c"
        done.append(len(list(finished.glob("[0-9]*"))) / batches if finished.exists() else 0.0)
    process = start(plan, store)
    assert process.wait() == 0
    return done


def different(one: Path, other: Path) -> list[str]:
    """Files that are not in both, or not the same byte by byte."""
    names = {str(p.relative_to(root)) for root in (one, other) for p in root.rglob("*") if p.is_file()}
    _, changed, missing = filecmp.cmpfiles(one, other, names, shallow=False)
    return sorted(changed + missing)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--points", type=int, default=100_000, help="rounded to a multiple of 2000")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plan = Path(folder) / "plan.toml"
        plan.write_text(PLAN.format(replicates=max(1, options.points // 2000)))
        whole, broken = Path(folder) / "whole.zarr", Path(folder) / "broken.zarr"
        seconds, memory, report = undisturbed(plan, whole)
        size = sum(p.stat().st_size for p in whole.rglob("*") if p.is_file()) / 2**20
        files = sum(1 for p in whole.rglob("*") if p.is_file())
        early, late = memory[len(memory) // 5], max(memory[len(memory) // 5 :])
        done = killed(plan, broken, options.kills, seconds)
        changed = different(whole, broken)
    points = int(str(report["points"]))
    lines = [
        f"{points} points on {os.cpu_count()} cores: {seconds:.1f} s, {points / seconds:.0f} per second",
        f"solved {report['solved']}; store of {size:.1f} MiB in {files} files",
        f"resident memory: {early:.0f} MiB after a fifth of the time, at most {late:.0f} MiB from there on",
        f"{options.kills} kills, at shares of the work of {min(done):.2f} to {max(done):.2f}"
        f" ({sum(0.0 < d < 1.0 for d in done)} of them in the midst of it)",
        f"files that differ from the undisturbed store: {len(changed)}",
    ]
    print("\n".join(lines))
    record.write(
        options.out,
        "sweep_scale",
        "\n".join([record.machine_line(), *lines]),
        {
            "points": points,
            "seconds": seconds,
            "memory_early_MiB": early,
            "memory_most_MiB": late,
            "kills": done,
            "different": changed,
        },
    )
    if changed:
        sys.exit(1)


if __name__ == "__main__":
    main()
