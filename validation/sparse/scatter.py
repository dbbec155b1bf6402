"""How much training from the construction varies with the seed: measured once, for commands of one run.

``python -m validation.sparse.scatter [SEEDS]`` measures it again. All that a seed decides varies in it: the
start, the prompts of training, and those of the measurement.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from spectral_icl.io.files import replacing
from spectral_icl.io.provenance import cpu
from validation.context import Context
from validation.sparse.bench import Bench
from validation.sparse.warm import FIRST, ONE, PROBLEM, config_of, warm
from validation.statistics import Estimate

FILE = Path(__file__).parents[1] / "data" / "sparse_scatter.json"

_FIRST_SEED = 1000  # of those measured with, none of which a command has by itself
_SEEDS = 8


def setting(heads: tuple[int, ...]) -> str:
    """How a layout is trained by a quick command, apart from its seed."""
    return repr(replace(config_of(Context(), heads, 0), seed=0))


@cache
def recorded() -> dict[str, Any]:
    """What `FILE` says."""
    found: dict[str, Any] = json.loads(FILE.read_text("utf-8"))
    return found


def over_runs(values: list[float], heads: tuple[int, ...], quantity: str) -> Estimate:
    """The mean of a quantity over training runs, from one or more of them.

    The scatter between runs is that of several ``values``, or of one the recorded one.
    """
    if len(values) > 1:
        return Estimate.of(np.array(values))
    seen = np.array(recorded()["layouts"][str(list(heads))]["quantities"][quantity])
    return Estimate(values[0], float(seen.std(ddof=1)), seen.size - 1.0)


def measured(seeds: range, folder: Path | None = None) -> dict[str, Any]:
    """The quantities of quick training runs with some seeds, and what they depend on."""
    layouts = {}
    for heads in (FIRST, ONE):
        runs = []
        for seed in seeds:
            context = Context(seed=seed, folder=folder, progress=True)
            runs.append(warm(context, Bench.of(context, PROBLEM), heads, 0).quantities)
        values = {name: [run[name] for run in runs] for name in runs[0]}
        layouts[str(list(heads))] = {"setting": setting(heads), "quantities": values}
    return {
        "command": "python -m validation.sparse.scatter",
        "seeds": list(seeds),
        "machine": cpu(),
        "torch": torch.__version__,
        "layouts": layouts,
    }


def main(arguments: list[str]) -> None:
    """Measure with so many seeds, and record."""
    count = int(arguments[0]) if arguments else _SEEDS
    found = measured(range(_FIRST_SEED, _FIRST_SEED + count))
    with replacing(FILE) as part:
        part.write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
