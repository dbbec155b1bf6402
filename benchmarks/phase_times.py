"""How far the predicted times of emergence and escape are from the measured ones, and what makes them close.

    python -m benchmarks.phase_times [--quick] [--out DIR]

Emergence: random disjoint problems from `initial.dominant`, and from independent positive starts as a check.
The steepest fall of every task's loss is compared with two predictions:

- lone head: `predicted_emergence`, the divergence of the warm-up of the winning head alone, in closed form;
- race: `spectral_icl.multitask.flow.race.race`, with all heads and tasks, to the steepest fall.

Where the winner leads in omega and in mu, the divergence is between T(n) and T(n S), with T the closed form
and S = sum_k mu_k / mu_h at the start. "Slack" is T(n S) / T(n) - 1. "Size" says how far the start is from
zero on the scale of the fall, see `spectral_icl.multitask.flow.emergence.size_of_start`.

Escape: `predicted_escape` on seven problems and ten starts over nine decades of the imbalance D, and on
random problems, with the exit at the package's share of the winner's mu and at others. Rivals "wait" if none
has mu below D at the emergence: after a long race with a large n / c1 they have crossed 0 before it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

import spectral_icl as si
from benchmarks import record
from spectral_icl.multitask.flow import emergence, escape, phases
from spectral_icl.multitask.flow import race as racing

Floats = NDArray[np.float64]

METHODS = ("lone head", "race")
EXITS = (0.1, float(escape.EXIT), float(np.exp(-1.0)))
SMALL = 0.05  # size of a start that counts as small in the tables
RANDOM = "random problems"
NEAR = 0.03  # kappa sqrt(d) omega of a rival that counts as small
CLOSE, FAR = 0.05, 0.10  # relative errors aimed at, of emergence and escape


def margin_of(omega: Floats, mu: Floats, best: int) -> bool:
    """Whether a head leads in omega and in mu."""
    return bool((omega <= omega[best]).all() and (mu <= mu[best]).all())


@dataclass
class Emerged:
    """One task's emergence, and what it was predicted from."""

    family: str
    time: float
    errors: dict[str, float]
    upper: float  # relative distance of T(n S) from the time
    right: tuple[bool, bool]  # the predicted winner took the task: by "lone head", by "race"
    first: bool  # of the tasks of its problem
    leads: bool  # the winner leads in omega and in mu
    size: float  # largest of the problem's tasks
    slack: float
    coupling: float  # n / c1
    rivals: float  # S - 1
    margin: float
    length: float
    scale: float


def random_problem(rng: np.random.Generator) -> tuple[si.Problem, int, float]:
    """A disjoint problem, a number of heads and a key scale."""
    tasks = int(rng.integers(1, 5))
    sizes = np.exp(rng.uniform(np.log(5), np.log(100), tasks)).round().astype(int)
    power = np.exp(rng.uniform(np.log(0.3), np.log(3.0), tasks))
    if rng.random() < 0.3:  # as in the paper: equal tasks, of equal power per coordinate
        sizes, power = np.full(tasks, sizes[0]), np.full(tasks, float(sizes[0]))
    problem = si.Problem.multitask(
        task_sizes=sizes.tolist(),
        signal=power.tolist(),
        noise=(power * rng.choice([0.0, 0.01, 0.1, 1.0], tasks)).tolist(),
        context_length=float(np.exp(rng.uniform(np.log(30), np.log(5000)))),
        covariance=rng.choice([0.5, 1.0, 2.0], tasks).tolist() if rng.random() < 0.2 else 1.0,
    )
    c = (problem.dimension + problem.tasks) ** -0.5
    if rng.random() < 0.3:
        c = float(np.exp(rng.uniform(np.log(0.05), 0.0)))
    return problem, tasks + int(rng.integers(0, 3)), c


