"""Starts that are not decomposable: what the spectral picture still says of random matrices K, Q, V and O.

Three predictions are compared with training. The large-L flow of whole matrices knows everything but finite
length and noise. The reduced flow started from the diagonals alone, at the imbalances at which it is as fast
as the matrices, ignores what is off the diagonals. The same reduced flow started later, when training has
made the weights nearly decomposable, should predict the rest.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from matplotlib.figure import Figure

from spectral_icl import Factored, Solution, gradient_flow
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask import loss as reduced
from spectral_icl.multitask.optimal import benchmarks as optimal
from validation.context import Context
from validation.multitask import large_length
from validation.multitask.full_model import FactoredAttention
from validation.multitask.prompts import Law
from validation.multitask.recorded import PROBLEM, RATE, steepest
from validation.multitask.spectrum import effective_imbalance, spectral
from validation.multitask.train import Run, Schedule, training_run
from validation.result import Result, at_most, noted, within

TITLE = "starts that are not decomposable: random K, Q, V and O"

_SIZE = 0.1  # of every entry of the random matrices
_END = 60.0
_ALIGNED = 25.0  # time from which the weights are nearly decomposable
_SPAN = 1.0  # time over which slopes of batch losses are taken
_STRAY, _EMERGENCE, _LOSS, _MU = 0.1, 0.1, 0.15, 0.25  # tolerances; the large-L loss itself is 10 % off here


def run(context: Context) -> Result:
    """Train from random starts, and compare."""
    result = Result("random_starts", TITLE)
    for heads, seed in context.pick(((2, 1),), ((2, 1), (2, 2), (3, 1), (4, 1))):
        _compare(context, result, heads, seed)
    result.add(noted("loss of a head per task, both tasks", optimal.head_per_task(PROBLEM).loss))
    result.add(noted("lower bound on decomposable attention", optimal.lower_bound(PROBLEM).loss))
    result.notes += [
        "stray: root mean square off the diagonals of W over that on the blocks' diagonals",
        "reduced, from t = 0: from the random matrices' diagonals, of which the theory promises nothing",
    ]
    return result


def _compare(context: Context, result: Result, heads: int, seed: int) -> None:
    law = Law.of(PROBLEM, context.device)
    batch = context.pick(500, 1000)
    name = f"{heads} heads, seed {seed}"
    model = FactoredAttention.random(PROBLEM, heads, _SIZE, law, seed)
    grid = np.linspace(0.0, _END, 601)
    kq, ov = large_length.flow(model, PROBLEM, grid)
    naive = _reduced(model, _END)
    # seeds of their own for the start and for the prompts of either part
    schedule = Schedule(RATE, round(_ALIGNED / RATE), batch, 10, seed + 1000)
    label = f"random-{heads}-{seed}"
    early = training_run(context, f"{label}-early", model, PROBLEM, schedule)
    rest = _reduced(model, _END - _ALIGNED)
    late_schedule = replace(schedule, steps=round((_END - _ALIGNED) / RATE), seed=seed + 2000)
    late = training_run(context, f"{label}-late", model, PROBLEM, late_schedule)

    whole = np.array([_matrix_loss(a, b) for a, b in zip(kq, ov, strict=True)])
    lone = reduced.task_loss(PROBLEM, *naive(grid))
    times = np.concatenate([early.loss_time, late.loss_time + _ALIGNED])
    losses = np.concatenate([early.task_loss, late.task_loss])
    measured = _emergence(times, losses)
    result.add(noted(f"{name}: stray over diagonal at t = 0", _stray(early, 0)))
    result.add(at_most(f"{name}: stray over diagonal at the end", _stray(late, -1), _STRAY))
    stray_ov = np.sqrt((late.stray_ov[-1] ** 2).mean() / (late.mu[-1] ** 2).mean())
    result.add(at_most(f"{name}: the same of U at the end", stray_ov, _STRAY))
    by_matrices, by_reduced = _emergence(grid, whole), _emergence(grid, lone)
    for task in range(PROBLEM.tasks):
        label = f"{name}: emergence of task {task}"
        moment = measured[task]
        result.add(within(f"{label}, whole matrices", moment, None, by_matrices[task], _EMERGENCE))
        result.add(noted(f"{label}, reduced, from t = 0", moment, None, by_reduced[task]))
    last = losses[times > _END - 2.0].sum(axis=1)
    error = float(last.std(ddof=1) / np.sqrt(last.size))
    final = float(reduced.loss(PROBLEM, *rest.final))
    label = f"{name}: loss at the end"
    result.add(within(f"{label}, reduced, from t = 25", last.mean(), error, final, _LOSS))
    result.add(noted(f"{label}, whole matrices", last.mean(), error, whole[-1].sum()))
    result.add(noted(f"{label}, reduced, from t = 0", last.mean(), error, lone[-1].sum()))
    off = np.abs(late.mu[-1] - rest.final.mu).max() / np.abs(late.mu[-1]).max()
    result.add(at_most(f"{name}: mu at the end, distance from reduced, from t = 25", off, _MU))
    off = np.abs(late.mu[-1] - naive.final.mu).max() / np.abs(late.mu[-1]).max()
    result.add(noted(f"{name}: mu at the end, distance from reduced, from t = 0", off))
    after = grid[::4][grid[::4] >= _ALIGNED]
    result.curves[name] = {
        "time": np.concatenate([early.time, late.time + _ALIGNED])[::2],
        "mu": np.concatenate([early.mu, late.mu])[::2],
        "grid": grid[::2],
        "whole": np.diagonal(ov, axis1=2, axis2=3)[::2],
        "naive": naive(grid[::2]).mu,
        "after": after,
        "rest": rest(after - _ALIGNED).mu,
    }


def _reduced(model: FactoredAttention, end: float) -> Solution:
    """The reduced flow from a model's diagonals, at the imbalances that make it as fast as the matrices."""
    by_omega, by_mu = (
        tuple(map(tuple, values.tolist())) for values in effective_imbalance(PROBLEM, model.factors())
    )
    weights = Factored(by_omega, by_mu)
    start = spectral(PROBLEM, model.kq(), model.ov())
    return gradient_flow(PROBLEM, *start, parametrization=weights, t_end=end)


