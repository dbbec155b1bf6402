"""The escape from the plateau: noise unbalances the weights, and the way from there is the exact flow's.

The matrices V V^T - O^T O are conserved by the gradient flow. The noise of SGD makes their diagonals differ
from zero during warm-up and emergence; on the plateau they stay, and there they are read. How large they are,
and how long the plateau lasts, is held against paths of SGD in the reduced variables. How long the flow at
the imbalance of a run waits is noted: entries off the diagonals are worth one too, which is not read.

Once the loser's mu has clearly changed sign a run is compared with the flows of both laws from its own state:
how long it takes to the escape, and how long along the valley where heads become aligned. The error is the
scatter of batches over that stretch (`descent`); what noise does to the mean falls as 1 / batch, and runs
with a part of the batch take it out.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import brentq

from spectral_icl import Factored, Solution
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.flow.escape import EXIT
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.descent import Descent, balanced, descend
from validation.multitask.prompts import Law
from validation.multitask.recorded import (
    BATCH,
    END,
    PROBLEM,
    RATE,
    START,
    Trace,
    authors,
    batches,
    emergence,
    runs,
    without_noise,
)
from validation.multitask.theory import Theory
from validation.result import Result, Row, consistent, noted
from validation.statistics import Estimate, combined

TITLE = "escape from the plateau at the imbalance that noise has made"

_QUIET = (26.0, 32.0)  # times on the plateau over which the imbalance is read
_SIGN_CHANGED = -2e-3  # mu of a loser that is far below zero against its noise, and far above the escape
_FROM = 0.01  # of the winner's mu on the other side, from which a run is compared with flows from its state
_VALLEY = 0.5  # of it, in the valley
_STEPS = 1500  # of descent: all runs are in the valley by then
_RANGE = np.log(1e-12), np.log(1e-3)  # logarithms of the imbalances that are tried
_PATHS = 100  # of SGD in the reduced variables, for each batch
_NAMES = {"root": "root of the imbalance", "wait": "escape after emergence"}
_KQ = 1e-6  # imbalance of the KQ circuits, whose signs do not change


class Case(NamedTuple):
    """A trained path, the batch it was trained with, and the imbalance of every task's loser, (I,)."""

    trace: Trace
    batch: int
    read: Floats | None  # from the weights on the plateau, where they are known


class Stretch(NamedTuple):
    """Times from `_FROM` to the escape and to the valley, (2,): of a run, and of flows from its state."""

    run: Floats
    exact: Floats
    asymptotic: Floats
    scatter: Floats  # over runs, at the batch of the recorded run

    def over(self, flow: str, batch: int) -> list[Estimate]:
        """Times of the run over those of a flow, to the escape and to the valley."""
        times: Floats = getattr(self, flow)
        errors = self.scatter / times * np.sqrt(BATCH / batch)
        return [Estimate(*pair) for pair in zip(self.run / times, errors, strict=True)]


