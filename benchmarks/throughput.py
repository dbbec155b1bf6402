"""Flows per second and core at matched error: the ensemble against a loop, SciPy's LSODA and diffrax.

    python -m benchmarks.throughput [--quick] [--out DIR]

Three disjoint tasks of size 10 (signal 1, 1, 0.8; noise 0.1; L = 200), four heads, balanced, to t = 2e5, from
10^4 starts: `initial.random` with scale 0.01, positive, seeds 0, 1, ... The ensemble solves all of them, the
others the first 192. All but the ensemble's run on two threads is pinned to one core.

Who is compared: `gradient_flow_ensemble`; a Python loop over `gradient_flow`; SciPy's LSODA, by `solve_ivp`
and by `odeint`, given this package's compiled field and Jacobian; diffrax's Kvaerno5 with its own field,
compiled by JAX in batches of 64, with three settings (left out where it is missing: `pip install diffrax`).
Everybody uses the same dual coordinates, and atol = rtol.

Matched: every method is run with the loosest tolerance, in steps of half a decade from 1e-2, whose error is
at most 1e-6. The error of a start is max |theta - reference| / max(1, |reference|) of the state at t = 2e5.
It varies by orders of magnitude from start to start, so "at most" is read in two ways: for 95 % of the first
192 starts, and for every one of them.

Times are the best of three rounds, in each of which every method has its turn. Share of peak: the operations
that `benchmarks.flops` counts in a step of either method, times the steps taken and refused by it, over the
time, against dgemm on one thread. Subnormal numbers: the compiled calls flush them to zero; the ensemble is
also timed while its thread flushes them from outside, which should change nothing.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit

import spectral_icl as si
from benchmarks import flops, record, rivals
from benchmarks.rivals import Floats
from benchmarks.work_precision import deviation
from spectral_icl.kernels.ensemble import advance_many
from spectral_icl.kernels.model import EXPLICIT, IMPLICIT
from spectral_icl.kernels.subnormals import floating_mode, flushing, set_floating_mode
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.flow import ensemble as ensembles
from spectral_icl.multitask.flow.ensemble import Ensemble, gradient_flow_ensemble
from spectral_icl.multitask.parametrization import to_dual

HEADS = 4
T_END = 2e5
TARGET = 1e-6
BATCH = 64  # of diffrax
CRITERIA = {"p95": "95 % of the starts", "max": "every start"}
ENSEMBLE, LOOP, LSODA, ODEINT = "ensemble", "gradient_flow", "LSODA", "odeint"
# Step size controllers (pcoeff, icoeff) and whether the stages are solved by Newton's method.
DIFFRAX = {
    "diffrax 0.3 0.4": (0.3, 0.4, False),
    "diffrax 0.4 0.3": (0.4, 0.3, False),
    "diffrax Newton": (0.3, 0.4, True),
}
_LADDER = tuple(10.0 ** (-k / 2.0) for k in range(4, 25))
_SLOWEST = 0.4  # seconds per flow: a ladder ends after a rung that took longer
_REFERENCE = 1e-11
_HARDEST = 10  # starts on which the reference is checked
_MATRIX = 1536
_FLUSHED_STARTS, _FLUSHED_TURNS = 1000, 15

PROBLEM = si.Problem.multitask(task_sizes=(10, 10, 10), signal=[1.0, 1.0, 0.8], noise=0.1, context_length=200)
SHAPE = (HEADS, PROBLEM.blocks, PROBLEM.tasks)

Solve = Callable[[int, float], Floats]  # (number of starts, tolerance) -> theta (number, N)


@dataclass(frozen=True)
class Rung:
    """Errors of a method at one tolerance, over the sample."""

    rtol: float
    median: float
    p95: float
    max: float
    above: int  # starts whose error is above the target


@dataclass
class Method:
    """One way to solve many starts, what it got at each tolerance, and its best times."""

    name: str
    solve: Solve
    rungs: list[Rung] = field(default_factory=list)
    seconds: dict[float, float] = field(default_factory=dict)  # per flow, by tolerance

    def matched(self, criterion: str) -> float | None:
        """The loosest tolerance that meets the target."""
        return next((rung.rtol for rung in self.rungs if getattr(rung, criterion) <= TARGET), None)

    def seconds_at(self, criterion: str) -> float | None:
        """Seconds per flow at matched error."""
        rtol = self.matched(criterion)
        return None if rtol is None else self.seconds[rtol]


@dataclass(frozen=True)
class Starts:
    """The starts, and their flat dual coordinates."""

    omega: Floats  # (P, H, B)
    mu: Floats  # (P, H, I)
    x: Floats  # (P, N)

    @classmethod
    def draw(cls, count: int) -> Starts:
        """The first ``count``."""
        states = [si.initial.random(PROBLEM, HEADS, scale=0.01, seed=k, positive=True) for k in range(count)]
        chart = si.Balanced().chart(PROBLEM, states[0])
        return cls(
            np.array([state.omega for state in states]),
            np.array([state.mu for state in states]),
            np.array([to_dual(chart, state) for state in states]),
        )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, k: int) -> si.State:
        return si.State(self.omega[k], self.mu[k])


@contextmanager
def all_cores(cores: set[int]) -> Iterator[None]:
    """Lift the pinning to one core."""
    pinned = pin(cores)
    try:
        yield
    finally:
        pin(pinned)


def pin(cores: set[int]) -> set[int]:
    """Keep this thread, and those it starts, on some cores. Returns those of before."""
    if not hasattr(os, "sched_setaffinity"):  # not Linux: the thread limits of `benchmarks` have to do
        return cores
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    return before


@njit
def _flush() -> int:
    mode = floating_mode()
    set_floating_mode(flushing(mode))
    return mode


@njit
def _restore(mode: int) -> None:
    set_floating_mode(np.int32(mode))


@contextmanager
def all_flushed() -> Iterator[None]:
    """Take subnormal numbers for zero in all that this thread does, NumPy's work included."""
    before = _flush()
    try:
        yield
    finally:
        _restore(before)


