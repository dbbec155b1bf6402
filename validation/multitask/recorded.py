"""The recorded case: two tasks, two heads, trained by stochastic gradient descent, beside the reduced flow.

A run of the authors' code is in `data/`. The same case is trained with the matrices of the theory and with
the authors' embedding, and the reduced flow is solved from the same start.
"""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.signal import savgol_filter

from spectral_icl import Problem, Solution, gradient_flow
from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.multitask import initial
from spectral_icl.multitask.flow.phases import shares
from spectral_icl.multitask.loss import task_loss
from spectral_icl.multitask.state import State
from validation.context import Context
from validation.multitask.full_model import FactoredAttention, JointAttention
from validation.multitask.prompts import Law
from validation.multitask.train import Run, Schedule, training_run
from validation.result import Result, Row, at_most, consistent, noted, same, within

TITLE = "training of the recorded case beside the reduced flow"

PROBLEM = Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
START = initial.paper(PROBLEM, 2, 0.1, 0.1, 0.2)
RATE, BATCH = 0.01, 1000  # 0.02 in the authors' code, whose loss is the mean over the two tasks
PLATEAU = 30.0  # 60 in the time of the authors' code
END = 60.0
WINDOW = 3.0  # time on either side over which batch losses on the plateau are averaged

_DATA = Path(__file__).parents[1] / "data" / "full_model_sgd_two_tasks.csv"
_EMERGENCE, _VALUES = 0.05, 0.03  # tolerances: of times, and of omega and mu
_PATH = 0.1  # distance of a path from the flow's, aligned at the emergence, over its largest value
_LOSS = 0.1  # of the loss, relative to its start: batch losses are noisy, and the flow's is that of large L
_EVERY = 10  # steps between records
_SPAN = 1.0  # time over which slopes of batch losses are taken
_REPEATS = 20


class Trace(NamedTuple):
    """A trained path: omega (R, H, B) and mu (R, H, I) at times of the flow, and batch losses (S,)."""

    time: Floats
    omega: Floats
    mu: Floats
    loss_time: Floats
    loss: Floats  # summed over tasks, with query noise

    @classmethod
    def of(cls, run: Run) -> Trace:
        """The trace of a run of ours."""
        return cls(run.time, run.omega, run.mu, run.loss_time, run.task_loss.sum(axis=1))

    def at(self, moment: float) -> State:
        """The state nearest to a time."""
        k = int(np.abs(self.time - moment).argmin())
        return State(self.omega[k], self.mu[k])

    def mean_loss(self, moment: float = PLATEAU) -> tuple[float, float]:
        """Mean batch loss around a time, and its standard error."""
        inside = self.loss[np.abs(self.loss_time - moment) <= WINDOW]
        return float(inside.mean()), float(inside.std(ddof=1) / np.sqrt(inside.size))


def authors() -> Trace:
    """The run of the authors' code, in our units."""
    table = np.loadtxt(_DATA, delimiter=",")
    moment = table[:, 0] / PROBLEM.tasks
    loss = table[:, 1] * PROBLEM.tasks + sum(PROBLEM.noise)
    omega, mu = table[:, 2:6].reshape(-1, 2, 2), table[:, 6:10].reshape(-1, 2, 2)
    return Trace(moment, omega, mu, moment, loss)


@cache
def ours(context: Context, seed: int, batch: int) -> Run:
    """A run with the matrices of the theory."""
    model = FactoredAttention.balanced(PROBLEM, START, Law.of(PROBLEM, context.device))
    schedule = Schedule(RATE, round(END / RATE), batch, _EVERY, seed)
    return training_run(context, f"recorded-{batch}-{seed}", model, PROBLEM, schedule)


@cache
def joint(context: Context, seed: int) -> Run:
    """A run with the authors' embedding, past the plateau's middle at least."""
    model = JointAttention(FactoredAttention.balanced(PROBLEM, START, Law.of(PROBLEM, context.device)))
    end = context.pick(PLATEAU + WINDOW, END)
    schedule = Schedule(RATE, round(end / RATE), BATCH, _EVERY, seed)
    return training_run(context, f"recorded-joint-{seed}", model, PROBLEM, schedule)


def flow() -> Solution:
    """The balanced flow from the same start."""
    return gradient_flow(PROBLEM, *START, t_end=END)


