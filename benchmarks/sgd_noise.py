"""What a path of stochastic gradient descent costs, and how its noise compares with that of training.

    python -m benchmarks.sgd_noise [--quick] [--out DIR]      # with PyTorch beside the package

The case of the authors' code: two tasks of ten features, two heads, L = 100. Cost: a step of a path, of the
same recursion for all paths at once in NumPy, and of the full model in PyTorch with its whole matrices and
prompts drawn afresh; one thread each. "Scatter" and "loss by strays" compare full models, trained to t = 24
(emergence) and on the plateau, with what the step, the batch and the problem predict under the exact law: the
standard deviation over runs of the time of emergence, whose own error is 1 / (2 (runs - 1))^(1/2) of it, and
the loss that entries off the diagonals add once they are stationary, whose error is that of snapshots.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import spectral_icl as si
from benchmarks import record
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.noise.moments import gradient_noise
from spectral_icl.multitask.noise.plateau import stationary_cost
from validation.multitask.full_model import FactoredAttention, MergedAttention, task_loss
from validation.multitask.prompts import Law
from validation.multitask.spectrum import decomposable, spectral

Floats = NDArray[np.float64]

PROBLEM = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
START = si.initial.paper(PROBLEM, 2, 0.1, 0.1, 0.2)
STEP, BATCH = 0.01, 1000
SETTINGS = ((0.01, 250, 6), (0.02, 250, 6), (0.01, 1000, 3), (0.02, 1000, 3), (0.02, 4000, 2))
PLATEAUS = ((0.01, 250), (0.02, 250), (0.01, 1000), (0.02, 1000), (0.01, 4000))
PLATEAU, UNTIL = 30.0, 24.0


def in_numpy(paths: int, steps: int) -> float:
    """Seconds of plain NumPy for the recursion of the diagonals, all paths at once, without its noise."""
    sizes, power = np.array([10.0, 10.0]), np.array(PROBLEM.signal)
    scale, length = float((PROBLEM.dimension + 2) ** -0.5), PROBLEM.context_length
    variance = np.array(PROBLEM.variance)
    key = np.repeat(np.sqrt(START.omega / scale)[None], paths, axis=0)
    query, value = key.copy(), np.repeat(np.sqrt(START.mu)[None], paths, axis=0)
    output = value.copy()
    began = time.perf_counter()
    for _ in range(steps):
        omega, mu = scale * key * query, value * output
        tilt = np.exp(np.einsum("phb,b,pkb->phk", omega, sizes, omega))
        residual = 1.0 - np.einsum("phi,phb->pib", mu, omega)
        spread = tilt * np.einsum("i,phi,pki->phk", variance, mu, mu)
        by_omega = 2.0 / length * np.einsum("phk,pkb->phb", spread, omega)
        by_omega -= 2.0 * np.einsum("ib,pib,phi->phb", power, residual, mu) / sizes
        by_mu = 2.0 / length * variance * np.einsum("phk,pki->phi", tilt, mu)
        by_mu -= 2.0 * np.einsum("ib,pib,phb->phi", power, residual, omega)
        by_omega, by_mu = STEP * scale * by_omega, STEP * by_mu
        key, query = key - by_omega * query, query - by_omega * key
        value, output = value - by_mu * output, output - by_mu * value
    return time.perf_counter() - began


def train(model: FactoredAttention, step: float, batch: int, steps: int, seed: int) -> list[si.State]:
    """Omega and mu of a full model after every tenth of a unit of time, trained in place."""
    law = Law.of(PROBLEM, torch.device("cpu"))
    optimiser, generator = torch.optim.SGD(model.parameters(), lr=step), law.generator(seed)
    every, seen = max(1, round(0.1 / step)), []
    for number in range(steps):
        if number % every == 0:
            seen.append(spectral(PROBLEM, model.kq(), model.ov()))
        loss = task_loss(model, law.draw(batch, generator), law).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return seen


def costs(quick: bool) -> dict[str, Any]:
    """Microseconds of a step of one path."""
    found: dict[str, Any] = {}
    paths, end = 64, 20.0 if quick else 60.0
    steps = round(end / STEP)
    for kernel in ("asymptotic", "exact"):
        options = {
            "step": STEP,
            "batch": BATCH,
            "t_end": end,
            "kernel": kernel,
            "threads": 1,
            "t_eval": [0.0, end],
        }
        si.stochastic_flow(PROBLEM, *START, **options, paths=paths)  # compiles, and solves the flow
        spans = []
        for count in (paths, 5 * paths):
            began = time.perf_counter()
            si.stochastic_flow(PROBLEM, *START, **options, paths=count)
            spans.append(time.perf_counter() - began)
        found[kernel] = 1e6 * (spans[1] - spans[0]) / (4 * paths * steps)
        found[f"{kernel}, before the first step"] = max(0.0, spans[0] - (spans[1] - spans[0]) / 4.0)
    found["numpy"] = 1e6 * in_numpy(256, steps // 10) / (256 * (steps // 10))
    law = Law.of(PROBLEM, torch.device("cpu"))
    for batch in (250, BATCH):
        model = FactoredAttention.balanced(PROBLEM, START, law)
        began = time.perf_counter()
        train(model, STEP, batch, 100, 0)
        found[f"full model, batch {batch}"] = 1e6 * (time.perf_counter() - began) / 100
    return found


def emergence(times: Floats, states: si.State, levels: Floats) -> Floats:
    """When each task's exact loss (T, I) first is below a level."""
    below = losses_at(PROBLEM, states, "exact") < levels
    return times[below.argmax(axis=0)]


