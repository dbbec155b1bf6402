"""What a forecast of all emergences costs, and how far it is from solved flows.

    python -m benchmarks.forecast [--quick] [--out DIR]

Cost: I disjoint tasks of 10 features, power 10 / (i + 1), noise 0.1, L = 1000, and H heads of small positive
weights, drawn at random. "LSODA" is SciPy's, on all open tasks in one system of 2 H I unknowns that starts
again after every emergence, if that ends within a minute.

Errors: random problems of 2 to 8 tasks, one to four heads and starts of size up to 0.1 (see `size_of_start`),
each solved until three times the last forecast. "First" are tasks that are the first of the head that takes
them, "later" the others. And one larger problem, with the signals of above in four heads.
"""

from __future__ import annotations

import argparse
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

import spectral_icl as si
from benchmarks import record
from spectral_icl.multitask.flow.emergence import rates, size_of_start
from spectral_icl.multitask.flow.race import race, water_level

Floats = NDArray[np.float64]

SHAPES = ((2, 2), (4, 2), (4, 10), (10, 10), (4, 100), (100, 100), (4, 1000), (100, 1000))  # heads, tasks
MINUTE = 60.0
SIZES = (0.0, 0.01, 0.05, 0.1)


class TooLongError(Exception):
    """An integration that would take more than a minute."""


def large(heads: int, tasks: int, scale: float = 1e-4) -> tuple[si.Problem, si.State, float]:
    """A problem with power-law signals, a start and a key scale."""
    problem = si.Problem.multitask(
        task_sizes=[10] * tasks,
        signal=(10.0 / (1.0 + np.arange(tasks))).tolist(),
        noise=0.1,
        context_length=1000.0,
    )
    rng = np.random.default_rng(0)
    start = si.State(*np.abs(rng.normal(0.0, scale, (2, heads, tasks))))
    return problem, start, float((problem.dimension + tasks) ** -0.5)


def by_lsoda(problem: si.Problem, start: si.State, key_scale: float) -> float:
    """Seconds that the same race takes with one system for all tasks, up to a minute."""
    made = rates(problem, key_scale)
    heads, tasks = start.mu.shape
    power = made.c2 / (4.0 * made.kappa)
    gain = 4.0 * power / (np.e * made.n * made.size)
    state, left = np.log(np.stack(start)), np.arange(tasks)
    extra, level = np.zeros((heads, 1)), np.zeros((heads, 1))
    held: list[list[int]] = [[] for _ in range(heads)]
    now, began = 0.0, time.perf_counter()
    while left.size:
        c1, c2, n, square = (values[left] for values in (made.c1, made.c2, made.n, made.kappa**2))
        damping = level * square
        speed = c1 * (c2 + damping) / (c1 + n * (1.0 + extra)) - damping

        def field(_: float, y: Floats, c1: Floats = c1, c2: Floats = c2, n: Floats = n) -> Floats:
            if time.perf_counter() - began > MINUTE:
                raise TooLongError
            omega, mu = np.exp(y[:-1]).reshape(2, heads, -1)
            noise = n * (mu.sum(axis=0) + extra * mu)
            fastest = (c1 * mu + c2 * omega + noise).max()  # so that a divergence is no obstacle
            by_omega, by_mu = c1 * mu - damping * omega, c2 * omega - noise  # noqa: B023
            return np.concatenate([by_omega.ravel(), by_mu.ravel(), [1.0]]) / fastest

        def undecided(_: float, y: Floats, speed: Floats = speed) -> float:
            omega = np.exp(y[:-1]).reshape(2, heads, -1)[0]
            return float(np.log(100.0 / np.maximum(y[-1] * speed * omega, 1e-300)).min())

        undecided.terminal = True  # type: ignore[attr-defined]
        y = np.append(state[:, :, left], now)
        run = solve_ivp(field, (0.0, 1e3), y, "LSODA", rtol=1e-6, atol=1e-6, events=undecided)
        y, now = run.y[:, -1], float(run.y[-1, -1])
        if run.status != 1:  # no head takes what is left
            break
        state[:, :, left] = y[:-1].reshape(2, heads, -1)
        reach = now * speed * np.exp(state[0][:, left])
        for k in np.flatnonzero(reach.max(axis=0) > 99.0):
            winner = int(reach[:, k].argmax())
            held[winner].append(int(left[k]))
            extra[winner] = np.e - 1.0
            level[winner] = 4.0 * key_scale * water_level(power[held[winner]], gain[held[winner]])
        left = left[reach.max(axis=0) <= 99.0]
    return time.perf_counter() - began


def costs(quick: bool) -> list[dict[str, Any]]:
    """Seconds of forecasts, best of three, and of LSODA, once."""
    rows = []
    race(*large(2, 2))  # compiles
    for heads, tasks in SHAPES[:5] if quick else SHAPES:
        case = large(heads, tasks)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            found = race(*case)
            times.append(time.perf_counter() - began)
        try:
            other = by_lsoda(*case) if heads * tasks <= (100 if quick else 1000) else None
        except TooLongError:
            other = None
        told = sum(forecast.time is not None for forecast in found)
        rows.append({"heads": heads, "tasks": tasks, "seconds": min(times), "lsoda": other, "forecast": told})
    return rows