def run(context: Context) -> Result:
    """Times of emergence, allocation, values on the plateau, losses and the time it all took."""
    result = Result("recorded", TITLE)
    seeds = range(context.pick(1, 5))
    solution = flow()
    trained = [ours(context, seed, BATCH) for seed in seeds]
    embedded = [joint(context, seed) for seed in seeds]
    traces = {
        "authors": [authors()],
        "ours": [Trace.of(one) for one in trained],
        "joint": [Trace.of(one) for one in embedded],
    }
    for name, group in traces.items():
        result.add(_rows(name, group, solution))
    by_batches = np.array([_batch_emergence(one) for one in trained])
    for task, emerged in enumerate(solution.phases.tasks):
        label = f"ours: emergence of task {task}, from batch losses"
        result.add(within(label, *_summary(by_batches[:, task]), emerged.time, _EMERGENCE))
    result.add(_again(traces["joint"]))
    result.add(_speed(trained[0]))
    for name, group in traces.items():
        at = group[0].time[::5], group[0].omega[::5], group[0].mu[::5]
        result.curves[name] = dict(zip(("time", "omega", "mu"), at, strict=True)) | _smooth(group[0])
    grid = np.linspace(0.0, END, 400)
    state = solution(grid)
    total = task_loss(PROBLEM, *state).sum(axis=1)
    path = {"time": grid, "omega": state.omega, "mu": state.mu, "loss_time": grid, "loss": total}
    result.curves["flow"] = path
    result.notes += [
        "authors: their code; joint: ours with their embedding; ours: with the matrices of the theory",
        "times are the flow's; losses are summed over tasks and include query noise",
        "emergence: steepest fall of the large-L loss at a run's omega and mu, or of its batch losses",
    ]
    return result


def _rows(name: str, group: list[Trace], solution: Solution) -> list[Row]:
    """Everything that one kind of run is compared with the flow in; error bars are over seeds."""
    rows = []
    at, expected = [trace.at(PLATEAU) for trace in group], solution(PLATEAU)
    times = np.array([emergence(trace) for trace in group])
    for task, emerged in enumerate(solution.phases.tasks):
        head = emerged.head
        assert head is not None
        allocated = [int(shares(PROBLEM, *state)[:, task].argmax()) for state in at]
        agree = head if all(one == head for one in allocated) else next(h for h in allocated if h != head)
        rows.append(
            within(f"{name}: emergence of task {task}", *_summary(times[:, task]), emerged.time, _EMERGENCE)
        )
        rows.append(same(f"{name}: head of task {task}", agree, head))
        for circuit in ("omega", "mu"):
            values = np.array([getattr(state, circuit)[head, task] for state in at])
            told = getattr(expected, circuit)[head, task]
            rows.append(
                within(
                    f"{name}: winning {circuit} of task {task} at t = 30", *_summary(values), told, _VALUES
                )
            )
        apart = np.array([_distance(trace, solution, task, head) for trace in group])
        for k, circuit in enumerate(("omega", "mu")):
            mean, error = _summary(apart[:, k])
            rows.append(
                at_most(f"{name}: winning {circuit}(t) of task {task}, distance until 30", mean, _PATH, error)
            )
    mean, error = _summary(np.array([_loss_distance(trace, solution) for trace in group]))
    rows.append(at_most(f"{name}: loss(t), distance until 30, over its start", mean, _LOSS, error))
    losses = np.array([trace.mean_loss() for trace in group])
    mean, error = _summary(losses[:, 0])
    plateau = float(task_loss(PROBLEM, *expected).sum())
    rows.append(noted(f"{name}: loss at t = 30", mean, error or float(losses[0, 1]), plateau))
    return rows


def _distance(trace: Trace, solution: Solution, task: int, head: int) -> list[float]:
    """Largest distance of the winner's omega and mu from the flow's on the way to the plateau, relative.

    The run is shifted in time so that both emerge together: noise in the warm-up moves the whole emergence.
    """
    shift = solution.phases.tasks[task].time - emergence(trace)[task]
    inside = (trace.time + shift >= 0.0) & (trace.time + shift <= PLATEAU)
    told = solution(trace.time[inside] + shift)
    paths = ((trace.omega, told.omega), (trace.mu, told.mu))
    return [
        float(np.abs(run[inside, head, task] - flow[:, head, task]).max() / np.abs(flow[:, head, task]).max())
        for run, flow in paths
    ]


