"""How far the predicted times of emergence and escape are from the measured ones, and what makes them close.

    python -m benchmarks.phase_times [--quick] [--out DIR]

Emergence: random disjoint problems from `initial.dominant`, and from independent positive starts as a check.
The steepest fall of every task's loss is compared with four predictions, each of which adds one effect:

- lone: `predicted_emergence`, the divergence of the warm-up of the winning head alone;
- together: the warm-up of all heads on the task, which share the term n sum_k mu_k;
- in turn: the same for all tasks at once. A head that has taken task j has E_hh = e from then on, and on the
  other blocks omega' has the term -4 c kappa^2 (e s_j mu_j^2 / L) omega^2: it falls back in the other races;
- in turn, to the fall: and from the divergence to the steepest fall, on the curve by which a head leaves 0.

Where the winner leads in omega and in mu, T(n) <= together <= T(n S), with T the closed form of "lone" and
S = sum_k mu_k / mu_h at the start. "Slack" is T(n S) / T(n) - 1. "Size" says how far the start is from zero
on the scale of the fall, see `size_of_start`.

Escape: `predicted_escape` on seven problems and ten starts over nine decades of the imbalance D, with the
exit at the package's share of the winner's mu and at others.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp
from scipy.special import hyp2f1

import spectral_icl as si
from benchmarks import record
from spectral_icl import phases

Floats = NDArray[np.float64]

METHODS = ("lone", "together", "in turn", "in turn, to the fall")
EXITS = (0.1, 0.2, float(phases.EXIT))
SMALL = 0.05  # size of a start that counts as small in the tables
NEAR = 0.03  # kappa sqrt(d) omega of a rival that counts as small
CLOSE, FAR = 0.05, 0.10  # relative errors aimed at, of emergence and escape
_RESOLVED = (
    1e-2  # rivals' share of mu, and the time left over that gone by, at which the closed form takes over
)
_TIED = 1e-6  # time left over that gone by, at which rivals that still hold a share are tied


class Rates(NamedTuple):
    """Coefficients of the warm-up, omega' = c1 omega mu and mu' = mu (c2 omega - n sum_k mu_k), (I,) each."""

    c1: Floats
    c2: Floats
    n: Floats
    size: Floats  # d
    kappa: Floats

    @property
    def slope(self) -> Floats:
        """A: mu = A omega is where a lone head goes."""
        return self.c2 / (self.c1 + self.n)

    @property
    def noise(self) -> Floats:
        """The ratio d phi / L: the limit is mu = sqrt(d) / (1 + e d phi / L)."""
        return self.kappa * self.n * self.size / self.c2


def rates_of(problem: si.Problem, c: float) -> Rates:
    """Coefficients of every task of a disjoint problem."""
    assert problem.home is not None
    home = list(problem.home)
    kappa, size = np.array(problem.covariance)[home], np.array(problem.block_sizes, dtype=np.float64)[home]
    power = np.array(problem.signal).sum(axis=1)
    n = 4.0 * np.asarray(problem.variance) / problem.context_length
    return Rates(4.0 * c * kappa * power / size, 4.0 * kappa * power, n, size, kappa)


def divergence(omega: float, mu: float, c1: float, c2: float, n: float) -> float:
    """Time at which the warm-up of a lone head diverges: the closed form of `predicted_emergence`."""
    p, lead = c1 / (c1 + n), c2 / (c1 + n) * omega
    return float(hyp2f1(1.0, p, 1.0 + p, 1.0 - mu / lead) / (c1 * lead))


def size_of_start(rates: Rates, omega: Floats, mu: Floats) -> Floats:
    """Square root of the largest kappa A omega^2, kappa^2 d omega^2 and kappa mu omega of any head, (I,).

    The loss falls where the learned share kappa mu omega, with mu = A omega on the way there, or the exponent
    kappa^2 d omega^2 nears 1.
    """
    leading = np.maximum(rates.slope, rates.kappa * rates.size) * omega**2
    share: Floats = rates.kappa * np.maximum(leading, np.abs(mu * omega)).max(axis=0)
    return np.sqrt(share)


class Race:
    """The warm-up of the tasks that are still open, in one vector of unknowns.

    The unknowns are log |omega| and log |mu| of every head and open task, and the time. The independent
    variable is a time in which nothing grows faster than e^tau, so that a divergence is no obstacle.
    """

    def __init__(
        self, rates: Rates, left: list[int], signs: si.State, extra: Floats, damping: Floats
    ) -> None:
        self.c1, self.c2, self.n, self.slope = (v[left] for v in (rates.c1, rates.c2, rates.n, rates.slope))
        self.signs = si.State(signs.omega[:, left], signs.mu[:, left])
        self.extra, self.damping = extra, damping[:, left]
        self.shape = self.signs.mu.shape

    def sizes(self, y: Floats) -> tuple[Floats, Floats]:
        """|omega| and |mu|, (H, open tasks)."""
        grown = np.exp(y[:-1]).reshape(2, *self.shape)
        return grown[0], grown[1]

    def field(self, _: float, y: Floats) -> Floats:
        """The right-hand side."""
        size, mu = self.sizes(y)
        omega, mu = self.signs.omega * size, self.signs.mu * mu
        noise = self.n * (mu.sum(axis=0) + self.extra * mu)
        by_omega = self.c1 * self.signs.omega * mu - self.damping * size
        by_mu = self.signs.mu * (self.c2 * omega - noise)
        fastest = (self.c1 * np.abs(mu) + self.c2 * size + np.abs(noise)).max()
        return np.concatenate([by_omega.ravel(), by_mu.ravel(), [1.0]]) / fastest

    def standing(self, y: Floats) -> tuple[NDArray[np.intp], Floats, Floats]:
        """The leading head of every task, its rivals' share of mu, and the time left over that gone by."""
        omega, mu = self.sizes(y)
        head = omega.argmax(axis=0)
        tasks = np.arange(head.size)
        left = 1.0 / (self.c1 * self.slope * omega[head, tasks])
        return head, mu.sum(axis=0) / mu[head, tasks] - 1.0, left / max(float(y[-1]), 1e-300)

    def unresolved(self, _: float, y: Floats) -> float:
        """0 once a task has but one head left, or is tied."""
        _, rivals, left = self.standing(y)
        return float(np.log(np.where(left < _TIED, left, np.maximum(left, rivals)) / _RESOLVED).min())

    unresolved.terminal = True  # type: ignore[attr-defined]


