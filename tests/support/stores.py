"""Sweeps that take seconds, their commands as processes, and stores compared byte by byte."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from spectral_icl.sweeps.plan import Plan

# 3 x 2 x 4 = 24 points in 5 batches, the last of them smaller
TEXT = """
seed = 7
batch = 5
[problem]
task_sizes = [4, 4]
signal = [10.0, 10.0]
noise = 0.09
context_length = 100
[model]
heads = 2
[initial]
kind = "random"
scale = 0.1
[flow]
t_end = 0.5
[record]
times = [0.1, 0.4]
[[axis]]
path = "problem.context_length"
values = [50, 100, 500]
[[axis]]
path = "initial.scale"
values = [0.1, 0.2]
zip = "start"
[[axis]]
path = "problem.noise"
values = [0.05, 0.5]
zip = "start"
[[axis]]
path = "initial.seed"
replicates = 4
"""
SHAPE = {"problem.context_length": 3, "start": 2, "replicate": 4}
SIZE, BATCHES = 24, 5

EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}


def write(folder: Path, text: str = TEXT) -> Path:
    """The sweep as a file."""
    path = folder / "sweep.toml"
    path.write_text(text, "utf-8")
    return path


def plan(folder: Path, text: str = TEXT) -> Plan:
    """The sweep as a plan."""
    return Plan.read(write(folder, text))


def command(*args: str | Path, **environment: str) -> subprocess.Popen[str]:
    """``spectral-icl sweep`` as a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", "from spectral_icl.cli import main; main()", "sweep", *map(str, args)],
        env={**os.environ, **EPOCH, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 120.0) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a process."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    return process.returncode, out, err


def tree(path: Path) -> dict[str, bytes]:
    """Every file below a folder and its bytes."""
    return {str(f.relative_to(path)): f.read_bytes() for f in sorted(path.rglob("*")) if f.is_file()}


def differing(a: Path, b: Path) -> list[str]:
    """Names of files that are not the same bytes in both folders."""
    left, right = tree(a), tree(b)
    return sorted(name for name in left | right if left.get(name) != right.get(name))


def hook(folder: Path, code: str) -> dict[str, str]:
    """Environment of processes where ``code`` runs before a batch: it knows its first point as ``start``."""
    folder.mkdir()
    lines = [
        "import os, signal, time",
        "from spectral_icl.sweeps.plan import Plan",
        "solve = Plan.solve",
    ]
    lines += ["def hooked(plan, start, stop, threads=1):", f"    {code}"]
    lines += ["    return solve(plan, start, stop, threads=threads)", "Plan.solve = hooked"]
    (folder / "sitecustomize.py").write_text("\n".join(lines) + "\n", "utf-8")
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])])}


def values(store: Any) -> dict[str, Any]:
    """Every array of a store."""
    return {name: array[:] for name, array in store.arrays.items()}
