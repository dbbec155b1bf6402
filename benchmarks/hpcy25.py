"""The setting of He, Pan, Chen and Yang (2025), from the flow of the exact law alone.

    python -m benchmarks.hpcy25 [--out DIR]

One task, d = 5, L = 40, query noise 0.1, signal variance 1/5 per coordinate. Exact flows with 1, 2, 4 and 8
heads, balanced, start from small random weights whose heads are positive (omega, mu > 0) and negative in
turn: with one head alone a negative one would be the same. With two heads or more the flow slides down a
valley in which heads shrink and mu grows, and what training finds depends on when it stops. Beside the losses
along it stand the least ones, by `optimal.minimise`, the infimum of small heads, and what they publish for
trained models. Losses are with the query noise, by quadrature; the
rate is the largest entry of the gradient at the end. Optima are the best that was found: with three heads or
more others may be a little lower.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import spectral_icl as si
from benchmarks import record
from spectral_icl.io.text import table

PROBLEM = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.1, context_length=40)
PUBLISHED = {1: 0.40, 2: 0.237, 4: 0.237, 8: 0.237}  # of trained models
PUBLISHED_ERROR = 0.005  # one standard error, of about 20 printed losses of batches of 256
TIMES = (1e1, 1e2, 1e3, 1e4, 1e5)
SCALE, SEEDS = 0.1, 3
KERNEL = "exact"


def start(heads: int, seed: int) -> si.State:
    """Small random heads, positive and negative in turn."""
    sizes = np.abs(np.random.default_rng(seed).normal(0.0, SCALE, (heads, 1)))
    signed = np.where(np.arange(heads)[:, None] % 2 == 0, sizes, -sizes)
    return si.State(signed, signed)


def flow(heads: int, seed: int) -> dict[str, Any]:
    """Losses and the largest head along one flow."""
    began = perf_counter()
    solved = si.gradient_flow(PROBLEM, *start(heads, seed), t_end=TIMES[-1], kernel=KERNEL)
    end = float(solved.trajectory.t[-1])
    states = [solved(min(t, end)) for t in TIMES]
    losses = [float(si.loss(PROBLEM, *at, kernel=KERNEL)) for at in states]
    slope = si.gradient(PROBLEM, *states[-1], kernel=KERNEL)
    return {
        "heads": heads,
        "seed": seed,
        "loss": losses,
        "omega": [_carrying(at) for at in states],
        "rate": float(max(np.abs(slope.omega).max(), np.abs(slope.mu).max())),
        "outcome": solved.outcome.name.lower(),
        "seconds": perf_counter() - began,
    }


def _carrying(at: si.State) -> float:
    """|omega| of the head that reads off most."""
    return float(abs(at.omega[int(np.abs(at.omega * at.mu).argmax()), 0]))


def optimum(heads: int) -> dict[str, Any]:
    """The best of so many heads."""
    began = perf_counter()
    best = si.optimal.minimise(PROBLEM, heads, kernel=KERNEL)
    small = None if heads == 1 else si.optimal.head_budget(PROBLEM, heads, KERNEL).loss
    assert best.weights is not None
    return {
        "heads": heads,
        "loss": best.loss,
        "error": best.error,
        "attained": best.attained,
        "omega": best.weights.omega[:, 0].tolist(),
        "mu": best.weights.mu[:, 0].tolist(),
        "small_heads": small,
        "published": PUBLISHED[heads],
        "seconds": perf_counter() - began,
    }


def to_text(flows: list[dict[str, Any]], optima: list[dict[str, Any]]) -> str:
    """Both tables."""
    rows = [("heads", "start", *(f"t = {t:g}" for t in TIMES), "|omega| there", "rate at the end", "outcome")]
    for one in flows:
        losses = tuple(f"{loss:.6f}" for loss in one["loss"])
        omega = " ".join(f"{value:.3f}" for value in one["omega"])
        rows.append(
            (str(one["heads"]), str(one["seed"]), *losses, omega, f"{one['rate']:.1e}", one["outcome"])
        )
    best = [("heads", "best", "+-", "small heads", "trained, published", "omega", "mu")]
    for one in optima:
        small = "" if one["small_heads"] is None else f"{one['small_heads']:.9f}"
        kind = "" if one["attained"] else " (infimum)"
        best.append(
            (
                str(one["heads"]),
                f"{one['loss']:.10f}{kind}",
                f"{one['error']:.0e}",
                small,
                f"{one['published']:g} +- {PUBLISHED_ERROR:g}",
                " ".join(f"{value:.4f}" for value in one["omega"]),
                " ".join(f"{value:.4f}" for value in one["mu"]),
            )
        )
    lines = [record.machine_line(), "", "Losses along flows of the exact law", *table(rows), ""]
    return "\n".join([*lines, "The best of H heads", *table(best)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    out = parser.parse_args().out
    flows = [flow(heads, seed) for heads in PUBLISHED for seed in range(SEEDS if heads > 1 else 1)]
    optima = [optimum(heads) for heads in PUBLISHED]
    text = to_text(flows, optima)
    print(text)
    record.write(out, "hpcy25", text, {"times": TIMES, "flows": flows, "optima": optima})


if __name__ == "__main__":
    main()
