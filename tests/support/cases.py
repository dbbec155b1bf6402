"""The reference trajectories, each with the problem and start that it belongs to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import spectral_icl as si
from spectral_icl.multitask.parametrization import Parametrization

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """A reference trajectory with the problem and start it belongs to."""

    problem: si.Problem
    parametrization: Parametrization
    omega0: Array
    mu0: Array
    times: Array
    omega: Array
    mu: Array
    loss: Array

    def solve(self, **options: Any) -> si.Solution:
        arguments = {"t_end": self.times[-1], "t_eval": self.times, **options}
        return si.gradient_flow(
            self.problem, self.omega0, self.mu0, parametrization=self.parametrization, **arguments
        )

    def error(self, sol: si.Solution) -> float:
        """Largest difference from the reference, relative to max(1, |reference|)."""
        pairs = ((sol.omega, self.omega), (sol.mu, self.mu))
        return max(float((abs(a - b) / np.maximum(1.0, abs(b))).max()) for a, b in pairs)


def _case(table: dict[str, Any]) -> Case:
    keys = ("block_sizes", "signal", "noise", "context_length", "covariance")
    scale = table["key_scale"]
    imbalance = (table["imbalance_omega"], table["imbalance_mu"])
    parametrization: Parametrization = {
        "balanced": si.Balanced(scale),
        "factored": si.Factored(*imbalance, scale),
        "merged": si.Merged(),
    }[table["parametrization"]]
    return Case(
        si.Problem(**{key: table[key] for key in keys}),
        parametrization,
        *(np.array(table[key], float) for key in ("omega0", "mu0", "times", "omega", "mu", "loss")),
    )


_TABLES = json.loads((Path(__file__).parents[1] / "data" / "flow_reference.json").read_text())
CASES = {name: _case(table) for name, table in _TABLES.items()}
