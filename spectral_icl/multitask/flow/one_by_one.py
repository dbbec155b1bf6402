"""Many large flows, one after the other on every thread: what lanes of vector registers are too small for."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.model import Emerged, ManyLimits
from spectral_icl.multitask.flow.phases import found_of
from spectral_icl.multitask.flow.saturation import in_logs
from spectral_icl.multitask.flow.solution import IntegrationError
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.loss import losses_at
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

    if threads == 1 or count == 1:
        each = [_one(flows, member) for member in range(count)]
    else:
        with ThreadPoolExecutor(threads) as pool:
            each = list(pool.map(partial(_one, flows), range(count)))
    *values, found = zip(*each, strict=True)
    phases = Emerged._make(map(np.concatenate, zip(*found, strict=True)))
    return Ended._make([*map(np.concatenate, values), phases])


def _one(flows: Flows, member: int) -> Ended:
    """One of the flows, P = 1; one that cannot be solved has the results of what was reached."""
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
            t_eval=np.union1d([0.0], flows.times[flows.times <= t_end]),  # one at least
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
    curve = np.full(flows.times.size, np.nan)
    seen = flows.times <= (np.inf if solution.trajectory.rests else solution.trajectory.t[-1])
    curve[seen] = losses_at(problem, solution(flows.times[seen]), flows.kernel).sum(axis=1)
    variance = solution.trajectory.logit_variances(1)[1].max()
    found = found_of(solution.trajectory) if flows.phases else Emerged.nothing(problem.tasks, size=0)
    return Ended(
        outcome=np.array([int(solution.outcome)]),
        t=solution.trajectory.t[-1:],
        omega=solution.final.omega[None],
        mu=solution.final.mu[None],
        task_loss=solution.final_task_loss[None],
        saturation=in_logs(np.log([problem.context_length]), variance),
        steps=np.array([solution.stats.steps]),
        rejected=np.array([solution.stats.rejected]),
        loss_curve=curve[None],
        found=Emerged._make(values[None] for values in found),
    )
