"""What starts with unequal entries cost, how they become equal, and what of random matrices they explain.

    python -m benchmarks.general_starts [--quick] [--only PART] [--out DIR]

Cost: disjoint tasks, the flow of `Problem.by_feature` from a scattered start beside that of the blocks.

Equality: how far differences of 1 / omega fell, measured and derived, and when tasks emerge beside an equal
start of the same mean (`spectral_icl.multitask.flow.equality`).

Random matrices: K, Q, V and O of independent entries of 0.1, with d = 16. The flow of whole matrices under
the asymptotic law (`validation.multitask.large_length`) beside reduced flows, all at the imbalances at which
they are as fast: from block means of the diagonals, from the diagonals, and from the diagonals in the
features in which the winners' matrices grow (`Matrices.aligned`). A run is explained if all its tasks emerge
within 5 %, with the right winner, and the loss at the end is within 2 %. Then softmax attention itself,
trained with d = 8, L = 64, whose finite length is taken from block flows under the exact and the asymptotic
law.

Strays: two tasks and two heads again, from matrices without what is off the diagonals of U, without what W
has between blocks (a block has hidden units of its own), and without either: which do reduced flows miss?

With ``--only`` all other parts are those on record.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

import spectral_icl as si
from benchmarks import record
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.features import averaged
from spectral_icl.multitask.flow.equality import equalities, equivalent_flow
from spectral_icl.multitask.flow.phases import shares
from spectral_icl.multitask.matrices import Matrices
from validation.multitask import large_length
from validation.multitask.full_model import FactoredAttention
from validation.multitask.prompts import Law
from validation.multitask.recorded import steepest
from validation.multitask.train import Schedule, train

SIZES = (6, 30, 60, 120, 200)  # features of three tasks
SCATTERS, SCALES = (0.2, 0.5, 1.0), (0.01, 0.001)
SETTINGS = ((1, 1), (1, 4), (2, 2), (2, 4))  # tasks, heads
STARTS, TRAINED = 10, 4
WITHOUT, CLEANED = ("U", "W", "UW"), 8  # what is left out, and starts of which
PARTS = ("cost", "equality", "matrices", "strays", "trained")
END, SPAN = 60.0, 0.6  # of flows of matrices; time over which slopes are taken
KINDS = ("block means", "diagonals", "aligned")
CLOSE, SAME = 0.05, 0.02  # of emergence times, and of the loss at the end


def thirds(size: int) -> si.Problem:
    """Three disjoint tasks of so many features in all, L = 10 d."""
    return si.Problem.multitask(
        task_sizes=[size // 3 + (i < size % 3) for i in range(3)],
        signal=(10.0, 8.0, 6.0),
        noise=0.1,
        context_length=10.0 * size,
    )


def cost(size: int, repeats: int) -> dict[str, Any]:
    """Seconds and steps of a flow by features and of the flow in blocks from its mean, best of repeats."""
    problem = thirds(size)
    start = si.initial.scattered(problem.by_feature(), 4, 0.01, 0.5, 0.5, seed=1)
    cases = {
        "features": (problem.by_feature(), start),
        "blocks": (problem, averaged(problem, start)),
    }
    found: dict[str, Any] = {"features": size}
    for name, (p, at) in cases.items():
        seconds = []
        for _ in range(1 + repeats):  # the first compiles
            began = time.perf_counter()
            solved = si.gradient_flow(p, *at, t_end=1e4)
            seconds.append(time.perf_counter() - began)
        found[f"seconds_{name}"] = min(seconds[1:])
        found[f"steps_{name}"] = int(solved.stats.steps)
        found[f"loss_{name}"] = float(solved.final_loss)
    return found


def equality(scale: float, scatter: float, seed: int) -> list[dict[str, Any]]:
    """The decay of differences, and the emergence beside the equal start, of two tasks and two heads."""
    problem = si.Problem.multitask(task_sizes=(20, 30), signal=(4.0, 6.0), noise=0.1, context_length=500.0)
    start = si.initial.scattered(problem.by_feature(), 2, scale, 1.0, scatter, seed)
    solved = si.gradient_flow(problem.by_feature(), *start, t_end=20.0 / scale, rtol=1e-9)
    equal = equivalent_flow(problem, solved).phases.tasks
    rows = []
    for one in equalities(problem, solved):
        times = solved.phases.tasks[one.task].time, equal[one.task].time
        rows.append({
            "scale": scale, "scatter": scatter, "unevenness": one.unevenness,
            "folds": one.folds, "predicted_folds": one.predicted_folds, "rivals": one.rivals,
            "late": times[0] / times[1] - 1.0,
        })  # fmt: skip
    return rows


class Curve(NamedTuple):
    """A flow on a grid: losses (T, I), and the share of every head in every task (T, H, I)."""

    loss: Floats
    share: Floats


class Outcome(NamedTuple):
    """When every task emerges and by which head, (I,), and the loss at the end."""

    time: Floats
    head: tuple[int, ...]
    loss: float


def outcome(grid: Floats, curve: Curve) -> Outcome:
    """What a curve shows."""
    times = np.array([steepest(grid, column, SPAN, until=END) for column in curve.loss.T])
    nodes = np.searchsorted(grid, times)
    heads = tuple(int(curve.share[at, :, i].argmax()) for i, at in enumerate(nodes))
    return Outcome(times, heads, float(curve.loss[-1].sum()))


def attention(drawn: Matrices, like: torch.dtype) -> FactoredAttention:
    """The trainable model of matrices."""
    weights = (torch.tensor(m, dtype=like) for m in (drawn.key, drawn.query, drawn.value, drawn.output))
    return FactoredAttention(*weights, drawn.key_scale)


def whole(problem: si.Problem, drawn: Matrices, grid: Floats) -> Curve:
    """The flow of the matrices themselves, under the asymptotic law."""
    law = Law.of(problem, torch.device("cpu"), torch.float64)
    kq, ov = large_length.flow(attention(drawn, torch.float64), problem, grid)
    loss = [
        large_length.task_loss(torch.from_numpy(w), torch.from_numpy(u), problem, law).numpy()
        for w, u in zip(kq, ov, strict=True)
    ]
    at = averaged(problem, si.State(*(np.diagonal(m, axis1=2, axis2=3) for m in (kq, ov))))
    return Curve(np.array(loss), shares(problem, *at))


def reduced(problem: si.Problem, drawn: Matrices, grid: Floats, kernel: str = "asymptotic") -> Curve:
    """The reduced flow from the diagonals, as fast as the matrices."""
    solved = si.gradient_flow(
        problem, *drawn.state(problem), parametrization=drawn.weights(problem), t_end=grid[-1], t_eval=grid,
        kernel=kernel,
    )  # fmt: skip
    return Curve(solved.task_loss, shares(problem, solved.omega, solved.mu))


def aligned(problem: si.Problem, drawn: Matrices, grid: Floats) -> Matrices:
    """The matrices in the features in which those of the winners grow, as the flow in blocks has them."""
    curve = si.gradient_flow(
        problem, *drawn.state(problem), parametrization=drawn.weights(problem), t_end=grid[-1], t_eval=grid
    )
    found = outcome(grid, Curve(curve.task_loss, shares(problem, curve.omega, curve.mu)))
    nodes = np.searchsorted(grid, found.time)
    signs = [curve.mu[at, head, i] for i, (at, head) in enumerate(zip(nodes, found.head, strict=True))]
    return drawn.aligned(problem, found.head, signs)


def without(problem: si.Problem, drawn: Matrices, circuits: str) -> Matrices:
    """The matrices without the strays of U, or of W between blocks, and as fast as they were."""
    if "U" in circuits:
        mu = drawn.state(problem).mu
        speed = np.hypot(drawn.imbalance(problem).mu, 2.0 * mu)
        both, less = np.sqrt(speed + 2.0 * mu), np.sqrt(speed - 2.0 * mu)
        output, value = (
            np.array([np.diag(row) for row in half]) for half in ((both + less) / 2, (both - less) / 2)
        )
        drawn = replace(drawn, output=output, value=value)
    if "W" in circuits:  # every block has hidden units of its own, fewer and larger
        of_block = np.repeat(np.arange(problem.blocks), problem.block_sizes)
        own = problem.blocks**0.5 * (of_block[:, None] == of_block)
        drawn = replace(drawn, key=own * drawn.key, query=own * drawn.query)
    return drawn


def of_matrices(tasks: int, heads: int, seed: int, left_out: str = "") -> dict[str, Any]:
    """One start of whole matrices, and what the three reduced flows say of it."""
    problem = si.Problem.multitask(
        task_sizes=(16 // tasks,) * tasks, signal=16.0 / tasks, noise=0.1, context_length=200.0
    )
    grid = np.linspace(0.0, END, 1201)
    drawn = without(problem, Matrices.random(problem, heads, 0.1, seed), left_out)
    split, turned = problem.by_feature(), aligned(problem, drawn, grid)
    truth = whole(problem, drawn, grid)
    curves = {
        "block means": reduced(problem, drawn, grid),
        "diagonals": reduced(split, drawn, grid),
        "aligned": reduced(split, turned, grid),
    }
    seen = outcome(grid, truth)
    order = np.argsort(seen.time)
    row: dict[str, Any] = {
        "tasks": tasks,
        "heads": heads,
        "seed": seed,
        "left_out": left_out,
        "stray": drawn.stray(),
    }
    row["time"], row["loss"] = seen.time[order].tolist(), seen.loss
    for kind, curve in curves.items():
        told = outcome(grid, curve)
        late = np.log(seen.time / told.time)[order]
        right = seen.head == told.head
        off = told.loss / seen.loss - 1.0
        row[kind] = {
            "late": late.tolist(),
            "winners": right,
            "loss": off,
            "distance": float(np.sqrt(np.mean((curve.loss.sum(axis=1) - truth.loss.sum(axis=1)) ** 2))),
            "explained": bool((abs(late) < CLOSE).all() and right and abs(off) < SAME),
        }
    row["curves"] = {"whole": truth.loss.sum(axis=1)} | {k: c.loss.sum(axis=1) for k, c in curves.items()}
    return row


def of_training(seed: int) -> dict[str, Any]:
    """One trained softmax attention of two heads on two tasks: emergence over what is expected of it."""
    problem = si.Problem.multitask(task_sizes=(4, 4), signal=4.0, noise=0.1, context_length=64.0)
    grid = np.linspace(0.0, END, 1201)
    drawn = Matrices.random(problem, 2, 0.2, seed)
    law = Law.of(problem, torch.device("cpu"))
    run = train(
        attention(drawn, torch.float32), problem, law, Schedule(0.01, round(END / 0.01), 500, 10, seed)
    )
    means = [reduced(problem, drawn, grid, kernel) for kernel in ("exact", "asymptotic")]
    length = [outcome(grid, curve) for curve in means]
    noisy = run.task_loss[: len(run.task_loss) // 10 * 10].reshape(-1, 10, 2).mean(axis=1)
    seen = np.array([steepest(run.time[: len(noisy)], column, 2.0, until=END) for column in noisy.T])
    order = np.argsort(seen)
    row: dict[str, Any] = {"seed": seed, "time": seen[order].tolist()}
    row["loss"] = float(noisy[-50:].mean(axis=0).sum())
    turned = aligned(problem, drawn, grid)
    for kind, p, at in zip(
        KINDS, (problem, *[problem.by_feature()] * 2), (drawn, drawn, turned), strict=True
    ):
        told = outcome(grid, reduced(p, at, grid))
        expected = told.time * length[0].time / length[1].time
        row[kind] = {
            "late": np.log(seen / expected)[order].tolist(),
            "loss": told.loss * length[0].loss / length[1].loss / row["loss"] - 1.0,
        }
    return row


def summary(rows: list[dict[str, Any]], tasks: int, heads: int) -> list[str]:
    """Lines of the table about one setting of whole matrices."""
    mine = [row for row in rows if (row["tasks"], row["heads"]) == (tasks, heads)]
    lines = []
    for kind in KINDS:
        late = np.array([row[kind]["late"] for row in mine])
        first, later = np.abs(late[:, 0]), np.abs(late[:, 1:]).ravel()
        spread = [
            f"{100 * np.median(v):7.2f} {100 * v.max():7.1f}" if v.size else " " * 15 for v in (first, later)
        ]
        off = np.array([row[kind]["loss"] for row in mine])
        lines.append(
            f"{tasks:5d} {heads:5d}  {kind:<12} {spread[0]}  {spread[1]}"
            f" {sum(row[kind]['winners'] for row in mine):5d}/{len(mine)}"
            f" {100 * np.median(abs(off)):7.2f} {np.mean([row[kind]['distance'] for row in mine]):8.3f}"
            f" {sum(row[kind]['explained'] for row in mine):6d}/{len(mine)}"
        )
    return lines


def figure(rows: list[dict[str, Any]]) -> Figure:
    """Losses of a start of one task and of two, and how late all tasks emerge against their time."""
    colors = {"whole": "black", "block means": "C0", "diagonals": "C1", "aligned": "C2"}
    with styled():
        drawn = Figure(figsize=(6.75, 2.6))
        axes = drawn.subplots(1, 3)
        grid = np.linspace(0.0, END, 1201)
        for panel, (tasks, heads), title in zip(
            axes, ((1, 1), (2, 2)), ("one head", "two heads"), strict=False
        ):
            row = next(row for row in rows if (row["tasks"], row["heads"]) == (tasks, heads))
            for name, color in colors.items():
                line = "-" if name == "whole" else "--"
                panel.plot(grid, row["curves"][name], color=color, ls=line, lw=1.0, label=name)
            span = 0.8 * row["time"][0], min(END, 1.5 * row["time"][-1])
            panel.set(xlabel="time", ylabel="loss", title=f"{title}, tasks: {tasks}", xlim=span)
        axes[0].legend()
        for kind in KINDS:
            late = np.concatenate([row[kind]["late"] for row in rows])
            times = np.concatenate([row["time"] for row in rows])
            axes[2].plot(times, 100.0 * late, ".", ms=4, color=colors[kind], label=kind)
        axes[2].set(xlabel="time of emergence", ylabel="later than told, %", title="all starts")
        axes[2].set_yscale("symlog", linthresh=1.0)
        return drawn


def tables(data: dict[str, Any]) -> str:
    """The text of all parts."""
    starts, matrices, strays = len(data["matrices"]) // len(SETTINGS), data["matrices"], data["strays"]
    heading = [
        "                           first emergence   later ones               loss at    rms     explained",
        "tasks heads                median  largest % median  largest % winners   end, %  distance    runs",
    ]
    lines = [
        record.machine_line(), "",
        "flows to t = 1e4, H = 4, I = 3, scatter 0.5: best of 3",
        "    d    seconds by feature   in blocks   ratio   steps by feature   in blocks",
        *(
            f"{one['features']:5d} {one['seconds_features']:21.4f} {one['seconds_blocks']:11.4f}"
            f" {one['seconds_features'] / one['seconds_blocks']:7.1f}"
            f" {one['steps_features']:18d} {one['steps_blocks']:11d}"
            for one in data["cost"]
        ), "",
        "differences within a block of two tasks, two heads: logarithm of their fall, and emergence",
        "  scale  scatter  unevenness   folds   derived   rivals   later than equal, %",
        *(
            f"{one['scale']:7g} {one['scatter']:8g} {one['unevenness']:11.3f} {one['folds']:7.3f}"
            f" {one['predicted_folds']:9.3f} {one['rivals']:8.2g} {100 * one['late']:22.2f}"
            for one in data["equality"]
        ), "",
        f"whole matrices, d = 16, L = 200, {starts} starts each, beside reduced flows from", *heading,
        *(line for setting in SETTINGS for line in summary(matrices, *setting)),
    ]  # fmt: skip
    for left_out in WITHOUT:
        mine = [row for row in strays if row["left_out"] == left_out]
        named = " and ".join(
            {"U": "U off its diagonal", "W": "W between blocks"}[circuit] for circuit in left_out
        )
        lines += ["", f"{len(mine)} of these starts without {named}", *heading, *summary(mine, 2, 2)]
    lines += [
        "", f"softmax attention, trained: d = 8, L = 64, two tasks and heads, {len(data['trained'])} starts",
        "             first emergence, %: mean  scatter   later ones: mean  scatter   loss at end, %: mean",
    ]  # fmt: skip
    for kind in KINDS:
        late = 100.0 * np.array([row[kind]["late"] for row in data["trained"]])
        off = 100.0 * np.mean([row[kind]["loss"] for row in data["trained"]])
        cells = [f"{late[:, i].mean():+10.2f} {late[:, i].std():8.2f}" for i in range(2)]
        lines.append(f"{kind:<12} {cells[0]:>25} {cells[1]:>27} {off:+22.1f}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description="starts with unequal entries")
    parser.add_argument("--quick", action="store_true", help="few starts and sizes")
    parser.add_argument("--only", choices=PARTS, help="one part; the others are those on record")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes, starts, trained, cleaned = (
        (SIZES[:2], 2, 1, 1) if options.quick else (SIZES, STARTS, TRAINED, CLEANED)
    )
    parts = {
        "cost": lambda: [cost(size, 3) for size in sizes],
        "equality": lambda: [
            row for scale in SCALES for scatter in SCATTERS for row in equality(scale, scatter, 1)
        ],
        "matrices": lambda: [of_matrices(*setting, seed) for setting in SETTINGS for seed in range(starts)],
        "strays": lambda: [of_matrices(2, 2, seed, name) for name in WITHOUT for seed in range(cleaned)],
        "trained": lambda: [of_training(seed) for seed in range(trained)],
    }
    file = options.out / "general_starts.json"
    data = json.loads(file.read_text("utf-8")) if options.only else {}
    for name in (options.only,) if options.only else PARTS:
        data[name] = parts[name]()
    data.pop("machine", None)
    text = tables(data)
    print(text)
    drawn = figure(data["matrices"]) if "curves" in data["matrices"][0] else None
    for row in (*data["matrices"], *data["strays"]):
        row.pop("curves", None)
    record.write(options.out, "general_starts", text, data)
    if drawn is not None:
        drawn.savefig(options.out / "general_starts.png", dpi=160)


if __name__ == "__main__":
    main()
