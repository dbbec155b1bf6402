"""How the time of an escape scales with the problem and the start."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.multitask.parametrization import Factored
from spectral_icl.theorems.claim import Finding, Trial, Trials
from spectral_icl.theorems.multitask.claims.registry import CLAIMS, claim
from spectral_icl.theorems.multitask.claims.relaxation import few
from spectral_icl.theorems.multitask.claims.scaling_times import COPIES, FACTOR, MOST, changes
from spectral_icl.theorems.multitask.evidence import Evidence

EXPONENT = 0.1  # error of an exponent


class _Case(NamedTuple):
    """The escape of one flow: what is different in it, when it is seen and predicted, and what it lacks."""

    name: str
    seen: float
    predicted: float
    missing: list[str]


@claim(
    "escape-scaling",
    "The time of the escape scales with L, d, the power, the noise and the start as it is predicted to.",
    "derived from the mirror flow",
)
def _scaling(e: Evidence) -> Trials:
    weights = e.parametrization
    imbalanced = isinstance(weights, Factored) and bool(weights.imbalance("mu").min() > 0.0)
    needs = [e.disjoint, Hypothesis("the imbalance is positive", imbalanced), few(e, MOST)]
    cases = list(_cases(e)) if all(needs) else []
    lacking = {text for case in cases for text in case.missing}

    def measure() -> Finding:
        base, *others = cases
        found = []
        for case in others:
            seen, predicted = (
                float(np.log(after / before) / np.log(FACTOR))
                for after, before in ((case.seen, base.seen), (case.predicted, base.predicted))
            )
            text = f"exponent of the escape's time in {case.name}, the worst, within {EXPONENT:g}"
            found.append(Finding.near(seen, predicted, EXPONENT, text))
        return min(found, key=lambda finding: finding.margin)

    seen = Hypothesis("escape-rate applies to it, and after every change", bool(cases) and not lacking)
    yield Trial(measure, [*needs, seen])


def _cases(e: Evidence) -> Iterator[_Case]:
    """The flow and, if the claim on its escape applies, those with one thing changed each."""
    first = _case("nothing", e)
    yield first
    if first.missing:
        return
    assert isinstance(e.parametrization, Factored)
    held = replace(e.parametrization, key_scale=e.flow.key_scale)
    for name, problem, start in changes(e.problem, e.start):
        if name != COPIES:  # more heads than escapes are predicted of
            yield _case(name, replace(e, problem=problem, start=start, parametrization=held))


def _case(name: str, e: Evidence) -> _Case:
    (trial,) = CLAIMS["escape-rate"].test(e)
    if trial.missing:
        return _Case(name, np.nan, np.nan, trial.missing)
    found = trial.measure()
    return _Case(name, found.measured, found.predicted, [])
