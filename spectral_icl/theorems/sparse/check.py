"""Check the claims about sparse regression, at their documented places or on one problem."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from spectral_icl.io.checks import integer
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.claim import SIGMAS, Check, Claim, Verdict, unmeasured
from spectral_icl.theorems.examine import chosen, examine
from spectral_icl.theorems.sparse.claims.registry import CLAIMS
from spectral_icl.theorems.sparse.evidence import Evidence, Kept

PROMPTS = 400  # to simulate for each problem, unless a claim is not decided by them
_DOUBLINGS = 4  # of the prompts, as long as a claim is not decided


def names() -> list[str]:
    """Names of the claims, in the order of their numbers P1 to P17."""
    return list(CLAIMS)


def check(
    claims: Sequence[str] | None = None,
    problem: SparseProblem | None = None,
    prompts: int = PROMPTS,
    seed: int = 0,
) -> Iterator[list[Check]]:
    """Check claims about sparse regression, claim by claim.

    A check whose hypotheses are not met is "not applicable", never passed; what it speaks of is measured all
    the same, and its reason says whether the claim fails there. So is one that is sampled and still within
    three standard errors of its bound when no more prompts are drawn: nobody's luck decides. A claim that is
    true exactly at its bound fails by chance with probability 0.00135 at each of up to five numbers of
    prompts, which is 0.7 % together; the hypotheses keep their distance, so that it is far less.

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
    wanted = chosen(claims, CLAIMS)
    prompts = integer("prompts", prompts, minimum=100, maximum=10**5)
    seed = integer("seed", seed, minimum=0, maximum=2**62)
    kept: Kept = {}

    def at(place: SparseProblem, claim: Claim[Evidence, SparseProblem]) -> list[Check]:
        checks = examine(claim, Evidence(place, prompts, seed, kept).growing(_DOUBLINGS))
        return [_undecided(one) if _within_errors(one) else one for one in checks]

    def found() -> Iterator[list[Check]]:
        for claim in wanted:
            if problem is None:
                yield [one for place in claim.places for one in at(place, claim)]
            elif claim.anywhere:
                yield at(problem, claim)
            elif claims is not None:
                yield [unmeasured(claim, "it is about families of problems, at places of its own")]

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


def _within_errors(check: Check) -> bool:
    """Whether a sampled number is within three standard errors of where its verdict would change."""
    if check.error is None or check.measured is None or check.predicted is None:
        return False
    return check.error > 0.0 and abs(check.measured - check.predicted) <= SIGMAS * check.error


def _undecided(check: Check) -> Check:
    """A check that its sample does not decide; one that is not applicable as it is."""
    if check.verdict is Verdict.NOT_APPLICABLE:
        return check
    reason = f"{check.reason}; undecided, within {SIGMAS:g} standard errors"
    return replace(check, verdict=Verdict.NOT_APPLICABLE, reason=reason)
