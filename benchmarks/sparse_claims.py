"""The claims about sparse regression on random problems, and the grid that their hypotheses are from.

Run from the repository root:

    python -m benchmarks.sparse_claims [--count N] [--quick] [--out DIR]

First the risk of P2O beside that of ridge, the lower bound of GD and ridge, and the authors' rate, over a
grid of s/d, n/s and noise/signal (d/n follows), with the worst in bands of the contrast n v/(s (v + s2)).
Then all claims on random problems of cheap dimensions, inside their hypotheses and outside: a claim that
fails inside is a mistake of the theory, or of ours; one that never fails outside supposes too much. Last
the documented places with three seeds. What a trial leaves out of a claim (steps of one size, a head, a
logarithm) counts as outside.

A sampled claim holds or fails only if its number is more than three standard errors from its bound, after up
to sixteen times 100 prompts: one exactly at its bound fails by chance with probability 0.7 % at most, and is
undecided otherwise. The least distance inside, in standard errors, is printed.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.record import RESULTS, machine_line, write
from spectral_icl.sparse.hypotheses import contrast
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.simulation import simulate
from spectral_icl.theorems.claim import Check, Verdict
from spectral_icl.theorems.sparse.bounds import linear_lower_bound
from spectral_icl.theorems.sparse.check import check, names

PROMPTS = 100
SEEDS = (0, 1, 2)
EVERY = {"ridge-domination": 8, "lasso": 3}  # claims that take long, and of how many problems one has them
FAMILIES = ("exponents", "memorisation")
SHARES, PAIRS, NOISES = (32, 16, 8, 4), (6, 8, 12, 16, 24, 32, 64), (0.01, 0.1, 0.25, 1.0, 2.0, 4.0)
BANDS = (0.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0)
_FEATURES, _LARGEST = 32, 20_000  # features of the grid, and n d of a random problem

CANNOT = {
    "heads-necessary": "proved for noisy labels; without noise the heads of a problem miss by as much",
    "ridge-domination": "proved for isotropic features; of others there is no theory of ridge to measure by",
    "exponents": "about families of problems, at places of its own",
    "memorisation": "about families of problems, at places of its own",
}


def cell(share: int, pairs: int, noise: float, prompts: int, seed: int) -> dict[str, float]:
    """P2O at a cell of the grid: over ridge, with the error, over the lower bound, and over the rate."""
    s = _FEATURES // share
    p = SparseProblem(_FEATURES, s, pairs * s, noise)
    found = simulate(p, ("p2o", "ridge"), prompts, seed)
    ratio, best = found.ratio("p2o", "ridge", below=found.tuning.known), found.at_best("p2o").mean
    return {
        **{"s/d": s / p.d, "n/s": pairs, "d/n": p.d / p.n, "noise/signal": noise, "contrast": contrast(p)},
        **{"over ridge": ratio.mean, "error": ratio.se, "over bound": best / linear_lower_bound(p)},
        "over rate": best / (noise * float(np.log(p.n)) * (s / p.n + p.d / p.n**2)),
    }


def random_problem(seed: int) -> SparseProblem:
    """A problem of cheap dimensions, of any law; six in ten are drawn where most hypotheses hold.

    One in eight is at a corner where a hypothesis holds that is met by chance too rarely.
    """
    rng = np.random.default_rng([8, seed])
    if seed % 8 == 7:
        return corner(rng, seed // 8 % 4)
    inside = rng.random() < 0.6
    loud, least, furthest = (4.0, 16.0, 0.6) if inside else (16.0, 2.0, 0.97)
    while True:
        d = int(rng.choice([2, 3, 4])) if rng.random() < 0.05 else int(rng.choice([8, 16, 32]))
        odds = [0.0, 0.0, 0.2, 0.15, 0.45, 0.2] if inside else [0.15, 0.1, 0.25, 0.15, 0.25, 0.1]
        s = max(1, d // int(rng.choice([1, 2, 4, 8, 16, 32], p=odds)))
        signal = float(np.exp(rng.uniform(np.log(0.1), np.log(10.0))))
        noise = float(np.exp(rng.uniform(np.log(0.1 if inside else 0.01), np.log(loud))))
        kind = rng.choice(["plain", "gauss", "correlated", "variance"], p=[0.55, 0.13, 0.18, 0.14])
        variance = float(rng.uniform(0.3 if inside else 0.05, 1.0)) if kind == "variance" else 1.0
        n = round(float(np.exp(rng.uniform(np.log(least), np.log(120.0)))) * s * (1.0 + noise) / variance)
        if rng.random() < 0.12:
            n = d * int(rng.choice([2, 4, 16, 18]))
        law: dict[str, Any] = {
            "weights": "gauss" if kind == "gauss" else "pm",
            "correlation": float(rng.uniform(-furthest, furthest)) if kind == "correlated" else 0.0,
            "support_variance": variance,
        }
        if n >= 2 and n * d <= _LARGEST:
            return SparseProblem(d, s, n, noise * signal, signal, **law)


def corner(rng: np.random.Generator, which: int) -> SparseProblem:
    """A problem with many pairs per feature, or little noise and several weights, or dense, or entangled."""
    noise = float(rng.uniform(0.1, 0.25 if which == 1 else 0.5))
    d = int(rng.choice([16, 32]))
    if which == 0:
        return SparseProblem(d, 1 if d == 16 else 2, round(d * rng.uniform(16.0, 19.0)), noise)
    if which == 1:
        return SparseProblem(d, d // 4, round(d * rng.uniform(5.0, 18.0)), noise)
    if which == 2:
        return SparseProblem(d, d, round(d * rng.uniform(1.1, 4.0)), noise)
    rho = float(rng.choice([-1.0, 1.0]) * rng.uniform(0.9, 0.97))
    return SparseProblem(d, d // 4, round(d * rng.uniform(4.0, 16.0)), noise, correlation=rho)


@dataclass
class Tally:
    """Numbers of problems by what became of a claim, inside its hypotheses and outside."""

    holds: int = 0
    fails: int = 0
    undecided: int = 0
    outside_holds: int = 0
    outside_fails: int = 0
    nearest: float = float("inf")
    failures: list[dict[str, Any]] = field(default_factory=list)

    def add(self, seed: int, checks: list[Check]) -> None:
        """Count the checks of one problem: one that fails outweighs those that hold."""
        inside = [one for one in checks if one.verdict is not Verdict.NOT_APPLICABLE]
        failed = [one for one in inside if one.verdict is Verdict.FAILS]
        self.failures += [{"seed": seed, "reason": one.reason, "measured": one.measured} for one in failed]
        self.fails += bool(failed)
        self.holds += bool(inside) and not failed
        self.undecided += any("undecided" in one.reason for one in checks)
        beyond = [one for one in checks if " without: " in one.reason]
        broken = any("FAILS without: " in one.reason for one in beyond)
        self.outside_fails += broken
        self.outside_holds += bool(beyond) and not broken
        for one in inside:
            if one.error and one.measured is not None and one.predicted is not None:
                self.nearest = min(self.nearest, abs(one.measured - one.predicted) / one.error)


def tallied(count: int) -> dict[str, Tally]:
    """All claims that can be made of one problem, on random ones."""
    found: dict[str, Tally] = {name: Tally() for name in names()}
    for seed in range(count):
        p = random_problem(seed)
        wanted = [name for name in names() if name not in FAMILIES and seed % EVERY.get(name, 1) == 0]
        for checks in check(wanted, p, PROMPTS, seed):
            found[checks[0].claim].add(seed, checks)
        if sys.stderr.isatty() or seed % 100 == 99:
            fails = sum(tally.fails for tally in found.values())
            print(f"{seed + 1}/{count} problems, {fails} failures", file=sys.stderr, flush=True)
    return found


def places() -> dict[str, dict[str, int]]:
    """Verdicts at the documented places, over all seeds, by claim."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: {verdict.value: 0 for verdict in Verdict})
    for seed, name in product(SEEDS, names()):
        (checks,) = check([name], prompts=PROMPTS, seed=seed)
        for one in checks:
            found[name][one.verdict.value] += 1
    return dict(found)


