"""The gradient flow on single-index tasks, in dual coordinates, by SciPy's stiff solver."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import LARGEST, Floats, ProblemError, array, floats, integer, renamed
from spectral_icl.kernels.charts import to_primal_all
from spectral_icl.kernels.model import Chart
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.flow.options import MOST_STEPS, Outcome, check_rtol, check_t_end
from spectral_icl.multitask.flow.solution import IntegrationError
from spectral_icl.multitask.nonlinear.laws import check_kernel
from spectral_icl.multitask.nonlinear.loss import gradient_at, task_loss_at
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from spectral_icl.multitask.parametrization import (
    Balanced,
    Parametrization,
    check_parametrization,
    to_dual,
)
from spectral_icl.multitask.state import State, check_state, flat, unflattened

_EDGE = 0.999  # of 2 omega^2, where the first-order law ends: at one its averages are infinite
_MOST_LOGITS = 500.0  # d omega^2, whose exponential is not far from the largest number
_MOST_ENTRIES = 256  # H 2 I: every step of a stiff solver differentiates by all of them
_FLOOR = 1e-3  # of rtol, the absolute tolerance of dual coordinates, which are of order one


def _advice(outcome: Outcome, kernel: str) -> str:
    """What happened and what to try; the range is that of laws on white features, which have no tables."""
    if outcome is not Outcome.LEFT_RANGE:
        return outcome.advice
    logits = f"d omega^2 < {_MOST_LOGITS:g}"
    if kernel == DEFAULT:
        return f"left the range of numbers, {logits}: start from a smaller omega"
    law = f"the first-order law, 2 omega^2 < {_EDGE:g} and {logits}"
    return f"left the range of {law}: start from a smaller omega, or take longer prompts"


class UnfinishedFlow(IntegrationError):
    """A flow on single-index tasks that did not reach its end.

    Attributes
    ----------
    flow : SingleIndexFlow or None
        The part that was solved.
    """

    def __init__(self, message: str, flow: SingleIndexFlow | None = None) -> None:
        super().__init__(message)
        self.flow = flow


@dataclass(frozen=True, eq=False)
class SingleIndexFlow:
    """A solved flow; called with times it gives the states there, (T, H, I) each.

    Attributes
    ----------
    problem : SingleIndex
    kernel : str
        Law of the context.
    parametrization : Parametrization
    rtol : float
    t : ndarray, (T,)
        Times asked for, or those of the steps.
    omega, mu : ndarray, (T, H, I)
    outcome : Outcome
    evaluations : int
        Gradients that the solver asked for.
    """

    problem: SingleIndex
    kernel: str
    parametrization: Parametrization
    rtol: float
    t: Floats
    omega: Floats
    mu: Floats
    outcome: Outcome
    evaluations: int
    chart: Chart
    dense: Any

    def __call__(self, t: ArrayLike) -> State:
        """The states at times within the flow, by the solver's dense output.

        Raises
        ------
        ProblemError
            A time is before the start or after the end.
        """
        times = floats("t", t)
        if times.size and not (times.min() >= 0.0 and times.max() <= self.end):
            raise ProblemError("t", t, f"times >= 0 and <= {self.end:g}")
        return _states(self.chart, self.dense(times.ravel()).T, self.omega.shape[1:], times.shape)

    @property
    def end(self) -> float:
        """The time up to which the flow was solved."""
        return float(self.dense.t_max)

    @property
    def final(self) -> State:
        """The state at the end."""
        return self(self.end)

    @cached_property
    def task_loss(self) -> Floats:
        """Loss of every task at the times ``t``, query noise included, (T, I)."""
        states = (State(*pair) for pair in zip(self.omega, self.mu, strict=True))
        found = np.array([task_loss_at(self.problem, state, self.kernel) for state in states])
        found.setflags(write=False)
        return found

    @property
    def loss(self) -> Floats:
        """Sum of the tasks' losses at the times ``t``, (T,)."""
        total: Floats = self.task_loss.sum(axis=1)
        return total

    @property
    def final_task_loss(self) -> Floats:
        """Loss of every task at the end, (I,)."""
        return task_loss_at(self.problem, self.final, self.kernel)

    @property
    def success(self) -> bool:
        """Whether the flow was solved to its end."""
        return self.outcome.success

    @property
    def message(self) -> str:
        """How the flow ended, and when."""
        return f"{_advice(self.outcome, self.kernel)} (at t = {self.end:.6g})"


