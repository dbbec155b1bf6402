"""All claims about softmax attention on random problems and starts, under each law of the context.

Run from the repository root:

    python -m benchmarks.verdicts [--count N] [--sampled N] [--out DIR]

A claim that fails with its hypotheses met is a mistake of the theory, or of ours. Sampled claims that hold
are put to a second test with other prompts: a difference beyond what is allowed by three standard errors
refutes them, which happens by chance to one of 740 that are exactly at the border, and to fewer inside.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import spectral_icl as si
from benchmarks.problems import disjoint, overlapping
from benchmarks.record import RESULTS, machine_line, write
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check, names

KERNELS = ("asymptotic", "first-order")
SAMPLED = (
    "decomposability-preserved",
    "kernel-validity",
    "length-generalisation",
    "superposition",
    "kernel-smoother",
)


def case(seed: int, shortest: float = 2.0, longest: float = 1e5) -> tuple[si.Problem, si.State, Any]:
    """A random problem, start and parametrization; one in eight has noise that drowns the signal."""
    rng = np.random.default_rng([7, seed])
    tasks = int(rng.integers(1, 4))
    p = disjoint(rng, tasks) if rng.random() < 0.7 else overlapping(rng, tasks)
    length = float(round(np.exp(rng.uniform(np.log(shortest), np.log(longest)))))
    noise = 1e4 if rng.random() < 0.125 else p.noise
    p = si.Problem(
        block_sizes=p.block_sizes,
        signal=p.signal,
        noise=noise,
        context_length=length,
        covariance=p.covariance,
    )
    heads = int(rng.integers(1, tasks + 3))
    kind, scale = rng.random(), 10 ** rng.uniform(-4.0, -1.0)
    if kind < 0.5 and heads >= tasks:
        start = si.initial.dominant(p, heads, scale, 10 ** rng.uniform(-1.0, 0.7), seed)
    elif kind < 0.9:
        start = si.initial.random(p, heads, scale, seed, positive=kind < 0.75)
    else:
        start = si.initial.paper(p, heads)
    flavours = (si.Balanced(), si.Factored(*[10 ** rng.uniform(-8.0, -3.0)] * 2), si.Merged())
    return p, start, flavours[rng.choice(3, p=(0.6, 0.3, 0.1))]


def verdicts(kernel: str, count: int, claims: list[str], prompts: int, longest: float) -> dict[str, Any]:
    """Verdicts by claim on ``count`` cases, and every failure."""
    found: dict[str, Counter[str]] = {name: Counter() for name in claims}
    failures, refuted = [], []
    for seed in range(count):
        p, start, flavour = case(seed, longest=longest)
        options: dict[str, Any] = {"parametrization": flavour, "kernel": kernel, "prompts": prompts}
        for one in check(p, *start, claims=claims, **options):
            found[one.claim][one.verdict.value] += 1
            if one.verdict is Verdict.FAILS:
                failures.append(
                    {
                        "seed": seed,
                        "claim": one.claim,
                        "measured": one.measured,
                        "predicted": one.predicted,
                        "reason": one.reason,
                    }
                )
            if one.verdict is Verdict.HOLDS and one.claim in SAMPLED:
                (again,) = check(p, *start, claims=[one.claim], seed=10**6 + seed, **options)
                if again.verdict is Verdict.FAILS:
                    refuted.append({"seed": seed, "claim": one.claim, "reason": again.reason})
        if sys.stderr.isatty():
            print(f"{kernel} {seed + 1}/{count}, {len(failures)} failures", end="\r", file=sys.stderr)
    return {
        "cases": count,
        "verdicts": {k: dict(v) for k, v in found.items()},
        "failures": failures,
        "refuted": refuted,
    }


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=500, help="problems for the claims that are computed")
    parser.add_argument("--sampled", type=int, default=60, help="problems for the claims that are sampled")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if min(given.count, given.sampled) < 1:
        parser.error(f"--count and --sampled: expected at least 1, got {given.count} and {given.sampled}")
    warnings.simplefilter("ignore")
    computed = [name for name in names() if name not in SAMPLED]
    results: dict[str, Any] = {}
    lines = [machine_line(), ""]
    for kernel in KERNELS:
        parts = {
            "computed": verdicts(kernel, given.count, computed, 100, 1e5),
            "sampled": verdicts(kernel, given.sampled, list(SAMPLED), 2000, 2e3),
        }
        results[kernel] = parts
        for part in parts.values():
            lines.append(f"{kernel} law, {part['cases']} cases{'':20} holds  fails  not applicable")
            for name, counts in part["verdicts"].items():
                numbers = [
                    counts.get(v.value, 0) for v in (Verdict.HOLDS, Verdict.FAILS, Verdict.NOT_APPLICABLE)
                ]
                lines.append(f"  {name:42} {numbers[0]:6} {numbers[1]:6} {numbers[2]:6}")
            lines += [f"  FAILS {failure}" for failure in part["failures"]]
            lines += [f"  REFUTED {again}" for again in part["refuted"]]
            lines.append("")
    write(given.out, "verdicts", "\n".join(lines), results)
    print("\n".join(lines))


if __name__ == "__main__":
    main()