def errors(draws: int) -> list[dict[str, Any]]:
    """Every task of random problems that is forecast, or that emerged."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for draw in range(draws):
        tasks, heads = int(rng.integers(2, 9)), int(rng.integers(1, 5))
        power = np.exp(rng.uniform(np.log(0.3), np.log(10.0), tasks))
        problem = si.Problem.multitask(
            task_sizes=rng.integers(4, 40, tasks).tolist(),
            signal=(power if rng.random() < 0.5 else 10.0 / (1.0 + np.arange(tasks))).tolist(),
            noise=float(rng.choice([0.01, 0.1, 1.0])),
            context_length=float(np.exp(rng.uniform(np.log(50.0), np.log(5000.0)))),
        )
        scale = float((problem.dimension + tasks) ** -0.5)
        start = si.initial.random(
            problem, heads, scale=10.0 ** rng.uniform(-4.0, -1.7), seed=draw, positive=True
        )
        size = size_of_start(problem, start, scale)
        found = race(problem, start, scale)
        last = max(forecast.time or 0.0 for forecast in found)
        if last == 0.0:
            continue
        sol = si.gradient_flow(
            problem, *start, parametrization=si.Balanced(scale), t_end=3.0 * last, max_steps=10**6
        )
        seen: set[int] = set()
        for forecast in sorted(found, key=lambda forecast: forecast.time or np.inf):
            task = sol.phases.tasks[forecast.task]
            error = None
            if forecast.time is not None and task.head == forecast.head:
                error = abs(forecast.time / task.time - 1.0)
            rows.append(
                {
                    "size": size,
                    "later": forecast.head in seen,
                    "forecast": forecast.head,
                    "head": task.head,
                    "error": error,
                }
            )
            if forecast.head is not None:
                seen.add(forecast.head)
    return rows


def larger(tasks: int) -> dict[str, Any]:
    """The errors of a problem of many tasks in four heads, until nine in ten were to emerge, twice."""
    problem, start, scale = large(4, tasks, 1e-3)
    found = race(problem, start, scale)
    last = float(np.percentile([forecast.time for forecast in found if forecast.time is not None], 90.0))
    flow = si.gradient_flow(
        problem, *start, parametrization=si.Balanced(scale), t_end=2.0 * last, max_steps=10**6
    )
    seen = [(task, found[task.task]) for task in flow.phases.tasks if task.head is not None]
    size = [
        abs(forecast.time / task.time - 1.0)
        for task, forecast in seen
        if forecast.time is not None and forecast.head == task.head
    ]
    percent = (100.0 * np.percentile(size, [50, 95, 100])).tolist()
    return {"tasks": tasks, "emerged": len(seen), "head right": len(size), "percent": percent}


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Counts, and percentiles of the errors, by size and by whether the head had a task."""
    found = []
    for later in (False, True):
        for low, high in pairwise(SIZES):
            group = [row for row in rows if row["later"] == later and low < row["size"] <= high]
            both = [row for row in group if row["forecast"] is not None and row["head"] is not None]
            size = [row["error"] for row in both if row["error"] is not None]
            found.append(
                {
                    "tasks": "later" if later else "first",
                    "size": [low, high],
                    "emerged": len(both),
                    "head right": len(size),
                    "not emerged": sum(row["head"] is None and row["forecast"] is not None for row in group),
                    "percent": (100.0 * np.percentile(size, [50, 95, 99, 100])).tolist() if size else None,
                }
            )
    neither = [row for row in rows if row["forecast"] is None]
    emerged = sum(row["head"] is not None for row in neither)
    found.append({"tasks": "no head forecast", "emerged": emerged, "not emerged": len(neither) - emerged})
    return found


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few problems, no large ones")
    parser.add_argument("--out", type=Path, default=record.RESULTS, help="folder of the results")
    chosen = parser.parse_args(arguments)
    cost = costs(chosen.quick)
    lines = [record.machine_line(), "", "    H     I   forecast     LSODA     ratio   tasks forecast"]
    for row in cost:
        other = row["lsoda"]
        ratio = f"{other:8.3f} s {other / row['seconds']:8.0f}" if other else f"{'-':>10} {'-':>8}"
        lines.append(
            f"{row['heads']:5} {row['tasks']:5} {row['seconds']:8.4f} s {ratio} {row['forecast']:12}"
        )
    accuracy = summary(errors(40 if chosen.quick else 600))
    lines += ["", "errors of the time, percent"]
    lines += ["tasks          size   emerged  head right  not emerged   median    95 %    99 %     max"]
    for row in accuracy[:-1]:
        percent = "".join(f" {x:7.2f}" for x in row["percent"] or ())
        low, high = row["size"]
        lines.append(
            f"{row['tasks']:6} {low:5g} to {high:<5g} {row['emerged']:6} {row['head right']:10}"
            f" {row['not emerged']:12}  {percent}"
        )
    rest = accuracy[-1]
    lines.append(f"no head forecast: {rest['not emerged']} that did not emerge, {rest['emerged']} that did")
    many = larger(12 if chosen.quick else 60)
    lines.append(
        f"{many['tasks']} tasks in 4 heads: {many['emerged']} emerged, head right {many['head right']}, error"
        + " median, 95 %, max"
        + "".join(f" {x:.2f}" for x in many["percent"])
    )
    text = "\n".join(lines)
    print(text)
    record.write(chosen.out, "forecast", text, {"cost": cost, "accuracy": accuracy, "larger": many})


if __name__ == "__main__":
    main()
