"""Paths of stochastic gradient descent beside full models: distributions of what noise makes, and scaling.

    python -m benchmarks.sgd_paths [--runs DIR] [--seeds N ...] [--out DIR]  # PyTorch is needed

"Scaling": the built-in example, 256 paths for each step and batch. "Distributions" need training runs, which
``python -m validation calibrate --out OUT`` keeps in OUT/runs; of seeds whose runs are not there full models
are trained, two minutes each. Times of emergence, imbalances of losing heads on the plateau and the wait
for the escape, of both tasks, under the exact law: means and standard deviations, and the probability of a
Kolmogorov-Smirnov distance as large between runs and 192 paths.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import spectral_icl as si
from benchmarks import record
from validation.context import Context
from validation.multitask.escape import Escaping
from validation.multitask.recorded import END, PROBLEM, RATE, START, Trace, batches, emergence, runs

SETTINGS = ((0.02, 1000), (0.02, 4000), (0.005, 1000), (0.08, 1000))  # step, batch
PATHS = 192


def scaling() -> list[dict[str, Any]]:
    """Imbalances, emergences and escapes of the built-in example by step and batch."""
    rows = []
    for step, batch in SETTINGS:
        found = si.stochastic_flow(PROBLEM, *START, step=step, batch=batch, paths=256)
        losing = []
        for task, emerged in enumerate(found.flow.phases.tasks):
            at = int(np.abs(found.t - emerged.settled).argmin())
            losing.append(np.delete(found.imbalance[:, at, :, task], emerged.head, axis=1))
        imbalance = np.concatenate(losing, axis=None)
        rows.append({
            "step": step,
            "batch": batch,
            "mean": float(imbalance.mean()),
            "deviation": float(imbalance.std()),
            "emergence": float(np.nanstd(found.emergence, axis=0).mean()),
            "escape": float(np.nanmedian(found.escape)),
            "strays": float(found.cost.loss[-1]),
            "edge": float(found.cost.edge[-1]),
        })  # fmt: skip
    return rows


def made(times: Any, paths: list[tuple[Any, Any, Any]]) -> dict[str, Any]:
    """What is compared, of paths omega, mu and imbalances, raveled over tasks."""
    escaping = Escaping.of(times, paths)
    emerged = [emergence(Trace(times, omega, mu, times, times)) for omega, mu, _ in paths]
    return {
        "emergence": np.concatenate(emerged),
        "log |D|": 2.0 * np.log(escaping.root),
        "wait": escaping.wait,
    }


def distributions(folder: Path, seeds: list[int]) -> list[dict[str, Any]]:
    """Runs of every seed beside paths, by batch."""
    contexts = [Context(folder=folder, seed=seed, progress=True) for seed in seeds]
    rows = []
    for batch in batches(contexts[0]):
        trained = [run for context in contexts for run in runs(context, batch)]
        mine = made(trained[0].time, [(run.omega, run.mu, run.imbalance_mu) for run in trained])
        told = si.stochastic_flow(
            PROBLEM,
            *START,
            step=RATE,
            batch=batch,
            t_end=END,
            t_eval=trained[0].time,
            kernel="exact",
            paths=PATHS,
        )
        drawn = made(told.t, list(zip(told.omega, told.mu, told.imbalance, strict=True)))
        for name, values in mine.items():
            rows.append({
                "batch": batch,
                "runs": len(trained),
                "what": name,
                "mean": float(values.mean()),
                "error": float(values.std(ddof=1) / np.sqrt(values.size)),
                "deviation": float(values.std(ddof=1)),
                "mean of paths": float(drawn[name].mean()),
                "deviation of paths": float(drawn[name].std()),
                "p": float(stats.ks_2samp(values, drawn[name]).pvalue),
            })  # fmt: skip
    return rows


def text(scaled: list[dict[str, Any]], compared: list[dict[str, Any]]) -> str:
    """The tables."""
    lines = [record.machine_line(), "", "losing heads when the plateau is reached, 256 paths"]
    lines.append("  step   batch   mean D  deviation  of emergence  escape   strays   edge")
    lines += [
        f"  {row['step']:<6g} {row['batch']:5d} {row['mean']:8.1e} {row['deviation']:10.1e} "
        f"{row['emergence']:13.2f} {row['escape']:7.0f} {row['strays']:8.4f} {row['edge']:6.2f}"
        for row in scaled
    ]
    if compared:
        lines += ["", f"full models beside {PATHS} paths, exact law, step {RATE:g}"]
        lines.append("  batch  runs  what          mean      +-  deviation   of paths  deviation   p (KS)")
    lines += [
        f"  {row['batch']:5d} {row['runs']:5d}  {row['what']:9} {row['mean']:8.2f} {row['error']:7.2f} "
        f"{row['deviation']:10.2f} {row['mean of paths']:10.2f} {row['deviation of paths']:10.2f} "
        f"{row['p']:8.2f}"
        for row in compared
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, help="folder of training runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(20)))
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    compared = [] if options.runs is None else distributions(options.runs, options.seeds)
    scaled = scaling()
    told = text(scaled, compared)
    print(told)
    record.write(options.out, "sgd_paths", told, {"scaling": scaled, "distributions": compared})


if __name__ == "__main__":
    main()
