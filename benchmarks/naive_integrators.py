"""Why the flow is solved in dual coordinates: off-the-shelf integrators in omega and mu flip signs.

The balanced flow of three tasks and four heads, by SciPy in the primal variables with the exact field,
against `gradient_flow`. Run from the repository root:

    python -m benchmarks.naive_integrators
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import spectral_icl as si

DATA = Path(__file__).parent.parent / "tests" / "data" / "flow_reference.json"


def main() -> None:
    """Print the final loss of every solver and how many signs it changed."""
    case = json.loads(DATA.read_text())["three_tasks_four_heads"]
    keys = ("block_sizes", "signal", "noise", "context_length", "covariance")
    problem = si.Problem(**{key: case[key] for key in keys})
    omega0, mu0 = np.array(case["omega0"]), np.array(case["mu0"])
    c, t_end = case["key_scale"], case["times"][-1]
    sizes, split = np.array(problem.block_sizes), omega0.size

    def unpack(y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        return y[:split].reshape(omega0.shape), y[split:].reshape(mu0.shape)

    def field(_: float, y: NDArray[np.float64]) -> NDArray[np.float64]:
        omega, mu = unpack(y)
        slope = si.gradient(problem, omega, mu)
        by_omega = -2.0 * c * np.abs(omega) * slope.omega / sizes
        by_mu: NDArray[np.float64] = -2.0 * np.abs(mu) * slope.mu
        return np.concatenate([by_omega.ravel(), by_mu.ravel()])

    print(f"{'solver':28} {'final loss':>12} {'signs changed':>14}")
    print(f"{'reference':28} {case['loss'][-1]:12.6f} {0:14d}")
    sol = si.gradient_flow(problem, omega0, mu0, parametrization=si.Balanced(c), t_end=t_end, rtol=1e-8)
    flips = int((sol.omega[-1] * omega0 < 0).sum() + (sol.mu[-1] * mu0 < 0).sum())
    print(f"{'gradient_flow, dual':28} {sol.loss[-1]:12.6f} {flips:14d}")
    start = np.concatenate([omega0.ravel(), mu0.ravel()])
    for method in ("LSODA", "BDF", "Radau"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            naive = solve_ivp(field, (0.0, t_end), start, method, rtol=1e-8, atol=1e-12)
        omega, mu = unpack(naive.y[:, -1])
        flips = int((omega * omega0 < 0).sum() + (mu * mu0 < 0).sum())
        print(f"{method + ', primal':28} {si.loss(problem, omega, mu):12.6f} {flips:14d}")

    balanced = si.Balanced(c)
    chart = balanced.chart(problem, si.State(omega0, mu0))

    def dual_field(_: float, x: NDArray[np.float64]) -> NDArray[np.float64]:
        slope = si.gradient(problem, *unpack(chart.scale * np.exp(x)))
        return -chart.speed * chart.sign * np.concatenate([slope.omega.ravel(), slope.mu.ravel()])

    explicit = solve_ivp(dual_field, (0.0, 2e4), np.log(start), "RK45", rtol=1e-6, atol=1e-6)
    ours = si.gradient_flow(problem, omega0, mu0, parametrization=balanced, t_end=2e4, rtol=1e-6)
    counts = f"RK45 {explicit.t.size - 1}, gradient_flow {ours.stats.steps}"
    print(f"\nsteps to t = 2e4 in dual coordinates, rtol 1e-6: {counts}")


if __name__ == "__main__":
    main()