def grid_lines(cells: list[dict[str, float]]) -> list[str]:
    """The grid as tables, one for each s/d, and the worst in bands of the contrast."""
    lines = [f"P2O / ridge at d = {_FEATURES}, each at its best; columns: n/s (d/n)"]
    for share in SHARES:
        rows = [one for one in cells if one["s/d"] == 1.0 / share]
        head = "  ".join(f"{pairs:>3} ({share / pairs:5.2f})" for pairs in PAIRS)
        lines += [f"s/d = 1/{share:<10} {head}"]
        for noise in NOISES:
            values = "  ".join(f"{one['over ridge']:11.3f}" for one in rows if one["noise/signal"] == noise)
            lines += [f"  noise/signal {noise:4g} {values}"]
    lines += [
        "",
        "largest in bands of the contrast n v/(s (v + s2)), of noise from a tenth of the signal on:",
    ]
    lines += [f"{'from':>6} {'to':>6}   P2O/ridge at d = 32 s   16 s    8 s    4 s   P2O/bound   P2O/rate"]
    for least, most in zip(BANDS, (*BANDS[1:], np.inf), strict=True):
        inside = [one for one in cells if least <= one["contrast"] < most and one["noise/signal"] >= 0.1]
        of = [[one["over ridge"] for one in inside if one["s/d"] == 1.0 / share] for share in SHARES]
        parts = "  ".join(f"{max(values):5.3f}" if values else "    -" for values in of)
        bounds = [one["over bound"] for one in inside]
        rate = [one["over rate"] for one in inside if one["d/n"] <= 1.0 and one["noise/signal"] >= 0.25]
        last = "      ".join(f"{max(values):5.3f}" if values else "    -" for values in (bounds, rate))
        lines += [f"{least:6g} {most:6g}               {parts}       {last}"]
    return lines


