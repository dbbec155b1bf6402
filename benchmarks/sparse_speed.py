"""The theory of sparse regression against the Monte Carlo it replaces, and P2O on many prompts against loops.

    python -m benchmarks.sparse_speed [--quick] [--out DIR]

Ratios of times on one thread: of processor time, since cores may be shared. First calls, which import SciPy's
special functions and compile the kernels, are left out.

Theory and Monte Carlo at a standard error of 1 % of the risk, for d = 64, n = 128 and d = 256, n = 512 with
s = 4 and noise 0.25: at the best time alone, and on a curve of 41 times, of which the least accurate counts.
What a sampled mean takes is the time of a sample, times the samples it needs, (100 times the standard
deviation over the mean)^2, estimated from many. A time is the best of several rounds, in each of which
everybody has a turn. What the theory is off by itself, `benchmarks.sparse_table` measures.

- Gradient flow, and ridge regression: the Marchenko-Pastur functional. Against prompts, with a decomposition
  for each; and against a Monte Carlo that knows more, the exact risk given the eigenvalues of a sampled
  design, which leaves very little to average.
- P2O given r and |y|^2: the deterministic equivalent, of one r and |y|^2 in a call, against sampled
  covariances given the same; and in calls of 64, per r. Averaged over four r.
- P2O: the equivalent averaged over r, with as many draws as it needs, against prompts with a decomposition
  for each.

Batched P2O: 16 steps on 1000 prompts by `predictors.p2o`, which returns every iterate and checks the step,
against a loop over prompts, F = X r, u += eta F'(y - F u)/n; the same by stacked `np.matmul`; that with
F'F/n made first, the cheaper form for d < n, as the package has it; and the package's kernels without the
checks of its public function.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks import record
from benchmarks.throughput import pin
from spectral_icl.io.checks import Floats
from spectral_icl.kernels import sparse as kernels
from spectral_icl.sparse import predictors
from spectral_icl.sparse.filters import Flow
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import draw, excess_risk
from spectral_icl.sparse.risk import isotropic as risk
from spectral_icl.sparse.risk.equivalent import p2o_risk, p2o_risk_given
from spectral_icl.sparse.risk.given_labels import sample_r, sample_shat
from spectral_icl.sparse.simulation import simulate
from spectral_icl.sparse.tuning import Tuning

PROBLEMS = (SparseProblem(64, 4, 128, 0.25), SparseProblem(256, 4, 512, 0.25))
POINTS = 41
ERROR = 0.01
READS = 4  # of r and |y|^2, for the risk given them
TOGETHER = 64  # of them in a call
BATCHES = ((16, 64), (64, 128), (64, 1000), (256, 128))
PROMPTS, STEPS = 1000, 16
LOOP, STACKED, GRAM, OURS, KERNELS = "loop", "matmul", "matmul of Gram", "p2o", "kernels"
_CHUNK = 2**21  # numbers sampled in a call
_PILOT = 512  # draws from which those that the theory needs are guessed
_LEAST = 0.05  # seconds in a turn: shorter calls are repeated

Call = Callable[[int], Any]  # of a seed


@dataclass
class Runner:
    """A call, how much it does, and its best time.

    Attributes
    ----------
    call : callable
    samples : int
        In a call; its ``results``, if it is a Monte Carlo, are their risks (samples, J).
    """

    call: Call
    samples: int = 1
    seconds: float = np.inf  # per call
    turns: int = 0

    def turn(self) -> list[Any]:
        """Run for a while; what the calls returned."""
        spent, results = 0.0, []
        while spent < _LEAST:
            began = time.thread_time()
            results.append(self.call(self.turns))
            seconds = time.thread_time() - began
            self.seconds, spent, self.turns = min(self.seconds, seconds), spent + seconds, self.turns + 1
        return results

    @property
    def per_sample(self) -> float:
        """Seconds."""
        return self.seconds / self.samples


class Needed(NamedTuple):
    """Samples for a standard error of 1 %, and the relative standard error of that number."""

    samples: float
    error: float


def needed(risks: Floats) -> Needed:
    """From risks of samples (N, J); the point that needs most counts."""
    mean = risks.mean(axis=0)
    off = ((risks - mean) / mean) ** 2
    worst = int(np.argmax(off.mean(axis=0)))
    variance = off[:, worst].mean()
    return Needed(
        max(2.0, float(variance / ERROR**2)),
        float(off[:, worst].std(ddof=1) / np.sqrt(len(off)) / variance),
    )


def best_times(problem: SparseProblem) -> tuple[Tuning, Tuning]:
    """Curves of 41 times and penalties; and the best of each."""
    p = problem
    curve = replace(
        Tuning.of(p, np.geomspace(0.5, 50.0, POINTS) * p.s / p.v),
        gd=np.geomspace(0.1, 100.0, POINTS),
        ridge=risk.ridge_opt_risk(p.d, p.n, p.v, p.noise).lam * np.geomspace(0.05, 20.0, POINTS),
    )
    p2o = p2o_risk(weights(p), None, p.noise, p.n, curve.p2o, 1024, 0).mean.argmin()
    gd = risk.gd_risk(p.d, p.n, p.v, p.noise, times=curve.gd).argmin()
    best = replace(curve, p2o=curve.p2o[[p2o]], gd=curve.gd[[gd]], ridge=curve.ridge[[POINTS // 2]])
    return curve, best


def seedless(call: Callable[[], Any]) -> Call:
    """A call that draws nothing."""
    return lambda _: call()


def weights(problem: SparseProblem) -> Floats:
    """Those of the first s features; signs and places make no difference."""
    return np.where(np.arange(problem.d) < problem.s, np.sqrt(problem.v / problem.s), 0.0)


def prompts(problem: SparseProblem, tuning: Tuning, method: str, count: int, seed: int) -> Floats:
    """Risks of prompts."""
    return simulate(problem, (method,), count, seed, tuning).risks[method]


def designs(problem: SparseProblem, tuning: Tuning, method: str, count: int, seed: int) -> Floats:
    """Exact risks given the eigenvalues of designs."""
    p = problem
    X = np.random.default_rng(seed).standard_normal((count, p.n, p.d))
    z = np.linalg.eigvalsh(np.swapaxes(X, -1, -2) @ X / p.n)[:, None]
    f = Flow(tuning.gd)(z[:, 0]) if method == "gd" else 1.0 / (z + tuning.ridge[:, None])
    found: Floats = ((p.v / p.d) * (1.0 - z * f) ** 2 + (p.noise / p.n) * z * f**2).sum(axis=-1)
    return found


def covariances(
    problem: SparseProblem, r: Floats, y2: Floats, times: Floats, count: int, seed: int
) -> Floats:
    """Risks given one r and |y|^2 with sampled covariances."""
    p, w = problem, weights(problem)
    many = np.broadcast_to(r, (count, p.d))
    S = sample_shat(many, np.broadcast_to(y2, count), w, None, p.noise, p.n, seed)
    z, basis = np.linalg.eigh(r[:, None] * S * r)
    beta = predictors.Spectral(np.maximum(z, 0.0), r[:, None] * basis, r**2 @ basis).apply(Flow(times)(z))
    return excess_risk(beta, w)


def mean_draws(problem: SparseProblem, times: Floats, repeats: int) -> Needed:
    """Draws of r with which the theory of P2O has a standard error of 1 %, from errors of many calls.

    Drawn in strata, it falls faster than draws^-1/2: two pilots, the second at what the first one asks for.
    """
    p, count = problem, _PILOT
    for _ in range(3):
        runs = [p2o_risk(weights(p), None, p.noise, p.n, times, count, seed) for seed in range(repeats)]
        mean = np.mean([run.mean for run in runs], axis=0)
        error = float((np.sqrt(np.mean([run.se**2 for run in runs], axis=0)) / mean).max())
        if 0.95 < error / ERROR < 1.05:
            break
        count = max(16, round(count * (error / ERROR) ** 1.6))
    return Needed(float(count), 2.0 / np.sqrt(2.0 * 7 * repeats))


def race(peers: Mapping[str, Runner], rounds: int, sampled: Mapping[str, list[Any]]) -> None:
    """Everybody once to warm up, and then in turns; keeps what the sampled ones return."""
    for runner in peers.values():
        runner.call(0)
    for _ in range(rounds):
        for name, runner in peers.items():
            results = runner.turn()
            if name in sampled:
                sampled[name] += results


def versus(
    theory: Runner, samplers: Mapping[str, Runner], rounds: int, known: float
) -> tuple[float, dict[str, dict[str, float]]]:
    """Seconds of the theory, and of every Monte Carlo its cost, ``known`` to that share, and the ratio."""
    sampled: dict[str, list[Any]] = {name: [] for name in samplers}
    race({"theory": theory, **samplers}, rounds, sampled)
    found = {}
    for name, runner in samplers.items():
        while (need := needed(np.concatenate(sampled[name]))).error > known:
            sampled[name] += runner.turn()
        found[name] = {
            "samples": need.samples,
            "samples_error": need.error,
            "seconds_per_sample": runner.per_sample,
            "ratio": need.samples * runner.per_sample / theory.seconds,
        }
    return theory.seconds, found


def replacing(problem: SparseProblem, rounds: int, known: float, repeats: int) -> list[dict[str, Any]]:
    """The theory of a problem against its Monte Carlos."""
    p, w = problem, weights(problem)
    chunk = max(1, min(256, _CHUNK // (p.n * p.d)))
    rows = []

    def add(what: str, points: int, seconds: float, found: dict[str, Any], **more: Any) -> None:
        row = {
            "what": what,
            "d": p.d,
            "n": p.n,
            "points": points,
            "theory": seconds,
            **more,
            "against": found,
        }
        rows.append(row)
        print("\n".join(lines_of(row)), flush=True)

    for tuning in reversed(best_times(p)):
        points = len(tuning.p2o)
        exact = {
            "gd": seedless(partial(risk.gd_risk, p.d, p.n, p.v, p.noise, times=tuning.gd)),
            "ridge": seedless(partial(risk.ridge_risk, p.d, p.n, p.v, p.noise, tuning.ridge)),
        }
        for method, call in exact.items():
            samplers = {
                "prompts": Runner(partial(prompts, p, tuning, method, chunk), chunk),
                "eigenvalues": Runner(partial(designs, p, tuning, method, chunk), chunk),
            }
            add(method, points, *versus(Runner(call), samplers, rounds, known))

        reads = sample_r(w, None, p.noise, p.n, 0, TOGETHER)
        costs, found = [], []
        for r, y2 in zip(reads.r[:READS], reads.y2[:READS], strict=True):
            equivalent = partial(p2o_risk_given, r, y2, w, None, p.noise, p.n, tuning.p2o)
            sampler = Runner(partial(covariances, p, r, y2, tuning.p2o, chunk), chunk)
            seconds, against = versus(
                Runner(seedless(equivalent)),
                {"covariances": sampler},
                max(1, rounds // 2),
                known * math.sqrt(READS),
            )
            costs.append(seconds)
            found.append(against["covariances"])
        given = partial(p2o_risk_given, reads.r, reads.y2, w, None, p.noise, p.n, tuning.p2o)
        together = Runner(seedless(given), TOGETHER)
        race({"together": together}, rounds, {})
        mean = {key: float(np.mean([one[key] for one in found])) for key in found[0] if key != "ratio"}
        cost = mean["samples"] * mean["seconds_per_sample"]
        mean["samples_error"] /= math.sqrt(READS)
        seconds = float(np.mean(costs))
        add("p2o given r", points, seconds, {"covariances": {**mean, "ratio": cost / seconds}})
        add("p2o given r, 64", points, together.per_sample,
            {"covariances": {**mean, "ratio": cost / together.per_sample}})  # fmt: skip

        draws = mean_draws(p, tuning.p2o, repeats)
        theory = Runner(partial(p2o_risk, w, None, p.noise, p.n, tuning.p2o, int(draws.samples)))
        samplers = {"prompts": Runner(partial(prompts, p, tuning, "p2o", chunk), chunk)}
        seconds, against = versus(theory, samplers, rounds, known)
        add("p2o", points, seconds, against, draws=draws.samples, draws_error=draws.error)
    return rows


def loop(X: Floats, y: Floats, eta: float) -> Floats:
    """P2O by NumPy, prompt after prompt."""
    found, n = np.empty((len(X), X.shape[2])), X.shape[1]
    for b, (features, labels) in enumerate(zip(X, y, strict=True)):
        r = features.T @ labels / n
        F = features * r
        u = np.zeros(len(r))
        for _ in range(STEPS):
            u += eta * (F.T @ (labels - F @ u)) / n
        found[b] = r * u
    return found


def stacked(X: Floats, y: Floats, eta: float) -> Floats:
    """P2O by NumPy on all prompts at a time."""
    n, labels = X.shape[1], y[:, :, None]
    r = predictors.correlations(X, y)
    F = X * r[:, None]
    Ft, u = np.swapaxes(F, -1, -2), np.zeros((*r.shape, 1))
    for _ in range(STEPS):
        u += eta * np.matmul(Ft, labels - np.matmul(F, u)) / n
    found: Floats = r * u[..., 0]
    return found


def of_gram(X: Floats, y: Floats, eta: float) -> Floats:
    """P2O by NumPy on all prompts at a time, from X'X/n."""
    r = predictors.correlations(X, y)
    M = np.matmul(np.swapaxes(X, -1, -2), X) / X.shape[1] * r[:, None] * r[:, :, None]
    b, u = (r**2)[..., None], np.zeros((*r.shape, 1))
    for _ in range(STEPS):
        u += eta * (b - np.matmul(M, u))
    found: Floats = r * u[..., 0]
    return found