def gradient_flow(
    problem: SingleIndex,
    omega0: ArrayLike,
    mu0: ArrayLike,
    *,
    parametrization: Parametrization = Balanced(),
    t_end: float = 200.0,
    t_eval: ArrayLike | None = None,
    rtol: float = 1e-8,
    kernel: str = DEFAULT,
    max_steps: int = 20_000,
) -> SingleIndexFlow:
    """The gradient flow of the loss of single-index tasks, from (omega0, mu0) to ``t_end``.

    Weights, dual coordinates and times are those of `spectral_icl.gradient_flow`; only the loss is another.

    Parameters
    ----------
    problem : SingleIndex
    omega0, mu0 : array_like, (H, I)
        The start. Named ones, such as `spectral_icl.initial.dominant`, are made for ``problem.frame``.
    parametrization : Balanced, Factored or Merged
    t_end : float
        End of the flow, > 0.
    t_eval : array_like, optional
        Times in [0, t_end] at which states are wanted; the solver's own steps by default.
    rtol : float
        Relative tolerance of the dual coordinates.
    kernel : str
        Law of the context, "asymptotic" or "first-order".
    max_steps : int
        Of the solver, about two milliseconds each for a few heads.

    Returns
    -------
    SingleIndexFlow

    Raises
    ------
    ProblemError
        An argument is malformed, or the start is out of the law's range.
    UnfinishedFlow
        The flow left the range of its law, 2 omega^2 < 1 under the first-order law, or the solver ran out of
        steps, or shrank them to rounding. Its ``flow`` is the part that was solved.
    """
    t_end, rtol, law = check_t_end(t_end), check_rtol(rtol), check_kernel(kernel)
    start = check_start(problem, omega0, mu0, law)
    check_parametrization("parametrization", parametrization)
    max_steps = integer("max_steps", max_steps, minimum=1, maximum=MOST_STEPS)
    times = None if t_eval is None else _times(t_eval, t_end)
    chart = parametrization.chart(problem.frame, start)
    found = _integrated(problem, start, chart, t_end, rtol, law, max_steps)
    times = found.t if times is None else times[times <= found.t[-1]]
    states = _states(chart, found.dense(times).T, start.omega.shape, times.shape)
    flow = SingleIndexFlow(
        problem,
        law,
        parametrization,
        rtol,
        times,
        *states,
        found.outcome,
        found.evaluations,
        chart,
        found.dense,
    )
    if not flow.success:
        raise UnfinishedFlow(flow.message, flow)
    return flow


def check_start(problem: SingleIndex, omega0: ArrayLike, mu0: ArrayLike, kernel: str) -> State:
    """A state that a flow can start from, in the range of the law.

    Raises
    ------
    ProblemError
        A shape does not fit, an entry is not finite, there are too many heads, or one is out of range.
    """
    with renamed({"omega": "omega0", "mu": "mu0"}):
        start = check_state(problem.frame, omega0, mu0)
    if start.omega.size + start.mu.size > _MOST_ENTRIES:
        raise ProblemError("omega0", f"{len(start.omega)} heads", f"2 H I <= {_MOST_ENTRIES}")
    if _room(problem, start.omega, kernel) <= 0.0:
        largest = float(np.abs(start.omega).max())
        raise ProblemError("omega0", largest, f"heads in the range of the {kernel} law, {_RANGE[kernel]}")
    return start


_RANGE = {
    "asymptotic": f"sum_b d_b omega_hb^2 < {_MOST_LOGITS:g}",
    "first-order": f"2 omega^2 < {_EDGE:g} and sum_b d_b omega_hb^2 < {_MOST_LOGITS:g}",
}


