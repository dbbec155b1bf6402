"""The escape from the plateau: noise unbalances the weights, and the imbalance says when they leave.

The matrices V V^T - O^T O are conserved by the gradient flow. The noise of SGD makes their diagonals differ
from zero during warm-up and emergence; on the plateau they stay, and there they are read. The reduced flow
with that imbalance, from the start of training, is then compared with everything that follows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import brentq

from spectral_icl import Factored, Solution, gradient_flow
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.escape import EXIT
from spectral_icl.multitask.loss import task_loss
from validation.context import Context
from validation.multitask.recorded import BATCH, END, PROBLEM, START, Trace, authors, emergence, ours
from validation.result import Result, Row, at_most, noted, within

TITLE = "escape from the plateau at the imbalance that noise has made"

_QUIET = (26.0, 32.0)  # times on the plateau over which the imbalance is read
_SIGN_CHANGED = -2e-3  # mu of a loser that is far below zero against its noise, and far above the escape
_DELAY = 0.05  # tolerance: the escape, counted from the emergence
_AFTER = 0.2  # tolerance: the paths after the escape, relative, at a finite length
_RANGE = np.log(1e-12), np.log(1e-3)  # logarithms of the imbalances that are tried
_AGREE = np.log(3.0)  # between the two ways to estimate an imbalance: 0.05 of the delay
_KQ = 1e-6  # imbalance of the KQ circuits, whose signs do not change


class Case(NamedTuple):
    """A trained path, the batch it was trained with, and the imbalance of every task's loser, (I,)."""

    trace: Trace
    batch: int
    read: Floats | None  # from the weights on the plateau, where they are known


