"""Large flows: products with the Hessian beside its factor, sizes, memory, and SciPy's BDF.

    python -m benchmarks.large [--quick] [--only SECTION ...] [--out DIR]

Under the asymptotic law unless another is named: tasks of 10 features, noise 0.1 and L = 100 I, of power 10
or 10 / i; "random" starts are N(0, 0.01^2), "dominant" ones give every task a head of its own. Tolerance 1e-6
unless it is said otherwise. "Factor" is the same integrator with a Cholesky factor of the Jacobian,
"products" is what large flows are solved by, and "chosen" which of the two `gradient_flow` takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.sparse import csc_array

import spectral_icl as si
from benchmarks import record
from spectral_icl.kernels import law
from spectral_icl.kernels.field import parts_of, slope_at
from spectral_icl.kernels.model import System
from spectral_icl.kernels.structured.asymptotic import AsymptoticSignals
from spectral_icl.kernels.structured.first_order import FirstOrderSignals
from spectral_icl.kernels.subnormals import floating_mode, flushing, set_floating_mode
from spectral_icl.multitask import context
from spectral_icl.multitask.parametrization import to_dual

Floats = NDArray[np.float64]
RTOL = 1e-6
FLAVOURS = (si.Balanced(), si.Factored(1e-3, 1e-3), si.Merged())


@contextmanager
def solved_by(products: bool | None) -> Iterator[None]:
    """A block in which flows are solved by products with the Hessian, by its factor, or by what is chosen."""
    chosen = context._is_large
    if products is not None:
        context._is_large = lambda problem, name, heads: products
    try:
        yield
    finally:
        context._is_large = chosen


def disjoint(tasks: int, power: float = 0.0) -> si.Problem:
    """Tasks of power 10 / i^power."""
    return si.Problem.from_dict(
        {
            "tasks": tasks,
            "task_sizes": 10,
            "signal": 10.0,
            "decay": power,
            "noise": 0.1,
            "context_length": 100.0 * tasks,
        }
    )


def overlapping(tasks: int, blocks: int, others: int, seed: int = 0) -> si.Problem:
    """Tasks in a block of their own number and in some others, with unequal eigenvalues."""
    rng = np.random.default_rng(seed)
    rows = [
        {int(b): float(rng.uniform(0.5, 10.0)) for b in (i % blocks, *rng.choice(blocks, others, False))}
        for i in range(tasks)
    ]
    return si.Problem(
        block_sizes=[10] * blocks,
        signal=[list(row.items()) for row in rows],
        noise=0.1,
        context_length=100.0 * blocks,
        covariance=rng.uniform(0.5, 2.0, blocks).tolist(),
    )


def start(problem: si.Problem, heads: int, kind: str) -> si.State:
    """A random or a dominant start."""
    if kind == "dominant":
        return si.initial.dominant(problem, heads, 0.01, 0.5)
    return si.initial.random(problem, heads, 0.01, seed=1)


def timed(
    problem: si.Problem, at: si.State, products: bool | None = None, **options: Any
) -> tuple[Any, float]:
    """A flow, and the seconds that it takes."""
    with solved_by(products):
        began = time.perf_counter()
        found = si.gradient_flow(problem, *at, **{"rtol": RTOL, **options})
        return found, time.perf_counter() - began


def warm() -> None:
    """Compile what is measured."""
    for kernel, products in itertools.product(("asymptotic", "first-order"), (True, False)):
        problem = disjoint(4)
        timed(problem, start(problem, 3, "random"), products, t_end=10.0, kernel=kernel)
    problem = disjoint(1000)
    timed(problem, start(problem, 4, "random"), t_end=0.1)


def furthest(one: si.State, other: si.State) -> float:
    """The largest difference of omega or mu."""
    return max(float(abs(a - b).max()) for a, b in zip(one, other, strict=True))


def problems(quick: bool) -> list[tuple[str, si.Problem, int, Any, str, float, str]]:
    """Thirty problems of N = 64 to 2048: name, problem, heads, parametrization, law, end, start."""
    made: list[tuple[str, si.Problem, int, Any, str, float, str]] = []
    for flavour in FLAVOURS:
        made.append(("equal", disjoint(8), 4, flavour, "asymptotic", 1e3, "random"))
        made.append(("equal", disjoint(32), 4, flavour, "asymptotic", 1e3, "random"))
        made.append(("power-law", disjoint(20, 1.0), 8, flavour, "asymptotic", 1e3, "random"))
        made.append(("overlap 2", overlapping(16, 16, 1), 8, flavour, "asymptotic", 300.0, "random"))
        made.append(("overlap 4", overlapping(20, 12, 3), 6, flavour, "asymptotic", 300.0, "random"))
        made.append(("equal", disjoint(16), 16, flavour, "asymptotic", 1e3, "random"))
        made.append(("equal", disjoint(24), 6, flavour, "first-order", 300.0, "random"))
        made.append(("overlap 3", overlapping(30, 24, 2), 8, flavour, "first-order", 100.0, "random"))
    made.append(("equal", disjoint(22), 22, FLAVOURS[0], "asymptotic", 1e4, "dominant"))
    made.append(("power-law", disjoint(100, 1.0), 4, FLAVOURS[0], "asymptotic", 300.0, "random"))
    made.append(("overlap 4", overlapping(40, 40, 3), 12, FLAVOURS[0], "asymptotic", 100.0, "random"))
    made.append(("equal", disjoint(64), 16, FLAVOURS[0], "asymptotic", 100.0, "random"))
    made.append(("equal", disjoint(32), 32, FLAVOURS[0], "asymptotic", 1e3, "dominant"))
    made.append(("all blocks", overlapping(12, 12, 11), 6, FLAVOURS[0], "asymptotic", 300.0, "random"))
    return made[:8] if quick else made


def agreement(quick: bool) -> list[dict[str, Any]]:
    """Products and factor on every problem: steps, differences beside the error, and times of the choice."""
    rows = []
    for name, problem, heads, flavour, kernel, end, kind in problems(quick):
        at = start(problem, heads, kind)
        options = {"parametrization": flavour, "kernel": kernel, "t_end": end, "dense_output": True}
        times = np.geomspace(1.0, end, 40)
        seconds: dict[str, float] = {}
        flows = {}
        for way, products in 2 * (("factor", False), ("products", True)):
            flows[way], took = timed(problem, at, products, **options)
            seconds[way] = min(took, seconds.get(way, np.inf))
        model = context.pack(problem, kernel, heads=heads)
        chosen = "products" if isinstance(model, (AsymptoticSignals, FirstOrderSignals)) else "factor"
        exact = timed(problem, at, True, **(options | {"rtol": 1e-9}))[0](times)
        factor = flows["factor"](times)
        rows.append(
            {
                "problem": name,
                "law": kernel,
                "weights": flavour.name,
                "heads": heads,
                "size": heads * (problem.tasks + problem.blocks),
                "steps": [flows[way].stats.steps for way in ("factor", "products")],
                "error": furthest(factor, exact),
                "difference": furthest(factor, flows["products"](times)),
                "seconds": seconds,
                "chosen": chosen,
            }
        )
        print(f"  {name} N = {rows[-1]['size']}: {seconds}", flush=True)
    return rows


def speed(quick: bool) -> list[dict[str, Any]]:
    """Both ways at larger and larger N, one after the other."""
    cases = [(4, 64, 1e5, "random"), (16, 16, 1e5, "random"), (16, 16, 1e5, "dominant")]
    if not quick:
        cases += [(4, 128, 1e4, "random"), (16, 32, 1e4, "random"), (22, 22, 1e5, "dominant")]
        cases += [(16, 64, 1e3, "random"), (32, 32, 1e5, "dominant")]
    rows = []
    for heads, tasks, end, kind in cases:
        problem = disjoint(tasks)
        at = start(problem, heads, kind)
        ours, took = timed(problem, at, True, t_end=end)
        took = min(took, timed(problem, at, True, t_end=end)[1])
        theirs, long = timed(problem, at, False, t_end=end)
        if long < 5.0:
            long = min(long, timed(problem, at, False, t_end=end)[1])
        times = np.geomspace(1.0, end, 40)
        rows.append(
            {
                "start": kind,
                "heads": heads,
                "tasks": tasks,
                "size": 2 * heads * tasks,
                "end": end,
                "steps": [theirs.stats.steps, ours.stats.steps],
                "difference": furthest(theirs(times), ours(times)),
                "seconds": {"factor": long, "products": took},
                "ratio": long / took,
            }
        )
        print(f"  N = {rows[-1]['size']}: {rows[-1]['ratio']:.1f}", flush=True)
    return rows


def sizes(quick: bool) -> list[dict[str, Any]]:
    """Flows that no factor would solve."""
    cases = [(4, 1000, 1e4, "random", 0.0), (100, 100, 1e6, "dominant", 0.0), (100, 100, 1e3, "random", 0.0)]
    if not quick:
        cases += [
            (4, 1000, 1e6, "random", 0.0),
            (4, 1000, 1e6, "random", 1.0),
            (100, 100, 1e6, "random", 0.0),
        ]
    rows = []
    for heads, tasks, end, kind, power in cases:
        problem = disjoint(tasks, power)
        found, took = timed(problem, start(problem, heads, kind), t_end=end)
        rows.append(
            {
                "start": kind,
                "signals": "power-law" if power else "equal",
                "heads": heads,
                "tasks": tasks,
                "size": 2 * heads * tasks,
                "end": end,
                "seconds": took,
                "steps": found.stats.steps,
                "rejected": found.stats.rejected,
                "products_per_stage": found.stats.hessian_products / (8 * max(1, found.stats.factorisations)),
            }
        )
        print(f"  H = {heads}, I = {tasks}, t = {end:g}: {took:.1f} s", flush=True)
    return rows


def growth(quick: bool) -> dict[str, Any]:
    """Seconds a step over B at H = 4, and the exponent that fits them."""
    rows = []
    for tasks in (16, 64, 256, 1024) if quick else (16, 64, 256, 1024, 4096):
        problem = disjoint(tasks)
        at = start(problem, 4, "random")
        runs = [timed(problem, at, True, t_end=300.0, dense_output=False) for _ in range(2)]
        took = min(seconds for _, seconds in runs)
        stats = runs[0][0].stats
        rows.append({"tasks": tasks, "seconds": took, "steps": stats.steps, "per_step": took / stats.steps})
    log = np.log([[row["tasks"], row["per_step"]] for row in rows])
    return {"rows": rows, "exponent": float(np.polyfit(log[:, 0], log[:, 1], 1)[0])}


def tolerance(quick: bool) -> list[dict[str, Any]]:
    """The flow at 1e-6 against that at 1e-8, relative to the largest omega or mu."""
    rows = []
    for heads, tasks, end in ((4, 1000, 1e3 if quick else 1e4), (100, 100, 100.0 if quick else 1e3)):
        problem = disjoint(tasks)
        at = start(problem, heads, "random")
        times = np.geomspace(1.0, end, 30)
        one, other = (
            timed(problem, at, t_end=end, t_eval=times, rtol=rtol, max_steps=10**6)[0]
            for rtol in (RTOL, 1e-8)
        )
        difference = furthest(si.State(one.omega, one.mu), si.State(other.omega, other.mu))
        rows.append(
            {
                "heads": heads,
                "tasks": tasks,
                "end": end,
                "difference": difference,
                "steps": [one.stats.steps, other.stats.steps],
            }
        )
    return rows


def peak() -> float:
    """The most memory, in MB, that this process has had; on Linux not what its parent had."""
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text("ascii"))
        assert found is not None
        return float(found[1]) / 1e3
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def memory() -> dict[str, Any]:
    """Peak memory of a process that solves H = 100 and 1000 tasks, N = 200,000, for some hundred steps."""
    code = (
        "import json; from benchmarks import large;"
        "base = large.peak();"
        "p = large.disjoint(1000); at = large.start(p, 100, 'random');"
        "s, took = large.timed(p, at, t_end=600.0);"
        "print(json.dumps({'seconds': took, 'steps': s.stats.steps, 'MB': large.peak(), 'MB before': base,"
        " 'excess': s.final_loss - 100.0, 'states': s.t.size}))"
    )
    found: dict[str, Any] = json.loads(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    )
    return found


@njit(error_model="numpy")
def _field(system, x, theta, grad, work, out):  # type: ignore[no-untyped-def]
    mode = floating_mode()
    set_floating_mode(flushing(mode))  # as in the package's own calls
    slope_at(
        system.model,
        system.chart,
        x,
        parts_of(theta, system.shape),
        parts_of(grad, system.shape),
        work,
        out,
        False,
    )
    set_floating_mode(mode)


@njit(error_model="numpy")
def _blocks(system, x, theta, grad, work, own, values):  # type: ignore[no-untyped-def]
    """Fill the 2H x 2H diagonal blocks of the Jacobian of disjoint tasks, (B, 2H, 2H)."""
    model, shape = system.model, system.shape
    heads, blocks, _ = shape
    _field(system, x, theta, grad, work, own)
    at, by = parts_of(theta, shape), parts_of(grad, shape)
    law.curvatures(model, at.omega, at.mu, work, by.omega, by.mu)
    every = np.arange(heads)
    for b in range(blocks):
        law.within_block(model, at.omega, at.mu, work, b, every, heads, values[b, :heads, :heads])
        law.within_task(model, at.omega, at.mu, work, b, every, heads, values[b, heads:, heads:])
        law.across(model, at.omega, at.mu, work, b, every, heads, every, heads, values[b, :heads, heads:])


class Peer:
    """What SciPy's BDF is given: the compiled field, and the Jacobian's diagonal blocks as a sparse matrix.

    What couples blocks is of order 1/L, and dense: left out, as a Newton iteration may.
    """

    def __init__(self, problem: si.Problem, at: si.State) -> None:
        chart = si.Balanced().chart(problem, at)
        for values in chart:
            values.setflags(write=False)
        self.start = to_dual(chart, at)
        size, heads = self.start.size, len(at.omega)
        model = context.pack(problem, heads=heads)
        self.system = System(model, chart, np.arange(size), (heads, problem.blocks, problem.tasks))
        self.work = law.scratch(model, self.system.shape)
        self.theta, self.grad, self.own = np.empty((3, size))
        self.values = np.empty((problem.blocks, 2 * heads, 2 * heads))
        entry = np.arange(heads)[None, :]
        block = np.arange(problem.blocks)[:, None]
        first_mu = heads * problem.blocks
        self.at = np.concatenate(
            [entry * problem.blocks + block, first_mu + entry * problem.tasks + block], axis=1
        )

    def field(self, _: float, x: Floats) -> Floats:
        """The field dx/dt."""
        out = np.empty_like(x)
        _field(self.system, x, self.theta, self.grad, self.work, out)
        return out

    def jacobian(self, _: float, x: Floats) -> csc_array:
        """The diagonal blocks of its derivative, -P s S s M."""
        _blocks(self.system, x, self.theta, self.grad, self.work, self.own, self.values)
        upper = np.triu(self.values)
        whole = upper + np.triu(upper, 1).swapaxes(1, 2)
        chart = self.system.chart
        rows, columns = np.broadcast_arrays(self.at[:, :, None], self.at[:, None, :])
        values = -(chart.speed * chart.sign)[rows] * whole * self.theta[columns]
        size = x.size
        return csc_array((values.ravel(), (rows.ravel(), columns.ravel())), shape=(size, size))


def beside_bdf(quick: bool) -> dict[str, Any]:
    """Seconds at matched error, ours and SciPy's BDF, at N = 8000: errors of omega and mu over 30 times."""
    tasks, end = (200, 300.0) if quick else (1000, 1e3)
    problem = disjoint(tasks)
    at = start(problem, 4, "random")
    times = np.geomspace(1.0, end, 30)

    def ours(rtol: float) -> si.State:
        found = si.gradient_flow(problem, *at, t_end=end, t_eval=times, rtol=rtol, max_steps=10**6)
        return si.State(found.omega, found.mu)

    def bdf(rtol: float) -> si.State:
        peer = Peer(problem, at)
        run = solve_ivp(
            peer.field, (0.0, end), peer.start, "BDF", times, rtol=rtol, atol=rtol, jac=peer.jacobian
        )
        theta = peer.system.chart.scale * np.exp(run.y.T)
        split = at.omega.size
        return si.State(
            theta[:, :split].reshape(-1, *at.omega.shape), theta[:, split:].reshape(-1, *at.mu.shape)
        )

    def curve(solve: Callable[[float], si.State], tolerances: tuple[float, ...]) -> list[list[float]]:
        points = []
        for rtol in tolerances:
            began = time.perf_counter()
            found = solve(rtol)
            points.append([furthest(found, exact), time.perf_counter() - began, rtol])
            print(f"  rtol {rtol:g}: error {points[-1][0]:.1e}, {points[-1][1]:.1f} s", flush=True)
        return points

    exact = ours(1e-10 if quick else 1e-9)
    points = {"products": curve(ours, (1e-4, 1e-5, 1e-6, 1e-7)), "BDF": curve(bdf, (1e-4, 1e-5, 1e-6, 1e-7))}
    target = max(error for error, *_ in points["BDF"][-1:])
    seconds = {
        name: record.time_at_error([(error, took) for error, took, _ in found], target)
        for name, found in points.items()
    }
    return {"tasks": tasks, "end": end, "points": points, "target": target, "seconds": seconds}