def _room(problem: SingleIndex, omega: Floats, kernel: str) -> float:
    """How far heads are from the end of a law's range, relatively; <= 0 outside."""
    square = omega**2
    room = 1.0 - float((square @ problem.sizes).max()) / _MOST_LOGITS
    return room if kernel == DEFAULT else min(room, 1.0 - 2.0 * float(square.max()) / _EDGE)


class Integrated(NamedTuple):
    """Times of the steps, (n,), dense output, how it ended, and evaluations of the field."""

    t: Floats
    dense: Any
    outcome: Outcome
    evaluations: int


def _integrated(
    problem: SingleIndex, start: State, chart: Chart, t_end: float, rtol: float, kernel: str, max_steps: int
) -> Integrated:
    """The dual coordinates by SciPy's LSODA, step by step, up to the end of the law's range."""
    from scipy.integrate import LSODA, OdeSolution  # slow to import, and only needed here
    from scipy.optimize import brentq

    def primal(x: Floats) -> State:
        return _states(chart, x[None], start.omega.shape, ())

    def field(t: float, x: Floats) -> Floats:
        at = primal(x)
        # a trial step may go past the range, where the law is infinite: it is the law of the edge there
        shrink = _inside(problem, at.omega, kernel)
        slope = flat(gradient_at(problem, State(at.omega * shrink, at.mu), kernel))
        return -chart.speed * chart.sign * slope

    def room(t: float, x: Floats) -> float:
        return _room(problem, primal(x).omega, kernel)

    solver: Any = LSODA(field, 0.0, to_dual(chart, start), t_end, rtol=max(rtol, 1e-13), atol=_FLOOR * rtol)
    times, outcome = [0.0], Outcome.REACHED_END
    pieces: list[Any] = []
    while solver.status == "running":
        if len(pieces) == max_steps:
            outcome = Outcome.STEP_LIMIT
            break
        with np.errstate(over="ignore", invalid="ignore"):
            solver.step()
        if solver.status == "failed":
            outcome = Outcome.STEP_UNDERFLOW
            break
        if not np.isfinite(solver.y).all() or not np.isfinite(solver.fun(solver.t, solver.y)).all():
            outcome = Outcome.NON_FINITE
            break
        piece = solver.dense_output()
        times.append(solver.t)
        pieces.append(piece)
        if room(solver.t, solver.y) <= 0.0:
            times[-1] = float(brentq(lambda t, piece=piece: room(t, piece(t)), times[-2], times[-1]))
            outcome = Outcome.LEFT_RANGE
            break
    if not pieces:
        raise UnfinishedFlow(f"{outcome.advice} (at t = 0)")
    return Integrated(np.array(times), OdeSolution(times, pieces), outcome, int(solver.nfev))


def _inside(problem: SingleIndex, omega: Floats, kernel: str) -> float:
    """A factor of at most one that brings heads into the range of a law."""
    room = _room(problem, omega, kernel)
    return 1.0 if room > 0.0 else float((1.0 - room) ** -0.5)


def _states(chart: Chart, x: Floats, shape: tuple[int, ...], lead: tuple[int, ...]) -> State:
    """The states (*lead, H, I) of dual coordinates (n, N)."""
    theta, (heads, tasks) = np.empty(x.shape), shape
    repeated: tuple[Any, ...] = tuple(np.broadcast_to(part, x.shape).copy() for part in chart)
    to_primal_all(Chart(*repeated), np.ascontiguousarray(x), theta)
    return unflattened(theta.reshape(*lead, -1), (heads, tasks, tasks))


def _times(t_eval: ArrayLike, t_end: float) -> Floats:
    times = array("t_eval", t_eval, (None,), minimum=0.0, largest=LARGEST)
    if times.size and (times.max() > t_end or (np.diff(times) < 0.0).any()):
        raise ProblemError("t_eval", t_eval, f"times that do not decrease, >= 0 and <= t_end = {t_end:g}")
    return times
