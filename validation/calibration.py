"""How often the checks are wrong: over many seeds, with the right theory and with spoilt ones."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from spectral_icl.figures.style import styled
from spectral_icl.io.checks import Floats
from spectral_icl.io.progress import tracked
from spectral_icl.io.text import NEVER, plain, table
from spectral_icl.theorems.claim import Verdict
from validation import NAMES
from validation.commands import checked, in_processes
from validation.context import FAULTS, Context
from validation.result import BUDGET

_CAUGHT = 0.95  # share of the seeds with which a fault is to be caught
_SHOWN = 3  # claims that are named of those that catch a fault


class Judgement(NamedTuple):
    """What became of a claim with one seed."""

    check: str
    quantity: str
    claim: str
    p: float | None
    level: float | None
    uniform: bool
    failed: bool

    @property
    def name(self) -> tuple[str, str]:
        """The check and the quantity, by which claims of several seeds are the same claim."""
        return self.check, self.quantity


@dataclass(frozen=True)
class Tally:
    """A claim over all seeds, with the right theory.

    Attributes
    ----------
    check, quantity, claim : str
    seeds : int
        With which it was judged.
    failed : int
        With how many of them it failed.
    level : float
        Probability of that for each, as it should be: 0 of claims without chance.
    excess : float
        Probability of as many failures at that level, or more.
    uniform : float or None
        p-value of its p-values being uniform, by their Kolmogorov-Smirnov distance; None of claims whose
        p-values are not, or do not depend on the seed.
    """

    check: str
    quantity: str
    claim: str
    seeds: int
    failed: int
    level: float
    excess: float
    uniform: float | None


@dataclass(frozen=True)
class Caught:
    """A fault of the theory, and with how many seeds it is seen: at all, by each check, by each claim."""

    fault: str
    seeds: int
    checks: dict[str, int]
    claims: dict[str, int]


@dataclass(frozen=True)
class Calibration:
    """Claims over seeds, faults over seeds, and the p-values that should be uniform, by check."""

    seeds: int
    tallies: list[Tally]
    faults: list[Caught]
    p_values: dict[str, list[float]]
    seconds: float

    @property
    def wrong(self) -> list[Tally]:
        """Claims that fail more often than chance allows any of them to."""
        return [one for one in self.tallies if one.excess <= BUDGET / len(self.tallies)]

    @property
    def missed(self) -> list[Caught]:
        """Faults that are seen with too few seeds."""
        return [one for one in self.faults if one.seeds < _CAUGHT * self.seeds]

    @property
    def calibrated(self) -> bool:
        """Whether no claim is wrong and no fault is missed."""
        return not self.wrong and not self.missed

    def to_text(self) -> str:
        """Tables of claims and of faults."""
        lines = [f"quick checks with {self.seeds} seeds, and with four faults in the theory"]
        head = ("check", "claim", "failed", "level", "p of so many", "p of uniform")
        lines += table([head, *(_cells(one) for one in self.tallies)])
        wrong = [f"{one.check}: {one.quantity}" for one in self.wrong]
        failed = sum(one.failed for one in self.tallies)
        lines.append(f"  {failed} failures; claims that fail too often: {'; '.join(wrong) or 'none'}")
        checked_ = [one.uniform for one in self.tallies if one.uniform is not None]
        if checked_:
            least = min(1.0, min(checked_) * len(checked_))
            lines.append(f"  p-values of {len(checked_)} claims are uniform with p = {least:.2g}")
        lines.append("")
        rows = [("fault", "caught", "by checks", "most often by")]
        for one in self.faults:
            often = sorted(one.claims.items(), key=lambda item: -item[1])[:_SHOWN]
            by_claims = "; ".join(f"{name} ({count})" for name, count in often)
            by_checks = ", ".join(f"{name} {count}" for name, count in one.checks.items() if count)
            rows.append((one.fault, f"{one.seeds} of {self.seeds}", by_checks, by_claims))
        return "\n".join([*lines, *table(rows)])

    def to_dict(self, **about: Any) -> dict[str, Any]:
        """Tallies, faults, p-values and whatever else is to be known ``about`` the run, in JSON's types."""
        found: dict[str, Any] = plain({
            "name": "calibration",
            "seeds": self.seeds,
            **about,
            "calibrated": self.calibrated,
            "claims": [asdict(one) for one in self.tallies],
            "faults": [asdict(one) for one in self.faults],
            "p_values": {
                check: [float(f"{p:.4g}") for p in values] for check, values in self.p_values.items()
            },
        })  # fmt: skip
        return found

    def to_json(self, **about: Any) -> str:
        """`to_dict` as a file's text."""
        return json.dumps(self.to_dict(**about), indent=1, allow_nan=False) + "\n"


