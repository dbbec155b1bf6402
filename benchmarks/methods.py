"""How the methods were chosen: three Rosenbrock methods in the integrator, and explicit ones of two orders.

    python -m benchmarks.methods [--quick] [--out DIR]

"Switching" is what `gradient_flow` does: Dormand-Prince 5(4) until the flow is stiff, then Rodas5P. Against
it, from start to end: Rodas5P (order 5), Rodas4 (Hairer and Wanner, Solving ODEs II, VI.4) and Rodas4P2
(Steinebach 2020), of order 4 with two stages fewer, on the cases of tests/data/flow_reference.json.
The compiled integrator alone is timed. The error is the largest |theta - reference| / max(1, |reference|)
over the times of the case, continuous extension included. The reference is Rodas5P at rtol 1e-13, because
the file's stated accuracy does not resolve 1e-10; the distance between the two is printed.

Would an explicit method of order 8 pay? SciPy's RK45 (Dormand-Prince 5(4), as here) and DOP853 solve two
cases of `benchmarks.work_precision` with the compiled field up to the end of the emergence. Counted are
evaluations of the field at matched path error, without those of the dense output: until the flow is stiff
they are what a step costs. At the loosest tolerance stability limits the steps, whatever the order; and the
tolerance that meets a target says how far the estimate of an error is from the error.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp

import spectral_icl as si
from benchmarks import record, work_precision
from benchmarks.rivals import Floats
from spectral_icl.kernels.integrator import evaluate
from spectral_icl.kernels.integrator import integrate as compiled_integrate
from spectral_icl.kernels.model import (
    ALWAYS_IMPLICIT,
    EXPLICIT,
    REACHED_END,
    Limits,
    Methods,
    Nodes,
    Progress,
    Rosenbrock,
    System,
)
from spectral_icl.kernels.tableaus import DORMAND_PRINCE, RODAS5P
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.parametrization import Parametrization, to_dual

CASES = Path(__file__).parents[1] / "tests" / "data" / "flow_reference.json"
TARGETS = (1e-6, 1e-8, 1e-10)
EXPLICIT_METHODS = ("RK45", "DOP853")
EXPLICIT_SIZES = ((4, 3), (8, 4))
EXPLICIT_TARGETS = (1e-4, 1e-6, 1e-8)
_LADDER = tuple(10.0**-k for k in range(3, 12))
_REPEATS = 15
_CAPACITY = 20_000


def _rosenbrock(
    gamma: float, order: int, stage: list[list[float]], coupling: list[list[float]], dense: list[list[float]]
) -> Rosenbrock:
    square = np.zeros((2, len(stage), len(stage)))
    for target, rows in zip(square, (stage, coupling), strict=True):
        for i, row in enumerate(rows):
            target[i, : len(row)] = row
    return Rosenbrock(gamma, order, *square, dense=np.array(dense))


_RODAS4_LAST = [1.221224509226641, 6.019134481288629, 12.53708332932087, -0.6878860361058950]
RODAS4 = _rosenbrock(
    gamma=0.25,
    order=4,
    stage=[
        [],
        [1.544],
        [0.9466785280815826, 0.2557011698983284],
        [3.314825187068521, 2.896124015972201, 0.9986419139977817],
        _RODAS4_LAST,
        [*_RODAS4_LAST, 1.0],
    ],
    coupling=[
        [],
        [-5.6688],
        [-2.430093356833875, -0.2063599157091915],
        [-0.1073529058151375, -9.594562251023355, -20.47028614809616],
        [7.496443313967647, -10.24680431464352, -33.99990352819905, 11.70890893206160],
        [
            8.083246795921522,
            -7.981132988064893,
            -31.52159432874371,
            16.31930543123136,
            -6.058818238834054,
        ],
    ],
    dense=[
        [
            10.12623508344586,
            -7.487995877610167,
            -34.80091861555747,
            -7.992771707568823,
            1.025137723295662,
            0.0,
        ],
        [
            -0.6762803392801253,
            6.087714651680015,
            16.43084320892478,
            24.76722511418386,
            -6.594389125716872,
            0.0,
        ],
    ],
)

_RODAS4P2_LAST = [7.089566927282776, 4.573591406461604, -8.423496976860259, -0.959280113459775]
RODAS4P2 = _rosenbrock(
    gamma=0.25,
    order=4,
    stage=[
        [],
        [3.0],
        [0.906377755268814, -0.189707390391685],
        [3.758617027739064, 1.161741776019525, -0.849258085312803],
        _RODAS4P2_LAST,
        [*_RODAS4P2_LAST, 1.0],
    ],
    coupling=[
        [],
        [-12.0],
        [-6.354581592719008, 0.338972550544623],
        [-8.575016317114033, -7.606483992117508, 12.224997650124820],
        [-5.888975457523102, -8.157396617841821, 24.805546872612922, 12.790401512796979],
        [
            -4.408651676063871,
            -6.692003137674639,
            24.625568527593117,
            16.627521966636085,
            -5.714285714285718,
        ],
    ],
    dense=[
        [
            -5.323528268423303,
            -10.042123754867493,
            17.175254928256965,
            -5.079931171878093,
            -0.016185991706112,
            0.0,
        ],
        [
            6.984505741529879,
            6.914061169603662,
            -0.849178943070653,
            18.104410789349338,
            -3.516963011559032,
            0.0,
        ],
    ],
)


class Method(NamedTuple):
    """A Rosenbrock method, alone or after Dormand-Prince."""

    tableau: Rosenbrock
    mode: int = ALWAYS_IMPLICIT


METHODS = {
    "switching": Method(RODAS5P, EXPLICIT),
    "Rodas5P": Method(RODAS5P),
    "Rodas4": Method(RODAS4),
    "Rodas4P2": Method(RODAS4P2),
}


class Case(NamedTuple):
    """One reference case, ready for the kernel."""

    system: System
    start: Floats
    times: Floats
    filed: Floats  # (T, N) theta of the file
    accuracy: float  # of the file, as it says itself


@dataclass
class Run:
    """One method at one tolerance."""

    method: str
    rtol: float
    steps: int
    rejected: int
    error: float
    seconds: float


def load(table: dict[str, Any]) -> Case:
    """A case of the reference file."""
    problem = si.Problem.from_dict(
        {name: table[name] for name in ("block_sizes", "signal", "noise", "context_length", "covariance")}
    )
    start = si.State(np.array(table["omega0"]), np.array(table["mu0"]))
    weights: dict[str, Callable[[], Parametrization]] = {
        "balanced": lambda: si.Balanced(table["key_scale"]),
        "factored": lambda: si.Factored(table["imbalance_omega"], table["imbalance_mu"], table["key_scale"]),
        "merged": si.Merged,
    }
    chart = weights[table["parametrization"]]().chart(problem, start)
    count = len(table["times"])
    filed = [np.reshape(table[name], (count, -1)) for name in ("omega", "mu")]
    dual = to_dual(chart, start)
    shape = (start.omega.shape[0], problem.blocks, problem.tasks)
    return Case(
        system=System(pack(problem), chart, np.arange(dual.size), shape),
        start=dual,
        times=np.array(table["times"], dtype=np.float64),
        filed=np.concatenate(filed, axis=1),
        accuracy=table["agreement"],
    )


def integrate(case: Case, method: Method, rtol: float, buffers: Nodes) -> tuple[Progress, int, float]:
    """Solve to the last time; the work, the accepted steps and the seconds."""
    progress = Progress.begun(method.mode)
    limits = Limits(t_end=case.times[-1], rtol=rtol, stationary=0.0, max_steps=_CAPACITY)
    methods = Methods(DORMAND_PRINCE, method.tableau)
    buffers.x[0] = case.start
    began = time.perf_counter()
    status, accepted = compiled_integrate(case.system, methods, limits, progress, buffers)
    seconds = time.perf_counter() - began
    if status != REACHED_END:
        raise RuntimeError(f"status {status} at t = {progress.real[0]:g}, rtol {rtol:g}")
    return progress, accepted, seconds


def buffers_for(case: Case, method: Method) -> Nodes:
    """Room for every step."""
    return Nodes.room(_CAPACITY, method.tableau.dense.shape[0], case.start.size)


def states(case: Case, buffers: Nodes, accepted: int) -> Floats:
    """Theta at the times of the case."""
    theta = np.empty((case.times.size, case.start.size))
    whole = slice(accepted + 1)
    nodes = Nodes(buffers.t[whole], buffers.x[whole], buffers.dense[:accepted])
    evaluate(case.system.chart, nodes, case.times, theta)
    return theta


def deviation(theta: Floats, reference: Floats) -> float:
    """The error of the docstring above."""
    return float((np.abs(theta - reference) / np.maximum(1.0, np.abs(reference))).max())


def measure(case: Case, reference: Floats) -> list[Run]:
    """Every method down the ladder; the repeats take turns."""
    runs = []
    buffers = {name: buffers_for(case, method) for name, method in METHODS.items()}
    for rtol in _LADDER:
        for name, method in METHODS.items():
            progress, accepted, seconds = integrate(case, method, rtol, buffers[name])
            error = deviation(states(case, buffers[name], accepted), reference)
            runs.append(Run(name, rtol, accepted, int(progress.counts[1]), error, seconds))
    for _ in range(_REPEATS):
        for entry in runs:
            seconds = integrate(case, METHODS[entry.method], entry.rtol, buffers[entry.method])[2]
            entry.seconds = min(entry.seconds, seconds)
    return runs


@dataclass(frozen=True)
class Explicit:
    """An explicit method at one tolerance."""

    method: str
    rtol: float
    steps: int
    evaluations: int
    error: float  # the largest through the emergence


def by_order(case: work_precision.Case) -> list[Explicit]:
    """SciPy's two methods down a ladder, to the time when 99 % of the loss's fall are over."""
    times = case.times[:-1]
    times, wanted = times[times <= 0.5 * times[-1]], case.reference[:-1]
    found = []
    for name in EXPLICIT_METHODS:
        for rtol in (1e-2, *_LADDER):
            asked: dict[str, Any] = {"method": name, "rtol": rtol, "atol": rtol}
            span = (0.0, float(times[-1]))
            with np.errstate(all="ignore"):  # trial steps overflow, and are refused
                alone = solve_ivp(case.callbacks.field, span, case.callbacks.start, **asked)
                path = solve_ivp(case.callbacks.field, span, case.callbacks.start, t_eval=times, **asked)
            if not (alone.success and path.success):
                raise RuntimeError(f"{name} at rtol {rtol:g}: {path.message}")
            theta = work_precision.primal(case.chart, np.ascontiguousarray(path.y.T))
            error = work_precision.deviation(theta, wanted[: times.size]).max()
            found.append(Explicit(name, rtol, alone.t.size - 1, alone.nfev, float(error)))
    return found


def evaluations_at(runs: list[Explicit], method: str, target: float) -> float | None:
    """Evaluations of a method at matched error."""
    return record.time_at_error(
        [(run.error, run.evaluations) for run in runs if run.method == method], target
    )


def loosest(runs: list[Explicit], method: str, target: float) -> float | None:
    """The loosest tolerance that a method meets a target with."""
    return next((run.rtol for run in runs if run.method == method and run.error <= target), None)


def order_eight() -> tuple[list[str], list[dict[str, Any]]]:
    """Evaluations of the field by methods of order 5 and 8."""
    lines, data = ["", "evaluations of the field to the end of the emergence, at matched path error"], []
    for heads, tasks in EXPLICIT_SIZES:
        case = work_precision.build(heads, tasks)
        runs = by_order(case)
        lines.append(f"{case.title}, t = {0.5 * case.times[-2]:.4g}")
        lines.append("  error" + "".join(f"{name:>10}     (rtol)" for name in EXPLICIT_METHODS) + "   ratio")
        matched = {}
        for target in EXPLICIT_TARGETS:
            counts = {name: evaluations_at(runs, name, target) for name in EXPLICIT_METHODS}
            cells = "".join(
                f"{counts[name] or np.nan:10.0f} ({loosest(runs, name, target) or np.nan:8.0e})"
                for name in EXPLICIT_METHODS
            )
            five, eight = counts.values()
            lines.append(f"  {target:.0e}{cells}{f'{eight / five:8.2f}' if five and eight else '       -'}")
            matched[f"{target:.0e}"] = counts
        least = ", ".join(
            f"{run.method} {run.evaluations} in {run.steps} steps" for run in runs if run.rtol == 1e-2
        )
        lines.append(f"  at rtol 1e-02, where stability limits the steps: {least}")
        data.append(
            {"heads": heads, "tasks": tasks, "matched": matched, "runs": [asdict(run) for run in runs]}
        )
    return lines, data


def main() -> None:
    parser = argparse.ArgumentParser(description="comparison of integration methods")
    parser.add_argument("--quick", action="store_true", help="only whether a method of order 8 would pay")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()

    lines = [record.machine_line()]
    data: dict[str, Any] = {}
    explicit_lines, explicit_data = order_eight()
    if options.quick:
        print("\n".join([*lines, *explicit_lines]))
        return
    for name, table in json.loads(CASES.read_text("utf-8")).items():
        case = load(table)
        finest = METHODS["Rodas5P"]
        buffers = buffers_for(case, finest)
        reference = states(case, buffers, integrate(case, finest, 1e-13, buffers)[1])
        distance = deviation(case.filed, reference)
        runs = measure(case, reference)
        lines += ["", f"{name}: N = {case.start.size}, t = {case.times[-1]:g}"]
        lines.append(f"  reference within {distance:.1e} of the file, whose accuracy is {case.accuracy:.1e}")
        lines.append("  rtol    " + "".join(f"{method:^34}" for method in METHODS))
        lines.append("          " + "  steps  refused    error       ms  " * len(METHODS))
        for rtol in _LADDER:
            lines.append(
                f"  {rtol:.0e} "
                + "".join(
                    f"{run.steps:8d} {run.rejected:7d}  {run.error:.1e} {1e3 * run.seconds:8.3f} "
                    for run in runs
                    if run.rtol == rtol
                )
            )
        matched = {
            f"{target:.0e}": {
                method: record.time_at_error(
                    [(run.error, run.seconds) for run in runs if run.method == method], target
                )
                for method in METHODS
            }
            for target in TARGETS
        }
        lines.append("  milliseconds at matched error")
        for target_name, times in matched.items():
            cells = (f"{1e3 * s:34.3f} " if s is not None else f"{'-':>34} " for s in times.values())
            lines.append(f"  {target_name} " + "".join(cells))
        data[name] = {
            "reference_distance": distance,
            "file_accuracy": case.accuracy,
            "matched": matched,
            "runs": [asdict(run) for run in runs],
        }
    text = "\n".join(line.rstrip() for line in [*lines, *explicit_lines])
    print(text)
    record.write(options.out, "methods", text, {"cases": data, "order_eight": explicit_data})


if __name__ == "__main__":
    main()
