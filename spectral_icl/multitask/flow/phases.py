"""The phases of a solved flow: measured on its trajectory, beside the theory's prediction where there is one.

Warm-up lasts until the first task's loss starts to fall, emergence until the last task has reached its
plateau, convergence from there on. Where signs may change the plateau is a saddle and is left again: escape.
Definitions follow Chen, Sheen, Wang and Yang (2024); every threshold is a constant of this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.io.text import listed
from spectral_icl.kernels.compile import announced
from spectral_icl.kernels.model import EXPONENTIAL, Chart, Emerged, Log, Systems, Tasks, Thresholds
from spectral_icl.kernels.phases import measure_phases, measure_survey
from spectral_icl.multitask.context import DEFAULT, stack
from spectral_icl.multitask.flow.curve import Curve
from spectral_icl.multitask.flow.escape import EXIT, Escape, find_escapes
from spectral_icl.multitask.flow.forecast import lone_forecasts
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.trajectory import Trajectory
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS
from spectral_icl.multitask.problem import Problem

ONSET = 0.05  # share of a task's whole fall that ends its warm-up
SETTLED = 1e-3  # rate of fall, over the steepest, below which a task has reached its plateau
LULL = 0.1  # rate of fall, over the steepest, before it rises again: a plateau left before it was reached
LEARNED = 0.05  # least fall that counts as an emergence, over the most that any attention could reach
THRESHOLDS = Thresholds(ONSET, SETTLED, LULL, LEARNED, EXIT)


@dataclass(frozen=True)
class Emergence:
    """How one task was learned.

    Attributes
    ----------
    task : int
    head : int or None
        The head with the largest share of the task on its plateau; None if the task did not emerge.
    share : float
        That head's share of the learned map: 1 if it holds all of it, above 1 if others work against it.
    onset, time, settled : float
        When the task's loss had covered 5 % of its whole fall, fell steepest from then on (or just before, if
        it fell ever slower from there: then so is ``onset``), and had reached its plateau; NaN if the task
        did not emerge before the end (``onset`` is there if it had begun to).
    under_way : bool
        Whether the fall slowed from the first moment on, so that ``onset`` and ``time`` are that moment: the
        start, or when the loss came below that of zero weights.
    plateau : float
        Task loss at ``settled``.
    predicted_time : float or None
        T of `predicted_emergence` for the predicted head; None where the theory does not apply. `forecast`
        is closer.
    predicted_head : int or None
    remark : str
        Why there is no prediction, if there is none.
    """

    task: int
    head: int | None
    share: float
    onset: float
    time: float
    settled: float
    under_way: bool
    plateau: float
    predicted_time: float | None
    predicted_head: int | None
    remark: str


@dataclass(frozen=True)
class Phases:
    """Phases of one flow. Intervals are (start, end) in units of the flow's time; NaN if not reached.

    Attributes
    ----------
    warm_up, emergence, convergence : tuple of float
        ``convergence`` is NaN also if the plateau was left before it was reached.
    tasks : tuple of Emergence
        One per task. A task on several blocks may fall more than once; its emergence is the steepest fall.
    escapes : tuple of Escape
        One per task with a possible or observed escape; empty where every sign is conserved, and of an
        `Outline`, which does not have the states that they are found by.
    """

    warm_up: tuple[float, float]
    emergence: tuple[float, float]
    convergence: tuple[float, float]
    tasks: tuple[Emergence, ...]
    escapes: tuple[Escape, ...]

    def __repr__(self) -> str:
        """The fields, with the first and the last of very many tasks and escapes."""
        intervals = (f"{name}={getattr(self, name)}" for name in ("warm_up", "emergence", "convergence"))
        many = (f"{name}=({listed(getattr(self, name))})" for name in ("tasks", "escapes"))
        return f"Phases({', '.join([*intervals, *many])})"

    def spans(self, end: float) -> dict[str, tuple[float, float]]:
        """Start and end, by name, of the phases that a flow until ``end`` went through."""
        named = {
            "warm-up": self.warm_up,
            "emergence": self.emergence,
            "convergence": self.convergence,
            "escape": (self.convergence[1], end),
        }
        return {name: span for name, span in named.items() if np.isfinite(span[0]) and span[1] > span[0]}


def shares(problem: Problem, omega: Floats, mu: Floats) -> Floats:
    """Share of each head in the map learned for each task, (..., H, I).

    The share of head h in task i is sum_b A_ib kappa_b omega_hb mu_hi over its sum over heads.
    """
    held: Floats = problem.signal.onto_tasks(np.asarray(problem.covariance) * omega) * mu
    total: Floats = held.sum(axis=-2, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.divide(held, total)


def measure(trajectory: Curve, key_scale: float) -> Phases:
    """The phases of a trajectory."""
    problem = trajectory.problem
    start = trajectory(trajectory.t[0])
    found = found_of(trajectory)
    tasks = []
    forecasts = lone_forecasts(problem, start, trajectory.chart, key_scale, trajectory.kernel)
    for i, predicted in enumerate(forecasts):
        emergence = Emergence(
            task=i,
            head=None if found.head[i] < 0 else int(found.head[i]),
            share=float(found.share[i]),
            onset=float(found.onset[i]),
            time=float(found.time[i]),
            settled=float(found.settled[i]),
            under_way=bool(found.time[i] <= found.onset[i]),
            plateau=float(found.plateau[i]),
            predicted_time=predicted.time,
            predicted_head=predicted.head,
            remark=predicted.remark,
        )
        tasks.append(emergence)
    reached = [e for e in tasks if e.head is not None]
    end = float(trajectory.t[-1])
    onset = min((e.onset for e in tasks if np.isfinite(e.onset)), default=np.nan)
    settled = max((e.settled for e in reached), default=np.nan)
    if len(reached) < len(tasks):
        settled = np.nan
    escapes: tuple[Escape, ...] = ()
    if not isinstance(trajectory, Outline):
        escapes = find_escapes(problem, trajectory.chart, found, trajectory.kernel)
    left = min((e.time for e in escapes if np.isfinite(e.time)), default=end)
    return Phases(
        warm_up=(float(trajectory.t[0]), onset if np.isfinite(onset) else end),
        emergence=(onset, settled),
        convergence=(settled, left) if left > settled else (np.nan, np.nan),
        tasks=tuple(tasks),
        escapes=escapes,
    )


def attainable(problem: Problem, kernel: str = DEFAULT) -> Floats:
    """The most by which attention can reduce the loss of each task from that of zero weights, (I,)."""
    most: Floats = problem.variance - BENCHMARKS["lower_bound"].of(problem, kernel).task_loss
    return most  # s_i is the loss of zero weights, whatever the law


def asked(problem: Problem, kernel: str = DEFAULT) -> Tasks:
    """What the phases of a flow ask of the tasks of its problem."""
    return Tasks(attainable(problem, kernel), np.array(problem.variance))


def found_of(trajectory: Curve) -> Emerged:
    """What there is to measure of a flow, in arrays: of one flow, by the functions that measure many."""
    problem = trajectory.problem
    tasks = Tasks(*(values[None] for values in asked(problem, trajectory.kernel)))
    with announced("the measurement of phases", "five"):
        if isinstance(trajectory, Outline):
            found = Emerged.nothing(1, problem.tasks, size=0)
            losses, head, share = trajectory.losses, trajectory.head, trajectory.share
            measure_survey(trajectory.times, losses, trajectory.t, head, share, tasks, THRESHOLDS, found)
        else:
            assert isinstance(trajectory, Trajectory)
            found = _between_nodes(trajectory, tasks)
    return Emerged(*(values[0] for values in found))


def _between_nodes(trajectory: Trajectory, tasks: Tasks) -> Emerged:
    size = trajectory.x.shape[1]
    kind, scale, speed, sign = trajectory.chart
    charts = Chart(kind[None].copy(), scale[None].copy(), speed[None].copy(), sign[None].copy())
    models = stack([trajectory.model], 1)
    system = Systems(models, charts, np.arange(size)[None], np.zeros(1, dtype=np.bool_), trajectory.shape)
    signs_change = bool((kind != EXPONENTIAL).any())  # the states at the emergences are asked for then
    found = Emerged.nothing(1, trajectory.problem.tasks, size=size if signs_change else 0)
    measure_phases(system, Log.of_one(trajectory.nodes), 0, 1, tasks, THRESHOLDS, found)
    return found
