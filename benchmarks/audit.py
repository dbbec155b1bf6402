"""What two laws of the context say about softmax attention, beside its exact loss and drawn prompts.

    python -m benchmarks.audit [--quick] [--out DIR]

Four statements that the asymptotic law (L and d large) makes, and what is true at a given L and d. Every row
has the number by the asymptotic law, by the first-order one (large L at fixed d), the exact one, and that of
sampled softmax attention with its standard error:

1. heads: the weights with which three heads do best on two tasks by the asymptotic law, and a gradient step;
2. bound: the effective dimension of the lower bound, and the best single head over the gradient step;
3. short blocks: the optimum of one head under the asymptotic law, over what that law says it has;
4. totals: zero weights, judged on losses with the irreducible noise and without.

Exact are the quadrature of tests/support/exact_law.py and, for small heads and a gradient step, closed forms.
All rules see the same prompts: covariates and queries are drawn, and over coefficients and label noise the
mean is taken exactly, so that differences and ratios are more precise than the losses. The guard is the
estimated relative error of the excess under either law (`spectral_icl.multitask.accuracy`); "actual" is the
true one. Where blocks are of size 1 a few prompts carry the mean, and the standard error is itself uncertain.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

import spectral_icl as si
from benchmarks import record
from spectral_icl.multitask.accuracy import terms
from tests.support import exact_law

Floats = NDArray[np.float64]
Rule = Callable[
    [Floats, Floats], Floats
]  # of covariates (n, L, d), queries (n, d): weights of labels (n, I, L)

LAWS = ("asymptotic", "first-order")
_CHUNK = 1_000_000  # covariates drawn at a time
_WORK = 250_000_000  # covariates drawn in all for a case


class Estimate(NamedTuple):
    """A sampled number and its standard error."""

    mean: float
    error: float


@dataclass
class Row:
    """One quantity; None where a law, or nobody, has a number for it."""

    case: str
    quantity: str
    asymptotic: float | None
    first_order: float | None
    exact: float | None
    sampled: Estimate | None = None
    guard: str = ""


class Sampled(NamedTuple):
    """What R rules do on the same N prompts."""

    excess: Floats  # (N, R), a mean over tasks
    spread: Floats  # (N, R): the squared weights of the labels, summed over pairs, a mean over tasks

    def mean(self, rule: int) -> Estimate:
        """The excess of a rule, per task."""
        return _estimate(self.excess[:, rule])

    def gap(self, one: int, other: int) -> Estimate:
        """The excess of one rule less that of another."""
        return _estimate(self.excess[:, one] - self.excess[:, other])

    def over(self, one: int, other: int) -> Estimate:
        """The excess of one rule over that of another."""
        unit = float(self.excess[:, other].mean())
        ratio = float(self.excess[:, one].mean()) / unit
        return Estimate(ratio, _estimate(self.excess[:, one] - ratio * self.excess[:, other]).error / unit)


def _estimate(values: Floats) -> Estimate:
    return Estimate(float(values.mean()), float(values.std(ddof=1) / np.sqrt(values.size)))


def _scaled(estimate: Estimate, unit: float) -> Estimate:
    return Estimate(estimate.mean / unit, estimate.error / unit)


def sample(problem: si.Problem, rules: Sequence[Rule], prompts: int, seed: int = 0) -> Sampled:
    """All rules on the same prompts.

    The loss of labels weighted by w: sum_j Var(g_ij) (q_j - (X^T w_i)_j)^2 + sigma_i^2 |w_i|^2.
    """
    kappa = np.repeat(problem.covariance, problem.block_sizes)
    prior = (
        np.repeat(np.array(problem.signal) / np.array(problem.block_sizes), problem.block_sizes, axis=1)
        / kappa
    )
    noise = np.array(problem.noise)
    excess, spread = [], []
    for x, q in _drawn(problem, prompts, np.random.default_rng(seed)):
        chunk = []
        for rule in rules:
            weights = rule(x, q)
            squared = (weights**2).sum(axis=2)
            missed = (q[:, None, :] - weights @ x) ** 2
            chunk.append(np.stack([(missed * prior).sum(axis=2) + noise * squared, squared]).mean(axis=2))
        both = np.stack(chunk, axis=2)
        excess.append(both[0])
        spread.append(both[1])
    return Sampled(np.concatenate(excess), np.concatenate(spread))


def _drawn(problem: si.Problem, prompts: int, rng: np.random.Generator) -> Iterator[tuple[Floats, Floats]]:
    length, root = round(problem.context_length), np.sqrt(np.repeat(problem.covariance, problem.block_sizes))
    most = max(1, _CHUNK // (length * root.size))
    while prompts > 0:
        n = min(most, prompts)
        yield rng.normal(size=(n, length, root.size)) * root, rng.normal(size=(n, root.size)) * root
        prompts -= n


def attention(problem: si.Problem, at: si.State) -> Rule:
    """Softmax attention."""
    omega = np.repeat(at.omega, problem.block_sizes, axis=1)

    def weights(x: Floats, q: Floats) -> Floats:
        p = (q[:, None, :] * omega) @ x.swapaxes(1, 2)
        p -= p.max(axis=2, keepdims=True)
        np.exp(p, out=p)
        p /= p.sum(axis=2, keepdims=True)
        found: Floats = at.mu.T @ p
        return found

    return weights


def gradient_step(problem: si.Problem) -> Rule:
    """One gradient step of the best size for every task and block: (1/L) sum_l y_l x_l^T Gamma q."""
    signal, kappa = np.array(problem.signal), np.array(problem.covariance)
    noisy = np.array(problem.block_sizes) * np.array(problem.variance)[:, None] + signal  # A (d phi + 1)
    size = problem.context_length * signal / (problem.context_length * signal + noisy) / kappa
    entries = np.repeat(size, problem.block_sizes, axis=1) / problem.context_length

    def weights(x: Floats, q: Floats) -> Floats:
        found: Floats = (q[:, None, :] * entries) @ x.swapaxes(1, 2)
        return found

    return weights


def affordable(problem: si.Problem, share: float) -> int:
    """How many prompts a share of the work pays for."""
    return max(200, round(share * _WORK / (problem.context_length * problem.dimension)))


def excess(problem: si.Problem, loss: float) -> float:
    """A loss summed over tasks as an excess per task."""
    return (loss - sum(problem.noise)) / problem.tasks


def exact(problem: si.Problem, at: si.State) -> float:
    """Exact excess per task, by quadrature."""
    return excess(problem, float(exact_law.task_losses(problem, *at).sum()))


def by_law(problem: si.Problem, at: si.State) -> tuple[float, float | None]:
    """Excess per task of weights by both laws; None past the range of the first-order law."""
    asymptotic, first = (excess(problem, float(si.loss(problem, *at, kernel=law))) for law in LAWS)
    return asymptotic, first if np.isfinite(first) else None


def guard(problem: si.Problem, at: si.State, true: float) -> str:
    """Estimated and true relative errors of the excess under both laws."""
    found = terms(problem, at.omega[None], at.mu[None])
    estimated = [float(found.excess_error(law)[0]) for law in LAWS]
    words = [
        f"{law} {_percent(error)} (actual {_percent(None if value is None else value / true - 1.0)})"
        for law, error, value in zip(LAWS, estimated, by_law(problem, at), strict=True)
    ]
    return ", ".join(words)


def _percent(error: float | None) -> str:
    return "unknown" if error is None or not np.isfinite(error) else f"{100.0 * abs(error):.2g} %"


def best_single_head(problem: si.Problem) -> tuple[si.State, float]:
    """The best head of softmax attention itself on one task of one block, and its excess, by quadrature."""
    root = problem.block_sizes[0] ** 0.5 * problem.covariance[0]

    def profiled(w: float) -> tuple[float, float]:
        """Least excess over mu, in which the loss is a parabola, and that mu."""
        at = [exact(problem, si.State(np.array([[w / root]]), np.array([[mu]]))) for mu in (0.0, 1.0, 2.0)]
        square = 0.5 * (at[2] - 2.0 * at[1] + at[0])
        slope = at[1] - at[0] - square
        return at[0] - 0.25 * slope**2 / square, -0.5 * slope / square

    found = minimize_scalar(
        lambda w: profiled(w)[0], bounds=(0.3, 1.2), method="bounded", options={"xatol": 1e-4}
    )
    least, mu = profiled(float(found.x))
    return si.State(np.array([[found.x / root]]), np.array([[mu]])), least


def heads(size: int, length: float, share: float) -> list[Row]:
    """Three heads with the weights that are best by the asymptotic law, against one gradient step."""
    p = si.Problem.multitask(task_sizes=(size, size), signal=10.0, noise=0.09, context_length=length)
    case = f"two tasks of {size}, L = {length:g}"
    best = [si.optimal.minimise(p, 3, kernel=law) for law in LAWS]
    at = best[0].weights
    assert at is not None
    step = excess(p, si.optimal.gradient_step(p).loss)
    small = excess(p, si.optimal.small_heads(p, 3).loss)
    asymptotic, first = by_law(p, at)
    assert first is not None
    true = exact(p, at)
    seen = sample(p, [attention(p, at), gradient_step(p)], affordable(p, share))
    infima = [excess(p, one.infimum) for one in best]
    return [
        Row(
            case,
            "excess of the weights for three heads",
            asymptotic,
            first,
            true,
            seen.mean(0),
            guard(p, at, true),
        ),
        Row(case, "infimum over three small heads", *infima, small),
        Row(case, "one gradient step", None, None, step, seen.mean(1)),
        Row(case, "the weights less the step", asymptotic - step, first - step, true - step, seen.gap(0, 1)),
        Row(case, "the weights over the step", asymptotic / step, first / step, true / step, seen.over(0, 1)),
    ]


def bound(share: float) -> list[Row]:
    """The effective dimension of the lower bound, and the best single head over a gradient step."""
    p = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.09, context_length=1e4)
    case = "one task of 10, L = 10000"
    dimension = [
        float(si.optimal.effective_dimension(p, benchmark)[0])
        for benchmark in (
            *(si.optimal.lower_bound(p, kernel=law) for law in LAWS),
            si.optimal.small_heads(p),
        )
    ]
    step = excess(p, si.optimal.gradient_step(p).loss)
    ratios = []
    for law in LAWS:
        least = excess(p, si.optimal.lower_bound(p, kernel=law).loss)
        ratios.append(excess(p, si.optimal.single_head(p, kernel=law).loss) / least)
    at, least = best_single_head(p)
    paper = si.optimal.single_head(p).weights
    assert paper is not None
    seen = sample(p, [attention(p, at), attention(p, paper), gradient_step(p)], affordable(p, share))
    asymptotic, first = by_law(p, paper)
    unit = excess(p, si.optimal.lower_bound(p).loss)
    assert first is not None
    true = exact(p, paper)
    quoted = "the asymptotic best head over its bound"
    return [
        Row(case, "X of the lower bound (exact: of small heads)", *dimension),
        Row(case, "best single head of each law over its bound", *ratios, least / step, seen.over(0, 2)),
        Row(
            case, quoted, asymptotic / unit, first / step, true / step, seen.over(1, 2), guard(p, paper, true)
        ),
    ]


def short_blocks(size: int, signal: float, noise: float, share: float) -> list[Row]:
    """One head at the optimum of the asymptotic law, in units of that law."""
    p, noisier = (
        si.Problem.multitask(task_sizes=(size,), signal=signal, noise=s, context_length=1e4)
        for s in (noise, noise + 1.0)
    )
    at = si.optimal.single_head(p).weights
    assert at is not None
    asymptotic, first = by_law(p, at)
    true = exact(p, at)
    seen = sample(p, [attention(p, at)], affordable(p, share))
    # the part of the label noise is what the loss gains with it
    part, first_part = (
        None if high is None or low is None else high - low
        for high, low in zip(by_law(noisier, at), by_law(p, at), strict=True)
    )
    assert part is not None
    exact_part = exact(noisier, at) - true
    case = f"one task of {size}, a = {signal:g}, sigma^2 = {noise:g}, L = 10000"
    return [
        Row(
            case,
            "noise of the labels, over the asymptotic one",
            1.0,
            None if first_part is None else first_part / part,
            exact_part / part,
            _scaled(_estimate(seen.spread[:, 0]), part),
        ),
        Row(
            case,
            "excess, over the asymptotic one",
            1.0,
            None if first is None else first / asymptotic,
            true / asymptotic,
            _scaled(seen.mean(0), asymptotic),
            guard(p, at, true),
        ),
    ]


def totals(share: float) -> list[Row]:
    """Zero weights against the head-per-task limit, judged three ways, under much noise."""
    p = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=1e4, context_length=1e4)
    case = "one task of 10, noise 1e4, L = 10000"
    at = si.optimal.head_per_task(p).weights
    assert at is not None
    asymptotic, first = by_law(p, at)
    true = exact(p, at)
    assert first is not None
    limits = (asymptotic, first, true)
    drawn = sample(p, [attention(p, at)], affordable(p, share)).mean(0)
    power, noise = 10.0, 1e4
    total = Estimate((power + noise) / (drawn.mean + noise), drawn.error / noise)
    ratio = Estimate(power / drawn.mean, power * drawn.error / drawn.mean**2)
    learned = Estimate(1.0 - drawn.mean / power, drawn.error / power)
    return [
        Row(
            case,
            "total of zero weights over the limit's",
            *((power + noise) / (value + noise) for value in limits),
            total,
        ),
        Row(case, "excess of zero weights over the limit's", *(power / value for value in limits), ratio),
        Row(
            case,
            "share learned by the limit (by zero weights: 0)",
            *(1.0 - value / power for value in limits),
            learned,
            guard(p, at, true),
        ),
    ]


def text_of(rows: list[Row]) -> list[str]:
    """The table, a block for every case."""
    lines: list[str] = []
    case = ""
    for row in rows:
        if row.case != case:
            case = row.case
            lines += ["", case, f"  {'':46} {'asymptotic':>12} {'first-order':>12} {'exact':>12}   sampled"]
        numbers = " ".join(_cell(value) for value in (row.asymptotic, row.first_order, row.exact))
        drawn = "-" if row.sampled is None else f"{row.sampled.mean:.6g} +- {row.sampled.error:.2g}"
        lines.append(f"  {row.quantity:46} {numbers}   {drawn}")
        if row.guard:
            lines.append(f"    estimated error of that excess: {row.guard}")
    return lines


def _cell(value: float | None) -> str:
    return f"{'-':>12}" if value is None else f"{value:12.7g}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description="two laws of the context, the exact loss and sampled softmax"
    )
    parser.add_argument("--quick", action="store_true", help="a twentieth of the prompts")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    share = 0.05 if options.quick else 1.0
    began = time.perf_counter()
    rows = [
        *heads(10, 100, share),
        *heads(3, 2000, share),
        *heads(1, 1e4, share),
        *bound(share),
        *short_blocks(5, 10.0, 0.09, share),
        *short_blocks(5, 1.0, 1.0, share),
        *short_blocks(1, 10.0, 0.09, share),
        *short_blocks(1, 1.0, 1.0, share),
        *totals(share),
    ]
    scores = {
        f"{row.case}: {row.quantity}": abs(row.sampled.mean - row.exact) / row.sampled.error
        for row in rows
        if row.sampled is not None and row.exact is not None
    }
    worst = max(scores, key=lambda name: scores[name])
    lines = [
        record.machine_line(),
        f"signal 10 and noise 0.09 but where other numbers are named; {time.perf_counter() - began:.0f} s",
        *text_of(rows),
        "",
        f"sampled against exact: at most {scores[worst]:.1f} standard errors in {len(scores)} rows ({worst})",
    ]
    text = "\n".join(lines)
    print(text)
    data: list[dict[str, Any]] = [
        asdict(row) | {"sampled": None if row.sampled is None else row.sampled._asdict()} for row in rows
    ]
    record.write(options.out, "audit", text, {"share": share, "rows": data})


if __name__ == "__main__":
    main()
