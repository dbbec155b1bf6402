"""What every benchmark shares: the machine it ran on, its files, and times at matched error."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from spectral_icl.io.provenance import cpu
from spectral_icl.version import __version__

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("numpy", "scipy", "numba")


def machine() -> dict[str, str]:
    """CPU model, core count and versions; nothing that identifies a host."""
    versions = {"spectral-icl": __version__, **{package: version(package) for package in _PACKAGES}}
    return {"cpu": cpu(), "cores": str(os.cpu_count()), "python": platform.python_version(), **versions}


def machine_line() -> str:
    """`machine` as one line of text."""
    facts = machine()
    cpu, cores = facts.pop("cpu"), facts.pop("cores")
    return f"{cpu}, {cores} cores; " + ", ".join(f"{name} {number}" for name, number in facts.items())


def write(out: Path, name: str, text: str, data: Mapping[str, Any]) -> None:
    """Write NAME.txt and NAME.json."""
    out.mkdir(parents=True, exist_ok=True)
    (out / f"{name}.txt").write_text(text.rstrip() + "\n", "utf-8")
    table = json.dumps({"machine": machine(), **data}, indent=1, allow_nan=False)
    (out / f"{name}.json").write_text(table + "\n", "utf-8")


def time_at_error(points: Iterable[tuple[float, float]], target: float) -> float | None:
    """Seconds to reach an error of ``target``, from (error, seconds) points; None if none reaches it.

    Log-log interpolation between neighbours on the Pareto front (no other point is both faster and more
    accurate). If the fastest point of the front is more accurate than the target, its time.
    """
    front: list[tuple[float, float]] = []
    for error, seconds in sorted(points, key=lambda point: (point[1], point[0])):
        if np.isfinite(error) and (not front or error < front[-1][0]):
            front.append((max(error, 1e-17), seconds))
    if not front or front[-1][0] > target:
        return None
    if front[0][0] <= target:
        return front[0][1]
    errors, seconds_ = np.log(np.array(front[::-1])).T
    return float(np.exp(np.interp(np.log(target), errors, seconds_)))
