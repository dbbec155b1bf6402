"""Many gradient flows in one compiled call, several at a time in the lanes of vector instructions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import Floats, ProblemError, array, integer, renamed, sequence
from spectral_icl.kernels.charts import to_primal_all
from spectral_icl.kernels.compile import announced
from spectral_icl.kernels.ensemble import advance_many
from spectral_icl.kernels.lanes import WIDTH
from spectral_icl.kernels.loss import loss_curves, task_losses_all
from spectral_icl.kernels.model import (
    EXPLICIT,
    IMPLICIT,
    Chart,
    Emerged,
    Ends,
    Flights,
    Log,
    ManyLimits,
    Systems,
    Tasks,
)
from spectral_icl.kernels.phases import measure_phases
from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P
from spectral_icl.kernels.threads import available_cores
from spectral_icl.multitask.context import DEFAULT, OF_LARGE, check_kernel, pack_all, wider_all, with_rows
from spectral_icl.multitask.flow.one_by_one import Ended, Flows, one_by_one
from spectral_icl.multitask.flow.options import LONGEST, LimitArguments, Outcome, check_times, outcomes
from spectral_icl.multitask.flow.phases import THRESHOLDS, asked
from spectral_icl.multitask.flow.saturation import LIMIT, saturation_of
from spectral_icl.multitask.parametrization import Balanced, Parametrization, parametrizations, to_dual, twins
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State, check_dense, check_heads, depth

# Flows per lane and compiled call: enough that lanes stand empty for little of it, few enough to share among
# threads and to notice an interrupt.
_LEAST, _MOST = 4, 64

# Numbers in the log of a thread, after which no flows are begun until those under way have ended (which may
# take several times as many); and steps that a flow is expected to take.
_ROOM, _STEPS = 1 << 22, 160

_MOST_IN_LANES = 512  # H (B + I), above which flows by products, one by one, are done sooner

_METHODS = ((EXPLICIT, DORMAND_PRINCE), (IMPLICIT, RODAS5P))


@dataclass(frozen=True, eq=False)
class Ensemble:
    """P flows of one shape (H, B, I), solved together.

    What was not asked for is None.

    Attributes
    ----------
    outcome : ndarray of int, (P,)
        `Outcome` of every member. One that failed has the results of the time that it reached.
    t : ndarray, (P,)
        Time reached.
    omega, mu : ndarray, (P, H, B) and (P, H, I)
        State at ``t``.
    task_loss : ndarray, (P, I)
        Loss of every task at ``t``, query noise included.
    saturation : ndarray, (P,)
        Largest logit variance of any head, at any step, over log L: `Saturation.ratio`, which looks between
        the steps too. Above 0.5 no law in 1/L holds (see `valid`); infinite if it overflowed. Under the exact
        law, whose tables end at 64, over 128, so that the law ends at 0.5 there too.
    steps, rejected : ndarray of int, (P,)
        Steps taken and refused.
    loss_curve : ndarray, (P, T), or None
        Loss at ``t_eval``; NaN past ``t`` unless the flow had come to rest, and of one that
        failed at its start. Not to be trusted between steps of a flow that is not `valid`.
    emergence, onset, settled : ndarray, (P, I), or None
        When each task's loss fell steepest, began to fall and reached its plateau, as in
        `spectral_icl.multitask.flow.phases.Emergence`; NaN if not before the end. An emergence that is under
        way at the start has the start for both: 0.
    allocation : ndarray of int, (P, I), or None
        Head that seized each task; -1 for a task that has not emerged.
    share : ndarray, (P, I), or None
        That head's share of the learned map.
    escape : ndarray, (P, I), or None
        When a rival left the plateau of each task on the other side, as in `phases.Escape`; NaN
        if not before the end.
    rival : ndarray of int, (P, I), or None
        The head that did; -1 if none.
    measured : Emerged, or None
        All that was measured of the phases, with the states at the emergences; see `phases_of`.
    """

    outcome: NDArray[np.int64]
    t: Floats
    omega: Floats
    mu: Floats
    task_loss: Floats
    saturation: Floats
    steps: NDArray[np.int64]
    rejected: NDArray[np.int64]
    loss_curve: Floats | None = None
    emergence: Floats | None = None
    onset: Floats | None = None
    settled: Floats | None = None
    allocation: NDArray[np.int64] | None = None
    share: Floats | None = None
    escape: Floats | None = None
    rival: NDArray[np.int64] | None = None
    measured: Emerged | None = None

    @cached_property
    def loss(self) -> Floats:
        """Loss at `t`, (P,): the sum of `task_loss`."""
        total: Floats = self.task_loss.sum(axis=1)
        return total

    @property
    def success(self) -> NDArray[np.bool_]:
        """Which members were solved to their end or to rest, (P,)."""
        return np.isin(self.outcome, (Outcome.REACHED_END, Outcome.STATIONARY))

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which members stayed where the softmax does not saturate, (P,).

        How far the law of the context is off there, `Solution.saturation` says, and
        `spectral_icl.multitask.accuracy.terms` of any states.
        """
        return self.saturation <= LIMIT

    def phases_of(self, member: int) -> Emerged:
        """What was measured of the phases of one member; ``phases`` must have been asked for."""
        assert self.measured is not None
        return Emerged(*(values[member] for values in self.measured))

    def __len__(self) -> int:
        return self.outcome.size

    def __repr__(self) -> str:
        counts = {outcome.name: int((self.outcome == outcome).sum()) for outcome in Outcome}
        ends = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        heads, blocks = self.omega.shape[1:]
        shape = f"H = {heads}, B = {blocks}, I = {self.mu.shape[2]}"
        return f"<Ensemble of {len(self)} flows, {shape}: {ends or 'empty'}>"