def emergences(draws: int, rng: np.random.Generator) -> tuple[list[Emerged], dict[str, int]]:
    """Every emergence of ``draws`` random problems, and the tasks that tell nothing."""
    found: list[Emerged] = []
    silent: dict[str, int] = {}
    for _ in range(draws):
        problem, heads, c = random_problem(rng)
        scale, margin = 10.0 ** rng.uniform(-4.0, -1.0), float(np.exp(rng.uniform(np.log(0.05), np.log(5.0))))
        seed = None if rng.random() < 0.35 else int(rng.integers(2**31))
        family = "dominant" if rng.random() < 0.8 else "independent"
        if family == "dominant":
            start = si.initial.dominant(problem, heads, scale=scale, margin=margin, seed=seed)
        else:
            start = si.initial.random(problem, heads, scale=scale, seed=seed or 0, positive=True)
        rates, home = emergence.rates(problem, c), list(problem.home or ())
        omega, mu = start.omega[:, home], start.mu
        alone = [emergence.predicted_emergence(problem, start, c, task) for task in range(problem.tasks)]
        if all(prediction.time is None for prediction in alone):
            remark = f"{family}: {alone[0].remark}"
            silent[remark] = silent.get(remark, 0) + problem.tasks
            continue
        with mock.patch.object(racing, "SMALL", np.inf):  # to see how the race fails at large starts
            forecast = racing.race(problem, start, c)
        raced = np.array([np.nan if f.time is None else f.time for f in forecast])
        horizon = 3.0 * max(prediction.time or 0.0 for prediction in alone) + 3.0 * np.nan_to_num(raced).max()
        sol = si.gradient_flow(
            problem,
            *start,
            parametrization=si.Balanced(c),
            t_end=horizon + 50.0 / rates.c1.min(),
            max_steps=10**6,
        )
        size = emergence.size_of_start(problem, start, c)
        earliest = np.nanmin([e.time for e in sol.phases.tasks] + [np.inf])
        for e in sol.phases.tasks:
            i, best = e.task, e.predicted_head
            remark = e.remark or ("" if np.isfinite(e.time) else "not emerged")
            remark = remark or forecast[i].remark.replace(str(forecast[i].head), "its head")
            if remark:
                remark = f"{family}: {remark}"
                silent[remark] = silent.get(remark, 0) + 1
                continue
            assert best is not None
            assert e.predicted_time is not None
            total = float(mu[:, i].sum() / mu[best, i])
            c1, c2, n = (float(values[i]) for values in rates[:3])
            upper = float(emergence.divergence(omega[[best], i], mu[[best], i], c1, c2, n * total)[0])
            predicted = (e.predicted_time, raced[i])
            found.append(
                Emerged(
                    family=family,
                    time=e.time,
                    errors={name: t / e.time - 1.0 for name, t in zip(METHODS, predicted, strict=True)},
                    upper=upper / e.time - 1.0,
                    right=(best == e.head, forecast[i].head == e.head),
                    first=e.time <= earliest,
                    leads=margin_of(omega[:, i], mu[:, i], best),
                    size=size,
                    slack=upper / e.predicted_time - 1.0,
                    coupling=n / c1,
                    rivals=total - 1.0,
                    margin=margin,
                    length=problem.context_length,
                    scale=scale,
                )
            )
    return found, silent


@dataclass
class Escaped:
    """One escape of a task."""

    case: str
    start: str
    imbalance: float
    exit: float
    error: float  # of the time from 0
    of_wait: float  # of the time from the emergence
    first: bool  # of the tasks of its flow
    soonest: bool  # by the predicted times
    rival: float  # kappa sqrt(d) omega of the rival, at the emergence
    spare: bool  # H > I: a head without a task
    waiting: bool  # at the emergence every rival is on the winner's side, with mu > D
    heads: int


ESCAPE_PROBLEMS = {
    "paper, 2 tasks": {"task_sizes": (10, 10), "signal": 10.0, "noise": 0.09, "context_length": 100},
    "2 unequal": {"task_sizes": (8, 20), "signal": (8.0, 30.0), "noise": 0.5, "context_length": 300},
    "3 equal": {"task_sizes": (10, 10, 10), "signal": 10.0, "noise": 0.1, "context_length": 200},
    "3 unequal": {
        "task_sizes": (8, 12, 20),
        "signal": (1.0, 2.0, 1.5),
        "noise": 0.1,
        "context_length": 2000,
    },
    "1 task": {"task_sizes": (20,), "signal": 20.0, "noise": 2.0, "context_length": 200},
    "long": {"task_sizes": (10, 10), "signal": 10.0, "noise": 0.09, "context_length": 3000},
    "short": {"task_sizes": (10, 10), "signal": 10.0, "noise": 1.0, "context_length": 40},
}


