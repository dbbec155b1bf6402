"""Numbers below 2.2e-308 are flushed inside compiled calls, and only there: a thread keeps its mode."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
import pytest
from compiled import plainly
from numba import njit
from weights import slow

import spectral_icl as si
from spectral_icl.kernels import law, linear
from spectral_icl.kernels.charts import is_mixed
from spectral_icl.kernels.control import weigh
from spectral_icl.kernels.dense import Dense
from spectral_icl.kernels.field import Parts, slope_at
from spectral_icl.kernels.integrator import Work
from spectral_icl.kernels.model import Ends, Floats, Log, Methods, System, Systems
from spectral_icl.kernels.rosenbrock import implicit_step
from spectral_icl.kernels.runge_kutta import explicit_step
from spectral_icl.kernels.subnormals import floating_mode, flushing, set_floating_mode
from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.flow import ensemble
from spectral_icl.multitask.parametrization import Parametrization

SMALLEST_NORMAL = np.finfo(np.float64).smallest_normal
X86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
FLUSHED = 1 << 15 | 1 << 6  # of MXCSR: results, and arguments
RAISED = 0b111111  # the flags of exceptions that arithmetic leaves there

on_x86 = pytest.mark.skipif(not X86, reason="only x86 processors have the mode")

T = TypeVar("T")


@njit
def mode() -> int:
    """How this thread treats numbers."""
    return floating_mode()  # type: ignore[no-any-return,call-arg]


@njit
def set_mode(value: int) -> None:
    """Make this thread treat numbers so."""
    set_floating_mode(np.int32(value))  # type: ignore[call-arg]


@njit
def with_flushing(value: int) -> int:
    """The mode with which subnormal numbers are flushed."""
    return flushing(np.int32(value))  # type: ignore[no-any-return,call-arg]


@pytest.fixture(autouse=True)
def _as_processors_begin() -> Iterator[None]:
    """Begin without flushing, whatever was left by what ran before."""
    before = mode()
    set_mode(before & ~FLUSHED)
    yield
    set_mode(before)


@contextmanager
def flushing_already() -> Iterator[None]:
    """A block in which the caller has asked for flushing."""
    before = mode()
    set_mode(with_flushing(before))
    try:
        yield
    finally:
        set_mode(before)


def control(value: int) -> int:
    """What has been asked of the processor, without what it tells of past operations."""
    return value & ~RAISED


def subnormal(*arrays: Floats) -> int:
    """How many numbers of some arrays are."""
    return sum(int(((abs(a) > 0.0) & (abs(a) < SMALLEST_NORMAL)).sum()) for a in arrays)


@on_x86
def test_the_mode_can_be_set_and_put_back() -> None:
    before, half = mode(), np.array([1e-310]) * 0.5
    assert not before & FLUSHED
    assert half[0] == 5e-311
    with flushing_already():
        assert control(mode()) == control(before) | FLUSHED
        assert (np.array([1e-310]) * 0.5)[0] == 0.0  # so NumPy obeys it
    assert control(mode()) == control(before)
    assert (np.array([1e-310]) * 0.5)[0] == 5e-311


@pytest.mark.skipif(X86, reason="x86 processors have the mode")
def test_other_processors_have_no_mode() -> None:
    assert mode() == 0
    with flushing_already():
        assert mode() == 0
        assert (np.array([1e-310]) * 0.5)[0] == 5e-311


P = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
START = si.initial.paper(P, 2, 0.1, 0.1, 0.2)
MANY = si.State(np.repeat(START.omega[None], 300, axis=0), np.repeat(START.mu[None], 300, axis=0))


def _fails(call: Callable[[], object]) -> None:
    with pytest.raises(si.IntegrationError):
        call()


def _ensemble_that_fails() -> None:
    omega = MANY.omega.copy()
    omega[::3] *= 1e4  # overflows
    limits = np.where(np.arange(300) % 5 == 1, 7, 100_000)
    found = si.gradient_flow_ensemble(P, omega, MANY.mu, t_end=20.0, max_steps=limits, phases=True)
    assert set(found.outcome) == {si.Outcome.REACHED_END, si.Outcome.STEP_LIMIT, si.Outcome.OVERFLOW}


CALLS: dict[str, Callable[[], object]] = {
    "flow": lambda: si.gradient_flow(P, *START, t_end=30.0),
    "flow at rest": lambda: si.gradient_flow(P, *START, t_end=np.inf, stationary=1e-4),
    "phases": lambda: si.gradient_flow(P, *START, t_end=30.0).phases,
    "overflow": lambda: _fails(lambda: si.gradient_flow(P, 1e3 * np.ones((2, 2)), START.mu)),
    "step limit": lambda: _fails(lambda: si.gradient_flow(P, *START, max_steps=5)),
    "range left": lambda: _fails(
        lambda: si.gradient_flow(P, np.full((2, 2), 0.8), START.mu, kernel="first-order")
    ),
    "ensemble": lambda: si.gradient_flow_ensemble(P, *MANY, t_end=30.0, threads=1),
    "ensemble with phases": lambda: si.gradient_flow_ensemble(
        P, *MANY, t_end=30.0, threads=1, phases=True, t_eval=[1.0, 20.0]
    ),
    "ensemble on two threads": lambda: si.gradient_flow_ensemble(
        P, *MANY, t_end=30.0, threads=2, phases=True
    ),
    "ensemble with failures": _ensemble_that_fails,
}


@on_x86
@pytest.mark.parametrize("name", CALLS)
def test_a_call_leaves_the_mode_of_its_thread(name: str) -> None:
    before = control(mode())
    CALLS[name]()
    assert control(mode()) == before
    assert (np.array([1e-310]) * 0.5)[0] == 5e-311
    with flushing_already():
        CALLS[name]()
        assert control(mode()) == before | FLUSHED
    assert control(mode()) == before


@on_x86
def test_the_threads_of_an_ensemble_are_left_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also a thread that solved one part and goes on to the next."""
    seen = []

    class Watched(ThreadPoolExecutor):
        def submit(self, call: Callable[..., T], /, *args: Any, **kwargs: Any) -> Any:
            def watched(*given: Any) -> T:
                before = mode()
                result = call(*given)
                seen.append((control(before), control(mode())))
                return result

            return super().submit(watched, *args, **kwargs)

    monkeypatch.setattr(ensemble, "ThreadPoolExecutor", Watched)
    before = control(mode())
    si.gradient_flow_ensemble(P, *MANY, t_end=30.0, threads=2, phases=True)
    assert len(seen) > 2
    assert set(seen) == {(before, before)}


