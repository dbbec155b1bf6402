"""How the errors that are said of the laws in 1/L compare with their true ones, by the exact law.

    python -m benchmarks.guard [--states N] [--flows N] [--seed N] [--out DIR]

States of up to three heads, blocks and tasks: drawn at random, with OV values at random or the best under
either law, and met along flows of either law. Context lengths are 10 to 1e5, logit variances up to log L. For
each law and size of the logits over log L: how many states have an estimated error of the excess
(`multitask.accuracy.Terms.excess_error`), how many of these it does not cover (to 2 % of it, and 0.1 % of the
excess), and the median and the 90th percentile of the estimate over the true error, where that is above 1e-4.

Below, from which logit variance on, over log L, the overlap e^alpha / L of a head with itself is 1, 10 and
50 % above softmax attention's E |p|^2: where no series in 1/L describes it any more.

The first run builds tables of the exact law for all lengths, which takes some ten minutes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq

import spectral_icl as si
from benchmarks import record
from spectral_icl.kernels.loss import losses_by
from spectral_icl.multitask.accuracy import terms
from spectral_icl.multitask.context import fitting
from spectral_icl.multitask.exact.overlaps import MEDIUM, concentration
from spectral_icl.multitask.exact.packing import largest, query_rule, reach_of
from spectral_icl.multitask.state import State

LAWS = ("asymptotic", "first-order")
LENGTHS = (10.0, 32.0, 100.0, 316.0, 1e3, 1e4, 1e5)
BANDS = (0.0, 0.1, 0.25, 0.5, 1.0)  # of the logit variance over log L
EXCESSES = (0.01, 0.1, 0.5)  # of e^alpha / L over E |p|^2
MOST_LOGIT = 32.0  # variance at a query: a table that reaches farther takes minutes
_TOLERANCE, _SLACK = 1.02, 1e-3  # of an estimate that is true
_LEAST = 1e-4  # true error below which its ratio to the estimate says nothing
_LARGEST_BLOCK = 100


class Case(NamedTuple):
    """A problem, a state of it, and whether a flow met it."""

    problem: si.Problem
    state: State
    met: bool


class Judged(NamedTuple):
    """What was said of a law at a state, and what is true."""

    law: str
    met: bool
    size: float  # logit variance over log L
    estimate: float
    true: float


def drawn(seed: int) -> Case:
    """A state that no flow visits."""
    rng = np.random.default_rng(seed)
    blocks, heads, tasks = rng.integers(1, 4), rng.integers(1, 4), rng.integers(1, 3)
    signal = rng.lognormal(0.0, 1.0, (tasks, blocks)) * (rng.random((tasks, blocks)) < 0.6)
    signal[np.arange(tasks), rng.integers(0, blocks, tasks)] += 0.5
    kappa = rng.uniform(0.4, 2.0, blocks)
    size = np.exp(rng.uniform(0.0, np.log(_LARGEST_BLOCK), blocks)).astype(int)
    length = LENGTHS[rng.integers(len(LENGTHS))]
    problem = si.Problem(
        block_sizes=size,
        signal=signal,
        noise=tuple(rng.lognormal(-1.0, 1.0, tasks)),
        context_length=length,
        covariance=kappa,
    )
    v = rng.normal(size=(heads, blocks))
    v *= np.sqrt(np.exp(rng.uniform(np.log(0.01), np.log(np.log(length)))) / (v**2 @ size).max())
    mu = None if seed % 3 == 0 else best_values(problem, v / kappa, LAWS[seed % 3 - 1])
    if mu is None:
        mu = rng.normal(size=(heads, tasks)) / abs(v).mean()
    return Case(problem, State(v / kappa, mu), False)


def best_values(problem: si.Problem, omega: np.ndarray, law: str) -> np.ndarray | None:
    """The OV values that are best under a law; None where it has none."""
    zero = np.zeros((len(omega), problem.tasks))
    slope = si.gradient(problem, omega, zero, kernel=law).mu.ravel()
    bend = si.hessian(problem, omega, zero, kernel=law)[omega.size :, omega.size :]
    if not (np.isfinite(bend).all() and np.isfinite(slope).all()):
        return None
    found: np.ndarray = -np.linalg.lstsq(bend, slope, rcond=1e-9)[0].reshape(zero.shape)
    return found


def met(seed: int) -> Iterator[Case]:
    """Four states along a flow of disjoint tasks, at its end and before."""
    rng = np.random.default_rng([seed, 1])
    tasks = int(rng.integers(1, 4))
    size = np.exp(rng.uniform(0.0, np.log(_LARGEST_BLOCK), tasks)).astype(int)
    problem = si.Problem.multitask(
        task_sizes=size,
        signal=rng.lognormal(0.0, 0.7, tasks),
        noise=rng.lognormal(-1.5, 1.0, tasks),
        context_length=LENGTHS[rng.integers(len(LENGTHS))],
    )
    heads = min(3, tasks + int(rng.integers(0, 2)))
    start = si.initial.dominant(problem, heads, scale=0.02, seed=seed)
    try:
        flow = si.gradient_flow(
            problem, *start, t_end=1e6 * size.max(), kernel=LAWS[seed % 2], stationary=1e-9
        )
    except si.IntegrationError as error:  # the first-order law may end on the way
        if error.solution is None:
            return
        flow = error.solution
    for n in np.unique(np.linspace(0, flow.t.size - 1, 5).astype(int)[1:]):
        yield Case(problem, State(flow.omega[n], flow.mu[n]), True)


def truth(case: Case) -> float | None:
    """The exact excess; None where logits are too large for a table that takes seconds."""
    problem, state, _ = case
    reach = reach_of(problem, state.omega)
    if max(reach, largest(problem, state.omega, query_rule(problem, reach))) > MOST_LOGIT:
        return None
    one = State(state.omega[None], state.mu[None])
    return float(losses_by(fitting(problem, state.omega), *one).sum() - sum(problem.noise))


def judged(case: Case, excess: float) -> Iterator[Judged]:
    """Both laws at a state whose exact excess is known."""
    problem, state, by_flow = case
    v = np.array(problem.covariance) * state.omega
    size = float((v**2 @ np.array(problem.block_sizes)).max() / np.log(problem.context_length))
    found = terms(problem, *state)
    for law in LAWS:
        said = float(found.bias[0] + found.noise(law)[0])
        if np.isfinite(said):
            yield Judged(law, by_flow, size, float(found.excess_error(law)[0]), abs(said - excess) / excess)


def summary(rows: Sequence[Judged]) -> dict[str, Any]:
    """Coverage and pessimism of some judgements."""
    estimate, true = np.array([row.estimate for row in rows]), np.array([row.true for row in rows])
    known = np.isfinite(estimate)
    missed = known & (true > _TOLERANCE * estimate + _SLACK)
    ratio = (estimate / np.maximum(true, _LEAST))[known & (true > _LEAST)]
    return {
        "states": len(rows),
        "known": float(known.mean()),
        "missed": float(missed.sum() / max(1, known.sum())),
        "median": float(np.median(ratio)) if ratio.size else None,
        "tenth": float(np.quantile(ratio, 0.9)) if ratio.size else None,
        "true": float(np.median(true)),
    }


def reached(length: float, above: float) -> float:
    """Logit variance over log L from which e^alpha / L is above E |p|^2 by a part of that."""

    def gap(alpha: float) -> float:
        return float(np.exp(alpha) / (length * concentration(alpha, length, MEDIUM)[0]) - 1.0 - above)

    log = float(np.log(length))
    return float(brentq(gap, 1e-3, log, xtol=1e-6)) / log


def tables(rows: Sequence[Judged]) -> tuple[list[str], list[dict[str, Any]]]:
    """The lines, and what they say."""
    lines, data = [], []
    names = ("states", "known", "missed", "median", "90 %", "true")
    heading = f"{'logits / log L':>15} " + " ".join(f"{name:>8}" for name in names)
    for law in LAWS:
        for by_flow, where in ((False, "random states"), (True, "states along flows")):
            lines += ["", f"{law} law, {where}", heading]
            for low, high in [*pairwise(BANDS), (BANDS[0], BANDS[-1])]:
                within = [r for r in rows if r.law == law and r.met == by_flow and low <= r.size < high]
                if not within:
                    continue
                found = summary(within)
                data.append({"law": law, "flows": by_flow, "from": low, "to": high, **found})
                ratios = " ".join(
                    f"{found[key]:8.2f}" if found[key] else f"{'-':>8}" for key in ("median", "tenth")
                )
                shares = f"{found['states']:8d} {found['known']:8.3f} {found['missed']:8.4f}"
                lines.append(f"{f'{low:g} to {high:g}':>15} {shares} {ratios} {found['true']:8.2g}")
    return lines, data


def main() -> None:
    parser = argparse.ArgumentParser(description="errors that are said of the laws, beside their true ones")
    parser.add_argument("--states", type=int, default=2400, help="drawn at random")
    parser.add_argument("--flows", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    cases = [drawn(options.seed + n) for n in range(options.states)]
    cases += [case for n in range(options.flows) for case in met(options.seed + n)]
    exact = [truth(case) for case in cases]
    rows = [
        row
        for case, excess in zip(cases, exact, strict=True)
        if excess is not None
        for row in judged(case, excess)
    ]
    lines, data = tables(rows)
    limits = {length: [reached(length, above) for above in EXCESSES] for length in LENGTHS}
    percents = "  ".join(f"{100 * above:g} %" for above in EXCESSES)
    lines += ["", f"logits / log L where e^alpha / L is {percents} above E |p|^2"]
    lines += [
        f"{f'L = {length:g}':>15} " + " ".join(f"{x:7.3f}" for x in row) for length, row in limits.items()
    ]
    text = "\n".join([record.machine_line(), *lines])
    print(text)
    record.write(
        options.out,
        "guard",
        text,
        {"bands": data, "limits": [[length, *row] for length, row in limits.items()]},
    )


if __name__ == "__main__":
    main()
