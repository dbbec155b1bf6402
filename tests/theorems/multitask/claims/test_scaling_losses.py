"""Exponents of trained losses, and the dimension in which the asymptotic law loses them."""

from __future__ import annotations

import pytest
from tried import tried

import spectral_icl as si
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.claims import scaling_losses


def test_exponents_of_trained_losses(two_tasks: si.Problem) -> None:
    unequal = si.Problem.multitask(
        task_sizes=(6, 25), signal=(0.5, 3.0), noise=(0.3, 0.1), context_length=700, covariance=(1.5, 0.7)
    )
    shared_late = si.Problem.multitask(  # one head begins to serve another task on the way
        task_sizes=(4, 5, 9),
        signal=(0.92573, 0.087778, 0.52096),
        noise=(0.128464, 7.903403, 1.810238),
        context_length=595,
    )
    for p in (two_tasks, unequal, shared_late):
        assert tried("scaling-losses", p, si.initial.dominant(p, p.tasks)).verdict is Verdict.HOLDS


def test_long_prompts_have_whole_exponents(monkeypatch: pytest.MonkeyPatch) -> None:
    """-1 in L, 1 in d, and 1 and 2 in the number of tasks, of the limit and of one head."""
    seen = {}
    exponent = scaling_losses._exponent

    def kept(name, whose, family, excess):  # type: ignore[no-untyped-def]
        found = exponent(name, whose, family, excess)
        seen[name, whose] = found.measured
        return found

    monkeypatch.setattr(scaling_losses, "_exponent", kept)
    p = si.Problem.multitask(task_sizes=(5, 5), signal=1.0, noise=1.0, context_length=1e5)
    assert tried("scaling-losses", p, si.initial.dominant(p, 2)).verdict is Verdict.HOLDS
    for whose, tasks in ((scaling_losses.LIMIT, 1.0), (scaling_losses.ONE_HEAD, 2.0)):
        assert seen["length", whose] == pytest.approx(-1.0, abs=0.01)
        assert seen["dimension", whose] == pytest.approx(1.0, abs=0.01)
        assert seen["tasks", whose] == pytest.approx(tasks, abs=0.01)


def test_few_dimensions_of_the_first_order_law_have_other_exponents() -> None:
    p = si.Problem.multitask(task_sizes=(2, 2), signal=1.0, noise=0.1, context_length=300)
    found = tried("scaling-losses", p, si.initial.dominant(p, 2), kernel="first-order")
    assert found.fails_outside
    assert abs(found.finding.measured - found.finding.predicted) > 0.05


def test_imbalanced_flows_are_not_looked_at(two_tasks: si.Problem) -> None:
    (found,) = si.theorems.check(
        two_tasks,
        *si.initial.dominant(two_tasks, 2),
        parametrization=si.Factored(1e-6, 1e-6),
        claims=["scaling-losses"],
    )
    assert found.verdict is Verdict.NOT_APPLICABLE
    assert found.measured is None
