"""Losses of single-index tasks by both laws of the context beside softmax attention on drawn prompts.

    python -m benchmarks.nonlinear [--quick] [--out DIR]

Tasks of degrees one to three, without and with an intercept, under one head, a pair whose mu sum to zero and
two heads whose mu sum to one, at d = 50, L = 5000 and at d = 20, L = 500. Each has two lines of numbers: the
loss, and what prompts of finite length add to it, which is sampled with much smaller errors.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import record
from spectral_icl.io.text import table
from spectral_icl.multitask.nonlinear.loss import task_loss
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.nonlinear.sampled import losses

PLACES = {(50, 5000): 1500, (20, 500): 6000}  # d, L and prompts
TASKS = {
    "degree 1": (0.0, 1.0),
    "degree 2": (0.0, 1.0, 0.5),
    "degree 3": (0.0, 1.0, 0.5, 0.4),
    "degree 1, intercept": (0.3, 1.0),
    "degree 3, intercept": (0.3, 1.0, 0.5, 0.4),
}
# heads as sqrt(d) omega and mu / sqrt(d), and what is added to the first mu
HEADS = {
    "one head": ((1.0,), (0.9,), 0.0),
    "pair, sum of mu 0": ((0.7, -0.7), (0.7, -0.7), 0.0),
    "pair, sum of mu 1": ((0.8, -0.3), (0.9, -0.9), 1.0),
}
NOISE = 0.1


def measured(size: int, length: int, prompts: int, seed: int = 0) -> list[dict[str, Any]]:
    """A row for every task and heads."""
    rows = []
    for task, c in TASKS.items():
        for heads, (w, m, more) in HEADS.items():
            p = SingleIndex(task_sizes=(size,), coefficients=c, noise=NOISE, context_length=length)
            omega, mu = np.array(w)[:, None] / size**0.5, np.array(m)[:, None] * size**0.5
            mu[0] += more
            found = losses(p, omega, mu, prompts, seed)
            endless = task_loss(replace(p, context_length=1e12), omega, mu)[0]
            laws = {
                kernel: float(task_loss(p, omega, mu, kernel)[0]) for kernel in ("asymptotic", "first-order")
            }
            rows.append(
                {
                    "d": size,
                    "L": length,
                    "prompts": prompts,
                    "task": task,
                    "coefficients": c,
                    "heads": heads,
                    "omega": omega[:, 0].tolist(),
                    "mu": mu[:, 0].tolist(),
                    "loss": compared(found.task.mean[0], found.task.error[0], laws),
                    "beyond": compared(
                        found.beyond.mean[0],
                        found.beyond.error[0],
                        {kernel: float(value - endless) for kernel, value in laws.items()},
                    ),
                }
            )
    return rows


def compared(mean: float, error: float, laws: dict[str, float]) -> dict[str, Any]:
    """A sampled mean beside what the laws say, and by how many of its errors they miss it."""
    misses = {kernel: float((value - mean) / error) for kernel, value in laws.items()}
    return {"sampled": float(mean), "error": float(error), "laws": laws, "misses": misses}


def to_text(rows: list[dict[str, Any]]) -> str:
    """A table for each place, and by how much the laws miss at most."""
    lines = [record.machine_line(), f"label noise {NOISE:g}; in brackets standard errors; misses in these"]
    for d, length in dict.fromkeys((row["d"], row["L"]) for row in rows):
        each = [row for row in rows if (row["d"], row["L"]) == (d, length)]
        lines += ["", f"d = {d}, L = {length}, {each[0]['prompts']} prompts"]
        head = ("task", "heads", "", "sampled", "first order", "miss", "asymptotic", "miss")
        shown = [head]
        for row in each:
            for key, name in (("loss", "loss"), ("beyond", "beyond endless prompts")):
                found = row[key]
                cells = [f"{found['sampled']:.5f} ({found['error']:.5f})"]
                for kernel in ("first-order", "asymptotic"):
                    cells += [f"{found['laws'][kernel]:.5f}", f"{found['misses'][kernel]:+.1f}"]
                first = (row["task"], row["heads"]) if key == "loss" else ("", "")
                shown.append((*first, name, *cells))
        lines += table(shown)
    lines.append("")
    for kernel in ("first-order", "asymptotic"):
        most = {key: max(abs(row[key]["misses"][kernel]) for row in rows) for key in ("loss", "beyond")}
        lines.append(
            f"largest miss of the {kernel} law: {most['loss']:.1f} errors of the loss, "
            f"{most['beyond']:.1f} of what prompts of finite length add"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the prompts")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    begin, rows = perf_counter(), []
    for (size, length), prompts in PLACES.items():
        rows += measured(size, length, prompts // 10 if options.quick else prompts)
    text = to_text(rows)
    print(text)
    print(f"{perf_counter() - begin:.0f} s")
    record.write(options.out, "nonlinear", text, {"rows": rows})


if __name__ == "__main__":
    main()