def flat(omega: Floats, mu: Floats) -> Floats:
    """(P, N) from (P, H, B) and (P, H, I)."""
    return np.concatenate([omega.reshape(len(omega), -1), mu.reshape(len(mu), -1)], axis=1)


def to_theta(x: Floats) -> Floats:
    """The state at dual coordinates of balanced weights, all positive."""
    theta: Floats = np.exp(x)
    return theta


def ensemble(starts: Starts, count: int, rtol: float, threads: int = 1, phases: bool = False) -> Ensemble:
    """The first ``count`` flows by the package's ensemble."""
    return gradient_flow_ensemble(
        PROBLEM,
        starts.omega[:count],
        starts.mu[:count],
        t_end=T_END,
        rtol=rtol,
        threads=threads,
        phases=phases,
    )


def steps_by_method(starts: Starts, count: int, rtol: float) -> dict[str, int]:
    """Steps taken and refused by either method, of the first ``count`` flows: counted pass by pass."""
    names = {EXPLICIT: "explicit", IMPLICIT: "implicit"}
    counted = dict.fromkeys(names.values(), 0)

    def counting(*arguments: Any) -> Any:
        _, _, mode, _, first, stop, _, ends, _ = arguments
        before = int(ends.steps[first:stop].sum())
        log = advance_many(*arguments)
        counted[names[mode]] += int(ends.steps[first:stop].sum()) - before
        return log

    ensembles.advance_many = counting
    try:
        found = ensemble(starts, count, rtol)
    finally:
        ensembles.advance_many = advance_many
    assert sum(counted.values()) == (found.steps + found.rejected).sum()
    return counted


def by_ensemble(starts: Starts, count: int, rtol: float) -> Floats:
    """States at the end by `gradient_flow_ensemble`."""
    found = ensemble(starts, count, rtol)
    return np.where(found.success[:, None], flat(found.omega, found.mu), np.nan)


def by_loop(starts: Starts, count: int, rtol: float) -> Floats:
    """States at the end by `gradient_flow`, one after the other."""
    ends = [si.gradient_flow(PROBLEM, *starts[k], t_end=T_END, rtol=rtol).final for k in range(count)]
    return flat(np.array([end.omega for end in ends]), np.array([end.mu for end in ends]))


