"""What passes between Python and the compiled functions: constants and typed containers.

Functions take float64 arrays and ints, fill buffers that the caller owns, say in numbers where they fail,
never raise and never print. A state is one flat vector of ``H*B`` KQ entries (head-major) followed by
``H*I`` OV entries (head-major): N = H (B + I) numbers.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Bools: TypeAlias = NDArray[np.bool_]
Shape: TypeAlias = tuple[int, int, int]  # H, B, I
Model: TypeAlias = tuple[object, ...]  # the packed problem: a NamedTuple whose type is the law of the context

M = TypeVar("M", bound=Model)

EXPONENTIAL, HYPERBOLIC, LINEAR = 0, 1, 2  # Chart.kind: theta = s e^x, a sinh x, x

EXPLICIT, IMPLICIT, ALWAYS_IMPLICIT = range(3)  # Progress.mode: two that alternate, one to compare with

# Outcomes of `integrate`. BUFFER_FULL is not final: the caller supplies fresh buffers and continues.
REACHED_END, STATIONARY, BUFFER_FULL, STEP_LIMIT, STEP_UNDERFLOW, OVERFLOW, NON_FINITE, LEFT_RANGE = range(8)
NOT_AT_REST = 8  # of a flow without an end: it went on for as long as a flow may


def frozen(model: M) -> M:
    """The model, its arrays made read-only: for numba a type of its own, so that all models must be."""
    for values in model:
        if isinstance(values, np.ndarray):
            values.setflags(write=False)
    return model


class Chart(NamedTuple):
    """Dual coordinates, entry by entry: theta = map(x) and dx/dt = -speed * sign * dloss/dtheta.

    Those of P flows have a first axis of P.
    """

    kind: Ints  # (N,) EXPONENTIAL, HYPERBOLIC or LINEAR
    # (N,) sign (exponential), half the imbalance (hyperbolic), size below which errors are absolute (linear)
    scale: Floats
    speed: Floats  # (N,) >= 0; 0 freezes the entry
    sign: Floats  # (N,) +1 or -1


class RungeKutta(NamedTuple):
    """An explicit method. Its last stage is at the end of the step, and is the first of the next one."""

    order: int
    a: Floats  # (stages, stages) stage arguments; the last is the solution
    error: Floats  # (stages,) weights of the error estimate
    dense: Floats  # (K, stages) coefficients of the continuous extension


class Rosenbrock(NamedTuple):
    """A stiffly accurate Rosenbrock method in the transformed variables.

    The solution is the last stage's argument plus its increment, which is the error estimate.
    """

    gamma: float
    order: int
    a: Floats  # (stages, stages) stage arguments
    c: Floats  # (stages, stages) couplings of the increments
    dense: Floats  # (K, stages) coefficients of the continuous extension


class System(NamedTuple):
    """The flow that is solved: the law of the context, the dual coordinates, and which heads are equal."""

    model: Model
    chart: Chart
    twin: Ints  # (N,) the entry that each one equals for ever: itself, or that of an equal head
    shape: Shape


class Methods(NamedTuple):
    """The two methods that `integrate` alternates between."""

    explicit: RungeKutta
    implicit: Rosenbrock


class Limits(NamedTuple):
    """Where a flow ends, how accurate it is, and when it is given up."""

    t_end: float
    rtol: float
    stationary: float  # 0 for none
    max_steps: int


class Progress(NamedTuple):
    """Where an integration stands, carried between calls of `integrate`."""

    real: Floats  # (3,) t, step, previous error
    mode: Ints  # (2,) kind of step, and for how many steps the other kind has looked better
    counts: Ints  # (6,) accepted, rejected, field, Hessian, factorisation, product with the Hessian

    @classmethod
    def begun(cls, mode: int = EXPLICIT) -> Progress:
        """Progress of a flow at time 0."""
        return cls(np.array([0.0, 0.0, 1.0]), np.array([mode, 0]), np.zeros(6, dtype=np.int64))


class Nodes(NamedTuple):
    """Accepted steps: times and states of the nodes, and the continuous extension between them."""

    t: Floats  # (n + 1,)
    x: Floats  # (n + 1, N)
    dense: Floats  # (n, K, N)

    @classmethod
    def room(cls, steps: int, orders: int, size: int) -> Nodes:
        """Buffers for that many steps."""
        return cls(np.empty(steps + 1), np.empty((steps + 1, size)), np.empty((steps, orders, size)))


class Thresholds(NamedTuple):
    """The constants of `spectral_icl.multitask.flow.phases` that its kernel needs."""

    onset: float
    settled: float
    lull: float
    learned: float
    exit: float


class Tasks(NamedTuple):
    """What the phases ask of the tasks of a problem, whatever its law; of P flows with a first axis of P."""

    attainable: Floats  # (I,) the most by which any attention could reduce the loss
    variance: Floats  # (I,) the loss of zero weights


class Survey(NamedTuple):
    """What is kept of n steps of a flow that is too large for its states to be kept."""

    times: Floats  # (n m + 1,) that split every step into m parts
    losses: Floats  # (n m + 1, I) of every task there
    variances: Floats  # (n + 1, H) of the logits, a_h = sum_b d_b kappa_b^2 omega_hb^2, at the nodes
    head: Ints  # (n + 1, I) with the largest share of what is learned of each task, -1 for none
    share: Floats  # (n + 1, I)

    @classmethod
    def room(cls, steps: int, points: int, shape: Shape) -> Survey:
        """Room for that many steps, each in so many parts."""
        heads, _, tasks = shape
        samples = steps * points + 1
        return cls(
            np.empty(samples),
            np.empty((samples, tasks)),
            np.empty((steps + 1, heads)),
            np.empty((steps + 1, tasks), dtype=np.int64),
            np.empty((steps + 1, tasks)),
        )


class Emerged(NamedTuple):
    """What `measure_phases` found for each of I tasks: NaN, or head -1, where there is nothing.

    Of P flows, (P, I).
    """

    head: Ints
    share: Floats
    onset: Floats
    time: Floats
    settled: Floats
    plateau: Floats
    rival: Ints
    escape: Floats
    at: Floats  # (I, N) the flat state at ``time``, where signs may change

    @classmethod
    def nothing(cls, *shape: int, size: int) -> Emerged:
        """Room for what there is to find of flows of N = ``size`` numbers, filled as if nothing had been."""
        heads, numbers = np.full(shape, -1, dtype=np.int64), np.full(shape, np.nan)
        return cls(
            head=heads.copy(),
            share=numbers.copy(),
            onset=numbers.copy(),
            time=numbers.copy(),
            settled=numbers.copy(),
            plateau=numbers.copy(),
            rival=heads,
            escape=numbers,
            at=np.full((*shape, size), np.nan),
        )


class Systems(NamedTuple):
    """P flows of one shape, as `System` has one."""

    models: Model  # every array with a first axis of P
    charts: Chart
    twins: Ints  # (P, N)
    tied: Bools  # (P,) whether a flow has twins at all
    shape: Shape


class ManyLimits(NamedTuple):
    """`Limits` of P flows."""

    t_end: Floats  # (P,)
    rtol: Floats
    stationary: Floats
    max_steps: Ints


class Flights(NamedTuple):
    """Where the integrations of P flows stand, as `Progress` says of one; times and states are in `Ends`."""

    mode: Ints  # (P,) EXPLICIT or IMPLICIT
    step: Floats  # (P,) 0 before the first
    previous_error: Floats  # (P,)


class Ends(NamedTuple):
    """Where each of P flows ended; ``x`` is filled with the starts by the caller."""

    outcome: Ints  # (P,)
    t: Floats  # (P,)
    x: Floats  # (P, N)
    steps: Ints  # (P, 2) accepted, refused
    tilt: Floats  # (P,) largest `law.largest_tilt` over steps


class Log(NamedTuple):
    """The nodes of flows that are solved together, as they come; the start of a flow is the first of its."""

    first: int  # the flow that the first entry of ``last`` is of
    limit: int  # rows after which no more flows are begun; those under way are given more room
    used: Ints  # (1,) rows in use
    last: Ints  # (flows,) the latest row of each, -1 before its start
    before: Ints  # (rows,) the row of the same flow before
    t: Floats  # (rows,)
    x: Floats  # (rows, N)
    dense: Floats  # (rows, K, N) the continuous extension of the step that ends in the node

    @classmethod
    def room(cls, first: int, stop: int, rows: int, limit: int, orders: int, size: int) -> Log:
        """An empty log of the flows ``first`` to ``stop``; of no rows if nothing is to be kept."""
        return cls(
            first,
            limit,
            np.zeros(1, dtype=np.int64),
            np.full(stop - first, -1),
            np.empty(rows, dtype=np.int64),
            np.empty(rows),
            np.empty((rows, size)),
            np.empty((rows, orders, size)),
        )

    @classmethod
    def of_one(cls, nodes: Nodes) -> Log:
        """The nodes of a single flow."""
        count = nodes.t.size
        dense = np.concatenate([np.zeros((1, *nodes.dense.shape[1:])), nodes.dense])
        used, last, before = np.array([count]), np.array([count - 1]), np.arange(-1, count - 1)
        return cls(0, count, used, last, before, nodes.t.copy(), nodes.x.copy(), dense)