def escapes(
    imbalances: Sequence[float], scales: Sequence[float], draws: int, rng: np.random.Generator
) -> tuple[list[Escaped], dict[str, int]]:
    """Every escape by every share in `EXITS`: of the grid, and of ``draws`` random problems."""
    found: list[Escaped] = []
    silent: dict[str, int] = {}
    for name, table in ESCAPE_PROBLEMS.items():
        problem = si.Problem.multitask(**table)
        for heads in (max(2, problem.tasks), problem.tasks + 1):
            starts = {"paper": si.initial.paper(problem, heads, 0.1, 0.1, 0.2)}
            for scale in scales:
                for margin, seed in ((0.5, None), (1.0, 1), (3.0, 0)):
                    kind = f"dominant, {scale:g}"
                    starts[f"{kind}, {margin:g}, {seed}"] = si.initial.dominant(
                        problem, heads, scale=scale, margin=margin, seed=seed
                    )
            for kind, start in starts.items():
                for imbalance in imbalances:
                    _escapes_of(problem, start, float(imbalance), (name, kind), found, silent)
    for seed in range(draws):
        problem, heads, _ = random_problem(rng)
        start = si.initial.dominant(
            problem,
            max(2, heads),
            scale=10.0 ** rng.uniform(-4.0, -1.5),
            margin=float(np.exp(rng.uniform(np.log(0.05), np.log(5.0)))),
            seed=None if rng.random() < 0.35 else seed,
        )
        _escapes_of(problem, start, float(10.0 ** rng.uniform(-12.0, -3.0)), (RANDOM, RANDOM), found, silent)
    return found, silent


def _escapes_of(
    problem: si.Problem,
    start: si.State,
    imbalance: float,
    names: tuple[str, str],
    found: list[Escaped],
    silent: dict[str, int],
) -> None:
    """Add the escapes of one flow, solved until every task has left its plateau."""
    c = (problem.dimension + problem.tasks) ** -0.5
    warm = [emergence.predicted_emergence(problem, start, c, i).time or 0.0 for i in range(problem.tasks)]
    horizon = 4.0 * max(warm) + 100.0 / emergence.rates(problem, c).c1.min()
    weights = si.Factored(imbalance, imbalance)
    for _ in range(5):
        sol = si.gradient_flow(problem, *start, parametrization=weights, t_end=horizon)
        if len(sol.phases.escapes) == problem.tasks and all(np.isfinite(e.time) for e in sol.phases.escapes):
            break
        horizon *= 4.0
    for share in EXITS:
        with mock.patch.object(phases, "EXIT", share):
            seen = phases.measure(sol.trajectory, sol.key_scale)
        emerged = {e.task: e for e in seen.tasks}
        earliest = np.nanmin([e.time for e in seen.escapes] + [np.inf])
        soonest = min((e.predicted_time for e in seen.escapes if e.predicted_time), default=np.inf)
        for e in seen.escapes:
            if e.predicted_time is None or not np.isfinite(e.time):
                reason = "not predicted" if np.isfinite(e.time) else "not seen"
                silent[reason] = silent.get(reason, 0) + 1
                continue
            at, block = emerged[e.task].time, (problem.home or ())[e.task]
            winner = emerged[e.task].head
            omega, mu = abs(float(sol(at).omega[e.head, block])), sol(at).mu[:, e.task]
            found.append(
                Escaped(
                    case=names[0],
                    start=names[1],
                    imbalance=imbalance,
                    exit=share,
                    error=e.predicted_time / e.time - 1.0,
                    of_wait=(e.predicted_time - e.time) / (e.time - at),
                    first=e.time <= earliest * (1.0 + 1e-6),  # equal tasks escape together
                    soonest=e.predicted_time <= soonest * (1.0 + 1e-6),
                    rival=problem.covariance[block] * problem.block_sizes[block] ** 0.5 * omega,
                    spare=start.omega.shape[0] > problem.tasks,
                    waiting=bool(np.sort(np.sign(mu[winner]) * mu)[0] > imbalance),
                    heads=mu.size,
                )
            )


def summary(errors: Iterable[float], aim: float) -> dict[str, float]:
    """Percentiles of |error| and the share within ``aim``."""
    size = np.abs(np.fromiter(errors, dtype=np.float64))
    if size.size == 0:
        return {"count": 0}
    middle, most, worst = np.percentile(size, [50, 95, 100])
    within = float(np.mean(size <= aim))
    return {"count": size.size, "median": middle, "p95": most, "max": worst, "within": within}


def _cells(found: dict[str, float]) -> str:
    if found["count"] == 0:
        return f"{'-':>29}"
    percents = " ".join(f"{100.0 * found[key]:7.2f}" for key in ("median", "p95", "max"))
    return f"{percents} {100.0 * found['within']:5.0f}"


