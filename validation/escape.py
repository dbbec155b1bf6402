"""The escape from the plateau: noise unbalances the weights, and the imbalance says when they leave.

The matrices V V^T - O^T O are conserved by the gradient flow. The noise of SGD makes their diagonals differ
from zero during warm-up and emergence; on the plateau they stay, and there they are read. The reduced flow
with that imbalance, from the start of training, is then compared with everything that follows.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure
from scipy.optimize import brentq

from spectral_icl import Factored, Solution, gradient_flow
from spectral_icl.phases import EXIT
from spectral_icl.plots import STYLE
from spectral_icl.reduced import task_loss
from validation.context import Context
from validation.recorded import BATCH, END, PROBLEM, START, Trace, authors, ours
from validation.result import Result, at_most, noted, within

TITLE = "escape from the plateau at the imbalance that noise has made"

_QUIET = (26.0, 32.0)  # times on the plateau over which the imbalance is read
_SIGN_CHANGED = -2e-3  # mu of a loser that is far below zero against its noise, and far above the escape
_DELAY = 0.05  # tolerance: the escape, counted from the emergence
_AFTER = 0.2  # tolerance: the state at the end, at a finite length
_AGREE = np.log(3.0)  # between the two ways to estimate an imbalance: 0.05 of the delay
_KQ = 1e-6  # imbalance of the KQ circuits, whose signs do not change


class Estimate(NamedTuple):
    """Effective imbalances of the losing head on every task, (I,)."""

    read: np.ndarray | None  # from the weights on the plateau
    fitted: np.ndarray  # from the time at which the loser's mu has clearly changed sign


def run(context: Context) -> Result:
    """Estimate the imbalance of every run, and compare what follows with the reduced flow."""
    result = Result("escape", TITLE)
    runs = {"authors": (authors(), None)}
    seeds = {BATCH: context.pick((0,), (0, 1, 2, 3, 4)), BATCH // 4: context.pick((1,), (1, 2, 3, 4, 5))}
    for batch, chosen in seeds.items():
        for seed in chosen:
            made = ours(context, seed, batch)
            quiet = (made.time >= _QUIET[0]) & (made.time <= _QUIET[1])
            read = np.abs(np.median(made.imbalance_mu[quiet], axis=0))[[1, 0], [0, 1]]
            runs[f"batch {batch}, seed {seed}"] = Trace.of(made), read
    levels: dict[str, list[np.ndarray]] = {}
    for name, (trace, read) in runs.items():
        estimate = Estimate(read, np.array([_fitted(trace, task) for task in range(PROBLEM.tasks)]))
        known = estimate.fitted if read is None else read
        solution = _flow(known)
        left, told = _escapes(trace.time, trace.mu), _escapes(solution.t, solution.mu)
        for task in range(PROBLEM.tasks):
            emerged = solution.phases.tasks[task].time
            result.add(noted(f"{name}: imbalance of task {task}'s loser", known[task]))
            if read is not None:
                ratio = abs(np.log(estimate.fitted[task] / read[task]))
                result.add(at_most(f"{name}:   |log| of the fitted one over it", ratio, _AGREE))
            result.add(
                within(
                    f"{name}:   escape after emergence",
                    left[task] - emerged,
                    None,
                    told[task] - emerged,
                    _DELAY,
                )
            )
        result.add(_after(name, trace, solution))
        result.curves[name] = {
            "time": trace.time[:: trace.time.size // 500],
            "mu": trace.mu[:: trace.time.size // 500],
            "flow_time": solution.t[::10],
            "flow_mu": solution.mu[::10],
        }
        levels.setdefault(name.partition(",")[0], []).append(known)
    for kind, values in levels.items():
        result.add(noted(f"{kind}: geometric mean of the imbalances", float(np.exp(np.mean(np.log(values))))))
    result.notes += [
        "the imbalance of the authors' run, whose matrices are not recorded, is the fitted one",
        f"escape: the loser's mu reaches {EXIT:g} of the winner's on the other side",
    ]
    return result


def _flow(imbalance: np.ndarray) -> Solution:
    """The reduced flow from the start of training, with an imbalance of each task's loser, to the end."""
    matrix = np.full(START.mu.shape, imbalance.max())
    matrix[[1, 0], [0, 1]] = imbalance
    weights = Factored(_KQ, tuple(map(tuple, matrix.tolist())))
    return gradient_flow(
        PROBLEM, *START, parametrization=weights, t_end=END, t_eval=np.linspace(0.0, END, 3001)
    )


def _fitted(trace: Trace, task: int) -> float:
    """The imbalance at which the loser's mu changes sign as the run's does."""
    loser = 1 - task
    below = (trace.mu[:, loser, task] < _SIGN_CHANGED) & (trace.time > _QUIET[0])
    moment = trace.time[below.argmax()]
    reached = trace.mu[below.argmax(), loser, task]

    def beyond(log_imbalance: float) -> float:
        mu = _flow(np.full(PROBLEM.tasks, np.exp(log_imbalance)))(moment).mu[loser, task]
        return float(np.log(-min(mu, -1e-300) / -reached))

    return float(np.exp(brentq(beyond, np.log(1e-12), np.log(1e-3), xtol=1e-3)))


def _escapes(times: np.ndarray, mu: np.ndarray) -> np.ndarray:
    """When each task's loser has left on the other side, (I,)."""
    moments = []
    for task in range(mu.shape[2]):
        out = (mu[:, 1 - task, task] < -EXIT * mu[:, task, task]) & (times > _QUIET[0])
        moments.append(times[out.argmax()] if out.any() else np.nan)
    return np.array(moments)


def _after(name: str, trace: Trace, solution: Solution) -> list:
    """The state at the end, and the loss, beside the reduced flow's."""
    at, told = trace.at(END), solution.final
    rows = []
    for label, circuit, entry in (
        ("winning omega", "omega", [(0, 0), (1, 1)]),
        ("winning mu", "mu", [(0, 0), (1, 1)]),
        ("losing mu", "mu", [(0, 1), (1, 0)]),
    ):
        values = [np.mean([getattr(state, circuit)[k] for k in entry]) for state in (at, told)]
        rows.append(within(f"{name}:   {label} at t = 60", values[0], None, values[1], _AFTER))
    loss, error = trace.plateau_loss(END)
    large = float(task_loss(PROBLEM, *told).sum())
    rows.append(within(f"{name}:   loss at t = 60", loss, error, large, _AFTER))
    return rows


def figure(result: Result) -> Figure:
    """The losers' mu against time: runs, and the reduced flow at their imbalances."""
    with style.context(STYLE):
        names = [name for name in result.curves if name.endswith(("authors", "seed 0", "seed 1"))][:3]
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