def run(context: Context) -> Result:
    """Estimate the imbalance of every run, and compare what follows with the reduced flow."""
    result = Result("escape", TITLE)
    used: dict[int, list[Floats]] = {BATCH: [], BATCH // 4: []}
    ratios: dict[int, list[Floats]] = {BATCH: [], BATCH // 4: []}
    for name, case in _cases(context).items():
        crossings = [_crossing(case.trace, task) for task in range(PROBLEM.tasks)]
        fitted = np.array([_fitted(*crossing, task) for task, crossing in enumerate(crossings)])
        imbalance = fitted if case.read is None else case.read
        for task in range(PROBLEM.tasks):
            result.add(noted(f"{name}: imbalance of task {task}'s loser", imbalance[task]))
        if not np.isfinite(imbalance).all():
            result.notes.append(f"{name}: no head has changed sign, so no imbalance could be fitted")
            continue
        solution = _flow(imbalance)
        left, left_flow = _escapes(case.trace.time, case.trace.mu), _escapes(solution.t, solution.mu)
        if case.read is None:  # the fit has used the time until the crossing
            since = since_flow = np.array([moment for moment, _ in crossings])
            kind = "escape after its mu has changed sign"
        else:
            since = emergence(case.trace)
            since_flow = np.array([task.time for task in solution.phases.tasks])
            kind = "escape after emergence"
            for task, apart in enumerate(np.abs(np.log(fitted / case.read))):
                result.add(
                    at_most(f"{name}: |log| of the fitted imbalance over it, task {task}", apart, _AGREE)
                )
            used[case.batch].append(np.log(imbalance))
            ratios[case.batch].append((left - since) / (left_flow - since_flow))
        for task in range(PROBLEM.tasks):
            waited, expected = left[task] - since[task], left_flow[task] - since_flow[task]
            result.add(within(f"{name}: {kind}, task {task}", waited, None, expected, _DELAY))
            result.add(_after(name, case.trace, solution, task, left[task], left_flow[task]))
        loss, error = case.trace.mean_loss(END)
        large = float(task_loss(PROBLEM, *solution.final).sum())
        result.add(noted(f"{name}: loss at the end", loss, error, large))
        thin = slice(None, None, max(1, case.trace.time.size // 500))
        result.curves[name] = {
            "time": case.trace.time[thin],
            "mu": case.trace.mu[thin],
            "flow_time": solution.t[::10],
            "flow_mu": solution.mu[::10],
        }
    for batch, values in ratios.items():
        ratio = np.concatenate(values)
        error = float(ratio.std(ddof=1) / np.sqrt(ratio.size))
        result.add(noted(f"batch {batch}: escape after emergence, over the flow's", ratio.mean(), error, 1.0))
    result.add(_scaling(*(np.concatenate(used[batch]) for batch in (BATCH, BATCH // 4))))
    result.notes += [
        "the imbalance of the authors' run, whose matrices are not recorded, is the fitted one",
        f"escape: the loser's mu reaches {EXIT:g} of the winner's on the other side",
        "after the escape paths are aligned there; full attention moves on faster than at large L",
    ]
    return result


def _cases(context: Context) -> dict[str, Case]:
    """The runs: the authors' and ours, with their batch and a quarter of it."""
    cases = {"authors": Case(authors(), BATCH, None)}
    seeds = {BATCH: context.pick((0,), (0, 1, 2, 3, 4)), BATCH // 4: context.pick((1,), (1, 2, 3, 4, 5))}
    for batch, chosen in seeds.items():
        for seed in chosen:
            trained = ours(context, seed, batch)
            quiet = (trained.time >= _QUIET[0]) & (trained.time <= _QUIET[1])
            read = np.abs(np.median(trained.imbalance_mu[quiet], axis=0))[[1, 0], [0, 1]]
            cases[f"batch {batch}, seed {seed}"] = Case(Trace.of(trained), batch, read)
    return cases


def _scaling(whole: Floats, quarter: Floats) -> Row:
    """Exponent of step / batch in the imbalance, from logarithms at a batch and at a quarter of it."""
    error = np.sqrt(whole.var(ddof=1) / whole.size + quarter.var(ddof=1) / quarter.size) / np.log(4.0)
    exponent = (quarter.mean() - whole.mean()) / np.log(4.0)
    return noted("exponent of step / batch in the imbalance", exponent, float(error), 1.0)


def _flow(imbalance: Floats) -> Solution:
    """The reduced flow from the start of training, with an imbalance of each task's loser, to the end."""
    matrix = np.full(START.mu.shape, imbalance.max())
    matrix[[1, 0], [0, 1]] = imbalance
    weights = Factored(_KQ, tuple(map(tuple, matrix.tolist())))
    return gradient_flow(
        PROBLEM, *START, parametrization=weights, t_end=END, t_eval=np.linspace(0.0, END, 3001)
    )


def _crossing(trace: Trace, task: int) -> tuple[float, float]:
    """When the loser's mu has clearly changed sign, and what it is then; NaN if it has not."""
    below = (trace.mu[:, 1 - task, task] < _SIGN_CHANGED) & (trace.time > _QUIET[0])
    if not below.any():
        return np.nan, np.nan
    return float(trace.time[below.argmax()]), float(trace.mu[below.argmax(), 1 - task, task])


def _fitted(moment: float, reached: float, task: int) -> float:
    """The imbalance at which the reduced flow's loser reaches a mu at a time; NaN if none does."""

    def beyond(log_imbalance: float) -> float:
        mu = _flow(np.full(PROBLEM.tasks, np.exp(log_imbalance)))(moment).mu[1 - task, task]
        return float(np.log(-min(mu, -1e-300) / -reached))

    if not np.isfinite(moment) or beyond(_RANGE[0]) > 0.0 or beyond(_RANGE[1]) < 0.0:
        return np.nan
    return float(np.exp(brentq(beyond, *_RANGE, xtol=1e-3)))


def _escapes(times: Floats, mu: Floats) -> Floats:
    """When each task's loser has left on the other side, (I,)."""
    moments = []
    for task in range(mu.shape[2]):
        out = (mu[:, 1 - task, task] < -EXIT * mu[:, task, task]) & (times > _QUIET[0])
        moments.append(times[out.argmax()] if out.any() else np.nan)
    return np.array(moments)


def _after(
    name: str, trace: Trace, solution: Solution, task: int, left: float, left_flow: float
) -> list[Row]:
    """Distances from the reduced flow after the escape, which is moved to the same time."""
    shift = left_flow - left
    after = (trace.time >= left) & (trace.time + shift <= END)
    flow = solution(trace.time[after] + shift)
    rows = []
    for role, head in (("winning", task), ("losing", 1 - task)):
        path = flow.mu[:, head, task]
        apart = np.abs(trace.mu[after, head, task] - path).max() / np.abs(path).max()
        rows.append(at_most(f"{name}: {role} mu of task {task} after the escape, distance", apart, _AFTER))
    return rows


def figure(result: Result) -> Figure:
    """The losers' mu against time: runs, and the reduced flow at their imbalances."""
    with styled():
        kinds = {name.partition(",")[0]: name for name in reversed(result.curves)}  # the first of each kind
        names = list(reversed(kinds.values()))
        drawn = Figure(figsize=(6.75, 2.4))
        for axes, name in zip(drawn.subplots(1, len(names), sharey=True), names, strict=True):
            curve = result.curves[name]
            for task, color in ((0, "#0072B2"), (1, "#D55E00")):
                path, told = np.asarray(curve["mu"]), np.asarray(curve["flow_mu"])
                axes.plot(curve["time"], path[:, 1 - task, task], color=color, label=f"task {task}, trained")
                axes.plot(
                    curve["flow_time"],
                    told[:, 1 - task, task],
                    color=color,
                    ls="--",
                    label=f"task {task}, flow",
                )
            axes.set_yscale("symlog", linthresh=1e-5)
            axes.set(xlabel="time of the flow", title=name, xlim=(0.0, END))
        drawn.axes[0].set_ylabel(r"$\mu$ of the losing head")
        handles, labels = drawn.axes[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=4)
        return drawn