class Report:
    """Lines of text, and the same as data."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.data: dict[str, Any] = {}

    def table(
        self, title: str, rows: dict[str, list[Any]], columns: dict[str, Callable[[Any], float]], aim: float
    ) -> None:
        """Percentiles of the errors (columns) of groups of results (rows)."""
        width = max(map(len, rows), default=0)
        heading = "".join(f" | {name:^29}" for name in columns)
        below = f" |  median     95%     max  <={100.0 * aim:2.0f}%"
        self.lines += [
            "",
            title,
            f"  {'':{width}} {'n':>5}{heading}",
            f"  {'':{width}} {'':5}{below * len(columns)}",
        ]
        kept = self.data[title] = {}
        for name, group in rows.items():
            if group:
                found = {key: summary(map(error, group), aim) for key, error in columns.items()}
                kept[name] = found
                cells = "".join(f" | {_cells(values)}" for values in found.values())
                self.lines.append(f"  {name:{width}} {len(group):5d}{cells}")

    def say(self, line: str = "") -> None:
        """Add a line."""
        self.lines.append(line)


def bins(results: Sequence[Any], key: Callable[[Any], float], edges: Sequence[float]) -> dict[str, list[Any]]:
    """The results between neighbouring edges."""
    return {f"{a:g} to {b:g}": [r for r in results if a <= key(r) < b] for a, b in pairwise(edges)}


def report_emergence(report: Report, found: list[Emerged], silent: dict[str, int]) -> None:
    """Tables of the emergence."""
    columns = {name: (lambda e, name=name: e.errors[name]) for name in METHODS}
    small = [e for e in found if e.size <= SMALL]
    main = [e for e in small if e.family == "dominant"]
    report.say(f"EMERGENCE: {len(found)} tasks; errors are predicted / measured - 1, in percent")
    report.say(f"  no comparison: {silent or 'none'}")
    for name, group in (("all", found), (f"size <= {SMALL:g}", small)):
        hits = [sum(e.right[k] for e in group) for k in (0, 1)]
        report.say(f"  winner, {name}: right by lone head {hits[0]}, by race {hits[1]}, of {len(group)}")
    over, under = max(e.errors["lone head"] for e in main), min(e.upper for e in main)
    bounds = f"T(n) / measured <= {1.0 + over:.4f}, T(n S) / measured >= {1.0 + under:.4f}"
    report.say(f"  dominant, size <= {SMALL:g}: {bounds}")

    def tables(title: str, rows: dict[str, list[Emerged]]) -> None:
        report.table(title, rows, columns, CLOSE)

    infinity = float("inf")
    dominant = [e for e in found if e.family == "dominant"]
    tables(
        "all, by size of the start",
        bins(dominant, lambda e: e.size, (0, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 0.5, infinity)),
    )
    tables(
        "size <= 0.05, by n / c1", bins(main, lambda e: e.coupling, (0, 0.03, 0.1, 0.3, 1, 3, 10, infinity))
    )
    tables("size <= 0.05, by margin", bins(main, lambda e: e.margin, (0.05, 0.2, 0.5, 1, 2, 5)))
    tables("size <= 0.05, by context length", bins(main, lambda e: e.length, (30, 100, 300, 1000, 5000)))
    tables("size <= 0.05, by scale", bins(main, lambda e: e.scale, (1e-4, 1e-3, 1e-2, 1e-1)))
    tables(
        "size <= 0.05, by slack",
        bins(main, lambda e: e.slack, (0, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.5, infinity)),
    )
    tables(
        "size <= 0.05, first task to emerge and later ones",
        {
            "first": [e for e in main if e.first],
            "later": [e for e in main if not e.first],
            "later, n / c1 <= 2": [e for e in main if not e.first and e.coupling <= 2.0],
        },
    )
    others = [e for e in small if e.family == "independent"]
    tables(
        "size <= 0.05, independent starts",
        {
            "all": others,
            "winner leads": [e for e in others if e.leads],
            "winner as predicted": [e for e in others if all(e.right)],
        },
    )
    rules: dict[str, Callable[[Emerged], bool]] = {
        "size <= 0.03": lambda e: e.size <= 0.03,
        "size <= 0.05": lambda e: e.size <= 0.05,
        "size <= 0.1": lambda e: e.size <= 0.1,
        "size <= 0.05, n / c1 <= 2": lambda e: e.size <= 0.05 and e.coupling <= 2.0,
        "size <= 0.05, n / c1 <= 0.1": lambda e: e.size <= 0.05 and e.coupling <= 0.1,
        "size <= 0.05, n / c1 <= 0.05": lambda e: e.size <= 0.05 and e.coupling <= 0.05,
        "size <= 0.05, n / c1 <= 0.3, margin >= 2": lambda e: (
            e.size <= 0.05 and e.coupling <= 0.3 and e.margin >= 2.0
        ),
        "size <= 0.05, slack <= 0.04": lambda e: e.size <= 0.05 and e.slack <= 0.04,
        "size <= 0.05, slack <= 0.05": lambda e: e.size <= 0.05 and e.slack <= 0.05,
        "size <= 0.1, slack <= 0.04": lambda e: e.size <= 0.1 and e.slack <= 0.04,
        "size <= 0.05, (S - 1) n / (c1 + n) <= 0.05": lambda e: (
            e.size <= 0.05 and e.rivals * e.coupling <= 0.05 * (1.0 + e.coupling)
        ),
    }
    tables(
        "hypotheses, dominant starts",
        {name: [e for e in dominant if rule(e)] for name, rule in rules.items()},
    )


def report_escape(report: Report, found: list[Escaped], silent: dict[str, int]) -> None:
    """Tables of the escape."""
    everything, found = found, [e for e in found if e.case != RANDOM]
    chosen = {f"exit {share:.2g}": [e for e in found if e.exit == share] for share in EXITS}
    columns = {"time": lambda e: e.error, "time since the emergence": lambda e: e.of_wait}
    report.say()
    report.say(f"ESCAPE: {len(found) // len(EXITS)} escapes by each exit share; package: {escape.EXIT:.3f}")
    report.say(f"  no comparison: {silent or 'none'}")

    for name, values in chosen.items():
        first = [e for e in values if e.first]
        near = [e for e in first if e.rival <= NEAR]
        rows = {"first of a flow": first, f"first, rival <= {NEAR:g}": near}
        rows[f"soonest predicted, rival <= {NEAR:g}"] = [e for e in values if e.soonest and e.rival <= NEAR]
        rows["later"] = [e for e in values if not e.first]
        report.table(f"escape, {name}", rows, columns, FAR)
        drawn = [e for e in everything if e.case == RANDOM and f"exit {e.exit:.2g}" == name and e.soonest]
        still = [e for e in drawn if e.rival <= NEAR and e.waiting]
        rows = {"soonest predicted": drawn}
        rows[f"rival <= {NEAR:g}"] = [e for e in drawn if e.rival <= NEAR]
        rows[f"rival <= {NEAR:g}, rivals wait"] = still
        rows[f"rival <= {NEAR:g}, rivals wait, H <= 4"] = [e for e in still if e.heads <= 4]
        report.table(f"escape, random problems, {name}", rows, columns, FAR)
        if name == next(iter(chosen)):
            continue
        report.table(
            f"first escape, by kappa sqrt(d) omega of the rival at the emergence, {name}",
            bins(first, lambda e: e.rival, (0, 0.003, 0.01, 0.03, 0.05, 0.1, 0.2, 1)),
            columns,
            FAR,
        )
        report.table(
            f"first escape, rival <= {NEAR:g}, by D, {name}",
            {f"{d:.0e}": [e for e in near if e.imbalance == d] for d in sorted({e.imbalance for e in near})},
            columns,
            FAR,
        )
        rows = {}
        for case in ESCAPE_PROBLEMS:
            for spare in (False, True):
                label = f"{case}, {'H > I' if spare else 'H = I'}"
                rows[label] = [e for e in near if e.case == case and e.spare == spare]
        report.table(f"first escape, rival <= {NEAR:g}, by problem, {name}", rows, columns, FAR)


def main() -> None:
    parser = argparse.ArgumentParser(description="predicted against measured times of emergence and escape")
    parser.add_argument("--quick", action="store_true", help="a tenth of the problems, four imbalances")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    began = time.perf_counter()
    report = Report()
    draws = 150 if options.quick else 1500
    report_emergence(report, *emergences(draws, np.random.default_rng(0)))
    middle = time.perf_counter()
    imbalances = 10.0 ** np.arange(-12.0, -2.0, 3.0 if options.quick else 1.0)
    scales = (1e-2,) if options.quick else (1e-3, 1e-2, 3e-2)
    report_escape(report, *escapes(imbalances, scales, draws // 10, np.random.default_rng(1)))
    seconds = {"emergence": middle - began, "escape": time.perf_counter() - middle}
    head = [
        record.machine_line(),
        f"{draws} random problems; " + ", ".join(f"{k} {v:.0f} s" for k, v in seconds.items()),
        "",
    ]
    text = "\n".join([*head, *report.lines])
    print(text)
    record.write(
        options.out, "phase_times", text, {"draws": draws, "seconds": seconds, "tables": report.data}
    )


if __name__ == "__main__":
    main()