def warm_up(problem: si.Problem, start: si.State, c: float, in_turn: bool = True) -> tuple[Floats, list[int]]:
    """Time at which every task's warm-up diverges and the head that takes it.

    The time is NaN if heads are tied, or if the head has taken another task before.

    Once the rivals hold less than 1 % of mu, and less than 1 % of the time is left, a task is settled by the
    closed form of the lone head.
    """
    rates, home = rates_of(problem, c), list(problem.home or ())
    signs = si.State(np.sign(start.omega[:, home]), np.sign(start.mu))
    state = np.log(np.abs(np.stack([start.omega[:, home], start.mu])))  # (2, H, I)
    limit = np.diag(si.optimal.head_per_task(problem).weights.mu)
    cost = 4.0 * c * np.e * np.asarray(problem.variance) / problem.context_length * limit**2
    extra, damping = np.zeros((state.shape[1], 1)), np.zeros(state.shape[1:])
    times, winners, now = np.full(problem.tasks, np.nan), [-1] * problem.tasks, 0.0
    left = list(range(problem.tasks))
    while left:
        race = Race(rates, left, signs, extra, damping)
        y = np.append(state[:, :, left], now)
        run = solve_ivp(race.field, (0.0, 1e4), y, "LSODA", rtol=1e-6, atol=1e-6, events=race.unresolved)
        if run.status != 1:  # nothing grows
            break
        y = run.y[:, -1]
        now = float(y[-1])
        state[:, :, left] = y[:-1].reshape(2, *race.shape)
        head, rivals, remaining = race.standing(y)
        near = 1.0 + 1e-3  # the event is found to a tolerance
        alone = (rivals < near * _RESOLVED) & (remaining < near * _RESOLVED)
        over = alone | (remaining < near * _TIED)
        for k in np.flatnonzero(alone):
            task, winner = left[k], int(head[k])
            omega, mu = (values[winner, k] for values in race.sizes(y))
            if not in_turn or winner not in winners:  # one head for two tasks has another limit
                times[task] = now + divergence(omega, mu, race.c1[k], race.c2[k], race.n[k])
            winners[task] = winner
            if in_turn:
                extra[winner] = np.e - 1.0
                damping[winner] += cost[task] * rates.kappa**2
        left = [task for k, task in enumerate(left) if not over[k]]
    return times, winners


