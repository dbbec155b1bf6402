"""Starts that are not decomposable: what the spectral picture still says of random matrices K, Q, V and O.

Three predictions are compared with training. The large-L flow of whole matrices knows everything but finite
length and noise. The reduced flow started from the diagonals alone, at the imbalances at which it is as fast
as the matrices, ignores what is off the diagonals. The same reduced flow started later, when training has
made the weights nearly decomposable, should predict the rest. None of them is exact, so claims are of means
over starts, whose scatter is their error: it has few degrees of freedom, and so they are weak.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure

from spectral_icl import Factored, Solution
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask import loss as reduced
from spectral_icl.multitask.optimal import benchmarks as optimal
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask import large_length
from validation.multitask.full_model import FactoredAttention
from validation.multitask.prompts import Law
from validation.multitask.recorded import PROBLEM, steepest
from validation.multitask.spectrum import by_block, effective_imbalance, spectral
from validation.multitask.theory import Theory
from validation.multitask.train import Run, Schedule, training_run
from validation.result import Result, consistent, not_above, not_below, noted
from validation.statistics import Estimate

TITLE = "starts that are not decomposable: random K, Q, V and O"

_SIZE = 0.1  # of every entry of the random matrices
_END = 60.0
_ALIGNED = 25.0  # time from which the weights are nearly decomposable
_SPAN = 1.0  # time over which slopes of losses are taken
_ASYMPTOTIC = Theory("asymptotic")
_LESS = 0.1  # what is left of that off the diagonals, over that on them, of what there was


class Findings(NamedTuple):
    """What one start tells, of which the mean over starts is judged."""

    stray_kq: float  # logarithms of stray over diagonal at the end, over that at the start
    stray_ov: float
    emergences: Floats  # logarithms of times over the expected ones, (I,)
    share: float  # of the way from the asymptotic law's loss at the end to the exact one's


def run(context: Context) -> Result:
    """Train from random starts, and compare."""
    result = Result("random_starts", TITLE)
    starts = context.pick((2, 2, 2), (2, 2, 2, 3, 3, 4))
    found = [_compare(context, result, heads, number) for number, heads in enumerate(starts)]
    columns = [np.array(column).ravel() for column in zip(*found, strict=True)]
    columns[2] = columns[2][np.isfinite(columns[2])]  # of tasks that emerge, in the run and by the flows
    stray_kq, stray_ov, emergences, share = (Estimate.of(column) for column in columns)
    most = float(np.log(_LESS))
    result.add([
        not_above("log of stray over diagonal of W, end over start", stray_kq, most),
        not_above("log of stray over diagonal of U, end over start", stray_ov, most),
        consistent("log of emergence over that of whole matrices", emergences, 0.0),
        not_below("loss at the end, from the asymptotic law's to the exact one's", share, 0.5),
    ])  # fmt: skip
    result.add(noted("loss of a head per task, both tasks", optimal.head_per_task(PROBLEM).loss))
    result.add(noted("lower bound on decomposable attention", optimal.lower_bound(PROBLEM).loss))
    result.notes += [
        "stray: root mean square off the diagonals of W over that on the blocks' diagonals",
        "expected emergence: of whole matrices at large L, times what finite length does to the reduced flow",
        "reduced, from t = 0: from the random matrices' diagonals, of which the theory promises nothing",
    ]
    return result


def _compare(context: Context, result: Result, heads: int, number: int) -> Findings:
    law, theory = Law.of(PROBLEM, context.device), Theory.of(context)
    rate, batch = context.pick((0.02, 125), (0.01, 1000))
    name, label = f"{heads} heads, start {number}", f"random-{heads}-{number}"
    model = FactoredAttention.random(PROBLEM, heads, _SIZE, law, context.generator(f"{label}, start"))
    grid = np.linspace(0.0, _END, 601)
    kq, ov = theory.whole_flow(model, PROBLEM, grid)
    naive, naive_asymptotic = (_reduced(one, model, _END) for one in (theory, _ASYMPTOTIC))
    schedule = Schedule(rate, round(_ALIGNED / rate), batch, 10)
    early = training_run(context, f"{label}-early", model, PROBLEM, schedule)
    rest, rest_asymptotic = (_reduced(one, model, _END - _ALIGNED) for one in (theory, _ASYMPTOTIC))
    schedule = Schedule(rate, round((_END - _ALIGNED) / rate), batch, 10)
    late = training_run(context, f"{label}-late", model, PROBLEM, schedule)

    times = np.concatenate([early.time, late.time[1:] + _ALIGNED])
    path = State(*(np.concatenate([getattr(early, c), getattr(late, c)[1:]]) for c in ("omega", "mu")))
    diagonals = State(by_block(PROBLEM, np.diagonal(kq, axis1=2, axis2=3)), np.diagonal(ov, axis1=2, axis2=3))
    measured, by_matrices = _emergence(times, path), _emergence(grid, diagonals)
    by_reduced, by_asymptotic = (_emergence(grid, one(grid)) for one in (naive, naive_asymptotic))
    expected = by_matrices * by_reduced / by_asymptotic
    stray = np.array([_stray(early, 0), _stray(late, -1)])
    for moment, pair in zip(("at t = 0", "at the end"), stray, strict=True):
        for circuit, value in zip("WU", pair, strict=True):
            result.add(noted(f"{name}: stray over diagonal of {circuit} {moment}", value))
    for task in range(PROBLEM.tasks):
        quantity = f"{name}: emergence of task {task}"
        result.add(noted(f"{quantity}, whole matrices", measured[task], None, expected[task]))
        result.add(noted(f"{quantity}, reduced, from t = 0", measured[task], None, by_reduced[task]))
    last = Estimate.of(late.task_loss[late.loss_time > _END - _ALIGNED - 2.0].sum(axis=1))
    whole = float(_matrix_loss(kq[-1], ov[-1]).sum())
    final, asymptotic = (
        float(one.losses_at(PROBLEM, solution.final).sum())
        for one, solution in ((theory, rest), (_ASYMPTOTIC, rest_asymptotic))
    )
    quantity = f"{name}: loss at the end"
    result.add(noted(f"{quantity}, reduced, from t = 25", last, None, final))
    result.add(noted(f"{quantity}, reduced, from t = 25, asymptotic", last, None, asymptotic))
    result.add(noted(f"{quantity}, whole matrices", last, None, whole))
    away = [np.abs(late.mu[-1] - one.final.mu).max() / np.abs(late.mu[-1]).max() for one in (rest, naive)]
    for since, distance in zip((25, 0), away, strict=True):
        result.add(noted(f"{name}: mu at the end, distance from reduced, from t = {since}", distance))
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
    left = np.log(stray[1] / stray[0])
    with np.errstate(divide="ignore", invalid="ignore"):  # one that falls steepest at its start emerges never
        late_by = np.log(measured / expected)
    return Findings(
        float(left[0]),
        float(left[1]),
        late_by,
        (last.value - asymptotic) / (final - asymptotic) if final != asymptotic else np.nan,
    )


def _reduced(theory: Theory, model: FactoredAttention, end: float) -> Solution:
    """The reduced flow from a model's diagonals, at the imbalances that make it as fast as the matrices."""
    by_omega, by_mu = (
        tuple(map(tuple, values.tolist())) for values in effective_imbalance(PROBLEM, model.factors())
    )
    start = spectral(PROBLEM, model.kq(), model.ov())
    return theory.flow(PROBLEM, start, end, Factored(by_omega, by_mu))


def _matrix_loss(kq: Floats, ov: Floats) -> Floats:
    exact = Law.of(PROBLEM, torch.device("cpu"), torch.float64)
    losses: Floats = large_length.task_loss(
        torch.from_numpy(kq), torch.from_numpy(ov), PROBLEM, exact
    ).numpy()
    return losses


def _emergence(times: Floats, path: State) -> Floats:
    """When the asymptotic loss of each task at the diagonals of a path falls steepest, (I,)."""
    losses = reduced.losses_at(PROBLEM, path, "asymptotic")
    return np.array([steepest(times, column, _SPAN, until=_END) for column in losses.T])


def _stray(trained: Run, record: int) -> Floats:
    """Root mean square off the diagonals of all heads' W and U over that of their blocks' means, (2,)."""
    pairs = (trained.stray_kq, trained.omega), (trained.stray_ov, trained.mu)
    return np.array([np.sqrt((off[record] ** 2).mean() / (on[record] ** 2).mean()) for off, on in pairs])


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