def gradient_flow_ensemble(
    problems: Problem | Sequence[Problem],
    omega0: ArrayLike,
    mu0: ArrayLike,
    *,
    parametrization: Parametrization | Sequence[Parametrization] = Balanced(),
    t_end: ArrayLike = 200.0,
    t_eval: ArrayLike | None = None,
    rtol: ArrayLike = 1e-8,
    kernel: str = DEFAULT,
    stationary: ArrayLike | None = None,
    max_steps: ArrayLike = 100_000,
    phases: bool = False,
    threads: int | None = None,
) -> Ensemble:
    """Gradient flows of many problems of one shape, from many starts.

    The flow of `gradient_flow`, in the same dual coordinates and by the same two methods: members advance
    side by side in the lanes of vector registers, each with its own steps. So the result of a member depends
    neither on the others nor on the number of threads, to the last bit. Members of more than 512 omega and mu
    are solved one by one, as `gradient_flow` solves them; escapes are found up to 4096.

    Parameters
    ----------
    problems : Problem or sequence of P Problems
        All with the same numbers of blocks and tasks.
    omega0 : array_like, (P, H, B) or (H, B)
        KQ values at time 0. One start stands for all members, and so does one of any other argument.
    mu0 : array_like, (P, H, I) or (H, I)
        OV values at time 0.
    parametrization : Balanced, Factored or Merged, or a sequence of P of them
    t_end : float or array_like, (P,)
        Length of the flows; may be infinite where ``stationary`` is given, as in `gradient_flow`.
    t_eval : array_like, (T,), optional
        Increasing times >= 0 at which the loss is recorded, the same for all members.
    rtol, stationary, max_steps : float or array_like, (P,)
        As in `gradient_flow`; a ``stationary`` of 0, NaN or None is none. The criterion of rest and where it
        is tested are the same, but rounding is another, and so are steps: the same flow solved by both ends
        as slow as promised, typically with losses that agree to a fraction of ``stationary`` (not where a
        large gradient moves slowly), with states that may differ where the loss is flat, and near the end of
        ``max_steps`` perhaps with another outcome.
    kernel : str
        Law of the context, one of `spectral_icl.multitask.context.LAWS`.
    phases : bool
        Whether to record emergence, allocation and escape.
    threads : int, optional
        Number of threads; all cores by default.

    Returns
    -------
    Ensemble
        With an outcome for every member: a member that cannot be solved raises nothing.

    Raises
    ------
    ProblemError
        An argument is malformed.

    Examples
    --------
    >>> import spectral_icl as si
    >>> p = si.Problem.multitask(task_sizes=(10, 10), signal=10., noise=0.09, context_length=100)
    >>> starts = [si.initial.random(p, heads=3, seed=seed, positive=True) for seed in range(100)]
    >>> found = si.gradient_flow_ensemble(p, *zip(*starts), t_end=1e4, phases=True)
    >>> found
    <Ensemble of 100 flows, H = 3, B = 2, I = 2: 100 REACHED_END>
    """
    problems = _members("problems", problems, Problem, "a Problem")
    flavours = _members("parametrization", parametrization, Parametrization, parametrizations())
    starts = _starts(problems, omega0, mu0)
    limits = LimitArguments.given(t_end, rtol, stationary, max_steps)
    sizes = {
        "problems": len(problems),
        "parametrization": len(flavours),
        "omega0 and mu0": len(starts.omega),
        **limits.sizes(),
    }
    count = max(sizes.values(), key=lambda n: (n != 1, n))
    for name, size in sizes.items():
        if size not in (1, count):
            raise ProblemError(name, f"{size} of them", f"1 or {count}, the number of members")
    ends_at = limits.of_members(count)
    followed = ends_at._replace(t_end=np.minimum(ends_at.t_end, LONGEST))
    times = np.empty(0) if t_eval is None else check_times(t_eval, math.inf)
    threads = integer("threads", available_cores() if threads is None else threads, minimum=1, maximum=4096)

    shape = (starts.omega.shape[1], problems[0].blocks, problems[0].tasks)
    if _too_large_for_lanes(shape, kernel):
        flows = Flows(problems, flavours, starts, ends_at, times, check_kernel(kernel), phases)
        return _of_members(one_by_one(flows, threads), bool(times.size), phases)
    check_dense("omega0", problems[0], shape[0])
    charts, x = _charts(problems, flavours, starts, count)
    twin = twins(charts, x, shape)
    tied = (twin != np.arange(x.shape[1])).any(axis=1)
    systems = Systems(pack_all(problems, kernel, count, starts.omega), charts, twin, tied, shape)
    saturation_of(systems.models, np.ones(count))  # refuses a law without a known range before the work
    tasks = _asked(problems, kernel, count) if phases else None
    with announced("the integrator of ensembles and sweeps", "twenty"):
        ends, kept = _advanced(systems, followed, x.copy(), times, tasks, threads)
        # what left its table is followed again, from the start, with one that goes further
        while (left := np.flatnonzero(ends.outcome == Outcome.LEFT_RANGE)).size:
            left, models = wider_all(systems.models, [problems[k % len(problems)] for k in left], left)
            if not left.size:
                break
            part = Systems(models, _rows(charts, left), twin[left], tied[left], shape)
            limits_of = _rows(followed, left)
            asked_of = None if tasks is None else _rows(tasks, left)
            again, kept_again = _advanced(part, limits_of, x[left], times, asked_of, threads)
            for values, new in zip((*ends, kept.curve), (*again, kept_again.curve), strict=True):
                values[left] = new
            for values, new in zip(kept.found, kept_again.found, strict=True):
                if phases:
                    values[left] = new
            systems = systems._replace(models=with_rows(systems.models, left, models))
    ends.outcome[:] = outcomes(ends.outcome, ends_at.t_end)
    return _result(systems, ends, kept)