def unchecked(X: Floats, y: Floats, eta: float) -> Floats:
    """What `predictors.p2o` does, without its checks of the prompts and of the step."""
    r, n = predictors.correlations(X, y), X.shape[1]
    steps = np.full(len(X), eta)
    if X.shape[2] > n:
        path: Floats = kernels.descent(X, y, r**2, steps, STEPS)
    else:
        path = kernels.gram_descent(np.swapaxes(X, -1, -2) @ X / n, r, r**2, steps, STEPS)
    return path[:, -1]


def batched(d: int, n: int, rounds: int) -> dict[str, Any]:
    """Seconds of everybody's 16 steps on 1000 prompts."""
    sample = draw(SparseProblem(d, 4, n, 0.25), PROMPTS, 0)
    X, y = sample.X, sample.y
    r = predictors.correlations(X, y)
    tops = [predictors.spectral(X[k], y[k], r[k]).eigenvalues.max() for k in range(PROMPTS)]
    eta = 1.0 / max(tops)  # safe for all prompts
    peers = {
        OURS: Runner(lambda _: predictors.p2o(X, y, eta, STEPS)),
        LOOP: Runner(lambda _: loop(X, y, eta)),
        STACKED: Runner(lambda _: stacked(X, y, eta)),
        GRAM: Runner(lambda _: of_gram(X, y, eta)),
        KERNELS: Runner(lambda _: unchecked(X, y, eta)),
    }
    wanted = peers[OURS].call(0)[:, -1]
    for name in (LOOP, STACKED, GRAM, KERNELS):
        np.testing.assert_allclose(peers[name].call(0), wanted, rtol=1e-9, atol=1e-12)
    race(peers, rounds, {})
    seconds = {name: runner.seconds for name, runner in peers.items()}
    ratio = {name: seconds[name] / seconds[OURS] for name in (LOOP, STACKED, GRAM, KERNELS)}
    ratios = ", ".join(f"{name} {value:.2f}" for name, value in ratio.items())
    print(f"d = {d}, n = {n}: {1e3 * seconds[OURS]:.1f} ms; over it: {ratios}", flush=True)
    return {"d": d, "n": n, "seconds": seconds, "ratio": ratio}