def measured(
    context: Context, seeds: Iterable[int], jobs: int, names: Iterable[str] = NAMES, progress: bool = False
) -> Calibration:
    """The calibration of checks, from what the context's folder keeps or from new runs.

    Parameters
    ----------
    context : Context
        Of which the seed and the fault are replaced.
    seeds : iterable of int
    jobs : int
        Processes that seeds are shared among.
    names : iterable of str
        The checks.
    progress : bool
        Whether to show a bar on a terminal.
    """
    began = time.perf_counter()
    contexts = [(replace(context, seed=seed), tuple(names)) for seed in seeds]
    work = in_processes(_judged, contexts, jobs)
    found = list(tracked(work, len(contexts), "calibration", unit="seeds", shown=progress))
    honest = [by_fault[None] for by_fault in found]
    return Calibration(
        seeds=len(contexts),
        tallies=_tallies(honest),
        faults=[_caught(fault, [by_fault[fault] for by_fault in found]) for fault in FAULTS],
        p_values=_p_values(honest),
        seconds=time.perf_counter() - began,
    )


def _judged(job: tuple[Context, tuple[str, ...]]) -> dict[str | None, list[Judgement]]:
    """What becomes of all claims with one seed: of the right theory, and of every fault."""
    context, names = job
    return {
        fault: [one for name in names for one in _claims(name, replace(context, fault=fault))]
        for fault in (None, *FAULTS)
    }


def _claims(name: str, context: Context) -> list[Judgement]:
    return [
        Judgement(name, row.quantity, row.claim, row.p, level, row.uniform, verdict is Verdict.FAILS)
        for row, level, verdict in checked(name, context).result.judged()
        if verdict is not None
    ]


def _tallies(honest: list[list[Judgement]]) -> list[Tally]:
    together: dict[tuple[str, str], list[Judgement]] = {}
    for judgements in honest:
        for one in judgements:
            together.setdefault(one.name, []).append(one)
    return [_tally(group) for group in together.values()]


def _tally(group: list[Judgement]) -> Tally:
    failed = sum(one.failed for one in group)
    level = float(np.mean([one.level or 0.0 for one in group]))
    drawn = _uniform(group)
    return Tally(
        check=group[0].check,
        quantity=group[0].quantity,
        claim=group[0].claim,
        seeds=len(group),
        failed=failed,
        level=level,
        excess=float(stats.binom.sf(failed - 1, len(group), level)),
        uniform=float(stats.kstest(drawn, "uniform").pvalue) if drawn.size else None,
    )


def _uniform(group: list[Judgement]) -> Floats:
    """The p-values of a claim over seeds, if they should be uniform; none if all are of the same data."""
    drawn = np.array([one.p for one in group if one.uniform and one.p is not None])
    return drawn if np.unique(drawn).size > 1 else np.empty(0)


def _p_values(honest: list[list[Judgement]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    together: dict[tuple[str, str], list[Judgement]] = {}
    for judgements in honest:
        for one in judgements:
            together.setdefault(one.name, []).append(one)
    for (check, _), group in together.items():
        found.setdefault(check, []).extend(_uniform(group).tolist())
    return {check: sorted(values) for check, values in found.items() if values}


def _caught(fault: str, spoilt: list[list[Judgement]]) -> Caught:
    failed = [[one for one in judgements if one.failed] for judgements in spoilt]
    checks = Counter(check for group in failed for check in {one.check for one in group})
    claims = Counter(f"{one.check}: {one.quantity}" for group in failed for one in group)
    ordered = {name: checks[name] for name in NAMES if name in checks}
    return Caught(fault, sum(bool(group) for group in failed), ordered, dict(claims))


def _cells(one: Tally) -> tuple[str, ...]:
    return (
        one.check,
        one.quantity,
        f"{one.failed} of {one.seeds}",
        f"{one.level:.1g}" if one.level else NEVER,
        f"{one.excess:.2g}" if one.failed else "",
        "" if one.uniform is None else f"{one.uniform:.2g}",
    )


def figure(found: Calibration) -> Figure:
    """Left: share of p-values below a number, by check. Right: seeds with which a check sees a fault."""
    with styled():
        drawn = Figure(figsize=(6.75, 2.6))
        chance, faults = drawn.subplots(1, 2)
        for check, values in found.p_values.items():
            below = np.arange(1, len(values) + 1) / len(values)
            chance.step(values, below, where="post", lw=0.9, label=check)
        chance.axline((1e-3, 1e-3), (1.0, 1.0), color="black", lw=0.6)
        chance.set(xscale="log", yscale="log", xlim=(1e-4, 1.0), ylim=(1e-3, 1.0))
        chance.set(xlabel="p", ylabel="share of p-values below")
        chance.legend(fontsize="x-small")
        checks = [name for name in NAMES if any(name in one.checks for one in found.faults)]
        shares = np.array([[one.checks.get(name, 0) for name in checks] for one in found.faults], dtype=float)
        faults.imshow(shares / found.seeds, vmin=0.0, vmax=1.0, cmap="Blues", aspect="auto")
        for (row, column), count in np.ndenumerate(shares):
            colour = "white" if count > 0.6 * found.seeds else "black"
            faults.text(column, row, f"{count:.0f}", ha="center", va="center", color=colour, fontsize=7)
        faults.set_xticks(range(len(checks)), checks, rotation=40, ha="right")
        faults.set_yticks(range(len(found.faults)), [one.fault for one in found.faults])
        faults.set_title(f"seeds of {found.seeds} with which a fault is seen", fontsize="small")
        return drawn