def _too_large_for_lanes(shape: tuple[int, int, int], kernel: str) -> bool:
    """Whether flows of a shape are faster one by one, by products with the Hessian."""
    heads, blocks, tasks = shape
    return heads * (blocks + tasks) > _MOST_IN_LANES and check_kernel(kernel) in OF_LARGE


def _of_members(ended: Ended, curves: bool, phases: bool) -> Ensemble:
    """The ensemble of flows that were solved one by one."""
    own = ended._asdict()
    found = own.pop("found")
    own["loss_curve"] = ended.loss_curve if curves else None
    return _with_phases(Ensemble(**own), found) if phases else Ensemble(**own)


def _with_phases(made: Ensemble, found: Emerged) -> Ensemble:
    """The ensemble with what was measured of its phases."""
    return replace(
        made,
        emergence=found.time,
        onset=found.onset,
        settled=found.settled,
        allocation=found.head,
        share=found.share,
        escape=found.escape,
        rival=found.rival,
        measured=found,
    )


def _rows(values: Any, members: NDArray[np.int64]) -> Any:
    """Those of some members, of a container of arrays."""
    return type(values)(*(each[members] for each in values))


def _advanced(
    systems: Systems,
    limits: ManyLimits,
    x: Floats,
    times: Floats,
    tasks: Tasks | None,
    threads: int,
) -> tuple[Ends, _Kept]:
    """Where flows from ``x`` (P, N) end, and what is asked of them."""
    count, size = x.shape
    ends = Ends(np.full(count, -1), np.zeros(count), x, np.zeros((count, 2), dtype=np.int64), np.zeros(count))
    flights = Flights(np.full(count, EXPLICIT), np.zeros(count), np.ones(count))
    kept = _Kept(
        times=times,
        curve=np.full((count, times.size), np.nan),
        tasks=tasks,
        found=Emerged.nothing(count if tasks else 0, systems.shape[2], size=size),
    )
    share = WIDTH * min(_MOST, max(_LEAST, count // (8 * threads * WIDTH)))
    orders = RODAS5P.dense.shape[0]
    most = max(1, _ROOM // ((orders + 1) * size)) if kept.wanted else 0

    def run(first: int) -> None:
        stop = min(first + share, count)
        rows = min(most, _STEPS * (stop - first))
        log = Log.room(first, stop, rows, most, orders, size)
        unfinished = ends.outcome[first:stop] < 0
        while unfinished.any():
            for mode, method in _METHODS:
                log = advance_many(systems, method, mode, limits, first, stop, flights, ends, log)
            unfinished = ends.outcome[first:stop] < 0
            if kept.wanted and not (unfinished & (log.last >= 0)).any():
                kept.record(systems, log, ends, first, stop)
                log = Log.room(first, stop, rows, most, orders, size)

    if threads == 1 or count <= share:
        for first in range(0, count, share):
            run(first)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(run, range(0, count, share)))
    return ends, kept


@dataclass(frozen=True, eq=False)
class _Kept:
    """What is asked of P flows beside their ends, made of the steps that they took."""

    times: Floats  # (T,)
    curve: Floats  # (P, T)
    tasks: Tasks | None  # of P flows, where their phases are asked for
    found: Emerged  # of P flows

    @property
    def wanted(self) -> bool:
        return self.tasks is not None or self.times.size > 0

    def record(self, systems: Systems, log: Log, ends: Ends, first: int, stop: int) -> None:
        """Fill in what the log says of the flows ``first`` to ``stop``."""
        if self.tasks is not None:
            measure_phases(systems, log, first, stop, self.tasks, THRESHOLDS, self.found)
        if self.times.size:
            loss_curves(systems, log, first, stop, self.times, ends.outcome, self.curve)


def _members(name: str, value: object, kind: type, expected: str) -> list[Any]:
    if isinstance(value, kind):
        return [value]
    members = list(sequence(name, value, f"{expected}, or a sequence of them"))
    for k, member in enumerate(members):
        if not isinstance(member, kind):
            raise ProblemError(f"{name}[{k}]", member, expected)
    return members


def _starts(problems: Sequence[Problem], omega0: ArrayLike, mu0: ArrayLike) -> State:
    """The starts, (M, H, B) and (M, H, I) with M members or one."""
    blocks, tasks = problems[0].blocks, problems[0].tasks
    for k, problem in enumerate(problems):
        if (problem.blocks, problem.tasks) != (blocks, tasks):
            found = f"{problem.blocks} blocks and {problem.tasks} tasks"
            raise ProblemError(f"problems[{k}]", found, f"{blocks} blocks and {tasks} tasks, as before it")
    arrays = []
    for name, value, width in (("omega0", omega0, blocks), ("mu0", mu0, tasks)):
        alone = depth(value) == 2
        checked = array(name, value, (None, width) if alone else (None, None, width))
        arrays.append(checked[None] if alone else checked)
    omega, mu = arrays
    heads = omega.shape[1]
    if len(omega) == 0 or len(mu) == 0:
        raise ProblemError("omega0" if len(omega) == 0 else "mu0", "no start", "at least one start")
    if heads == 0 or mu.shape[1] != heads:
        raise ProblemError(
            "mu0", f"{mu.shape[1]} heads", f"as many heads as omega0, which has {heads}, and >= 1"
        )
    with renamed({"heads": "omega0"}):
        check_heads(problems[0], heads)
    members = max(len(omega), len(mu), key=lambda n: (n != 1, n))
    for name, values in (("omega0", omega), ("mu0", mu)):
        if len(values) not in (1, members):
            raise ProblemError(name, f"{len(values)} starts", f"1 or {members} starts")
    return State(
        np.broadcast_to(omega, (members, *omega.shape[1:])), np.broadcast_to(mu, (members, *mu.shape[1:]))
    )


def _charts(
    problems: Sequence[Problem], flavours: Sequence[Parametrization], starts: State, count: int
) -> tuple[Chart, Floats]:
    """The charts and the dual coordinates of all members; those that share a problem are done together."""
    if len(problems) == len(flavours) == 1:
        members = {(0, 0): np.arange(count)}
    else:
        same: dict[tuple[int, Parametrization], list[int]] = {}
        for k in range(count):
            problem = id(problems[k % len(problems)])  # hashing it would take longer than a chart of its own
            same.setdefault((problem, flavours[k % len(flavours)]), []).append(k)
        members = {(k[0] % len(problems), k[0] % len(flavours)): np.array(k) for k in same.values()}
    omega = np.broadcast_to(starts.omega, (count, *starts.omega.shape[1:]))
    mu = np.broadcast_to(starts.mu, (count, *starts.mu.shape[1:]))
    size = omega[0].size + mu[0].size
    x = np.empty((count, size))
    whole = Chart(np.empty((count, size), dtype=np.int64), *(np.empty((count, size)) for _ in range(3)))
    for (problem, flavour), rows in members.items():
        at = State(omega[rows], mu[rows])
        chart = flavours[flavour].chart(problems[problem], at)
        x[rows] = to_dual(chart, at)
        for values, part in zip(whole, chart, strict=True):
            values[rows] = part
    return whole, x


def _asked(problems: Sequence[Problem], kernel: str, count: int) -> Tasks:
    """`asked` of every member, (P, I) and (P, I, B)."""
    each = [
        np.array(values) for values in zip(*(asked(problem, kernel) for problem in problems), strict=True)
    ]
    return Tasks(*(np.broadcast_to(values, (count, *values.shape[1:])).copy() for values in each))


def _result(systems: Systems, ends: Ends, kept: _Kept) -> Ensemble:
    heads, blocks, tasks = systems.shape
    count = ends.t.size
    theta = np.empty_like(ends.x)
    to_primal_all(systems.charts, ends.x, theta)
    # contiguous for any number of members: the kernel for views is another one, and rounds differently
    omega = np.ascontiguousarray(theta[:, : heads * blocks]).reshape(count, heads, blocks)
    mu = np.ascontiguousarray(theta[:, heads * blocks :]).reshape(count, heads, tasks)
    losses = np.empty((count, tasks))
    task_losses_all(systems.models, omega, mu, losses)
    made = Ensemble(
        outcome=ends.outcome,
        t=ends.t,
        omega=omega,
        mu=mu,
        task_loss=losses,
        saturation=saturation_of(systems.models, ends.tilt),
        steps=ends.steps[:, 0],
        rejected=ends.steps[:, 1],
        loss_curve=kept.curve if kept.times.size else None,
    )
    if kept.tasks is None:
        return made
    return _with_phases(made, kept.found)