def scatter(quick: bool) -> list[dict[str, Any]]:
    """Times of emergence over runs, and over paths."""
    flow = si.gradient_flow(PROBLEM, *START, t_end=60.0, kernel="exact")
    moments = np.array([task.time for task in flow.phases.tasks])
    levels = np.array([losses_at(PROBLEM, flow(t), "exact")[i] for i, t in enumerate(moments)])
    law = Law.of(PROBLEM, torch.device("cpu"))
    rows = []
    for step, batch, runs in SETTINGS[:1] if quick else SETTINGS:
        told = si.stochastic_flow(
            PROBLEM, *START, step=step, batch=batch, t_end=40.0, kernel="exact", paths=256
        ).emergence
        times = []
        for seed in range(3 if quick else runs):
            model = FactoredAttention.balanced(PROBLEM, START, law)
            seen = train(model, step, batch, round((UNTIL + 2.0) / step), seed)
            path = si.State(*(np.array(values) for values in zip(*seen, strict=True)))
            times.append(emergence(0.1 * np.arange(len(seen)), path, levels))
        both = np.array(times)
        rows.append({
            "step": step,
            "batch": batch,
            "runs": len(both),
            "mean": both.mean(),
            "mean predicted": float(np.nanmean(told)),
            "scatter": float(both.std(axis=0, ddof=1).mean()),
            "scatter predicted": float(np.nanstd(told, axis=0).mean()),
        })  # fmt: skip
    return rows


def strays(quick: bool) -> list[dict[str, Any]]:
    """Loss by entries off the diagonals on the plateau, of trained models and as predicted."""
    flow = si.gradient_flow(PROBLEM, *START, t_end=PLATEAU, kernel="exact")
    at = flow.final
    one = si.State(at.omega[None], at.mu[None])
    noise = gradient_noise(PROBLEM, one, "exact", prompts=20_000)
    leading = gradient_noise(PROBLEM, one)
    law = Law.of(PROBLEM, torch.device("cpu"))
    exact = float(si.loss(PROBLEM, *at, kernel="exact")) - sum(PROBLEM.noise)
    rows = []
    for step, batch in PLATEAUS[:1] if quick else PLATEAUS:
        model = FactoredAttention.balanced(PROBLEM, at, law)
        train(model, step, batch, round(1.5 / step), 7)
        lost = []
        for snapshot in range(3 if quick else 12):
            train(model, step, batch, round(0.5 / step), 100 + snapshot)
            generator = law.generator(1000 + snapshot)
            bare = MergedAttention(*decomposable(PROBLEM, spectral(PROBLEM, model.kq(), model.ov()), law))
            with torch.no_grad():
                apart = 0.0
                for _ in range(8):
                    prompts = law.draw(2000, generator)
                    errors = [((m(prompts) - prompts.target) ** 2).sum(dim=1) for m in (model, bare)]
                    apart += float((errors[0] - errors[1]).mean()) / 8.0
            lost.append(apart)
        cost, closed = (
            float(stationary_cost(PROBLEM, si.Balanced(), one, known, step, float(batch), "exact").loss[0])
            for known in (noise, leading)
        )
        rows.append({
            "step": step,
            "batch": batch,
            "percent": 100.0 * float(np.mean(lost)) / exact,
            "error": 100.0 * float(np.std(lost, ddof=1) / np.sqrt(len(lost))) / exact,
            "predicted": 100.0 * cost / exact,
            "closed form": 100.0 * closed / exact,
        })  # fmt: skip
    return rows


def text(cost: dict[str, Any], scattered: list[dict[str, Any]], lost: list[dict[str, Any]]) -> str:
    """The tables."""
    lines = [record.machine_line(), "", "microseconds of a step of one path"]
    lines += [f"  {name:36} {value:12.4g}" for name, value in cost.items() if "before" not in name]
    lines += [f"  {name:36} {value:12.4g} s" for name, value in cost.items() if "before" in name]
    full = cost[f"full model, batch {BATCH}"]
    for kernel in ("asymptotic", "exact"):
        lines.append(f"  full model over a path, {kernel:12} {full / cost[kernel]:12.4g}")
    lines.append(f"  NumPy over a path, asymptotic        {cost['numpy'] / cost['asymptotic']:12.4g}")
    lines += ["", "time of emergence", "  step   batch  runs    mean  predicted  scatter  predicted"]
    lines += [
        f"  {row['step']:<6g} {row['batch']:5d} {row['runs']:5d} {row['mean']:7.2f} "
        f"{row['mean predicted']:10.2f} {row['scatter']:8.3f} {row['scatter predicted']:10.3f}"
        for row in scattered
    ]
    lines += ["", "loss by entries off the diagonals on the plateau, % of the exact loss without noise"]
    lines += ["  step   batch  trained   error  predicted  closed form"]
    lines += [
        f"  {row['step']:<6g} {row['batch']:5d} {row['percent']:8.3f} {row['error']:7.3f} "
        f"{row['predicted']:10.3f} {row['closed form']:12.3f}"
        for row in lost
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="one setting, and fewer runs")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cost = costs(options.quick)
    scattered, lost = scatter(options.quick), strays(options.quick)
    told = text(cost, scattered, lost)
    print(told)
    record.write(
        options.out,
        "sgd_noise",
        told,
        {"quick": options.quick, "cost": cost, "emergence": scattered, "strays": lost},
    )


if __name__ == "__main__":
    main()