SECTIONS: dict[str, Callable[[bool], Any]] = {
    "agreement": agreement,
    "speed": speed,
    "sizes": sizes,
    "growth": growth,
    "tolerance": tolerance,
    "memory": lambda quick: {} if quick else memory(),
    "bdf": beside_bdf,
}


def report(found: dict[str, Any]) -> Iterator[str]:
    """The tables as text."""
    if rows := found.get("agreement"):
        yield "problem     law          weights    H     N  steps (factor, products)  error, difference, s"
        for row in rows:
            steps, seconds = row["steps"], row["seconds"]
            yield (
                f"{row['problem']:11} {row['law']:12} {row['weights']:9} {row['heads']:2} {row['size']:5}"
                f"  {steps[0]:8} {steps[1]:8}     {row['error']:8.1e} {row['difference']:8.1e}"
                f"  {seconds['factor']:8.4f}  products {seconds['factor'] / seconds['products']:6.2f} x"
                f"  chosen: {row['chosen']}"
            )
        worst = max(row["difference"] / row["error"] for row in rows)
        slowest = max(row["seconds"][row["chosen"]] / row["seconds"]["factor"] for row in rows)
        close = sum(row["difference"] <= 0.1 * row["error"] for row in rows)
        same = sum(row["steps"][0] == row["steps"][1] for row in rows)
        yield f"{same} of {len(rows)} with the same steps; difference within a tenth of the error in {close},"
        yield f"{worst:.2g} of it in all; what is chosen takes at most {slowest:.2f} times the factor's time"
    if rows := found.get("speed"):
        yield "\nstart       H    I     N      t    steps    difference   factor s  products s  ratio"
        for row in rows:
            seconds = row["seconds"]
            yield (
                f"{row['start']:9} {row['heads']:3} {row['tasks']:4} {row['size']:5} {row['end']:6.0e}"
                f"  {row['steps'][0]:5} {row['steps'][1]:5}  {row['difference']:8.1e}"
                f"  {seconds['factor']:8.3f}  {seconds['products']:8.4f}  {row['ratio']:7.1f}"
            )
    if rows := found.get("sizes"):
        yield "\nstart     signals     H     I       N      t  seconds  steps (refused)  products a stage"
        for row in rows:
            yield (
                f"{row['start']:9} {row['signals']:9} {row['heads']:3} {row['tasks']:5} {row['size']:7}"
                f" {row['end']:6.0e}  {row['seconds']:7.2f}  {row['steps']:5} ({row['rejected']})"
                f"  {row['products_per_stage']:6.1f}"
            )
    if grown := found.get("growth"):
        each = ", ".join(f"{row['tasks']}: {1e6 * row['per_step']:.0f}" for row in grown["rows"])
        yield f"\nmicroseconds a step at H = 4 and B = {each}: exponent {grown['exponent']:.2f}"
    for row in found.get("tolerance", []):
        yield (
            f"H = {row['heads']}, I = {row['tasks']} to t = {row['end']:g}: 1e-6 against 1e-8 differs by"
            f" {row['difference']:.1e} ({row['steps'][0]} and {row['steps'][1]} steps)"
        )
    if told := found.get("memory"):
        yield (
            f"N = 200,000: {told['MB']:.0f} MB at most, {told['MB before']:.0f} of them before the flow;"
            f" {told['steps']} steps in {told['seconds']:.1f} s"
        )
    if told := found.get("bdf"):
        seconds = told["seconds"]
        yield f"\nSciPy's BDF, N = {8 * told['tasks']} to t = {told['end']:g}, error {told['target']:.1e}:"
        ratio = seconds["BDF"] / seconds["products"]
        yield f"  products {seconds['products']:.2f} s, BDF {seconds['BDF']:.2f} s: {ratio:.1f}"


def main() -> None:
    """Run the sections."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=sorted(SECTIONS))
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    arguments = parser.parse_args()
    warm()
    found = {}
    for name, measure in SECTIONS.items():
        if arguments.only is None or name in arguments.only:
            print(name, flush=True)
            found[name] = measure(arguments.quick)
    text = "\n".join([record.machine_line(), *report(found)])
    print(text)
    if arguments.only:  # the other sections are as they were
        path = arguments.out / "large.json"
        before = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        before.pop("machine", None)
        found = before | found
        text = "\n".join([record.machine_line(), *report(found)])
    record.write(arguments.out, "large", text, found)
    print(f"peak memory of all this: {peak():.0f} MB")


if __name__ == "__main__":
    main()
