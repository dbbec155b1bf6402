"""Check the claims of the second paper, on their documented places or on one problem; as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from spectral_icl.io.checks import choice, integer, sequence
from spectral_icl.io.text import plain, table
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.claim import Check, UnmeasurableError, Verdict, tally
from spectral_icl.theorems.sparse.claims import CLAIMS, Claim, Row
from spectral_icl.theorems.sparse.evidence import Evidence
from spectral_icl.theorems.suite import formatted

PROMPTS = 400
_DOUBLINGS = 4  # of the prompts, as long as a claim is not decided


def names() -> list[str]:
    """Names of the claims, in the order of their numbers P1 to P13."""
    return list(CLAIMS)


def check(
    claims: Sequence[str] | None = None,
    problem: SparseProblem | None = None,
    prompts: int = PROMPTS,
    seed: int = 0,
) -> Iterator[list[Check]]:
    """Check claims about sparse regression, claim by claim.

    A check whose hypotheses are not met is "not applicable", never passed; what it speaks of is measured all
    the same, and its reason says whether the claim fails there.

    Parameters
    ----------
    claims : sequence of str, optional
        See `names`; all by default.
    problem : SparseProblem, optional
        Where to check them, instead of at their documented places; claims about families of problems are
        left out, or not measured if asked for.
    prompts : int
        To simulate for each problem, >= 100; up to 16 times as many where a claim is within three standard
        errors of its bound.
    seed : int

    Yields
    ------
    list of Check
        Of one claim.

    Raises
    ------
    ProblemError
        An argument is malformed.
    """
    chosen = names() if claims is None else [str(name) for name in sequence("claims", claims, "claim names")]
    for k, name in enumerate(chosen):
        choice(f"claims[{k}]", name, names())
    evidence = Evidence(
        integer("prompts", prompts, minimum=100, maximum=10**5),
        integer("seed", seed, minimum=0, maximum=2**62),
    )

    def found() -> Iterator[list[Check]]:
        for name in dict.fromkeys(chosen):
            claim = CLAIMS[name]
            if problem is None:
                yield [one for place in claim.places for one in _checks(claim, place, evidence)]
            elif claim.anywhere:
                yield list(_checks(claim, problem, evidence))
            elif claims is not None:
                yield [_unmeasured(claim, "it is about families of problems, at places of its own")]

    return found()


def predicates(prompts: int = PROMPTS, seed: int = 0) -> list[tuple[str, bool, float, float]]:
    """Every check whose hypotheses are met, as (name, passed, value, threshold)."""
    return [
        (f"P{number} {one.claim}: {one.reason}", one.verdict is Verdict.HOLDS, one.measured, one.predicted)
        for number, checks in enumerate(check(prompts=prompts, seed=seed), 1)
        for one in checks
        if one.measured is not None
        and one.predicted is not None
        and one.verdict is not Verdict.NOT_APPLICABLE
    ]


def _checks(claim: Claim, problem: SparseProblem, evidence: Evidence) -> Iterator[Check]:
    try:
        rows = list(claim.test(evidence, problem))
        for _ in range(_DOUBLINGS):
            if all(row.decided for row in rows if row.applies):
                break
            evidence = evidence.larger(2)
            rows = list(claim.test(evidence, problem))
        yield from (_check(claim, row) for row in rows)
    except UnmeasurableError as error:
        yield _unmeasured(claim, str(error))


def _unmeasured(claim: Claim, why: str) -> Check:
    nothing = (None, None, None, None)
    reason = f"not measured: {why}"
    return Check(claim.name, claim.statement, claim.reference, Verdict.NOT_APPLICABLE, reason, *nothing, ())


def _check(claim: Claim, row: Row) -> Check:
    unmet = row.unmet
    if not np.isfinite(row.measured):
        return _unmeasured(claim, f"{row.place}: {row.what} is no number")
    holds = row.least < row.measured < row.most
    reason = f"{row.place}: {row.what}"
    if unmet:
        verdict = Verdict.NOT_APPLICABLE
        reason += f"; {'holds' if holds else 'FAILS'} without: {', '.join(unmet)}"
    else:
        verdict = Verdict.HOLDS if holds else Verdict.FAILS
    near_most = abs(row.measured - row.most) <= abs(row.measured - row.least)
    return Check(
        claim=claim.name,
        statement=claim.statement,
        reference=claim.reference,
        verdict=verdict,
        reason=reason,
        measured=float(row.measured),
        predicted=float(row.most if near_most else row.least),
        margin=float(row.margin),
        error=float(row.error),
        hypotheses=tuple(row.supposes),
    )


def as_text(checks: Sequence[Check]) -> str:
    """The table of one claim."""
    rows: list[tuple[str, ...]] = [("verdict", "measured", "bound", "margin", "where and what")]
    rows += [(*formatted(one).values(), one.reason) for one in checks]
    return "\n".join([f"{checks[0].claim}: {checks[0].statement} [{checks[0].reference}]", *table(rows)])


def count(found: Sequence[Sequence[Check]]) -> dict[str, int]:
    """How many checks ended with each verdict."""
    return tally(one for checks in found for one in checks)


def as_json(found: Sequence[Sequence[Check]]) -> dict[str, Any]:
    """All claims as plain objects."""
    verdicts = count(found)
    made: dict[str, Any] = plain(
        {
            "success": verdicts[Verdict.FAILS.value] == 0,
            "verdicts": verdicts,
            "claims": [
                {
                    "name": checks[0].claim,
                    "checks": [{**asdict(one), "verdict": one.verdict.value} for one in checks],
                }
                for checks in found
            ],
        }
    )
    return made
