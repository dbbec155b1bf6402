"""One head against a head per task, by the factor and by where the one head is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tried import tried

import spectral_icl as si
from spectral_icl.theorems.claim import UnmeasurableError, Verdict
from spectral_icl.theorems.multitask.claims import separation

UNEQUAL = si.Problem.multitask(
    task_sizes=(6, 25, 11), signal=(0.5, 3.0, 1.0), noise=(0.3, 0.1, 0.2), context_length=900
)


@pytest.mark.parametrize("apart", [True, False])
def test_heads_of_their_own_pay_where_tasks_want_different_omega(apart: bool) -> None:
    """Of tasks that share blocks too; on a block of both, one omega is the best for both."""
    signal = ((1.0, 0.2), (0.3, 1.0)) if apart else ((1.0, 0.0), (4.0, 0.0))
    p = si.Problem(block_sizes=(8, 5), signal=signal, noise=(0.1, 0.7), context_length=200)
    found = tried("single-vs-multi", p, si.initial.random(p, 2, 0.01))
    single, limit = (f(p).loss - 0.8 for f in (si.optimal.single_head, si.optimal.head_per_task))
    assert found.finding.measured / found.finding.predicted == pytest.approx(limit / single, rel=1e-9)
    if apart:
        assert found.verdict is Verdict.HOLDS
        assert limit < 0.99 * single
    else:
        assert found.fails_outside
        assert "no one omega" in found.reason
        assert limit == pytest.approx(single, rel=1e-9)


@pytest.mark.parametrize("tasks", [2, 5])
def test_the_factor_of_equal_tasks(tasks: int) -> None:
    """I (1 + g) / (I + g), half of I or more from g = I - 2 on."""
    for gain in (tasks - 1.5, 30.0):
        length = gain * np.e * 1.25 * 8
        p = si.Problem.multitask(
            task_sizes=(8,) * tasks, signal=0.8, noise=0.2, context_length=length, covariance=0.6
        )
        found = tried("separation-factor", p, si.initial.dominant(p, tasks, 1e-3))
        assert found.verdict is Verdict.HOLDS
        assert found.finding.measured == pytest.approx(tasks * (1 + gain) / (tasks + gain), rel=1e-6)
        assert tasks / 2 < found.finding.measured < tasks


def test_the_factor_of_unequal_tasks() -> None:
    found = tried("separation-factor", UNEQUAL, si.initial.dominant(UNEQUAL, 4))
    assert found.verdict is Verdict.HOLDS
    single, limit = (f(UNEQUAL).loss - 0.6 for f in (si.optimal.single_head, si.optimal.head_per_task))
    assert found.finding.measured == pytest.approx(single / limit, rel=1e-6)


def test_tied_heads_gain_nothing_on_one() -> None:
    start = np.full((3, 3), 0.01), np.full((3, 3), 0.01)
    found = tried("separation-factor", UNEQUAL, start)
    assert found.fails_outside
    assert "dominant head" in found.reason
    assert found.finding.measured == pytest.approx(1.0, rel=1e-4)


def test_other_laws_have_other_factors() -> None:
    p = si.Problem.multitask(task_sizes=(3, 3), signal=1.0, noise=0.1, context_length=1000)
    found = tried("separation-factor", p, si.initial.dominant(p, 2), kernel="first-order")
    assert found.fails_outside
    assert "the law of the context is asymptotic" in found.reason


@pytest.mark.parametrize("tasks", [1, 3])
def test_where_the_single_head_is(tasks: int) -> None:
    """omega = d^(-1/2), mu = d^(1/2) / (1 + e d phi / L), d counting all coordinates of equal tasks."""
    p = si.Problem.multitask(
        task_sizes=(7,) * tasks, signal=2.0, noise=0.5, context_length=333, covariance=(0.5, 1.0, 2.0)[:tasks]
    )
    found = tried("single-head-optimum", p, si.initial.dominant(p, tasks))
    assert found.verdict is Verdict.HOLDS
    assert found.finding.measured == pytest.approx(found.finding.predicted, abs=1e-5)
    best = si.optimal.minimise(p, 1).weights
    assert best is not None
    size = 7.0 * tasks
    np.testing.assert_allclose(abs(best.omega[0]), size**-0.5 / np.array(p.covariance), rtol=1e-5)
    np.testing.assert_allclose(abs(best.mu[0]), size**0.5 / (1 + np.e * size * 1.25 / 333), rtol=1e-5)


def test_the_single_head_of_another_law_is_elsewhere() -> None:
    p = si.Problem.multitask(task_sizes=(3, 5), signal=2.0, noise=0.5, context_length=333)
    assert tried("single-head-optimum", p, si.initial.dominant(p, 2)).verdict is Verdict.HOLDS
    found = tried("single-head-optimum", p, si.initial.dominant(p, 2), kernel="first-order")
    assert found.fails_outside
    assert abs(found.finding.measured - found.finding.predicted) > 0.02


def test_small_fractions_are_told_from_wrong_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two percent off, of a head that learns a fraction of a percent."""
    p = si.Problem.multitask(task_sizes=(30, 60), signal=(0.1, 0.15), noise=2.0, context_length=30)
    start = si.initial.dominant(p, 2)
    assert tried("single-head-optimum", p, start).verdict is Verdict.HOLDS
    right = si.optimal.single_head(p)
    assert right.weights is not None
    wrong = replace(right, weights=si.State(right.weights.omega, 1.02 * right.weights.mu))
    monkeypatch.setattr(separation, "single_head", lambda _: wrong)
    found = tried("single-head-optimum", p, start)
    assert found.verdict is Verdict.FAILS
    assert abs(found.finding.measured - found.finding.predicted) < 1e-3


@pytest.mark.parametrize("claim", ["single-head-optimum", "equiangular-heads", "separation-factor"])
def test_a_loss_that_is_all_noise_says_nothing(claim: str) -> None:
    p = si.Problem.multitask(task_sizes=(6, 6), signal=1e-30, noise=0.1, context_length=80)
    with pytest.raises(UnmeasurableError, match="all query noise"):
        tried(claim, p, si.initial.dominant(p, 2))
