"""Stochastic gradient descent in the spectral domain: the flow with its true step, and its batches' noise.

A path takes the steps of the trained factors. Its gradient is that of the law at its own omega and mu, and
Gaussian noise of the covariance that a batch of prompts has there. Entries off the diagonals of O and V are
followed too: they unbalance a head's O and V, and a plateau is left that the flow would never leave.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, integer, number
from spectral_icl.kernels import descent
from spectral_icl.kernels.compile import announced
from spectral_icl.kernels.threads import available_cores
from spectral_icl.multitask.context import DEFAULT
from spectral_icl.multitask.flow.escape import EXIT
from spectral_icl.multitask.flow.options import check_descent, check_entries, check_steps, check_times
from spectral_icl.multitask.flow.paths import Run, labels_of, model_of, paths_of, roots_of, wider_model
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.loss import losses_at
from spectral_icl.multitask.noise.moments import gradient_noise
from spectral_icl.multitask.noise.plateau import Cost, stationary_cost
from spectral_icl.multitask.parametrization import Balanced, Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_state

_MOST_STRAY = 4096  # H I^3, up to which entries off the diagonals of O and V are followed
_MOST_NUMBERS = 250_000_000  # that are recorded
_NODES = 32  # times at which covariances are known
_RECORDS = 401
_SPARE = 1.1  # of the flow's omega, that the table of a law shall know


@dataclass(frozen=True, eq=False)
class StochasticFlow:
    """P paths of stochastic gradient descent about a gradient flow.

    Attributes
    ----------
    flow : Solution
        The flow without noise.
    step : float
        Learning rate: a step is this much of the flow's time.
    batch : int
        Prompts per step.
    seed : int
    t : ndarray, (T,)
        Whole multiples of the step.
    omega, mu : ndarray, (P, T, H, B) and (P, T, H, I)
        Of every path; NaN where it has left all bounds.
    imbalance : ndarray, (P, T, H, I)
        Diagonals of V V^T - O^T O: conserved by the flow, and made by noise. Zero for merged weights.
    node : ndarray, (K,)
        Times of the flow at which the noise was evaluated.
    cost : Cost
        What noise costs there once it is stationary, by entries off the diagonals, and the edge of stability.
    strays : bool
        Whether entries off the diagonals of O and V were followed. If not, nothing changes an imbalance.
    noisy_queries : bool
        Whether errors in training are against labels with noise.
    """

    flow: Solution
    step: float
    batch: int
    seed: int
    t: Floats
    omega: Floats
    mu: Floats
    imbalance: Floats
    node: Floats
    cost: Cost
    strays: bool
    noisy_queries: bool

    def __len__(self) -> int:
        return len(self.omega)

    def __repr__(self) -> str:
        paths, _, heads, blocks = self.omega.shape
        shape = f"H = {heads}, B = {blocks}, I = {self.mu.shape[3]}"
        return f"<StochasticFlow of {paths} paths, {shape}: step {self.step:g}, batch {self.batch}>"

    @cached_property
    def task_loss(self) -> Floats:
        """Loss of every task, of the diagonals alone, by the law of the flow, (P, T, I)."""
        with np.errstate(invalid="ignore"):
            return losses_at(self.flow.problem, State(self.omega, self.mu), self.flow.options.kernel)

    @property
    def loss(self) -> Floats:
        """Sum of `task_loss` over tasks, (P, T)."""
        total: Floats = self.task_loss.sum(axis=2)
        return total

    def band(self, values: Floats, quantiles: Sequence[float] = (0.05, 0.5, 0.95)) -> Floats:
        """Quantiles over paths of ``values`` (P, ...), those left out that are not finite."""
        finite = np.where(np.isfinite(values), values, np.nan)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "All-NaN slice")  # NaN is what is said of it
            found: Floats = np.nanquantile(finite, quantiles, axis=0)
        return found

    @cached_property
    def emergence(self) -> Floats:
        """When each task emerges on each path, (P, I).

        Its loss then first is what the flow's is at the flow's emergence (steepest fall). NaN where the flow,
        or the path, has none.
        """
        times = np.full((len(self), self.flow.problem.tasks), np.nan)
        for i, emerged in enumerate(self.flow.phases.tasks):
            if math.isfinite(emerged.time):
                level = float(_losses(self.flow, emerged.time)[i])
                times[:, i] = _first(self.t, level - self.task_loss[:, :, i])
        return times

    @cached_property
    def escape(self) -> Floats:
        """When each task's plateau is left on each path, (P, I); NaN where it is not.

        After the emergence, a head other than the task's winner on the flow then has a mu a fifth as large,
        with the other sign.
        """
        times = np.full((len(self), self.flow.problem.tasks), np.nan)
        for i, head in enumerate(self.flow.allocation):
            if head is None:
                continue
            mu = self.mu[:, :, :, i]
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                others = -np.delete(mu, head, axis=2) / mu[:, :, head, None]
                far = others.max(axis=2, initial=-np.inf)
            late = self.t > np.nan_to_num(self.emergence[:, i], nan=np.inf)[:, None]
            times[:, i] = _first(self.t, np.where(late, far - EXIT, -EXIT))
        return times


def stochastic_flow(
    problem: Problem,
    omega0: ArrayLike,
    mu0: ArrayLike,
    *,
    step: float,
    batch: int,
    parametrization: Parametrization = Balanced(),
    t_end: float = 200.0,
    t_eval: ArrayLike | None = None,
    kernel: str = DEFAULT,
    paths: int = 64,
    seed: int = 0,
    noisy_queries: bool = False,
    prompts: int = 4000,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> StochasticFlow:
    """Paths of stochastic gradient descent, with its step and its batches' noise, about the gradient flow.

    Parameters
    ----------
    problem : Problem
    omega0, mu0 : array_like, (H, B) and (H, I)
        The start, H (B + I) <= 256.
    step : float
        Learning rate > 0 of descent on `spectral_icl.loss`, the sum over tasks: a step is this much time.
        With a loss that is the mean over I tasks, as in the authors' code, it is the learning rate over I.
    batch : int
        Prompts per step, each drawn once.
    parametrization : Balanced, Factored or Merged
        Of two factors with an imbalance, k and v are the larger ones.
    t_end : float
        Length of the paths, at most 5 million steps.
    t_eval : array_like, optional
        Increasing times in [0, t_end] at which paths are recorded, rounded to whole steps; 401 by default.
    kernel : str
        Law of the context, as in `gradient_flow`. Under the asymptotic and the first-order law the noise is
        known in closed form, to leading order in 1/L; under the exact one it is averaged over ``prompts``
        drawn covariates.
    paths : int
    seed : int
        A path depends on it and on its own number alone.
    noisy_queries : bool
        Whether prediction errors in training are against labels with noise. The flow is the same.
    prompts : int
    threads : int, optional
        All cores by default.
    progress : callable, optional
        Called with the number of paths times steps that have been taken since.

    Returns
    -------
    StochasticFlow

    Notes
    -----
    The covariance of noise is that on the flow at the same time, scaled to a path's own errors and to what
    its heads read. Left out is what entries off the diagonals of W do to omega and mu on average, which falls
    as step / batch.

    Raises
    ------
    ProblemError
        An argument is malformed, or the flow too large.
    IntegrationError
        The flow without noise was not solved to its end.

    Examples
    --------
    >>> import spectral_icl as si
    >>> p = si.Problem.multitask(task_sizes=(10, 10), signal=10., noise=0.09, context_length=100)
    >>> start = si.initial.paper(p, 2, 0.1, 0.1, 0.2)
    >>> si.stochastic_flow(p, *start, step=0.01, batch=1000, t_end=60.)
    <StochasticFlow of 64 paths, H = 2, B = 2, I = 2: step 0.01, batch 1000>
    """
    step, *_ = check_descent(step, batch, paths, seed, noisy_queries)
    t_end = number("t_end", t_end, minimum=0.0, above=True)
    check_steps(step, t_end)
    if isinstance(problem, Problem):  # what is none the flow refuses
        check_entries(problem, len(check_state(problem, omega0, mu0).omega))
    return paths_about(
        gradient_flow(problem, omega0, mu0, parametrization=parametrization, t_end=t_end, kernel=kernel),
        step=step,
        batch=batch,
        t_eval=t_eval,
        paths=paths,
        seed=seed,
        noisy_queries=noisy_queries,
        prompts=prompts,
        threads=threads,
        progress=progress,
    )


def paths_about(
    flow: Solution,
    *,
    step: float,
    batch: int,
    t_eval: ArrayLike | None = None,
    paths: int = 64,
    seed: int = 0,
    noisy_queries: bool = False,
    prompts: int = 4000,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> StochasticFlow:
    """`stochastic_flow` about a flow that is solved, from its start as far as it goes.

    Raises
    ------
    ProblemError
        An argument is malformed, or the flow too large, or too short for the step.
    """
    step, batch, paths, seed = check_descent(step, batch, paths, seed, noisy_queries)
    prompts = integer("prompts", prompts, minimum=100, maximum=10**8)
    threads = integer("threads", available_cores() if threads is None else threads, minimum=1, maximum=4096)
    problem, parametrization, kernel = flow.problem, flow.parametrization, flow.options.kernel
    heads, t_end = flow.heads, float(flow.trajectory.t[-1])
    check_entries(problem, heads)
    check_steps(step, t_end)
    times = np.linspace(0.0, t_end, _RECORDS) if t_eval is None else check_times(t_eval, t_end)
    marks = np.unique(np.rint(times / step).astype(np.int64))
    if paths * marks.size * (flow.heads * problem.blocks + 2 * flow.heads * problem.tasks) > _MOST_NUMBERS:
        raise ProblemError(
            "paths", f"{paths} at {marks.size} times", "less than 2 GB of records: fewer of either"
        )

    nodes = _nodes(flow)
    at = flow(nodes)
    with (
        announced("the noise of stochastic gradient descent", "twenty"),
        np.errstate(over="ignore", invalid="ignore"),
    ):
        noise = gradient_noise(
            problem,
            at,
            kernel,
            noisy_queries=noisy_queries,
            prompts=prompts,
            seed=seed,
            threads=threads,
        )
    if not all(np.isfinite(values).all() for values in noise):
        raise ProblemError(
            "kernel", kernel, "a law whose noise is finite along the flow: its logits overflow"
        )
    strays = parametrization.trains_factors and problem.tasks > 1 and heads * problem.tasks**3 <= _MOST_STRAY
    labels = labels_of(problem, np.asarray(problem.noise) * float(noisy_queries))
    run = Run(
        problem=problem,
        parametrization=parametrization,
        start=State(*(values[0] for values in flow(np.zeros(1)))),
        model=model_of(problem, kernel, State(_SPARE * at.omega, at.mu)),
        labels=labels,
        rule=descent.Rule(
            step=step,
            key_scale=parametrization.scale(problem),
            root_batch=math.sqrt(batch),
            merged=int(not parametrization.trains_factors),
            strays=int(strays),
        ),
        noise=roots_of(nodes, noise, labels, at, losses_at(problem, at, kernel), strays),
        marks=marks,
        seed=seed,
    )
    with announced("the paths of stochastic gradient descent", "twenty"):
        record = paths_of(run, paths, threads, progress)
        while (wider := wider_model(run.model, problem, State(record.omega, record.mu))) is not None:
            run = run._replace(model=wider)
            record = paths_of(run, paths, threads, progress)
    return StochasticFlow(
        flow=flow,
        step=step,
        batch=batch,
        seed=seed,
        t=np.asarray(step * marks, dtype=np.float64),
        omega=record.omega,
        mu=record.mu,
        imbalance=record.imbalance,
        node=nodes,
        cost=stationary_cost(problem, parametrization, at, noise, step, float(batch), kernel),
        strays=bool(strays),
        noisy_queries=noisy_queries,
    )


def _nodes(flow: Solution) -> Floats:
    """Times between which little changes: some of those at the ends of the integrator's steps."""
    times = flow.trajectory.t
    chosen = np.unique(np.linspace(0, times.size - 1, min(_NODES, times.size)).astype(int))
    return np.array(times[chosen])


def _losses(flow: Solution, time: float) -> Floats:
    """Loss of every task on a flow at a time, (I,)."""
    return losses_at(flow.problem, flow(time), flow.options.kernel)


def _first(times: Floats, above: Floats) -> Floats:
    """When numbers (P, T) first are positive, (P,), between records linearly; NaN where they never are."""
    with np.errstate(invalid="ignore"):
        positive = above > 0.0
    k = positive.argmax(axis=1)
    found = np.full(len(above), np.nan)
    for p in np.flatnonzero(positive.any(axis=1)):
        if k[p] == 0:
            found[p] = times[0]
            continue
        before, after = above[p, k[p] - 1], above[p, k[p]]
        share = before / (before - after) if np.isfinite(before) else 1.0
        found[p] = times[k[p] - 1] + share * (times[k[p]] - times[k[p] - 1])
    return found
