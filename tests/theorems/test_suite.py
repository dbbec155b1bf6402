"""The documented cases: what they cover, and that every claim holds on one of them."""

from __future__ import annotations

import numpy as np

from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import names
from spectral_icl.theorems.report import CaseReport


def test_suite_covers_what_it_documents(results: list[CaseReport]) -> None:
    problems = [result.case.experiment.problem for result in results]
    heads = [result.case.experiment.start.omega.shape[0] for result in results]
    surplus = [h - p.tasks for h, p in zip(heads, problems, strict=True)]
    assert min(surplus) < 0 < max(surplus)
    assert {p.tasks for p in problems} == {1, 2, 3}
    assert 1 in heads
    assert any(p.home is None for p in problems)
    assert any(len(set(p.variance)) > 1 for p in problems)
    assert {r.case.experiment.parametrization.name for r in results} == {"balanced", "factored", "merged"}
    assert len({result.case.name for result in results}) == len(results)


def test_suite_passes_and_every_claim_applies_somewhere(results: list[CaseReport]) -> None:
    assert not [check for result in results for check in result.failed]
    applied = {c.claim for r in results for c in r.checks if c.verdict is Verdict.HOLDS}
    assert applied == set(names())
    idle = {c.claim for r in results for c in r.checks if c.verdict is Verdict.NOT_APPLICABLE}
    assert len(idle) > 8  # and most claims have a case without their hypotheses


def test_figures_reach_the_emergence(results: list[CaseReport]) -> None:
    """The flow that is drawn is the one that was checked, to its rest."""
    for result in results:
        assert result.flow.t[-1] >= max(
            [task.settled for task in result.flow.phases.tasks if np.isfinite(task.settled)], default=0.0
        )
        assert all(task.head is not None for task in result.flow.phases.tasks) or "fewer" in result.case.name
