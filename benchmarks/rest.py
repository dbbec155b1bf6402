"""What is typical of rest, and how far the loss of dense output may rise, on random problems.

    python -m benchmarks.rest [--count N] [--flows N] [--seed N] [--out DIR]

Problems, starts and parametrizations are those of `benchmarks.verdicts`, under the asymptotic law. At rest,
to two tolerances: by how much the losses and states of `gradient_flow` and `gradient_flow_ensemble` differ,
and by how much the loss falls on if the flow is followed a thousand times as long. And of flows from larger
starts, at tolerances from 1e-10 to 1e-3: how many losses rise by more than the tolerance, at eight points of
every step, where the logit variance is below `saturation.LIMIT` log L throughout and where it is not; the
largest rise, as it is and over the tolerance.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

import spectral_icl as si
from benchmarks.record import RESULTS, machine_line, write
from benchmarks.verdicts import case
from spectral_icl.kernels.phases import POINTS
from spectral_icl.multitask.flow.saturation import LIMIT
from spectral_icl.multitask.loss import losses_at

_TOLERANCES = (1e-6, 1e-8)
_FURTHER = 1e3  # times as long
_STEPS = 20_000


def solved(p: si.Problem, start: si.State, **options: Any) -> si.Solution:
    """The flow, or the part of it that could be solved."""
    try:
        return si.gradient_flow(p, *start, max_steps=_STEPS, **options)
    except si.IntegrationError as error:
        if error.solution is None:
            raise
        return error.solution


def at_rest(count: int, seed: int, stationary: float) -> dict[str, Any]:
    """Differences at rest, and what comes after it; those of states relative to the largest entry."""
    found = []
    for k in range(count):
        p, start, flavour = case(seed * count + k)
        options = {"parametrization": flavour, "t_end": math.inf, "stationary": stationary}
        one = solved(p, start, **options)
        many = si.gradient_flow_ensemble(p, *start, max_steps=_STEPS, **options)
        outcomes = {one.outcome, int(many.outcome[0])}
        if outcomes != {si.Outcome.STATIONARY} or one.trajectory.t.size == 1:  # or at rest from the start
            continue
        pairs = ((one.final.omega, many.omega[0]), (one.final.mu, many.mu[0]))
        apart = max(float(abs(a - b).max()) for a, b in pairs)
        size = max(1.0, *(float(abs(a).max()) for a, _ in pairs))
        end = min(_FURTHER * one.trajectory.t[-1], 1e100)
        later = solved(p, start, parametrization=flavour, t_end=end)
        losses = (one.final_loss - many.loss[0], one.final_loss - later.final_loss)
        found.append((flavour.name, apart / size, *(float(x) / stationary for x in losses)))
    names = sorted({row[0] for row in found})
    rows = np.array([row[1:] for row in found])
    return {
        "stationary": stationary,
        "at rest in both": len(found),
        "of": count,
        "largest difference of states": rows[:, 0].max(),
        "largest difference of losses / stationary": abs(rows[:, 1]).max(),
        "median fall after rest / stationary": {
            name: float(np.median([row[3] for row in found if row[0] == name])) for name in names
        },
        "largest fall after rest / stationary": rows[:, 2].max(),
    }


def rises(count: int, seed: int) -> dict[str, Any]:
    """How many losses rise by more than rtol within the range of the law and beyond it, and the most."""
    found: dict[str, list[tuple[float, float]]] = {"within": [], "beyond": []}
    for k in range(count):
        p, start, flavour = case(seed * count + k, shortest=10.0, longest=1e4)
        rng = np.random.default_rng([11, seed, k])
        larger = si.State(*(values * 10.0 ** rng.uniform(0.0, 2.0) for values in start))
        rtol = 10.0 ** rng.uniform(-10.0, -3.0)
        flow = solved(p, larger, parametrization=flavour, t_end=100.0, rtol=rtol)
        losses = losses_at(p, flow(flow.trajectory.refined(POINTS))).sum(axis=1)
        if not np.isfinite(losses).all():
            continue
        lowest = np.minimum.accumulate(losses)
        rise = float(((losses - lowest) / lowest).max())
        found["within" if flow.saturation.ratio < LIMIT else "beyond"].append((rise, rise / rtol))
    return {
        where: {
            "flows": len(rows),
            "rise": sum(over > 1.0 for _, over in rows),
            "by": max(rise for rise, _ in rows),
            "over rtol": max(over for _, over in rows),
        }
        for where, rows in found.items()
        if rows
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=300, help="problems followed to rest")
    parser.add_argument("--flows", type=int, default=1500, help="flows whose losses are looked at")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if min(given.count, given.flows) < 1 or given.seed < 0:
        got = f"{given.count}, {given.flows} and {given.seed}"
        parser.error(f"--count, --flows and --seed: expected at least 1, 1 and 0, got {got}")
    data = {
        "rest": [at_rest(given.count, given.seed, each) for each in _TOLERANCES],
        "dense output": rises(given.flows, given.seed),
    }
    lines = [machine_line()]
    for found in data["rest"]:
        lines += ["", *(f"{key:45} {_said(value)}" for key, value in found.items())]
    lines += [
        "",
        *(f"losses {where} the range: {_said(found)}" for where, found in data["dense output"].items()),
    ]
    write(given.out, "rest", "\n".join(lines), data)
    print("\n".join(lines))


def _said(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_said(entry)}" for key, entry in value.items())
    return f"{value:.3g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