def lines_of(row: Mapping[str, Any]) -> Sequence[str]:
    """A row of the first kind as text."""
    draws = f", {row['draws']:.0f} draws (within {100 * row['draws_error']:.0f} %)" if "draws" in row else ""
    lines = [
        f"{row['what']}, d = {row['d']}, n = {row['n']}, {row['points']} points:"
        f" theory {1e3 * row['theory']:.3f} ms{draws}"
    ]
    for name, found in row["against"].items():
        lines.append(
            f"  {name:<12} {found['samples']:8.0f} samples (within {100 * found['samples_error']:.0f} %) of"
            f" {1e3 * found['seconds_per_sample']:.4f} ms: {found['ratio']:.1f} times the theory"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description="theory against Monte Carlo, batched P2O against loops")
    parser.add_argument("--quick", action="store_true", help="the small problem, fewer rounds and samples")
    parser.add_argument("--out", type=Path, default=record.RESULTS)
    options = parser.parse_args()
    rounds, known, repeats = (2, 0.3, 4) if options.quick else (6, 0.1, 24)

    if hasattr(os, "sched_getaffinity"):
        pin({max(os.sched_getaffinity(0))})
    rows = [
        row
        for problem in PROBLEMS[: 1 if options.quick else None]
        for row in replacing(problem, rounds, known, repeats)
    ]
    batches = [batched(d, n, rounds) for d, n in BATCHES]
    lines = [
        record.machine_line(),
        f"time of a Monte Carlo of a standard error of {100 * ERROR:g} % over that of the theory",
        *(line for row in rows for line in ("", *lines_of(row))),
        "",
        f"{STEPS} steps of P2O on {PROMPTS} prompts: time of others over that of `predictors.p2o`",
        *(
            f"  d = {row['d']:3}, n = {row['n']:4}: "
            + ", ".join(f"{name} {ratio:.2f}" for name, ratio in row["ratio"].items())
            for row in batches
        ),
    ]
    record.write(options.out, "sparse_speed", "\n".join(lines), {"theory": rows, "batched": batches})


if __name__ == "__main__":
    main()