def by_scipy(starts: Starts, callbacks: rivals.Callbacks, method: str, count: int, rtol: float) -> Floats:
    """States at the end by SciPy; NaN where it did not get there."""
    times, ends = np.array([T_END]), np.full((count, starts.x.shape[1]), np.nan)
    for k in range(count):
        run = rivals.solve(method, callbacks._replace(start=starts.x[k]), times, rtol)
        if len(run.x) and not run.complaint:
            ends[k] = run.x[-1]
    return to_theta(ends)


def methods(starts: Starts) -> tuple[list[Method], str]:
    """Everybody, warm and compiled, and a line about diffrax."""
    chart = si.Balanced().chart(PROBLEM, starts[0])
    callbacks = rivals.balanced_callbacks(pack(PROBLEM), chart, HEADS, starts.x[0])
    found = [
        Method(ENSEMBLE, partial(by_ensemble, starts)),
        Method(LOOP, partial(by_loop, starts)),
        *(Method(name, partial(by_scipy, starts, callbacks, name)) for name in (LSODA, ODEINT)),
    ]
    try:
        from benchmarks import diffrax_flow
    except ModuleNotFoundError as error:
        return found, f"diffrax left out: {error} (pip install diffrax)"
    slope = diffrax_flow.field(pack(PROBLEM), chart, SHAPE)
    for x in (starts.x[0], starts.x[0] + 2.0):
        np.testing.assert_allclose(slope(0.0, x, None), callbacks.field(0.0, x), rtol=1e-9, atol=1e-12)
    built = {
        newton: diffrax_flow.solver(pack(PROBLEM), chart, SHAPE, T_END, BATCH, newton)
        for newton in (False, True)
    }

    def solve(pcoeff: float, icoeff: float, newton: bool, count: int, rtol: float) -> Floats:
        return to_theta(built[newton](starts.x[:count], rtol, pcoeff, icoeff))

    for name, settings in DIFFRAX.items():
        solve(*settings, BATCH, 1e-2)  # compile
        found.append(Method(name, partial(solve, *settings)))
    return found, diffrax_flow.versions()


def reference(starts: Starts, sample: int) -> tuple[Floats, float]:
    """States at the end by `gradient_flow` at a tight tolerance, and how far SciPy's Radau is from them.

    Radau is asked about the starts that react most to the tolerance.
    """
    tight = by_loop(starts, sample, _REFERENCE)
    hard = np.argsort(-deviation(by_loop(starts, sample, 1e-4), tight).max(axis=1))[:_HARDEST]
    chart = si.Balanced().chart(PROBLEM, starts[0])
    callbacks = rivals.balanced_callbacks(pack(PROBLEM), chart, HEADS, starts.x[0])
    chosen = Starts(starts.omega[hard], starts.mu[hard], starts.x[hard])
    radau = by_scipy(chosen, callbacks, "Radau", len(hard), _REFERENCE)
    return tight, float(deviation(radau, tight[hard]).max())


def climb(method: Method, wanted: Floats) -> None:
    """Run down the ladder of tolerances until every start meets the target."""
    sample = len(wanted)
    for rtol in _LADDER:
        began = time.perf_counter()
        errors = deviation(method.solve(sample, rtol), wanted).max(axis=1)
        seconds = time.perf_counter() - began
        errors[~np.isfinite(errors)] = np.inf
        median, p95 = np.quantile(errors, [0.5, 0.95], method="higher")
        rung = Rung(rtol, float(median), float(p95), float(errors.max()), int((errors > TARGET).sum()))
        method.rungs.append(rung)
        if rung.max <= TARGET or seconds > _SLOWEST * sample:
            break


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what the call returned."""
    began = time.perf_counter()
    result = call()
    return time.perf_counter() - began, result


def gemm(best: float) -> float:
    """Operations per second of dgemm, or ``best`` if that is more."""
    left, right = np.random.default_rng(0).normal(size=(2, _MATRIX, _MATRIX))
    out = np.empty_like(left)
    for _ in range(5):
        seconds, _ = timed(lambda: np.matmul(left, right, out=out))
        best = max(best, 2.0 * _MATRIX**3 / seconds)
    return best


@dataclass
class Timings:
    """What the rounds found beside the times kept in the methods. The ensemble's are of all starts."""

    peak: float = 0.0  # operations per second of dgemm
    one: float = np.inf  # seconds on one thread, at the tolerance of the first criterion
    two: float = np.inf  # the same on two threads and cores
    steps: dict[str, int] = field(default_factory=dict)  # by method
    steps_of_sample: int = 0

    @property
    def all_steps(self) -> int:
        """Steps by either method."""
        return sum(self.steps.values())


