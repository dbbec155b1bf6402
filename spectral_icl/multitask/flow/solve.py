"""Solve the gradient flow: the only caller of the compiled integrator."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.io.provenance import environment
from spectral_icl.kernels.compile import announced
from spectral_icl.kernels.integrator import evaluate, integrate
from spectral_icl.kernels.model import (
    BUFFER_FULL,
    LEFT_RANGE,
    REACHED_END,
    STATIONARY,
    Limits,
    Methods,
    Nodes,
    Progress,
    System,
)
from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P
from spectral_icl.multitask.context import DEFAULT, check_kernel, narrowing, pack, wider
from spectral_icl.multitask.flow.options import (
    LONGEST,
    Options,
    Outcome,
    Stats,
    check_options,
    check_times,
    outcomes,
)
from spectral_icl.multitask.flow.solution import IntegrationError, Solution
from spectral_icl.multitask.flow.trajectory import Trajectory
from spectral_icl.multitask.parametrization import (
    Balanced,
    Parametrization,
    check_parametrization,
    tied_heads,
    to_dual,
    twins,
)
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import check_state, unflattened

# Steps per call of the kernel, fewer for large states: between calls Python sees an interrupt.
_CAPACITY, _LARGEST_BUFFER = 512, 200_000

_METHODS = Methods(DORMAND_PRINCE, RODAS5P)


def gradient_flow(
    problem: Problem,
    omega0: ArrayLike,
    mu0: ArrayLike,
    *,
    parametrization: Parametrization = Balanced(),
    t_end: float = 200.0,
    t_eval: ArrayLike | None = None,
    rtol: float = 1e-8,
    kernel: str = DEFAULT,
    stationary: float | None = None,
    max_steps: int = 100_000,
) -> Solution:
    """Gradient flow of multi-head softmax attention in the spectral domain.

    The flow dtheta/dt = -dloss/dtheta of the trained weights, closed in omega and mu (Chen, Sheen, Wang and
    Yang 2024), is solved in the dual coordinates of its mirror-flow form. While accuracy limits the step,
    as it does until the first emergence, the method is the explicit one of Dormand and Prince (1980); where
    stability would limit it, an L-stable Rosenbrock method with the exact Jacobian (Rodas5P, Steinebach
    2023). Both have order 5.

    Parameters
    ----------
    problem : Problem
    omega0 : array_like, (H, B)
        KQ values at time 0, one per head and block.
    mu0 : array_like, (H, I)
        OV values at time 0, one per head and task.
    parametrization : Balanced, Factored or Merged
        How omega and mu are made of trained weights.
    t_end : float
        Length of the flow, between 1e-200 and 1e100. May be infinite if ``stationary`` is given: then the end
        is rest, which a flow that moves at 1e100 has not reached.
    t_eval : array_like, optional
        Increasing times in [0, t_end] at which the solution is reported; default, the integrator's steps.
    rtol : float
        Tolerance of one step, between 1e-13 and 0.1: on the relative error of every omega and mu (of their
        logarithms beyond e^-4), however small; with `Merged`, relative to 0.01 or the start's largest entry
        if smaller. Errors of the solution are a few times this, more where the flow passes close to a saddle.
    kernel : str
        Law of the context: "asymptotic" (L and d large, the law of the theorems), "first-order" (complete to
        order 1/L at any d) or "exact" (softmax attention at any L and d, from a table that is built on first
        use and kept). A flow that leaves its table is solved again, from the start, with one that goes
        further, up to logit variances of 64.
    stationary : float, optional
        Stop at the first step at whose end the flow is at rest to this accuracy: every |dtheta/dt|, and every
        rate of a dual coordinate that could still grow, is at most this (first-order optimality). It is a
        promise about speeds alone. Losses at rest typically agree to a fraction of this, but not where a
        large gradient moves slowly (large blocks, small factors); states agree only as far as the loss
        depends on them, and a flow that rests near a saddle may yet leave it, more slowly than this.
    max_steps : int
        Limit on accepted and refused steps together.

    Returns
    -------
    Solution
        With ``t``, ``omega``, ``mu``, ``loss`` and dense output. ``saturation`` says how far the law is from
        softmax attention, and ``message`` does if the law is not to be trusted.

    Raises
    ------
    ProblemError
        An argument is malformed.
    IntegrationError
        The end was not reached; the exception carries the part that was solved.

    Examples
    --------
    >>> import spectral_icl as si
    >>> p = si.Problem.multitask(task_sizes=(10, 10), signal=10., noise=0.09, context_length=100)
    >>> sol = si.gradient_flow(p, *si.initial.paper(p, 2, 0.1, 0.1, 0.2), t_end=200.)
    >>> sol.allocation
    (0, 1)
    """
    if not isinstance(problem, Problem):
        raise ProblemError("problem", problem, "a Problem")
    check_parametrization("parametrization", parametrization)
    start = check_state(problem, omega0, mu0)
    kernel = check_kernel(kernel)
    model = pack(problem, kernel, start.omega)
    t_end, rtol, stationary, max_steps = check_options(t_end, rtol, stationary, max_steps)
    times = None if t_eval is None else check_times(t_eval, t_end)

    chart = parametrization.chart(problem, start)
    for values in chart:
        values.setflags(write=False)
    heads = start.omega.shape[0]
    shape = (heads, problem.blocks, problem.tasks)
    x = to_dual(chart, start)
    twin = twins(chart, x, shape)
    limits = Limits(min(t_end, LONGEST), rtol, stationary or 0.0, max_steps)
    status, nodes, count = _integrate(System(model, chart, twin, shape), limits, x)
    while status == LEFT_RANGE and (further := wider(model, problem)) is not None:
        model = further  # from the start again, as no table is asked for what is near its end
        status, nodes, count = _integrate(System(model, chart, twin, shape), limits, x)
    if status in (REACHED_END, STATIONARY):
        status, nodes, count = _finished(
            problem, System(model, chart, twin, shape), limits, nodes, status, count
        )
    outcome = Outcome(int(outcomes(status, t_end)) if t_end > LONGEST else status)
    trajectory = Trajectory(problem, chart, heads, *nodes, rests=outcome is Outcome.STATIONARY, kernel=kernel)
    if times is None:
        times = trajectory.t
    elif not outcome.success:
        times = times[times <= trajectory.t[-1]]
    solution = Solution(
        problem=problem,
        parametrization=parametrization,
        t=times,
        trajectory=trajectory,
        outcome=outcome,
        stats=Stats(*count),
        tied_heads=tied_heads(twin, shape),
        options=Options(t_end, rtol, kernel, stationary, max_steps),
        environment=environment(),
    )
    if not outcome.success:
        reached = f"stopped at t = {trajectory.t[-1]:.6g} of {t_end:g}"
        raise IntegrationError(f"{reached}: {outcome.advice}", solution)
    return solution


def _finished(
    problem: Problem, system: System, limits: Limits, nodes: Nodes, status: int, count: list[int]
) -> tuple[int, Nodes, list[int]]:
    """A flow whose end is that of the most exact model that serves what has become of its states.

    Tables that reach far are coarse: a flow that has left saturation is followed again from there on.
    """

    def heads() -> Floats:
        theta = np.empty_like(nodes.x)
        evaluate(system.chart, nodes, nodes.t, theta)
        return unflattened(theta, system.shape).omega

    begin = narrowing(system.model, problem, heads)
    if begin is None:
        return status, nodes, count
    first, model = begin
    ends, rest, more = _integrate(system._replace(model=model), limits, nodes.x[first], float(nodes.t[first]))
    joined = (np.concatenate([old[:first], new]) for old, new in zip(nodes, rest, strict=True))
    return ends, Nodes(*joined), [one + other for one, other in zip(count, more, strict=True)]


def _integrate(system: System, limits: Limits, x: Floats, begin: float = 0.0) -> tuple[int, Nodes, list[int]]:
    """The last status, all nodes with their dense coefficients, and the counts, from ``x`` at a time on."""
    progress = Progress.begun()
    progress.real[0] = begin
    pieces: list[Nodes] = []
    capacity = max(1, min(_CAPACITY, _LARGEST_BUFFER // x.size))
    status = BUFFER_FULL
    with announced("the integrator of flows", "ten"):
        while status == BUFFER_FULL:
            room = Nodes.room(capacity, RODAS5P.dense.shape[0], x.size)
            room.x[0] = x
            status, steps = integrate(system, _METHODS, limits, progress, room)
            new = slice(1 if pieces else 0, steps + 1)  # a later piece starts where the one before ends
            pieces.append(Nodes(room.t[new], room.x[new], room.dense[:steps]))
            x = room.x[steps]
    nodes = Nodes(*map(np.concatenate, zip(*pieces, strict=True)))
    return status, nodes, progress.counts.tolist()
