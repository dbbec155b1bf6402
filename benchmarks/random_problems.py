"""Every claim on random problems: inside its hypotheses none may fail, and outside them it does."""

from __future__ import annotations

import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np

from benchmarks.problems import INSIDE, OUTSIDE, Case, sparse_inside, sparse_outside
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.claim import SIGMAS, Verdict
from spectral_icl.theorems.examine import Weighed, weigh
from spectral_icl.theorems.multitask.claims.registry import CLAIMS
from spectral_icl.theorems.multitask.evidence import Evidence
from spectral_icl.theorems.sparse.claims.registry import CLAIMS as SPARSE
from spectral_icl.theorems.sparse.evidence import Evidence as SparseEvidence

COUNT = 1000  # problems that meet the hypotheses of a claim,
# or fewer, of claims that solve, search or sample for longer at each, on one core: half a second,
FEWER = dict.fromkeys(
    (
        "monotone-loss",
        "emergence-width",
        "equality-within-blocks",
        "separation-factor",
        "single-head-optimum",
        "bayes-comparison",
        "escape-rate",
        "merged",
        "equiangular-heads",
    ),
    200,
)
FEWER |= dict.fromkeys(  # about a second,
    (
        "sign-conservation",
        "imbalance-conservation",
        "head-budget",
        "superposition",
        "decomposability-preserved",
        "kernel-validity",
        "length-generalisation",
        "kernel-smoother",
        "optimality-one-sign",
        "scaling-losses",
    ),
    100,
)
FEWER |= {"scaling-times": 50, "escape-scaling": 50} | dict.fromkeys(SPARSE, 100)  # and more
BROKEN = 25  # failures outside the hypotheses that are enough
PIECE = 50  # problems of a piece of work
_MOST, _MOST_OUTSIDE = 20, 12  # problems tried for each that is wanted
# problems outside after which it is enough if nothing could be measured, or of twice as many, if none failed
_VAIN = 60
PROMPTS, SPARSE_PROMPTS = 400, 100  # more if they do not decide


class Job(NamedTuple):
    """A piece of work: so many problems for a claim, inside or outside its hypotheses."""

    claim: str
    outside: bool
    wanted: int
    seed: tuple[int, ...]


def names() -> list[str]:
    """Names of all claims that can be tested on any problem."""
    return [name for claims in (CLAIMS, SPARSE) for name, claim in claims.items() if claim.anywhere]


