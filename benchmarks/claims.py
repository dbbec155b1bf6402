"""How well the theory's claims hold on random problems, and how exact the benchmarks are.

Run from the repository root:

    python -m benchmarks.claims [--claim NAME] [--jobs N] [--seed N] [--quick] [--out DIR]

With --claim it is only the random problems of these claims, which replace what is recorded of them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import spectral_icl as si
from benchmarks import random_problems
from benchmarks.problems import disjoint, overlapping
from benchmarks.record import RESULTS, machine_line, write
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check

CLAIMS = ["convergence-to-limit", "task-allocation", "optimality"]


def dominant_starts(count: int) -> dict[str, Any]:
    """Limit, allocation and ratio to the bound from `initial.dominant` starts."""
    rng = np.random.default_rng(11)
    gaps, ratios, verdicts = [], [], []
    for seed in range(count):
        p = disjoint(rng, int(rng.integers(1, 5)))
        scale, margin = 10 ** rng.uniform(-4, -1.5), 10 ** rng.uniform(-1, 0.7)
        heads = p.tasks + int(rng.integers(0, 4))
        found = check(p, *si.initial.dominant(p, heads, scale, margin, seed), claims=CLAIMS)
        verdicts.append([c.verdict for c in found])
        if found[0].verdict is not Verdict.NOT_APPLICABLE:
            gaps.append(abs(found[0].measured / found[0].predicted - 1.0))
            ratios.append(found[2].measured)
    return {
        "problems": count,
        "with the hypotheses met": len(gaps),
        "worst distance from the limit": float(np.max(gaps)),
        "checks failed": sum(v is Verdict.FAILS for row in verdicts for v in row),
        "ratio to the bound, least": float(np.min(ratios)),
        "ratio to the bound, largest": float(np.max(ratios)),
    }


def optima(count: int) -> dict[str, Any]:
    """`minimise` against the lower bound, the closed forms and itself."""
    rng = np.random.default_rng(5)
    below, enough, single, rises, budget = [], [], [], [], []
    for k in range(count):
        tasks = int(rng.integers(1, 4))
        p = disjoint(rng, tasks) if k % 2 else overlapping(rng, tasks)
        bound, previous = si.optimal.lower_bound(p).loss, np.inf
        for heads in range(1, tasks + 2):
            best = si.optimal.minimise(p, heads)
            below.append(min(best.loss, best.infimum) / bound - 1.0)
            rises.append(best.infimum / previous - 1.0 if np.isfinite(previous) else -1.0)
            previous = best.infimum
            if heads > tasks:
                enough.append(best.loss / bound - 1.0)
            if heads == 1:
                single.append(abs(best.loss / si.optimal.single_head(p).loss - 1.0))
            elif k % 2:
                budget.append(abs(best.infimum / si.optimal.head_budget(p, heads).loss - 1.0))
    return {
        "problems": count,
        "least excess over the bound, relative": float(np.min(below)),
        "largest excess over the bound for H > I, relative": float(np.max(enough)),
        "distance from the best single head, H = 1": float(np.max(single)),
        "distance from the head budget, disjoint, H > 1": float(np.max(budget)),
        "largest rise of the infimum with another head": float(np.max(rises)),
    }


def two_tasks() -> list[list[str]]:
    """The built-in example: what H heads can do, per task and without query noise."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    rows = [["benchmark", "loss of a task", "infimum", "attained"]]
    for benchmark in (si.optimal.head_per_task(p), *(si.optimal.minimise(p, h) for h in (1, 2, 3, 4))):
        infimum = getattr(benchmark, "infimum", benchmark.loss)
        per_task = [f"{loss / 2 - 0.09:.7f}" for loss in (benchmark.loss, infimum)]
        rows.append([benchmark.name, *per_task, "yes" if benchmark.attained else "no"])
    return rows


def bayes_risks(prompts: int) -> list[list[str]]:
    """The exact Bayes risk against ridge regression with the true penalty, on sampled prompts."""
    rows = [["d / L", "noise", "exact", "simulated", "standard error", "z"]]
    rng = np.random.default_rng(0)
    length = 20
    for ratio in (0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0):
        for noise in (0.02, 0.5):
            size = round(ratio * length)
            p = si.Problem(block_sizes=(size,), signal=((1.0,),), noise=noise, context_length=length)
            x = rng.normal(size=(prompts, length, size))
            g = rng.normal(size=(prompts, size, 1)) * size**-0.5
            y = x @ g + rng.normal(size=(prompts, length, 1)) * noise**0.5
            gram = x.swapaxes(1, 2) @ x + size * noise * np.eye(size)
            fitted = np.linalg.solve(gram, x.swapaxes(1, 2) @ y)
            errors = ((rng.normal(size=(prompts, 1, size)) @ (fitted - g)) ** 2).ravel()
            exact, bar = si.optimal.bayes(p).loss - noise, errors.std() / prompts**0.5
            score = (errors.mean() - exact) / bar
            cells = [f"{exact:.6f}", f"{errors.mean():.6f}", f"{bar:.6f}", f"{score:+.2f}"]
            rows.append([f"{ratio:g}", f"{noise:g}", *cells])
    return rows


def listed(title: str, facts: dict[str, Any]) -> str:
    """A block of facts, one per line."""
    return "\n".join([title, *(f"  {key:52} {number:.4g}" for key, number in facts.items())])


def aligned(title: str, rows: list[list[str]]) -> str:
    """A block with columns."""
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  " + "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([title, *lines])


def report(data: dict[str, Any], line: str) -> str:
    """Everything that was measured, in words; ``line`` is the machine of all but the last part."""
    return "\n\n".join(
        [
            line,
            listed("dominant starts, random disjoint problems", data["dominant"]),
            listed("numerical optimum, random problems, half of them overlapping", data["optima"]),
            aligned("the built-in two tasks", data["two_tasks"]),
            aligned("Bayes risk and simulated ridge regression, L = 20", data["bayes"]),
            "\n".join(
                ["random problems, on " + one for one in sorted({x["machine"] for x in data["random"]})]
            ),
            random_problems.text(data["random"]),
        ]
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a fifth of the problems inside")
    parser.add_argument("--claim", action="append", choices=random_problems.names(), metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2, help="processes for the random problems")
    parser.add_argument("--seed", type=int, default=0, help="of the random problems")
    arguments = parser.parse_args()
    if arguments.jobs < 1 or arguments.seed < 0:
        parser.error("--jobs and --seed: expected a whole number from 1 and from 0 on")
    share = 5 if arguments.quick else 1
    chosen = arguments.claim or random_problems.names()
    tested = random_problems.measure(chosen, arguments.seed, share, arguments.jobs)
    line = machine_line()
    tested = [{**one, "machine": line} for one in tested]
    if arguments.claim:
        line = (arguments.out / "claims.txt").read_text("utf-8").splitlines()[0]
        data = json.loads((arguments.out / "claims.json").read_text("utf-8"))
        known = {one["claim"]: one for one in [*data.get("random", []), *tested]}
        data["random"] = [known[name] for name in random_problems.names() if name in known]
        print(random_problems.text(tested))
    else:
        data = {
            "dominant": dominant_starts(500 // share),
            "optima": optima(100 // share),
            "two_tasks": two_tasks(),
            "bayes": bayes_risks(20_000 // share),
            "random": tested,
        }
        print(report(data, line))
    write(arguments.out, "claims", report(data, line), data)


if __name__ == "__main__":
    main()
