"""The theorem checks on experiments: the documented suite or a file, as text and as plain objects."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

from spectral_icl.io.text import plain, table
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.flow.solution import Solution
from spectral_icl.theorems import examine as theorems
from spectral_icl.theorems.claim import tally
from spectral_icl.theorems.examine import Check, Verdict

PROMPTS = 4000  # to sample, unless a claim is not decided by them
_MARKS = {Verdict.HOLDS: "holds", Verdict.FAILS: "FAILS", Verdict.NOT_APPLICABLE: "n/a"}


@dataclass(frozen=True)
class Case:
    """An experiment to check the claims on, with its name and why it is checked."""

    name: str
    about: str
    experiment: Experiment


@dataclass(frozen=True)
class Verified:
    """A case, what was found, and the flow that it was found on."""

    case: Case
    checks: tuple[Check, ...]
    flow: Solution

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.verdict is Verdict.FAILS)


def suite() -> list[Case]:
    """The documented cases, from ``suite.toml`` beside this module."""
    text = resources.files("spectral_icl.theorems").joinpath("suite.toml").read_text("utf-8")
    cases = []
    for entry in tomllib.loads(text)["case"]:
        name, about = entry.pop("name"), entry.pop("about")
        cases.append(Case(name, about, Experiment.from_dict(entry)))
    return cases


def verify(
    case: Case, claims: Sequence[str] | None = None, prompts: int = PROMPTS, seed: int = 0
) -> Verified:
    """Check the claims on one case, its flow solved to rest whatever its ``[flow]`` says of the end."""
    experiment = case.experiment
    checks, flow = theorems.examine(
        experiment.problem,
        experiment.start,
        parametrization=experiment.parametrization,
        claims=claims,
        t_end=None,
        rtol=experiment.flow.rtol,
        kernel=experiment.model.kernel,
        prompts=prompts,
        seed=seed,
    )
    return Verified(case, tuple(checks), flow)


def count(results: Sequence[Verified]) -> dict[str, int]:
    """How many checks ended with each verdict."""
    return tally(check for result in results for check in result.checks)


def as_text(result: Verified) -> str:
    """The table of one case."""
    rows: list[tuple[str, ...]] = [("claim", "verdict", "measured", "predicted", "margin", "what")]
    rows += [_row(check) for check in result.checks]
    return "\n".join([f"{result.case.name}: {result.case.about}", *table(rows)])


def summary(results: Sequence[Verified]) -> str:
    """One line with the number of verdicts."""
    cases = "1 case" if len(results) == 1 else f"{len(results)} cases"
    return f"{cases}: {', '.join(f'{number} {verdict}' for verdict, number in count(results).items())}"


def as_json(results: Sequence[Verified]) -> dict[str, Any]:
    """The same as plain objects, without NaN or infinity (null instead)."""
    made: dict[str, Any] = plain(
        {
            "success": not any(result.failed for result in results),
            "verdicts": count(results),
            "cases": [
                {
                    "name": result.case.name,
                    "about": result.case.about,
                    "problem": result.case.experiment.problem.to_dict(),
                    "digest": result.case.experiment.problem.digest(),
                    "checks": [{**asdict(check), "verdict": check.verdict.value} for check in result.checks],
                }
                for result in results
            ],
        }
    )
    return made


def formatted(check: Check) -> dict[str, str]:
    """The numbers of a check as a reader wants them; empty where there are none."""
    measured = "" if check.measured is None else f"{check.measured:.6g}"
    if check.error:
        measured += f" +- {check.error:.1g}"
    return {
        "verdict": _MARKS[check.verdict],
        "measured": measured,
        "predicted": "" if check.predicted is None else f"{check.predicted:.6g}",
        "margin": "" if check.margin is None else f"{check.margin:.2f}",
    }


def _row(check: Check) -> tuple[str, ...]:
    shown = formatted(check)
    return check.claim, *shown.values(), check.reason