@cache
def fall_delay(noise: float, c: float) -> float:
    """Time from the divergence of the warm-up to the steepest fall, in units of 1 / (c1 sqrt(d)).

    A lone head leaves zero along one curve. With w = kappa sqrt(d) omega, m = mu / sqrt(d) and
    gamma = d phi / L it depends on gamma and kappa c alone: w' = w m (1 - m w (1 + gamma E)) and
    m' = m (w (1 - m w) - gamma E m) / (kappa c), E = e^(w^2), where the warm-up has w' = w^2 / (c + gamma).
    """

    def speeds(w: Any, m: Any) -> tuple[Any, Any]:
        tilt = noise * np.exp(w * w)
        return m * (1.0 - m * w * (1.0 + tilt)), (w * (1.0 - m * w) - tilt * m) / c

    def field(_: float, y: Floats) -> list[float]:
        return list(speeds(*np.exp(y)))

    def fall(t: Floats) -> Floats:
        w, m = np.exp(done.sol(t))
        by_w, by_m = speeds(w, m)  # logarithmic
        tilt = noise * np.exp(w * w)
        rate: Floats = 2.0 * (1.0 - m * w) * m * w * (by_w + by_m) - 2.0 * tilt * m * m * (
            by_m + w * w * by_w
        )
        return rate

    begin = 1e-3 * min(1.0, (c + noise) ** 0.5)
    diverges = (c + noise) / begin
    beyond = 5.0 * (c + noise) ** 0.5 + 5.0 * (c + noise)
    start = np.log([begin, begin / (c + noise)])
    done = solve_ivp(field, (0.0, diverges + beyond), start, "LSODA", rtol=1e-7, atol=1e-9, dense_output=True)
    times = np.linspace(max(0.0, diverges - beyond - 5.0), done.t[-1], 2000)
    peak = int(np.clip(fall(times).argmax(), 1, times.size - 2))
    times = np.linspace(times[peak - 1], times[peak + 1], 200)
    return float(times[fall(times).argmax()] - diverges)


