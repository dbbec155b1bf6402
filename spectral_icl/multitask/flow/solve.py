"""Solve the gradient flow: the only caller of the compiled integrator."""

from __future__ import annotations

import logging
from collections.abc import Callable

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
from spectral_icl.multitask.context import DEFAULT, EXACT, OF_LARGE, check_kernel, narrowing, pack, wider
from spectral_icl.multitask.flow.curve import Curve
from spectral_icl.multitask.flow.options import (
    LONGEST,
    Options,
    Outcome,
    Stats,
    check_options,
    check_times,
    outcomes,
)
from spectral_icl.multitask.flow.outline import Outline, Outliner
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
from spectral_icl.multitask.state import MOST_DENSE, check_dense, check_state, unflattened

# Steps per call of the kernel, fewer for large states: between calls Python sees an interrupt.
_CAPACITY, _LARGEST_BUFFER = 512, 200_000
_FEWEST_STEPS = 4  # of flows whose steps are not kept, whatever their size

_log = logging.getLogger("spectral_icl")

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
    dense_output: bool | None = None,
    progress: Callable[[float], None] | None = None,
) -> Solution:
    """Gradient flow of multi-head softmax attention in the spectral domain.

    The flow dtheta/dt = -dloss/dtheta of the trained weights, closed in omega and mu (Chen, Sheen, Wang and
    Yang 2024), is solved in the dual coordinates of its mirror-flow form. While accuracy limits the step,
    as it does until the first emergence, the method is the explicit one of Dormand and Prince (1980); where
    stability would limit it, an L-stable Rosenbrock method with the exact Jacobian (Rodas5P, Steinebach
    2023). Both have order 5. Its stages are solved by a Cholesky factor of the Jacobian or, with some hundred
    omega and mu or more, by conjugate gradients on products with the Hessian: the same steps, at a cost of
    H^2 (B + I) for each product in place of N^3, N = H (B + I).

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
    dense_output : bool, optional
        Whether every step is kept, so that the solution is known at any time; by default, if N <= 4096. Each
        step then takes 32 N bytes, which is said in the log of large flows. Otherwise `Solution.trajectory`
        is an `Outline`: losses at every step, states at ``t_eval`` or at up to 128 of the steps.
    progress : callable, optional
        Called with the time that is reached, after every 512 steps or fewer of a large flow.

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
    heads = start.omega.shape[0]
    shape = (heads, problem.blocks, problem.tasks)
    size = heads * (problem.blocks + problem.tasks)
    if kernel not in OF_LARGE:
        check_dense("omega0", problem, heads)
    model = pack(problem, kernel, start.omega, heads=heads)
    t_end, rtol, stationary, max_steps = check_options(t_end, rtol, stationary, max_steps)
    times = None if t_eval is None else check_times(t_eval, t_end)
    if progress is not None and not callable(progress):
        raise ProblemError("progress", progress, "a function of the time that is reached, or None")

    chart = parametrization.chart(problem, start)
    for values in chart:
        values.setflags(write=False)
    x = to_dual(chart, start)
    twin = twins(chart, x, shape)
    limits = Limits(min(t_end, LONGEST), rtol, stationary or 0.0, max_steps)
    system = System(model, chart, twin, shape)
    whole = _keeps_every_step(dense_output, kernel, size)
    kept: _Steps | Outliner
    if whole:
        status, kept, count = _in_range(problem, system, limits, x, progress)
    else:
        kept = Outliner(problem, system, times)
        status, count = _integrate(system, limits, x, _told(kept.add, progress))
    outcome = Outcome(int(outcomes(status, t_end)) if t_end > LONGEST else status)
    rests = outcome is Outcome.STATIONARY
    trajectory: Curve
    if isinstance(kept, Outliner):
        trajectory = kept.outline(rests, kernel)
    else:
        trajectory = Trajectory(problem, chart, heads, *kept.joined, rests=rests, kernel=kernel)
    if times is None:
        times = trajectory.kept if isinstance(trajectory, Outline) else trajectory.t
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


Take = Callable[[Nodes], None]


def _told(take: Take, progress: Callable[[float], None] | None) -> Take:
    """A function that takes steps, and says how far they go."""
    if progress is None:
        return take

    def both(nodes: Nodes) -> None:
        take(nodes)
        progress(float(nodes.t[-1]))

    return both


class _Steps:
    """All steps of a flow, as they come in pieces."""

    def __init__(self) -> None:
        self._pieces: list[Nodes] = []

    def add(self, nodes: Nodes) -> None:
        """Take the next steps, of which the first node is the last one of the steps before."""
        first = 1 if self._pieces else 0
        self._pieces.append(Nodes(nodes.t[first:], nodes.x[first:], nodes.dense))

    @property
    def joined(self) -> Nodes:
        """The steps as one piece."""
        if len(self._pieces) > 1:
            self._pieces = [Nodes(*map(np.concatenate, zip(*self._pieces, strict=True)))]
        return self._pieces[0]

    def since(self, first: int, rest: Nodes) -> None:
        """Put other steps in place of those from a node on."""
        joined = (np.concatenate([old[:first], new]) for old, new in zip(self.joined, rest, strict=True))
        self._pieces = [Nodes(*joined)]


def _keeps_every_step(dense_output: bool | None, kernel: str, size: int) -> bool:
    """Whether a flow of N = ``size`` numbers is kept whole, and word of it where that takes much memory."""
    if dense_output is None:
        return size <= MOST_DENSE
    if not isinstance(dense_output, bool):
        raise ProblemError("dense_output", dense_output, "True, False or None")
    if kernel == EXACT and not dense_output:
        raise ProblemError("dense_output", dense_output, "True under the exact law, which looks at its steps")
    if dense_output and size > MOST_DENSE:
        each = 8 * size * (1 + RODAS5P.dense.shape[0])
        _log.info("every step is kept: %.3g MB each, %.3g GB a thousand", each / 1e6, each / 1e6)
    return dense_output


def _in_range(
    problem: Problem,
    system: System,
    limits: Limits,
    x: Floats,
    progress: Callable[[float], None] | None,
) -> tuple[int, _Steps, list[int]]:
    """A flow kept whole, under the first model that serves all of its states, and the best for its end."""
    steps = _Steps()
    status, count = _integrate(system, limits, x, _told(steps.add, progress))
    while status == LEFT_RANGE and (further := wider(system.model, problem)) is not None:
        system = system._replace(model=further)  # from the start again: no table is good near its end
        steps = _Steps()
        status, count = _integrate(system, limits, x, _told(steps.add, progress))
    if status in (REACHED_END, STATIONARY):
        status, count = _finished(problem, system, limits, steps, status, count)
    return status, steps, count


def _finished(
    problem: Problem, system: System, limits: Limits, steps: _Steps, status: int, count: list[int]
) -> tuple[int, list[int]]:
    """A flow whose end is that of the most exact model that serves what has become of its states.

    Tables that reach far are coarse: a flow that has left saturation is followed again from there on.
    """

    def heads() -> Floats:
        nodes = steps.joined
        theta = np.empty_like(nodes.x)
        evaluate(system.chart, nodes, nodes.t, theta)
        return unflattened(theta, system.shape).omega

    begin = narrowing(system.model, problem, heads)
    if begin is None:
        return status, count
    first, model = begin
    rest, nodes = _Steps(), steps.joined
    begun = float(nodes.t[first])
    ends, more = _integrate(system._replace(model=model), limits, nodes.x[first], rest.add, begun)
    steps.since(first, rest.joined)
    return ends, [one + other for one, other in zip(count, more, strict=True)]


def _integrate(
    system: System, limits: Limits, x: Floats, take: Take, begin: float = 0.0
) -> tuple[int, list[int]]:
    """The last status and the counts of a flow from ``x`` at a time on, whose steps are given to ``take``."""
    progress = Progress.begun()
    progress.real[0] = begin
    capacity = max(_FEWEST_STEPS, min(_CAPACITY, _LARGEST_BUFFER // x.size))
    status = BUFFER_FULL
    with announced("the integrator of flows", "ten"):
        while status == BUFFER_FULL:
            room = Nodes.room(capacity, RODAS5P.dense.shape[0], x.size)
            room.x[0] = x
            status, steps = integrate(system, _METHODS, limits, progress, room)
            take(Nodes(room.t[: steps + 1], room.x[: steps + 1], room.dense[:steps]))
            x = room.x[steps]
    return status, progress.counts.tolist()
