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

    def run(member: int) -> Ended:
        return _one(flows, member)

    if threads == 1 or count == 1:
        each = [run(member) for member in range(count)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            each = list(pool.map(run, range(count)))
    *values, found = zip(*each, strict=True)
    return Ended(*map(np.array, values), Emerged(*map(np.array, zip(*found, strict=True))))


def _one(flows: Flows, member: int) -> Ended:
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
    except IntegrationError as error:
        assert error.solution is not None
        solution = error.solution
    rests = solution.outcome is Outcome.STATIONARY
    curve = np.full(flows.times.size, solution.final_loss if rests else np.nan)
    if flows.times.size:
        reached = solution.t <= solution.trajectory.t[-1]
        curve[: reached.sum()] = solution.loss[reached]
    nothing = Emerged.nothing(problem.tasks, size=0)
    return Ended(
        outcome=np.int64(solution.outcome),
        t=solution.trajectory.t[-1],
        omega=solution.final.omega,
        mu=solution.final.mu,
        task_loss=solution.final_task_loss,
        saturation=np.float64(_largest_variance(solution) / np.log(problem.context_length)),
        steps=np.int64(solution.stats.steps),
        rejected=np.int64(solution.stats.rejected),
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