def race(everybody: list[Method], starts: Starts, sample: int, rounds: int, cores: set[int]) -> Timings:
    """All methods at their matched tolerances, taking turns."""
    found = Timings()
    ours = everybody[0].matched("p95")
    assert ours is not None
    for _ in range(rounds):
        found.peak = gemm(found.peak)
        for method in everybody:
            count = len(starts) if method.name == ENSEMBLE else sample
            for rtol in {rtol for criterion in CRITERIA if (rtol := method.matched(criterion)) is not None}:
                seconds = timed(partial(method.solve, count, rtol))[0] / count
                method.seconds[rtol] = min(method.seconds.get(rtol, np.inf), seconds)
        seconds, solved = timed(partial(ensemble, starts, len(starts), ours))
        found.one = min(found.one, seconds)
        found.steps_of_sample = int((solved.steps + solved.rejected)[:sample].sum())
        with all_cores(cores):
            seconds, _ = timed(partial(ensemble, starts, len(starts), ours, threads=2))
        found.two = min(found.two, seconds)
    found.steps = steps_by_method(starts, len(starts), ours)
    found.one = min(found.one, everybody[0].seconds[ours] * len(starts))
    everybody[0].seconds[ours] = found.one / len(starts)
    return found


def flushed_outside(starts: Starts, rtol: float) -> tuple[float, float]:
    """Seconds for some starts as they are, and on a thread that flushes subnormal numbers; best of turns."""
    call = partial(ensemble, starts, min(len(starts), _FLUSHED_STARTS), rtol)
    plain = flushed = np.inf
    for _ in range(_FLUSHED_TURNS):
        plain = min(plain, timed(call)[0])
        with all_flushed():
            flushed = min(flushed, timed(call)[0])
    return plain, flushed


def ladders(everybody: list[Method]) -> list[str]:
    """Errors at every tolerance tried."""
    lines = ["errors over the sample           rtol     median        95 %         max  starts above 1e-6"]
    for method in everybody:
        for rung in method.rungs:
            lines.append(
                f"  {method.name:<24} {rung.rtol:10.1e} {rung.median:10.1e} {rung.p95:11.1e} {rung.max:11.1e}"
                f" {rung.above:6d}"
            )
    return lines


def standings(everybody: list[Method], criterion: str) -> list[str]:
    """Throughput at matched error, and how many times that of the others the ensemble's is."""
    lines = [
        f"error at most {TARGET:.0e} for {CRITERIA[criterion]}",
        "                         rtol   ms per flow   flows per second   ensemble is faster by",
    ]
    ours = everybody[0].seconds_at(criterion)
    for method in everybody:
        rtol, seconds = method.matched(criterion), method.seconds_at(criterion)
        if rtol is None or seconds is None:
            lines.append(f"  {method.name:<18} target not reached")
            continue
        ratio = f"{seconds / ours:19.2f}" if ours is not None else f"{'-':>19}"
        lines.append(f"  {method.name:<18} {rtol:8.1e} {1e3 * seconds:13.4f} {1.0 / seconds:18.1f} {ratio}")
    return lines