def run(context: Context) -> Result:
    """Read the imbalance of every run, and compare what follows with the flows."""
    result = Result("escape", TITLE)
    theory = Theory.of(context)
    used: dict[int, list[Floats]] = {batch: [] for batch in batches(context)}
    ratios: dict[int, list[Floats]] = {batch: [] for batch in used}
    stretches: dict[int, list[Stretch]] = {batch: [] for batch in used}
    for name, case in _cases(context).items():
        crossings = [_crossing(case.trace, task) for task in range(PROBLEM.tasks)]
        fitted = np.array([_fitted(*crossing, task) for task, crossing in enumerate(crossings)])
        imbalance = fitted if case.read is None else case.read
        for task in range(PROBLEM.tasks):
            label = f"{name}: imbalance of task {task}'s loser"
            result.add(noted(label, imbalance[task], None, None if case.read is None else fitted[task]))
        if not np.isfinite(imbalance).all():
            result.notes.append(f"{name}: no head has changed sign, so no imbalance could be fitted")
            continue
        solution = _flow(imbalance)
        if case.read is not None:
            waited, expected = _waits(case.trace), _waits(_trace(solution))
            for task in range(PROBLEM.tasks):
                label = f"{name}: escape after emergence, task {task}"
                result.add(noted(label, waited[task], None, expected[task]))
            used[case.batch].append(np.log(imbalance))
            ratios[case.batch].append(waited / expected)
        for task in range(PROBLEM.tasks):
            found = _stretch(context, theory, case.trace, task)
            if found is None:
                result.notes.append(
                    f"{name}: task {task} has not come to the valley, in the run or on the flow"
                )
                continue
            if case.read is not None:
                stretches[case.batch].append(found)
            for k, end in enumerate(("the escape", "the valley")):
                error = float(found.scatter[k] * np.sqrt(BATCH / case.batch))
                label = f"{name}: time to {end}, task {task}"
                result.add(noted(label, found.run[k], error, found.exact[k]))
        lowest = float(theory.losses_at(PROBLEM, solution.final).sum())
        result.add(noted(f"{name}: loss at the end", case.trace.mean_loss(END), None, lowest))
        thin = slice(None, None, max(1, case.trace.time.size // 500))
        result.curves[name] = {
            "time": case.trace.time[thin],
            "mu": case.trace.mu[thin],
            "flow_time": solution.t[::10],
            "flow_mu": solution.mu[::10],
        }
    for batch, values in ratios.items():
        ratio = np.concatenate(values) if values else np.empty(0)
        mean = (
            Estimate.of(ratio[np.isfinite(ratio)]) if np.isfinite(ratio).any() else Estimate(np.nan, np.nan)
        )
        result.add(noted(f"batch {batch}: escape after emergence, over the flow's", mean, None, 1.0))
    result.add(_by_noise(context, theory))
    result.add(_speeds(stretches))
    result.add(_scaling(used))
    whole, part = used
    result.notes += [
        "imbalance: read from the weights, beside that which fits the change of sign; the authors' is fitted",
        f"escape: the loser's mu is {EXIT:g} of the winner's on the other side; valley: {_VALLEY:g} of it",
        f"times to these are from {_FROM:g} of it, beside the exact flow's from the same state",
        f"paths: {_PATHS} of SGD in the reduced variables, with the noise of the law's own prompts",
        f"without noise: extrapolated in 1 / batch from runs with {whole} and {part} prompts in a batch",
    ]
    return result


def _stretch(context: Context, theory: Theory, trace: Trace, task: int) -> Stretch | None:
    """A run beside flows from its own state a little after the change of sign; None if it ends before."""
    first = _reaches(trace, task, _FROM)
    ends = np.array([_reaches(trace, task, level) for level in (EXIT, _VALLEY)])
    if not np.isfinite(ends).all():
        return None
    at = trace.at(first)
    since = trace.time[int(np.abs(trace.time - first).argmin())]
    path = _descent(context.honest, tuple(at.omega.ravel().tolist()), tuple(at.mu.ravel().tolist()))
    flows = [
        _trace(one.flow(PROBLEM, at, float(path.time[-1]), times=path.time))
        for one in (theory, Theory("asymptotic"))
    ]
    told = [np.array([_reaches(flow, task, level, 0.0) for level in (EXIT, _VALLEY)]) for flow in flows]
    if not (np.array(told) < path.time[-2]).all():
        return None
    lags = [path.lag(path.nearest(moment), lambda state: _ratio(*state, task)) for moment in told[0]]
    return Stretch(ends - since, told[0], told[1], np.array(lags))


@cache
def _descent(context: Context, omega: tuple[float, ...], mu: tuple[float, ...]) -> Descent:
    """Descent from a state of a run, with the scatter of batches: no fault of the theory is in it."""
    start = State(np.reshape(omega, START.omega.shape), np.reshape(mu, START.mu.shape))
    law, generator = Law.of(PROBLEM, context.device), context.generator("escape, covariance of the gradient")
    return descend(PROBLEM, start, balanced, RATE, _STEPS, 5, BATCH, law, generator)


class Escaping(NamedTuple):
    """What the noise of a run has made: of R runs and all tasks, raveled, (R I,)."""

    root: Floats  # of the imbalance of a task's loser on the plateau, whose distribution has no heavy tails
    wait: Floats  # from the task's emergence to the loser's escape, or to the end

    @classmethod
    def of(cls, time: Floats, paths: Iterable[tuple[Floats, Floats, Floats]]) -> Escaping:
        """Of paths omega (T, H, B), mu (T, H, I) and imbalances (T, H, I) at the same times."""
        found = []
        for omega, mu, imbalance in paths:
            trace = Trace(time, omega, mu, time, time)
            wait = np.fmin(_waits(trace), END - emergence(trace))
            found.append((np.sqrt(_read(time, imbalance)), wait))
        roots, waits = (np.concatenate(column) for column in zip(*found, strict=True))
        return cls(roots, waits)


def _by_noise(context: Context, theory: Theory) -> list[Row]:
    """Imbalances and waits over those of paths of SGD, by batch."""
    rows: list[Row] = []
    for batch in batches(context):
        mine, told = _measured(context.honest, batch), _told(theory, batch)
        for name in ("root", "wait"):
            values, drawn = getattr(mine, name), getattr(told, name)
            error = float(drawn.std(ddof=1) * np.sqrt(1.0 / values.size + 1.0 / drawn.size))
            mean = float(drawn.mean())
            over = Estimate(float(values.mean()) / mean, error / mean, drawn.size - 1.0)
            rows.append(consistent(f"batch {batch}: {_NAMES[name]}, over that of paths", over, 1.0))
    return rows


@cache
def _measured(context: Context, batch: int) -> Escaping:
    trained = runs(context, batch)
    return Escaping.of(trained[0].time, ((one.omega, one.mu, one.imbalance_mu) for one in trained))


@cache
def _told(theory: Theory, batch: int) -> Escaping:
    grid = np.linspace(0.0, END, round(END / RATE / 10) + 1)  # recorded as runs are
    paths = theory.paths(PROBLEM, START, grid, RATE, batch, _PATHS)
    return Escaping.of(paths.t, zip(paths.omega, paths.mu, paths.imbalance, strict=True))


def _read(time: Floats, imbalance: Floats) -> Floats:
    """Imbalance of each task's loser on the plateau, (I,), of all heads' (T, H, I)."""
    quiet = (time >= _QUIET[0]) & (time <= _QUIET[1])
    return np.abs(np.median(imbalance[quiet], axis=0))[[1, 0], [0, 1]]


def _speeds(stretches: dict[int, list[Stretch]]) -> list[Row]:
    """Times to the escape and to the valley over the flows', by batch and extrapolated to an infinite one."""
    rows: list[Row] = []
    whole, part = stretches
    for law in ("exact", "asymptotic"):
        for k, end in enumerate(("escape", "valley")):
            means = []
            for batch, group in stretches.items():
                ratios = [(1.0 / len(group), one.over(law, batch)[k]) for one in group]
                means.append(combined(*ratios) if ratios else Estimate(np.nan, np.nan))
                label = f"batch {batch}: time to the {end}, over that of the {law} flow"
                rows.append(noted(label, means[-1], None, 1.0))
            label = f"without noise: time to the {end}, over that of the {law} flow"
            found = without_noise(means[0], means[1], whole / part)
            rows.append(consistent(label, found, 1.0) if law == "exact" else noted(label, found, None, 1.0))
    return rows


def _trace(solution: Solution) -> Trace:
    """A flow as a trace, without losses."""
    return Trace(solution.t, solution.omega, solution.mu, solution.t, solution.t)


def _ratio(_: Floats, mu: Floats, task: int) -> float:
    """The loser's mu over the winner's, on the other side."""
    return float(-mu[1 - task, task] / mu[task, task])


def _reaches(trace: Trace, task: int, level: float, after: float = _QUIET[0]) -> float:
    """When the loser's mu is a share of the winner's on the other side; NaN if it never is."""
    ratio = -trace.mu[:, 1 - task, task] / trace.mu[:, task, task]
    beyond = (ratio >= level) & (trace.time >= after)
    k = int(beyond.argmax())
    if not beyond.any() or k == 0:
        return np.nan
    share = (level - ratio[k - 1]) / (ratio[k] - ratio[k - 1])
    return float(trace.time[k - 1] + share * (trace.time[k] - trace.time[k - 1]))


def _waits(trace: Trace) -> Floats:
    """Time from the emergence of each task to its loser's escape, (I,)."""
    left = np.array([_reaches(trace, task, EXIT) for task in range(PROBLEM.tasks)])
    return left - emergence(trace)


def _cases(context: Context) -> dict[str, Case]:
    """The runs: the authors' and ours, with their batch and a part of it."""
    cases = {"authors": Case(authors(), BATCH, None)}
    for batch in batches(context):
        for number, trained in enumerate(runs(context, batch)):
            read = _read(trained.time, trained.imbalance_mu)
            cases[f"batch {batch}, run {number}"] = Case(Trace.of(trained), batch, read)
    return cases


def _scaling(used: dict[int, list[Floats]]) -> Row:
    """Exponent of step / batch in the imbalance, from logarithms at a batch and at a part of it."""
    whole, part = used
    spans = [Estimate.of(np.concatenate(used[batch])) for batch in (part, whole)]
    across = 1.0 / np.log(whole / part)
    exponent = combined((across, spans[0]), (-across, spans[1]))
    return noted("exponent of step / batch in the imbalance", exponent, None, 1.0)


def _flow(imbalance: Floats) -> Solution:
    """The exact flow from the start of training, with an imbalance of each task's loser, to the end."""
    matrix = np.full(START.mu.shape, imbalance.max())
    matrix[[1, 0], [0, 1]] = imbalance
    weights = Factored(_KQ, tuple(map(tuple, matrix.tolist())))
    return Theory().flow(PROBLEM, START, END, weights, np.linspace(0.0, END, 3001))


def _crossing(trace: Trace, task: int) -> tuple[float, float]:
    """When the loser's mu has clearly changed sign, and what it is then; NaN if it has not."""
    below = (trace.mu[:, 1 - task, task] < _SIGN_CHANGED) & (trace.time > _QUIET[0])
    if not below.any():
        return np.nan, np.nan
    return float(trace.time[below.argmax()]), float(trace.mu[below.argmax(), 1 - task, task])


@cache
def _fitted(moment: float, reached: float, task: int) -> float:
    """The imbalance at which the exact flow's loser reaches a mu at a time; NaN if none does."""

    def beyond(log_imbalance: float) -> float:
        mu = _flow(np.full(PROBLEM.tasks, np.exp(log_imbalance)))(moment).mu[1 - task, task]
        return float(np.log(-min(mu, -1e-300) / -reached))

    if not np.isfinite(moment) or beyond(_RANGE[0]) > 0.0 or beyond(_RANGE[1]) < 0.0:
        return np.nan
    return float(np.exp(brentq(beyond, *_RANGE, xtol=1e-3)))


def figure(result: Result) -> Figure:
    """The losers' mu against time: runs, and the exact flow at their imbalances."""
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