def _matrix_loss(kq: Floats, ov: Floats) -> Floats:
    exact = Law.of(PROBLEM, torch.device("cpu"), torch.float64)
    losses: Floats = large_length.task_loss(
        torch.from_numpy(kq), torch.from_numpy(ov), PROBLEM, exact
    ).numpy()
    return losses


def _emergence(times: Floats, losses: Floats) -> Floats:
    """When each task's loss (T, I) falls steepest."""
    return np.array([steepest(times, column, _SPAN, until=_END) for column in losses.T])


def _stray(trained: Run, record: int) -> float:
    """Root mean square off the diagonals of all heads' W over that of their blocks' means."""
    off, on = trained.stray_kq[record], trained.omega[record]
    return float(np.sqrt((off**2).mean() / (on**2).mean()))


def figure(result: Result) -> Figure:
    """OV values of every head and task against time: trained, whole matrices, reduced from 0 and from 25."""
    with styled():
        names = list(result.curves)[:3]
        drawn = Figure(figsize=(6.75, 2.4 * len(names)))
        for row, name in zip(drawn.subplots(len(names), 3, squeeze=False), names, strict=True):
            curve = result.curves[name]
            panels = (("whole", "grid", "flow of whole matrices"), ("naive", "grid", "reduced, from t = 0"),
                      ("rest", "after", "reduced, from t = 25"))  # fmt: skip
            for axes, (key, times, title) in zip(row, panels, strict=True):
                path, told = np.asarray(curve["mu"]), np.asarray(curve[key])
                for k in range(path[0].size):
                    color = f"C{k % 8}"
                    axes.plot(curve["time"], path.reshape(len(path), -1)[:, k], color=color, lw=0.9)
                    axes.plot(curve[times], told.reshape(len(told), -1)[:, k], color="black", ls="--", lw=0.7)
                axes.set(title=title, xlabel="time of the flow")
            row[0].set_ylabel(rf"$\mu$, {name}")
        return drawn