def jobs(chosen: Sequence[str], seed: int, share: int) -> list[Job]:
    """The pieces of work for some claims, of ``1 / share`` of the problems."""
    found = []
    for name in chosen:
        count = max(1, FEWER.get(name, COUNT) // share)
        key = crc32(name.encode())
        for k, first in enumerate(range(0, count, PIECE)):
            found.append(Job(name, False, min(PIECE, count - first), (seed, key, k)))
        found.append(Job(name, True, BROKEN, (seed, key, 10**6)))
    return found


def work(job: Job) -> dict[str, Any]:
    """The record of a piece of work."""
    warnings.simplefilter("ignore")
    record: dict[str, Any] = {"tried": 0, "applicable": 0, "failed": 0, "undecided": 0, "measured": 0}
    record |= {"by": Counter(), "margins": [], "covered": {}, "failures": []}
    for seed, case, found in _weighed(job, record):
        described = describe(case)
        applied = [one for one in found if one.check.verdict is not Verdict.NOT_APPLICABLE]
        broken = [one for one in found if one.missing and one.claimed and one.finding is not None]
        record["tried"] += 1
        if job.outside:
            record["measured"] += bool(broken)
            bad = [one for one in broken if one.finding and not one.finding.holds]
            record["failed"] += bool(bad)
            record["by"].update({text for one in bad for text in one.missing})
            continue
        if not applied:
            continue
        record["applicable"] += 1
        for key, value in described.items():
            low, high = record["covered"].get(key, (value, value))
            record["covered"][key] = (min(low, value), max(high, value))
        for one in applied:
            assert one.finding is not None
            record["margins"].append(float(one.finding.margin))
            if one.check.verdict is Verdict.FAILS:
                off = abs(one.finding.measured - one.finding.predicted)
                decided = off > SIGMAS * one.finding.error
                record["failed" if decided else "undecided"] += 1
                numbers = {"measured": one.finding.measured, "predicted": one.finding.predicted}
                told = {"error": one.finding.error, "what": one.check.reason, "decided": bool(decided)}
                record["failures"].append({"seed": list(seed), **written_out(case), **numbers, **told})
    margins = record.pop("margins")
    return record | {"least margin": min(margins, default=None)}


def _weighed(
    job: Job, record: dict[str, Any]
) -> Iterator[tuple[tuple[int, ...], Case | SparseProblem, list[Weighed]]]:
    """The checks of a claim on one problem after the other, until there are as many as are wanted.

    Each is drawn by a seed of its own from a generator, and the more often from one the more often the
    hypotheses were met by its problems.
    """
    enough = "failed" if job.outside else "applicable"
    draw: Sequence[Callable[[np.random.Generator], Any]]
    if job.claim in SPARSE:
        draw = [sparse_outside if job.outside else sparse_inside]
    else:
        table = OUTSIDE if job.outside else INSIDE
        draw = table.get(job.claim, table[""])
    hits, tries = np.ones(len(draw)), np.ones(len(draw))
    for k in range((_MOST_OUTSIDE if job.outside else _MOST) * job.wanted):
        vain = job.outside and (
            (record["tried"] >= _VAIN and not record["measured"])
            or (record["tried"] >= 2 * _VAIN and not record["failed"])
        )
        if record[enough] >= job.wanted or vain:
            return
        seed = (*job.seed, k)
        rng = np.random.default_rng(seed)
        which = int(rng.choice(len(draw), p=hits / tries / (hits / tries).sum()))
        before = record[enough]
        case = draw[which](rng)
        yield seed, case, test(job.claim, case, int(rng.integers(2**31)))
        tries[which] += 1.0
        hits[which] += record[enough] - before


def test(claim: str, case: Case | SparseProblem, seed: int) -> list[Weighed]:
    """The checks of a claim on a problem."""
    if isinstance(case, SparseProblem):
        return weigh(SPARSE[claim], SparseEvidence(case, SPARSE_PROMPTS, seed).growing(4))
    problem, start, weights, kernel = case
    evidence = Evidence(problem, start, weights, None, 1e-8, kernel, PROMPTS, seed)
    return weigh(CLAIMS[claim], [evidence])


def describe(case: Case | SparseProblem) -> dict[str, float]:
    """The numbers of a problem and start by which it is told what was covered."""
    if isinstance(case, SparseProblem):
        return {
            "n": case.n,
            "d": case.d,
            "s": case.s,
            "SNR": case.signal / case.noise,
            "correlation": case.correlation,
            "variance on the support": case.support_variance,
        }
    problem, start = case.problem, case.start
    noise = float(np.sum(problem.noise))
    return {
        "L": problem.context_length,
        "d": max(problem.block_sizes),
        "I": problem.tasks,
        "H": len(start.omega),
        "SNR": float(problem.power.sum()) / noise,
        "size": max(float(np.abs(values).max()) for values in start),
    }


def written_out(case: Case | SparseProblem) -> dict[str, Any]:
    """A problem, and its start if it has one, as plain objects from which they can be made again."""
    if isinstance(case, SparseProblem):
        return {"problem": case.to_dict()}
    start = {name: values.tolist() for name, values in case.start._asdict().items()}
    how = {"weights": repr(case.parametrization), "kernel": case.kernel}
    return {"problem": case.problem.to_dict(), **start, **how}


def measure(chosen: Sequence[str], seed: int, share: int, workers: int) -> list[dict[str, Any]]:
    """What was found, claim by claim, with a line on standard error as each piece ends."""
    asked = jobs(chosen, seed, share)
    merged: dict[str, dict[str, Any]] = {}
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        for k, (job, record) in enumerate(zip(asked, pool.map(work, asked), strict=True), 1):
            found = merged.setdefault(job.claim, {"claim": job.claim, "inside": {}, "outside": {}})
            side = "outside" if job.outside else "inside"
            found[side] = _merged(found[side], record) if found[side] else record
            if sys.stderr.isatty() or os.environ.get("PROGRESS"):
                print(f"{k}/{len(asked)} {job.claim} {side}", file=sys.stderr, flush=True)
    return [_plain(found) for found in merged.values()]


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Two records of a claim as one."""
    total = {key: one[key] + other[key] for key in ("tried", "applicable", "failed", "undecided", "measured")}
    covered = {
        key: (min(one["covered"][key][0], pair[0]), max(one["covered"][key][1], pair[1]))
        for key, pair in other["covered"].items()
        if key in one["covered"]
    }
    margins = [m["least margin"] for m in (one, other) if m["least margin"] is not None]
    return {
        **total,
        "by": one["by"] + other["by"],
        "covered": covered or one["covered"],
        "failures": one["failures"] + other["failures"],
        "least margin": min(margins, default=None),
    }


def _plain(found: dict[str, Any]) -> dict[str, Any]:
    inside, outside = found["inside"], found["outside"]
    kept = ("tried", "applicable", "failed", "undecided", "least margin", "covered", "failures")
    told = {key: outside[key] for key in ("tried", "measured", "failed")}
    return {
        "claim": found["claim"],
        "inside": {key: _finite(inside[key]) for key in kept},
        "outside": {**told, "by hypothesis": dict(outside["by"].most_common())},
    }


def _finite(value: Any) -> Any:
    """The value with null for what is not finite, as strict JSON has it."""
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not np.isfinite(value) else value


def text(found: Sequence[dict[str, Any]]) -> str:
    """Two tables, inside and outside the hypotheses, what was covered, and every failure."""
    lines = ["random problems that meet the hypotheses"]
    lines.append(
        f"  {'claim':28}{'tried':>7}{'applicable':>12}{'failed':>8}{'undecided':>11}{'least margin':>14}"
    )
    for one in found:
        x = one["inside"]
        margin = "-" if x["least margin"] is None else f"{x['least margin']:.3g}"
        counts = f"{x['tried']:7}{x['applicable']:12}{x['failed']:8}{x['undecided']:11}"
        lines.append(f"  {one['claim']:28}{counts}{margin:>14}")
    lines += ["", "what they cover"]
    for one in found:
        parts = [f"{key} {low:.3g} to {high:.3g}" for key, (low, high) in one["inside"]["covered"].items()]
        lines.append(f"  {one['claim']:28}{', '.join(parts)}")
    lines += ["", "random problems that do not", f"  {'claim':28}{'tried':>7}{'measured':>10}{'failed':>8}"]
    for one in found:
        x = one["outside"]
        lines.append(f"  {one['claim']:28}{x['tried']:7}{x['measured']:10}{x['failed']:8}")
        if not x["measured"]:
            lines.append("      no hypothesis that can be broken and the claim still measured")
        lines += [f"      {count:4} without: {text}" for text, count in x["by hypothesis"].items()]
    for one in found:
        lines += [_failure(one["claim"], failure) for failure in one["inside"]["failures"]]
    return "\n".join(lines)


def _failure(claim: str, failure: dict[str, Any]) -> str:
    """One line for a failure, whose problem is in the JSON."""
    error = f" +- {failure['error']:.1g}" if failure["error"] else ""
    numbers = f"{failure['measured']:.4g}{error} against {failure['predicted']:.4g}"
    kind = "FAILED" if failure["decided"] else "undecided"
    return f"{kind} {claim} {failure['seed']}: {failure['what']}: {numbers}"
