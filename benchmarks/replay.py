"""What the package does where something is wrong: full disks, damaged files, odd numbers, settings of others.

    python -m benchmarks.replay [NAME ...] [--tree DIR] [--out DIR]

The cases are in replay.sh, each in a folder of its own with two small files. The table has the exit status of
each (124: stopped after a minute; 77: this machine cannot make the situation), the lines on standard error,
seconds, the peak of memory, and the last line. With --tree another checkout of the package is replayed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks import record

_SECONDS = 60

_PROBLEM = """\
[problem]
task_sizes = [2, 2]
signal = 1.0
noise = 0.1
context_length = 100
[flow]
t_end = 50.0
"""
_AXIS = """\
[[axis]]
path = "problem.context_length"
values = [50, 100, 200]
"""


class Outcome(NamedTuple):
    """What became of a case."""

    status: int
    lines: int
    seconds: float
    megabytes: float
    last: str

    def __str__(self) -> str:
        return (
            f"{self.status:6d} {self.lines:6d} {self.seconds:8.1f} {self.megabytes:8.0f}  {self.last[:160]}"
        )


def cases() -> dict[str, str]:
    """The shell of every case, by name."""
    before, *named = re.split(
        "^## ", Path(__file__).with_suffix(".sh").read_text("utf-8"), flags=re.MULTILINE
    )
    return {name: before + script for name, script in (case.split("\n", 1) for case in named)}


def replay(script: str, tree: Path) -> Outcome:
    """Run a case with the package in ``tree``."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "two.toml").write_text(_PROBLEM, "utf-8")
        Path(folder, "sweep.toml").write_text(_PROBLEM + _AXIS, "utf-8")
        settings = {
            "PYTHON": sys.executable,
            "PYTHONPATH": str(tree),
            "TMPDIR": folder,
            "MPLCONFIGDIR": folder,
        }
        began = time.perf_counter()
        with tempfile.TemporaryFile() as errors:
            process = subprocess.Popen(
                ["timeout", "-k", "5", str(_SECONDS), "bash", "-c", script],
                cwd=folder,
                env=os.environ | settings,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
            _, status, usage = os.wait4(process.pid, 0)
            seconds = time.perf_counter() - began
            errors.seek(0)
            lines = errors.read().decode("utf-8", "replace").strip().splitlines()
    last = lines[-1].replace(f"{folder}/", "") if lines else ""
    return Outcome(os.waitstatus_to_exitcode(status), len(lines), seconds, usage.ru_maxrss / 1024, last)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Replay what goes wrong.")
    parser.add_argument("names", nargs="*", help="cases whose names contain one of these; all by default")
    parser.add_argument("--tree", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    given = parser.parse_args()
    parts = given.names or [""]
    chosen = {name: script for name, script in cases().items() if any(part in name for part in parts)}
    if not chosen:
        parser.error(f"NAME: expected part of the name of a case in replay.sh, got {' '.join(given.names)}")
    if not (given.tree / "spectral_icl" / "cli.py").is_file():
        parser.error(f"--tree: expected a checkout of the package, got {given.tree}")
    lines = [f"{'case':40} {'status':>6} {'lines':>6} {'seconds':>8} {'MB':>8}  last line"]
    print(lines[0])
    found = {}
    for name, script in chosen.items():
        found[name] = replay(script, given.tree.resolve())
        lines.append(f"{name:40} {found[name]}")
        print(lines[-1], flush=True)
    if not given.names:
        text = "\n".join([record.machine_line(), "", *lines])
        record.write(
            given.out, "replay", text, {"cases": {name: each._asdict() for name, each in found.items()}}
        )


if __name__ == "__main__":
    main()