def claim_lines(found: dict[str, Tally], count: int) -> list[str]:
    """What became of the claims on random problems."""
    head = (
        f"{'problems of ' + str(count):22} holds  FAILS  undecided | outside: holds  fails | least z inside"
    )
    lines = [head]
    for name, tally in found.items():
        z = f"{tally.nearest:6.1f}" if np.isfinite(tally.nearest) else "     -"
        why = f"  ({CANNOT[name]})" if name in CANNOT and not tally.outside_fails else ""
        lines.append(
            f"{name:22} {tally.holds:5}  {tally.fails:5}  {tally.undecided:9} | {tally.outside_holds:14}  "
            f"{tally.outside_fails:5} | {z}{why}"
        )
    applied = sum(tally.holds + tally.fails for tally in found.values())
    failed = sum(tally.fails for tally in found.values())
    return [*lines, f"claims made of problems inside their hypotheses: {applied}, failed: {failed}"]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000, help="random problems")
    parser.add_argument("--quick", action="store_true", help="a twentieth of problems and prompts, no places")
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    if given.count < 1:
        parser.error(f"--count: expected at least 1, got {given.count}")
    warnings.simplefilter("ignore")
    count, prompts = (max(1, given.count // 20), 20) if given.quick else (given.count, 400)
    began = time.perf_counter()
    cells = [cell(*at, prompts, seed) for seed, at in enumerate(product(SHARES, PAIRS, NOISES))]
    lines = [machine_line(), "", *grid_lines(cells)]
    print("\n".join(lines), f"\nafter {time.perf_counter() - began:.0f} s", flush=True)
    found = tallied(count)
    more = ["", *claim_lines(found, count)]
    print("\n".join(more), f"\nafter {time.perf_counter() - began:.0f} s", flush=True)
    documented = {} if given.quick else places()
    if documented:
        more += [
            "",
            f"checks at the documented places, seeds {', '.join(map(str, SEEDS))}: holds, fails, n/a",
        ]
        more += [
            f"{name:22} {'  '.join(f'{x:5}' for x in counts.values())}" for name, counts in documented.items()
        ]
    tables = {
        name: {k: v for k, v in vars(tally).items() if np.all(v != np.inf)} for name, tally in found.items()
    }
    data = {"grid": cells, "problems": count, "claims": tables, "places": documented}
    write(given.out, "sparse_claims", "\n".join([*lines, *more]), data)
    print("\n".join(more[-20:]), f"\nafter {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
