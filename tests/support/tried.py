"""A claim put to the test on one problem, where its hypotheses are not met as well."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import spectral_icl as si
from spectral_icl.theorems.claim import Finding, Verdict, decide
from spectral_icl.theorems.multitask.claims.registry import CLAIMS
from spectral_icl.theorems.multitask.evidence import Evidence


class Tried(NamedTuple):
    """What came of a claim.

    Attributes
    ----------
    verdict : Verdict
    reason : str
    finding : Finding
        The measurement, also where the claim does not apply.
    """

    verdict: Verdict
    reason: str
    finding: Finding

    @property
    def fails_outside(self) -> bool:
        """Whether a hypothesis is not met, and what the claim says is not so."""
        return self.verdict is Verdict.NOT_APPLICABLE and not self.finding.holds


def tried(
    claim: str,
    problem: si.Problem,
    start: Any,
    parametrization: Any = si.Balanced(),
    kernel: str = "asymptotic",
    t_end: float | None = None,
) -> Tried:
    """The check of a claim on a problem and start, and its measurement."""
    weights = si.State(*(np.asarray(part, dtype=np.float64) for part in start))
    evidence = Evidence(problem, weights, parametrization, t_end, 1e-8, kernel, 500, 0)
    (trial,) = CLAIMS[claim].test(evidence)
    finding = trial.measure()
    found = decide(CLAIMS[claim], trial, finding)
    return Tried(found.verdict, found.reason, finding)