def _loss_distance(trace: Trace, solution: Solution) -> float:
    """Largest distance of the loss from the flow's, whose tasks emerge when the run's do, over its start."""
    shift = [task.time for task in solution.phases.tasks] - emergence(trace)
    path = _smooth(trace)
    inside = (path["loss_time"] + shift.min() >= 0.0) & (path["loss_time"] + shift.max() <= PLATEAU)
    moments = path["loss_time"][inside]
    told = sum(task_loss(PROBLEM, *solution(moments + shift[k]))[:, k] for k in range(PROBLEM.tasks))
    return float(np.abs(path["loss"][inside] - told).max() / path["loss"][0])


def emergence(trace: Trace) -> Floats:
    """When each task's large-L loss falls steepest, taken at the run's omega and mu, (I,)."""
    losses = task_loss(PROBLEM, trace.omega, trace.mu)
    return np.array([steepest(trace.time, losses[:, task], 0.5 * _SPAN) for task in range(PROBLEM.tasks)])


def _batch_emergence(run: Run) -> Floats:
    """When each task's batch loss falls steepest, (I,)."""
    return np.array([steepest(run.loss_time, losses, _SPAN) for losses in run.task_loss.T])


def steepest(times: Floats, losses: Floats, span: float, until: float = PLATEAU) -> float:
    """Time of steepest fall, the slope taken over ``span``; by default before the plateau is left."""
    step = times[1] - times[0]
    slope = savgol_filter(losses, 2 * max(2, round(0.5 * span / step)) + 1, polyorder=2, deriv=1)
    before = times <= until
    return float(times[before][slope[before].argmin()])


def _again(group: list[Trace]) -> Row:
    """Loss on the plateau with the authors' embedding, against that of their own run."""
    losses, errors = np.array([trace.mean_loss() for trace in group]).T
    theirs, their_error = authors().mean_loss()
    error = float(np.hypot(np.sqrt((errors**2).sum()) / len(group), their_error))
    return consistent("joint: loss on the plateau, against the authors'", losses.mean(), error, theirs)


def _speed(run: Run) -> list[Row]:
    """Wall time of the training over that of the flow, both to the same end."""
    spans = []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        flow()
        spans.append(time.perf_counter() - began)
    span = float(np.median(spans))
    return [
        noted("wall time of training, seconds", run.seconds),
        noted("wall time of the flow, seconds", span),
        noted("ratio of these", run.seconds / span),
    ]


def _summary(values: Floats) -> tuple[float, float | None]:
    """Mean over seeds, and its standard error if there is more than one."""
    error = float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else None
    return float(values.mean()), error


def _smooth(trace: Trace) -> dict[str, Floats]:
    """Batch losses averaged over stretches of a fifth of a unit of time."""
    per = max(1, round(0.2 / (trace.loss_time[1] - trace.loss_time[0])))
    whole = trace.loss.size // per * per
    return {
        "loss_time": trace.loss_time[:whole].reshape(-1, per).mean(axis=1),
        "loss": trace.loss[:whole].reshape(-1, per).mean(axis=1),
    }


def figure(result: Result) -> Figure:
    """Loss, KQ values and OV values of task 0 against time, for the flow and the trained models."""
    looks = {
        "authors": {"color": "#D55E00", "label": "authors' code"},
        "joint": {"color": "#009E73", "label": "ours, their embedding"},
        "ours": {"color": "#0072B2", "label": "ours"},
        "flow": {"color": "black", "ls": "--", "label": "reduced flow"},
    }
    with styled():
        drawn = Figure(figsize=(6.75, 2.5))
        loss, omega, mu = drawn.subplots(1, 3)
        for name, look in looks.items():
            curve = result.curves[name]
            loss.plot(curve["loss_time"], curve["loss"], lw=0.9, **look)
            for axes, key in ((omega, "omega"), (mu, "mu")):
                values = np.asarray(curve[key])
                axes.plot(curve["time"], values[:, 0, 0], lw=0.9, **look)
                axes.plot(curve["time"], values[:, 1, 0], lw=0.9, **{**look, "label": None})
        loss.set(yscale="log", ylabel="loss, both tasks")
        omega.set(ylabel=r"$\omega$ of both heads, task 0")
        mu.set(ylabel=r"$\mu$ of both heads, task 0")
        for axes in (loss, omega, mu):
            axes.set_xlabel("time of the flow")
        handles, labels = loss.get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside upper center", ncols=4)
        return drawn