FLAVOURS = [si.Balanced(), si.Factored(1e-6, 1e-5), si.Merged()]
LAWS = ["asymptotic", "first-order"]
EMERGING = si.Problem.multitask(
    task_sizes=(10, 10, 10), signal=[1.0, 1.0, 0.8], noise=0.1, context_length=200
)
METHODS = Methods(DORMAND_PRINCE, RODAS5P)
STAGES = max(len(DORMAND_PRINCE.a), len(RODAS5P.a))
T_END = 2e5  # long after the losing heads have all but vanished

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
every_law = pytest.mark.parametrize("kernel", LAWS)


def start(seed: int) -> si.State:
    """Small weights of four heads."""
    return si.initial.random(EMERGING, 4, scale=0.01, seed=seed, positive=True)


@on_x86
@every_law
@every_flavour
def test_flows_hold_no_subnormals(flavour: Parametrization, kernel: str) -> None:
    for seed in range(4):
        found = si.gradient_flow(EMERGING, *start(seed), t_end=T_END, parametrization=flavour, kernel=kernel)
        curve = found.trajectory
        assert subnormal(curve.x, curve.dense, found.omega, found.mu) == 0


@on_x86
@every_law
@every_flavour
def test_ensembles_hold_no_subnormals(
    flavour: Parametrization, kernel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in the log of their steps either."""
    seen = []

    def record(kept: Any, systems: Systems, log: Log, ends: Ends, first: int, stop: int) -> None:
        rows = np.arange(log.used[0])
        stepped = rows[log.before[rows] >= 0]  # a start has no extension, only room for one
        seen.append(subnormal(log.x[rows], log.dense[stepped], ends.x))
        whole(kept, systems, log, ends, first, stop)

    whole = ensemble._Kept.record
    monkeypatch.setattr(ensemble._Kept, "record", record)
    starts = [start(seed) for seed in range(40)]
    options: dict[str, Any] = {"t_end": T_END, "parametrization": flavour, "kernel": kernel}
    found = si.gradient_flow_ensemble(EMERGING, *zip(*starts, strict=True), phases=True, **options)
    assert found.success.all()
    assert found.measured is not None
    assert subnormal(found.omega, found.mu, found.measured.at, found.task_loss) == 0
    assert len(seen) > 0
    assert sum(seen) == 0


@plainly
def _work(system, methods, x, step, rtol, flush, explicit, implicit):  # type: ignore[no-untyped-def]
    """Make a step of either method in its work arrays, with subnormals flushed or kept."""
    model, chart, mixed = system.model, system.chart, is_mixed(system.chart)
    before = floating_mode()
    if flush:
        set_floating_mode(flushing(before))
    for work in (explicit, implicit):
        slope_at(model, chart, x, work.theta, work.grad, work.scratch, work.slope, mixed)
        weigh(chart, x, rtol, work.weights, mixed)
    explicit_step(model, chart, methods.explicit, x, step, 1, explicit, mixed)
    linear.prepare(implicit.linear, model, chart, implicit, mixed)
    linear.factorise(implicit.linear, model, chart, methods.implicit.gamma * step, implicit)
    implicit_step(model, chart, methods.implicit, x, step, implicit, mixed)
    set_floating_mode(before)


def zeros(system: System, size: int) -> Work:
    """A workspace in which nothing is left of what was in its memory before."""
    heads, blocks, tasks = system.shape
    first_mu = heads * blocks

    def parts() -> Parts:
        flat = np.zeros(size)
        return Parts(flat, flat[:first_mu].reshape(heads, blocks), flat[first_mu:].reshape(heads, tasks))

    scratch = law.scratch(system.model, system.shape)
    for values in scratch:
        values[...] = 0.0
    made = {
        "theta": parts(),
        "new_theta": parts(),
        "grad": parts(),
        "scratch": scratch,
        "new_scratch": scratch,
    }
    made["increments"] = np.zeros((STAGES, size))
    whole = {"order": np.zeros(size, dtype=np.int64), "coupled": np.zeros(1, dtype=np.int64)}
    whole |= {name: np.zeros((size, size)) for name in ("hess", "factor", "idle_rows")}
    made["linear"] = Dense(**{name: whole.get(name, np.zeros(size)) for name in Dense._fields})
    return Work(**{name: made.get(name, np.zeros(size)) for name in Work._fields})


def arrays(work: Any) -> Iterator[Floats]:
    """The arrays of floats in nested tuples."""
    for part in work:
        if isinstance(part, tuple):
            yield from arrays(part)
        elif part.dtype == np.float64:
            yield part


@on_x86
@pytest.mark.parametrize("kernel", ["asymptotic", slow("first-order")])
@every_flavour
def test_steps_leave_no_subnormals_in_their_work_arrays(flavour: Parametrization, kernel: str) -> None:
    """At states along flows. Without flushing there are some where weights vanish, as balanced ones do."""
    counts = {True: 0, False: 0}
    for seed in range(2):
        curve = si.gradient_flow(
            EMERGING, *start(seed), t_end=T_END, parametrization=flavour, kernel=kernel
        ).trajectory
        size, shape = curve.x.shape[1], (4, EMERGING.blocks, EMERGING.tasks)
        system = System(pack(EMERGING, kernel), curve.chart, np.arange(size), shape)
        for k in range(0, curve.t.size - 1, 5):
            step = curve.t[k + 1] - curve.t[k]
            for flush in counts:
                work = zeros(system, size), zeros(system, size)
                _work(system, METHODS, curve.x[k], step, 1e-8, flush, *work)
                counts[flush] += subnormal(*arrays(work))
    assert counts[True] == 0
    if isinstance(flavour, si.Balanced):
        assert counts[False] > 0