@dataclass
class Emerged:
    """One task's emergence, and what it was predicted from."""

    family: str
    time: float
    errors: dict[str, float]
    upper: float  # relative distance of T(n S) from the time
    right: tuple[bool, bool]  # the predicted winner took the task: by "lone", by "in turn"
    first: bool  # of the tasks of its problem
    leads: bool  # the winner leads in omega and in mu
    size: float
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
        rates, home = rates_of(problem, c), list(problem.home or ())
        omega, mu = start.omega[:, home], start.mu
        alone = [phases.predicted_emergence(problem, start, c, task) for task in range(problem.tasks)]
        if all(prediction[0] is None for prediction in alone):
            silent[alone[0][2]] = silent.get(alone[0][2], 0) + problem.tasks
            continue
        together, _ = warm_up(problem, start, c, in_turn=False)
        in_turn, winners = warm_up(problem, start, c)
        horizon = (
            3.0 * max(prediction[0] or 0.0 for prediction in alone) + 3.0 * np.nan_to_num(together).max()
        )
        sol = si.gradient_flow(
            problem,
            *start,
            parametrization=si.Balanced(c),
            t_end=horizon + 50.0 / rates.c1.min(),
            max_steps=10**6,
        )
        sizes = size_of_start(rates, omega, mu)
        earliest = np.nanmin([e.time for e in sol.phases.tasks] + [np.inf])
        for e in sol.phases.tasks:
            i, best = e.task, e.predicted_head
            remark = e.remark or ("" if np.isfinite(e.time) else "not emerged")
            remark = remark or ("" if np.isfinite(in_turn[i]) else "tied in the warm-up, or its head taken")
            if remark:
                silent[remark] = silent.get(remark, 0) + 1
                continue
            assert best is not None
            assert e.predicted_time is not None
            coefficients = rates.c1[i], rates.c2[i], rates.n[i]
            total = float(mu[:, i].sum() / mu[best, i])
            upper = divergence(omega[best, i], mu[best, i], *coefficients[:2], coefficients[2] * total)
            delay = fall_delay(float(rates.noise[i]), float(rates.kappa[i] * c))
            predicted = (
                e.predicted_time,
                together[i],
                in_turn[i],
                in_turn[i] + delay / (coefficients[0] * rates.size[i] ** 0.5),
            )
            found.append(
                Emerged(
                    family=family,
                    time=e.time,
                    errors={name: t / e.time - 1.0 for name, t in zip(METHODS, predicted, strict=True)},
                    upper=upper / e.time - 1.0,
                    right=(best == e.head, winners[i] == e.head),
                    first=e.time <= earliest,
                    leads=bool((omega[:, i] <= omega[best, i]).all() and (mu[:, i] <= mu[best, i]).all()),
                    size=float(sizes[i]),
                    slack=upper / e.predicted_time - 1.0,
                    coupling=coefficients[2] / coefficients[0],
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


def escapes(imbalances: Sequence[float], scales: Sequence[float]) -> tuple[list[Escaped], dict[str, int]]:
    """Every escape, at every imbalance, by every share in `EXITS`."""
    found: list[Escaped] = []
    silent: dict[str, int] = {}
    for name, table in ESCAPE_PROBLEMS.items():
        problem = si.Problem.multitask(**table)
        for heads in (max(2, problem.tasks), problem.tasks + 1):
            starts = {"paper": si.initial.paper(problem, heads)}
            for scale in scales:
                for margin, seed in ((0.5, None), (1.0, 1), (3.0, 0)):
                    kind = f"dominant, {scale:g}"
                    starts[f"{kind}, {margin:g}, {seed}"] = si.initial.dominant(
                        problem, heads, scale=scale, margin=margin, seed=seed
                    )
            for kind, start in starts.items():
                for imbalance in imbalances:
                    _escapes_of(problem, start, float(imbalance), (name, kind), found, silent)
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
    warm = [phases.predicted_emergence(problem, start, c, i)[0] or 0.0 for i in range(problem.tasks)]
    horizon = 4.0 * max(warm) + 100.0 / rates_of(problem, c).c1.min()
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
            omega = abs(float(sol(at).omega[e.head, block]))
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
        report.say(f"  winner, {name}: right by lone {hits[0]}, by in turn {hits[1]}, of {len(group)}")
    over, under = max(e.errors["lone"] for e in main), min(e.upper for e in main)
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
    chosen = {f"exit {share:.2g}": [e for e in found if e.exit == share] for share in EXITS}
    columns = {"time": lambda e: e.error, "time since the emergence": lambda e: e.of_wait}
    report.say()
    report.say(f"ESCAPE: {len(found) // len(EXITS)} escapes by each exit share; package: {phases.EXIT:.3f}")
    report.say(f"  no comparison: {silent or 'none'}")

    for name, values in chosen.items():
        first = [e for e in values if e.first]
        near = [e for e in first if e.rival <= NEAR]
        rows = {"first of a flow": first, f"first, rival <= {NEAR:g}": near}
        rows[f"soonest predicted, rival <= {NEAR:g}"] = [e for e in values if e.soonest and e.rival <= NEAR]
        rows["later"] = [e for e in values if not e.first]
        report.table(f"escape, {name}", rows, columns, FAR)
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
    report_escape(report, *escapes(imbalances, (1e-2,) if options.quick else (1e-3, 1e-2, 3e-2)))
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
