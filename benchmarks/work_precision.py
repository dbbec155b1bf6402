"""Time against error: `spectral_icl.gradient_flow` and SciPy's stiff integrators on the same flow.

    python -m benchmarks.work_precision [--quick] [--out DIR]

The flow: I disjoint tasks of size 10, signal 1, 0.95, ..., noise 0.1, L = 200, H heads, balanced, from a
positive random start of scale 0.01, to t = 2e5. Everybody solves it in the same dual coordinates. The public
call is timed, Python included, up to omega and mu at the requested times. SciPy is given this package's
compiled field and Jacobian, one compiled call each, and atol = rtol (the coordinates are logarithms).

Two errors of the same runs, both max |theta - reference| / max(1, |reference|): of the state at t = 2e5,
and over 50 log-spaced times through the emergence (from half the time of 1 % of the loss's fall to twice
the time of 99 %). The final state sits on an attractor, so the first forgives what the second shows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from matplotlib import style
from matplotlib.figure import Figure

import spectral_icl as si
from benchmarks import record, rivals
from benchmarks.rivals import Callbacks, Floats
from spectral_icl.kernels.charts import to_primal
from spectral_icl.kernels.model import Chart
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.parametrization import to_dual

T_END = 2e5
TARGETS = (1e-4, 1e-6, 1e-8)
HEADLINE = (4, 3)
SIZES = [(heads, tasks) for tasks in (1, 2, 4, 8) for heads in (1, 2, 4, 8, 16)]
OURS = "spectral-icl"
SOLVE_IVP = ("LSODA", "BDF", "Radau")
SOLVERS = (OURS, *SOLVE_IVP, "odeint")
CRITERIA = {"path": "through the emergence", "final": "final state"}
_LADDER = tuple(10.0**-k for k in range(2, 13))
_ENOUGH = 3e-9  # a ladder ends once both errors are below this (the headline's goes on)
_LONGEST = 20.0  # seconds: a ladder also ends after a run that took longer
_REPEATING = 1.0  # seconds: no more repeats of a run once they took this long together


@dataclass(frozen=True)
class Case:
    """One size of the problem, with its reference solution."""

    heads: int
    tasks: int
    problem: si.Problem
    start: si.State
    chart: Chart
    callbacks: Callbacks
    times: Floats  # 50 through the emergence, and T_END
    reference: Floats  # (51, N)
    agreement: float  # of the reference with SciPy's Radau at `agreement_rtol`
    agreement_rtol: float

    @property
    def title(self) -> str:
        """Its size in words."""
        return f"H = {self.heads}, I = {self.tasks} (N = {self.reference.shape[1]})"


@dataclass
class Run:
    """One solver at one tolerance."""

    solver: str
    rtol: float
    final: float  # error of the final state
    path: float  # largest error through the emergence
    seconds: float  # best of the repeats
    complaints: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Matched:
    """Times at one error. Ratios above 1 mean that this package is faster; None: not reached."""

    seconds: dict[str, float | None]
    best: str | None  # the fastest method of solve_ivp
    ratio: float | None  # its time / ours
    ratio_odeint: float | None  # odeint's time / ours


def flow(heads: int, tasks: int) -> tuple[si.Problem, si.State]:
    """The problem and the start of a size."""
    problem = si.Problem.multitask(
        task_sizes=(10,) * tasks,
        signal=[1.0 - 0.05 * i for i in range(tasks)],
        noise=0.1,
        context_length=200,
    )
    return problem, si.initial.random(problem, heads, scale=0.01, seed=0, positive=True)


def build(heads: int, tasks: int) -> Case:
    """The case of a size: its reference from this package at rtol 1e-13, checked against Radau."""
    problem, start = flow(heads, tasks)
    solution = si.gradient_flow(problem, *start, t_end=T_END, rtol=1e-13)
    fallen = (solution.loss[0] - solution.loss) / (solution.loss[0] - solution.loss[-1])
    onset, end = solution.t[np.argmax(fallen > 0.01)], solution.t[np.argmax(fallen > 0.99)]
    times = np.append(np.geomspace(0.5 * onset, 2.0 * end, 50), T_END)
    chart = si.Balanced().chart(problem, start)
    callbacks = rivals.balanced_callbacks(pack(problem), chart, heads, to_dual(chart, start))
    reference = flat(solution(times))
    tight = 1e-12 if reference.shape[1] <= 64 else 1e-10
    check = primal(chart, rivals.solve("Radau", callbacks, times, tight).x)
    return Case(
        heads=heads,
        tasks=tasks,
        problem=problem,
        start=start,
        chart=chart,
        callbacks=callbacks,
        times=times,
        reference=reference,
        agreement=float(deviation(check, reference).max()),
        agreement_rtol=tight,
    )


def flat(state: si.State) -> Floats:
    """(T, N) from (T, H, B) and (T, H, I)."""
    return np.concatenate([values.reshape(len(values), -1) for values in state], axis=1)


def primal(chart: Chart, x: Floats) -> Floats:
    """Theta at dual coordinates (T, N)."""
    theta = np.empty_like(x)
    for row, out in zip(x, theta, strict=True):
        to_primal(chart, row, out)
    return theta


def deviation(theta: Floats, reference: Floats) -> Floats:
    """The error of each entry."""
    return np.abs(theta - reference) / np.maximum(1.0, np.abs(reference))


def run(case: Case, solver: str, rtol: float) -> Run:
    """One timed call."""
    complaints = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        began = time.perf_counter()
        if solver == OURS:
            try:
                solution = si.gradient_flow(
                    case.problem, *case.start, t_end=T_END, t_eval=case.times, rtol=rtol
                )
            except si.IntegrationError as error:
                if error.solution is None:
                    raise
                solution = error.solution
                complaints.append(str(error))
            state = si.State(solution.omega, solution.mu)
            seconds = time.perf_counter() - began
            theta = flat(state)
        else:
            raw = rivals.solve(solver, case.callbacks, case.times, rtol)
            seconds = time.perf_counter() - began
            theta = primal(case.chart, raw.x)
            complaints += [raw.complaint] if raw.complaint else []
    complaints += sorted({str(warning.message) for warning in caught})
    if len(theta) < len(case.times):
        complaints.append(f"returned {len(theta)} of {len(case.times)} times")
        return Run(solver, rtol, np.inf, np.inf, seconds, complaints)
    errors = deviation(theta, case.reference)
    errors[~np.isfinite(errors)] = np.inf
    return Run(solver, rtol, float(errors[-1].max()), float(errors[:-1].max()), seconds, complaints)


def measure(case: Case, repeats: int, whole_ladder: bool) -> list[Run]:
    """Every solver down its ladder, then the repeats, the solvers taking turns."""
    runs: list[Run] = []
    for solver in SOLVERS:
        for rtol in _LADDER:
            done = run(case, solver, rtol)
            runs.append(done)
            if done.seconds > _LONGEST or (not whole_ladder and max(done.final, done.path) < _ENOUGH):
                break
    for done_already in range(1, repeats + 1):
        for entry in sorted(runs, key=lambda entry: -entry.rtol):
            if entry.seconds * done_already < _REPEATING:
                entry.seconds = min(entry.seconds, run(case, entry.solver, entry.rtol).seconds)
    return runs


def seconds_at(runs: Iterable[Run], solver: str, criterion: str, target: float) -> float | None:
    """Time of a solver at matched error."""
    points = [(getattr(entry, criterion), entry.seconds) for entry in runs if entry.solver == solver]
    return record.time_at_error(points, target)


def compare(runs: Sequence[Run], criterion: str, target: float) -> Matched:
    """Times of all solvers at matched error and what SciPy costs relative to ours."""
    times = {solver: seconds_at(runs, solver, criterion, target) for solver in SOLVERS}
    reached = [(seconds, name) for name in SOLVE_IVP if (seconds := times[name]) is not None]
    seconds, best = min(reached, default=(None, None))
    return Matched(times, best, _ratio(seconds, times[OURS]), _ratio(times["odeint"], times[OURS]))


def _ratio(theirs: float | None, ours: float | None) -> float | None:
    return theirs / ours if theirs is not None and ours is not None else None


def _cell(value: float | None, width: int) -> str:
    return f"{value:{width}.2f}" if value is not None else f"{'-':>{width}}"


def _milliseconds(seconds: float | None) -> float | None:
    return None if seconds is None else 1e3 * seconds


def detail(case: Case, runs: Sequence[Run]) -> str:
    """The tables of one case: times at matched error, and the runs themselves."""
    lines = [
        case.title,
        f"reference: rtol 1e-13, within {case.agreement:.1e} of SciPy's Radau at {case.agreement_rtol:.0e}",
        f"emergence: 50 times in [{case.times[0]:.4g}, {case.times[-2]:.4g}]",
    ]
    for criterion, words in CRITERIA.items():
        lines += ["", f"milliseconds at matched error, {words}"]
        lines.append("  error" + "".join(f"{solver:>14}" for solver in SOLVERS) + "  best solve_ivp / ours")
        for target in TARGETS:
            result = compare(runs, criterion, target)
            cells = "".join(_cell(_milliseconds(seconds), 14) for seconds in result.seconds.values())
            lines.append(f"  {target:.0e}{cells}  {_cell(result.ratio, 6)} ({result.best})")
    lines += ["", "runs            rtol   final error   path error       ms"]
    for entry in runs:
        lines.append(
            f"  {entry.solver:<12} {entry.rtol:.0e} {entry.final:13.1e} {entry.path:12.1e}"
            f" {1e3 * entry.seconds:8.2f}  {'; '.join(entry.complaints)}".rstrip()
        )
    return "\n".join(lines)


def grid(cases: Sequence[Case], results: Sequence[Sequence[Run]], criterion: str, target: float) -> str:
    """One line per size."""
    lines = [
        f"milliseconds at error {target:.0e}, {CRITERIA[criterion]}",
        "   H  I    N      ours  best of solve_ivp   ratio      odeint   ratio",
    ]
    for case, runs in zip(cases, results, strict=True):
        result = compare(runs, criterion, target)
        ours, odeint = _milliseconds(result.seconds[OURS]), _milliseconds(result.seconds["odeint"])
        best = _milliseconds(result.seconds[result.best]) if result.best else None
        lines.append(
            f"  {case.heads:2d} {case.tasks:2d} {case.reference.shape[1]:4d} {_cell(ours, 9)}"
            f"  {_cell(best, 10)} {result.best or '':<6} {_cell(result.ratio, 7)}"
            f"  {_cell(odeint, 10)} {_cell(result.ratio_odeint, 7)}"
        )
    return "\n".join(lines)


def complaints(cases: Sequence[Case], results: Sequence[Sequence[Run]]) -> str:
    """Who failed or warned, and where."""
    seen: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for case, runs in zip(cases, results, strict=True):
        for entry in runs:
            for words in entry.complaints:
                seen[entry.solver, words].append(f"H{case.heads} I{case.tasks} rtol {entry.rtol:.0e}")
    lines = [
        f"  {solver}: {words} (in {len(where)} runs, first {where[0]})"
        for (solver, words), where in seen.items()
    ]
    return "\n".join(["failures and warnings:", *(lines or ["  none: every run reached the end"])])


def figure(case: Case, runs: Sequence[Run]) -> Figure:
    """Work against precision, one panel per criterion."""
    labels = {
        OURS: "spectral-icl",
        **{name: f"solve_ivp {name}" for name in SOLVE_IVP},
        "odeint": "odeint (LSODA)",
    }
    with style.context("spectral_icl.paper"):
        result = Figure(figsize=(6.75, 2.9))
        panels = result.subplots(1, 2, sharey=True)
        for axes, (criterion, words) in zip(panels, reversed(CRITERIA.items()), strict=True):
            floor = case.agreement if criterion == "path" else 1e-14
            for solver, marker in zip(SOLVERS, "osD^v", strict=True):
                points = sorted(
                    (getattr(entry, criterion), 1e3 * entry.seconds)
                    for entry in runs
                    if entry.solver == solver and floor < getattr(entry, criterion) < np.inf
                )
                thick = {"linewidth": 1.8, "zorder": 3} if solver == OURS else {}
                axes.loglog(*zip(*points, strict=True), marker=marker, ms=3, label=labels[solver], **thick)
            axes.set_xlabel(f"error, {words}")
            axes.set_title(f"{case.heads} heads, {case.tasks} tasks")
            axes.grid(alpha=0.25, linewidth=0.4)
        panels[0].set_ylabel("wall time (ms)")
        result.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
        return result


def main() -> None:
    parser = argparse.ArgumentParser(description="work-precision comparison with SciPy")
    parser.add_argument("--quick", action="store_true", help="the headline size only")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()

    cases, results = [], []
    for size in [HEADLINE] if options.quick else [HEADLINE, *SIZES]:
        case = build(*size)
        headline = size == HEADLINE
        repeats = 20 if headline else 7 if case.reference.shape[1] <= 64 else 3
        runs = measure(case, repeats, whole_ladder=headline)
        print(f"measured {case.title}", flush=True)
        cases.append(case)
        results.append(runs)

    summary = [record.machine_line(), "", detail(cases[0], results[0]), ""]
    for criterion in CRITERIA:
        for target in TARGETS:
            summary += [grid(cases, results, criterion, target), ""]
    summary.append(complaints(cases, results))
    agreement = max(case.agreement for case in cases)
    summary.append(f"references agree with SciPy's Radau within {agreement:.1e} in the worst case")
    text = "\n".join(summary)
    print(text)
    data = {
        "cases": [
            {
                "heads": case.heads,
                "tasks": case.tasks,
                "size": case.reference.shape[1],
                "times": case.times.tolist(),
                "reference_agreement": case.agreement,
                "reference_agreement_rtol": case.agreement_rtol,
                "at_matched_error": {
                    criterion: {
                        f"{target:.0e}": asdict(compare(runs, criterion, target)) for target in TARGETS
                    }
                    for criterion in CRITERIA
                },
                "runs": [
                    asdict(entry)
                    if np.isfinite(entry.final)
                    else asdict(entry) | {"final": None, "path": None}
                    for entry in runs
                ],
            }
            for case, runs in zip(cases, results, strict=True)
        ]
    }
    record.write(options.out, "work_precision", text, data)
    drawn = figure(cases[0], results[0])
    with style.context("spectral_icl.paper"):
        drawn.savefig(options.out / "work_precision.pdf")
        drawn.savefig(options.out / "work_precision.png")


if __name__ == "__main__":
    main()
