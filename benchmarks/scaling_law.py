"""The power law that a thousand emergences add up to, measured on flows and by their forecast.

    python -m benchmarks.scaling_law [--quick] [--out DIR]

Under the asymptotic law: I tasks of ten features and power 10 i^-a, noise 0.1, L = 100 I, and four heads of
small positive weights. The excess is the loss without query noise; that of the forecast is a staircase: at
each predicted time the head takes one task more, and has the loss of the best single head of the tasks that
it then has. Exponents are slopes of log excess against log time over the middle half of the decades from the
first emergence to the end. "Endless" is 1 / a - 1, for a > 1: tasks of power i^-a emerge at times about
proportional to i^a, and those after task n have a power of about n^(1 - a) together, if there is no end of
them and learning is free.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

import spectral_icl as si
from benchmarks import record
from spectral_icl.io.text import table

Floats = NDArray[np.float64]

HEADS, SCALE, NOISE = 4, 3e-4, 0.1
EXPONENTS = (0.75, 1.0, 1.5)
POINTS = 2000
PERCENTILES = (0, 5, 50, 95, 100)


def powers(tasks: int, exponent: float) -> Floats:
    """The powers of the tasks, (I,)."""
    return 10.0 * np.arange(1.0, tasks + 1.0) ** -exponent


def problem(power: Floats, length: float) -> si.Problem:
    """Disjoint tasks of ten features with these powers."""
    sizes = (10,) * power.size
    return si.Problem.multitask(task_sizes=sizes, signal=power, noise=NOISE, context_length=length)


def staircase(whole: si.Problem, told: Sequence[Any], t: Floats) -> Floats:
    """The excess at times (T,) by forecasts, whose heads are at rest between them."""
    power = whole.power
    excess = np.full(t.size, power.sum())
    for head in range(HEADS):
        mine: list[int] = []
        gained = 0.0
        for forecast in sorted((f for f in told if f.head == head), key=lambda f: f.time):
            mine.append(forecast.task)
            part = problem(power[mine], whole.context_length)
            gain = power[mine].sum() - si.optimal.excess(part, si.optimal.single_head(part).loss)
            excess[t >= forecast.time] -= gain - gained
            gained = gain
    return excess


def slope(t: Floats, excess: Floats, first: float) -> float:
    """The exponent over the middle half of the decades from ``first`` to the last time."""
    low, high = np.log(first), np.log(t[-1])
    middle = np.abs(np.log(t) - (low + high) / 2.0) <= (high - low) / 4.0
    return float(np.polyfit(np.log(t[middle]), np.log(excess[middle]), 1)[0])


def measured(tasks: int, exponent: float, end: float) -> dict[str, Any]:
    """A flow beside its forecast."""
    p = problem(powers(tasks, exponent), 100.0 * tasks)
    start = si.initial.random(p, HEADS, scale=SCALE, positive=True)
    t = np.geomspace(1.0, end, POINTS)
    began = perf_counter()
    flow = si.gradient_flow(p, *start, t_end=end, t_eval=t, rtol=1e-6)
    seconds = perf_counter() - began
    excess, predicted = flow.loss - NOISE * tasks, staircase(p, flow.forecast, t)
    both = [(f, e) for f, e in zip(flow.forecast, flow.phases.tasks, strict=True) if f.time and e.time > 0.0]
    ratio = np.array([forecast.time / seen.time for forecast, seen in both])
    first = min(seen.time for _, seen in both)
    return {
        "exponent": exponent,
        "seconds": seconds,
        "steps": flow.stats.steps,
        "emerged": sum(seen.head is not None for seen in flow.phases.tasks),
        "forecast in time": sum(bool(f.time) and f.time <= end for f in flow.forecast),
        "compared": len(both),
        "head right": sum(forecast.head == seen.head for forecast, seen in both),
        "slope": slope(t, excess, first),
        "slope predicted": slope(t, predicted, first),
        "endless": 1.0 / exponent - 1.0 if exponent > 1.0 else None,
        "ratio": np.percentile(ratio, PERCENTILES).tolist(),
        "excess apart": float(np.percentile(np.abs(predicted / excess - 1.0), 95)),
    }


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def to_text(tasks: int, rows: list[dict[str, Any]]) -> str:
    """A table of exponents and one of times."""
    slopes = [("a", "emerged", "exponent", "forecast's", "endless", "excess apart, 95 %", "flow")]
    times = [("a", "compared", "head right", *(f"{q} %" for q in PERCENTILES))]
    for row in rows:
        a = f"{row['exponent']:g}"
        numbers = (_number(row[key]) for key in ("slope", "slope predicted", "endless"))
        emerged = f"{row['emerged']} of {tasks}"
        slopes.append((a, emerged, *numbers, f"{100 * row['excess apart']:.2f} %", f"{row['seconds']:.0f} s"))
        ratios = (f"{ratio:.4f}" for ratio in row["ratio"])
        times.append((a, str(row["compared"]), str(row["head right"]), *ratios))
    head = [record.machine_line(), "", f"{tasks} tasks of power 10 i^-a, {HEADS} heads", *table(slopes)]
    return "\n".join([*head, "", "forecast over measured time, percentiles", *table(times)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a hundred tasks")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    chosen = parser.parse_args()
    tasks, end = (100, 1e5) if chosen.quick else (1000, 1e6)
    rows = [measured(tasks, exponent, end) for exponent in EXPONENTS]
    text = to_text(tasks, rows)
    print(text)
    record.write(chosen.out, "scaling_law", text, {"tasks": tasks, "rows": rows})


if __name__ == "__main__":
    main()
