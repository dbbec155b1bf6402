"""From the wheel to a first figure: an environment, the installation, the first flow and the next.

    python -m benchmarks.install [--repeats N] [--out DIR]

Wall time of what a newcomer types in an empty folder, with the wheel of this checkout, which is built before.
pip has no cache, so that everything is downloaded and unpacked; how long that takes is the network's affair.
The first flow compiles its kernels, and the next finds them.
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

from benchmarks import record

ROOT = Path(__file__).parents[1]
STEPS = {
    "python -m venv env": [sys.executable, "-m", "venv", "env"],
    "pip install 'spectral-icl[plot]'": [
        "env/bin/python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-cache-dir",
    ],
    "spectral-icl flow --plot flow.pdf": ["env/bin/spectral-icl", "flow", "--plot", "flow.pdf"],
    "the same again": ["env/bin/spectral-icl", "flow", "--plot", "flow.pdf"],
}
LATER = "the same again"
_HIDDEN = ("PYTHONPATH", "NUMBA_CACHE_DIR", "VIRTUAL_ENV")


def built(folder: Path) -> Path:
    """The wheel of this checkout."""
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, capture_output=True, check=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


def timed(wheel: Path, folder: Path) -> tuple[dict[str, float], int]:
    """Seconds of each step in an empty folder, and bytes of what was installed."""
    environment = {name: value for name, value in os.environ.items() if name not in _HIDDEN}
    seconds = {}
    for name, command in STEPS.items():
        asked = [f"{wheel}[plot]"] if "pip" in command else []
        began = time.perf_counter()
        subprocess.run([*command, *asked], cwd=folder, env=environment, capture_output=True, check=True)
        seconds[name] = time.perf_counter() - began
        if asked:
            size = sum(file.stat().st_size for file in (folder / "env").rglob("*") if file.is_file())
    assert (folder / "flow.pdf").stat().st_size > 0
    return seconds, size


def main() -> None:
    parser = argparse.ArgumentParser(description="from the wheel to a first figure")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wheel = built(Path(name))
        weight = wheel.stat().st_size
        runs = []
        for _ in range(options.repeats):
            with tempfile.TemporaryDirectory() as folder:
                found, size = timed(wheel, Path(folder))
                runs.append(found)
    seconds = {step: [run[step] for run in runs] for step in STEPS}
    seconds["from nothing to the first figure"] = [
        sum(spent for step, spent in run.items() if step != LATER) for run in runs
    ]
    lines = [record.machine_line(), "", f"seconds, median (smallest, largest) of {len(runs)} runs"]
    for step, values in seconds.items():
        lines.append(f"  {step:<34} {median(values):6.1f}  ({min(values):.1f}, {max(values):.1f})")
    lines += ["", f"the wheel has {weight / 1e6:.2f} MB, the environment {size / 1e6:.0f} MB"]
    text = "\n".join(lines)
    print(text)
    facts = {"seconds": seconds, "wheel_bytes": weight, "environment_bytes": size}
    record.write(options.out, "install", text, facts)


if __name__ == "__main__":
    main()