def share(found: Timings, count: int) -> tuple[list[str], dict[str, Any]]:
    """How much of dgemm's rate the ensemble's arithmetic reaches."""
    parts = flops.step(*SHAPE)
    wholes = {method: flops.whole(each) for method, each in parts.items()}
    rates = {
        name: sum(getattr(wholes[method], name) * steps for method, steps in found.steps.items()) / found.one
        for name in ("flops", "total")
    }
    lines = []
    for method, each in parts.items():
        whole = wholes[method]
        lines += [
            f"operations of an {method} step: "
            + ", ".join(f"{name} {part.flops}" for name, part in each.items())
            + f"; {whole.exps} exponentials",
            f"  {whole.flops} without the exponentials, {whole.total} with {flops.EXP} for each",
            f"  {found.steps[method] / count:.1f} steps per flow, taken and refused",
        ]
    lines.append(f"dgemm, n = {_MATRIX}: {found.peak / 1e9:.1f} Gflop/s")
    for name, words in (("flops", "without the exponentials"), ("total", "with them")):
        part = f"{rates[name] / 1e9:.2f} Gflop/s, {100.0 * rates[name] / found.peak:.1f} % of dgemm"
        lines.append(f"  ensemble, {words}: {part}")
    data = {
        "step": {
            method: {name: part._asdict() for name, part in each.items()} for method, each in parts.items()
        },
        "exp": flops.EXP,
        "steps": found.steps,
        "dgemm": found.peak,
        "rate": rates["flops"],
        "rate_with_exp": rates["total"],
        "share": rates["flops"] / found.peak,
        "share_with_exp": rates["total"] / found.peak,
    }
    return lines, data


def main() -> None:
    parser = argparse.ArgumentParser(description="throughput of many flows at matched error")
    parser.add_argument("--quick", action="store_true", help="fewer starts, one round")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    count, sample, rounds = (1000, BATCH, 1) if options.quick else (10_000, 3 * BATCH, 3)

    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else {0}
    pin({min(cores)})
    starts = Starts.draw(count)
    everybody, about_diffrax = methods(starts)
    wanted, agreement = reference(starts, sample)
    for method in everybody:
        climb(method, wanted)
        print(f"climbed {method.name}", flush=True)
        if everybody[0].matched("p95") is None:
            raise SystemExit(
                "\n".join([*ladders(everybody), "the ensemble misses the target: nothing to compare"])
            )
    ours = everybody[0].matched("p95")
    assert ours is not None
    checked = ensemble(starts, count, ours, phases=True)
    found = race(everybody, starts, sample, rounds, cores)
    plain, flushed = flushed_outside(starts, ours)

    operations, operations_data = share(found, count)
    assert checked.emergence is not None
    latest = float(np.max(checked.emergence))  # NaN if any is
    lines = [
        record.machine_line(),
        about_diffrax,
        "",
        f"{count} starts, {int(checked.success.sum())} solved to t = {T_END:g}; "
        + (f"every task has emerged by t = {latest:.4g}" if latest < np.inf else "SOME TASKS NEVER EMERGE"),
        f"sample: the first {sample}; reference: gradient_flow at rtol {_REFERENCE:.0e},",
        f"within {agreement:.1e} of SciPy's Radau on the {_HARDEST} starts that react most to the tolerance",
        f"steps per flow of the ensemble: {found.all_steps / count:.1f}, on the sample"
        f" {found.steps_of_sample / sample:.1f}; best of {rounds}",
        "",
    ]
    for criterion in CRITERIA:
        lines += [*standings(everybody, criterion), ""]
    lines += [
        f"two threads on two cores: {found.one / found.two:.2f} times the throughput of one"
        f" ({count / found.one:.0f} and {count / found.two:.0f} flows per second)",
        f"with subnormal numbers flushed by the caller: {plain / flushed:.3f} times the throughput",
        "",
        *operations,
        "",
        *ladders(everybody),
    ]
    text = "\n".join(lines)
    print(text)
    data = {
        "diffrax": about_diffrax,
        "starts": count,
        "sample": sample,
        "solved": int(checked.success.sum()),
        "last_emergence": latest if np.isfinite(latest) else None,
        "reference_agreement": agreement,
        "methods": {
            method.name: {
                "matched": {
                    criterion: {
                        "rtol": method.matched(criterion),
                        "seconds_per_flow": method.seconds_at(criterion),
                    }
                    for criterion in CRITERIA
                },
                "rungs": [
                    {key: value if np.isfinite(value) else None for key, value in asdict(rung).items()}
                    for rung in method.rungs
                ],
            }
            for method in everybody
        },
        "two_threads": {"one": found.one, "two": found.two, "speedup": found.one / found.two},
        "flushed_outside": {"plain": plain, "flushed": flushed, "ratio": plain / flushed},
        "operations": operations_data,
    }
    record.write(options.out, "throughput", text, data)


if __name__ == "__main__":
    main()
