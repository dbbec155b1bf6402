"""Many large flows, one after the other on every thread: what lanes of vector registers are too small for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.model import Emerged, ManyLimits
from spectral_icl.multitask.flow.options import Outcome
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.phases import found_of
from spectral_icl.multitask.flow.solution import IntegrationError, Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import MOST_DENSE, State


class Flows(NamedTuple):
    """P flows of one shape, and what is asked of each."""

    problems: Sequence[Problem]  # P, or one for all
    flavours: Sequence[Parametrization]  # P, or one for all
    starts: State  # (P, H, B) and (P, H, I), or with a first axis of 1
    limits: ManyLimits
    times: Floats  # (T,) at which the loss is recorded
    kernel: str
    phases: bool


class Ended(NamedTuple):
    """Where P flows ended, and what was asked of them: fields of `Ensemble`."""

    outcome: NDArray[np.int64]
    t: Floats
    omega: Floats
    mu: Floats
    task_loss: Floats
    saturation: Floats
    steps: NDArray[np.int64]
    rejected: NDArray[np.int64]
    loss_curve: Floats
    found: Emerged


def one_by_one(flows: Flows, threads: int) -> Ended:
    """Solve every flow by itself, several at a time on so many threads."""
    count = flows.limits.t_end.size

    def run(member: int) -> _Member:
        return _one(flows, member)

    if threads == 1 or count == 1:
        each = [run(member) for member in range(count)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            each = list(pool.map(run, range(count)))
    return Ended(
        outcome=np.array([int(member.outcome) for member in each]),
        t=np.array([member.t for member in each]),
        omega=np.array([member.final.omega for member in each]),
        mu=np.array([member.final.mu for member in each]),
        task_loss=np.array([member.task_loss for member in each]),
        saturation=np.array([member.saturation for member in each]),
        steps=np.array([member.steps for member in each]),
        rejected=np.array([member.rejected for member in each]),
        loss_curve=np.array([member.loss_curve for member in each]),
        found=Emerged(*map(np.array, zip(*(member.found for member in each), strict=True))),
    )


class _Member(NamedTuple):
    """`Ended` of one flow, of which nothing else is kept."""

    outcome: Outcome
    t: float
    final: State
    task_loss: Floats
    saturation: float
    steps: int
    rejected: int
    loss_curve: Floats
    found: Emerged


def _one(flows: Flows, member: int) -> _Member:
    """One of the flows; a flow that cannot be solved has the results of what was reached."""
    problem = flows.problems[member % len(flows.problems)]
    flavour = flows.flavours[member % len(flows.flavours)]
    omega, mu = (values[member % len(values)] for values in flows.starts)
    t_end, rtol, stationary, max_steps = (values[member] for values in flows.limits)
    # escapes are found between the steps, and asked for where signs may change
    whole = flows.phases and not flavour.conserves_signs and omega.size + mu.size <= MOST_DENSE
    try:
        solution = gradient_flow(
            problem,
            omega,
            mu,
            parametrization=flavour,
            t_end=float(t_end),
            t_eval=flows.times[flows.times <= t_end] if flows.times.size else None,
            rtol=float(rtol),
            kernel=flows.kernel,
            stationary=float(stationary) or None,
            max_steps=int(max_steps),
            dense_output=whole,
        )
    except IntegrationError as failed:
        if failed.solution is None:
            raise
        solution = failed.solution
    rests = solution.outcome is Outcome.STATIONARY
    curve = np.full(flows.times.size, solution.final_loss if rests else np.nan)
    if flows.times.size:
        reached = solution.t <= solution.trajectory.t[-1]
        curve[: reached.sum()] = solution.loss[reached]
    nothing = Emerged.nothing(problem.tasks, size=0)
    return _Member(
        outcome=solution.outcome,
        t=float(solution.trajectory.t[-1]),
        final=solution.final,
        task_loss=solution.final_task_loss,
        saturation=_largest_variance(solution) / float(np.log(problem.context_length)),
        steps=solution.stats.steps,
        rejected=solution.stats.rejected,
        loss_curve=curve,
        found=found_of(solution.trajectory) if flows.phases else nothing,
    )


def _largest_variance(solution: Solution) -> float:
    """The largest logit variance of any head at any step."""
    curve = solution.trajectory
    if isinstance(curve, Outline):
        return float(curve.variances.max())
    scale = np.asarray(solution.problem.block_sizes) * np.asarray(solution.problem.covariance) ** 2
    return float((curve(curve.t).omega ** 2 @ scale).max())
