"""The limit against the best attention with as many heads, and the best whose OV values have one sign."""

from __future__ import annotations

import numpy as np
import pytest
from tried import tried

import spectral_icl as si
from spectral_icl.multitask.optimal.constants import budget_factor
from spectral_icl.theorems.claim import Verdict

UNEQUAL = si.Problem.multitask(
    task_sizes=(6, 25), signal=(0.5, 3.0), noise=(0.3, 0.1), context_length=900, covariance=(1.5, 0.7)
)


@pytest.mark.parametrize("heads", [2, 3])
def test_the_constant_for_as_many_heads(two_tasks: si.Problem, heads: int) -> None:
    """Equal tasks and H = I: e / 2, which long prompts approach; one head more: e."""
    long = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100_000)
    most = np.e * min(1.0, (heads - 1) / 2)
    for p, close in ((two_tasks, 0.3), (long, 1e-3)):
        found = tried("optimality-same-heads", p, si.initial.dominant(p, heads))
        assert found.verdict is Verdict.HOLDS
        gain = p.context_length / (p.variance[0] / 10.0 * 10)
        expected = (1 + gain * most / np.e) / (1 + gain / np.e)
        assert found.finding.measured == pytest.approx(expected, rel=1e-6)
        assert 0.0 < most - found.finding.measured < close * most


def test_the_constant_for_unequal_tasks_and_for_one() -> None:
    found = tried("optimality-same-heads", UNEQUAL, si.initial.dominant(UNEQUAL, 2))
    assert found.verdict is Verdict.HOLDS
    assert np.e / 2 < budget_factor(UNEQUAL, 2) < np.e
    best = si.optimal.minimise(UNEQUAL, 2).infimum - 0.4  # by search
    limit = si.optimal.head_per_task(UNEQUAL).loss - 0.4
    assert found.finding.measured == pytest.approx(limit / best, rel=1e-6)
    one = si.Problem.multitask(task_sizes=(9,), signal=1.0, noise=0.1, context_length=200)
    found = tried("optimality-same-heads", one, si.initial.dominant(one, 1))
    assert found.verdict is Verdict.HOLDS
    assert found.finding.measured == pytest.approx(1.0, rel=1e-9)


def test_tied_heads_leave_the_limit_and_its_constant(two_tasks: si.Problem) -> None:
    """Equal heads end as one, above e / 2 times the best two."""
    long = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=10_000)
    found = tried("optimality-same-heads", long, (np.full((2, 2), 0.01), np.full((2, 2), 0.01)))
    assert found.fails_outside
    assert "dominant head" in found.reason
    assert found.finding.measured > np.e / 2


@pytest.mark.parametrize("overlap", [False, True])
def test_one_sign_of_mu_never_goes_below_the_limit(overlap: bool) -> None:
    """From random positive starts too, and for tasks that overlap."""
    p = UNEQUAL
    if overlap:
        p = si.Problem(block_sizes=(8, 5), signal=((1.0, 1.0), (0.3, 1.0)), noise=0.1, context_length=300)
    found = tried("optimality-one-sign", p, si.initial.random(p, 3, scale=0.3, positive=True))
    assert found.verdict is Verdict.HOLDS
    limit = si.optimal.head_per_task(p).loss - sum(p.noise)
    assert found.finding.measured == pytest.approx(limit, rel=1e-5)


def test_both_signs_go_below(two_tasks: si.Problem) -> None:
    """An imbalance lets a sign change, and pairs of heads cancel what they have in common."""
    start = si.initial.dominant(two_tasks, 2)
    found = tried("optimality-one-sign", two_tasks, start, si.Factored(1e-6, 1e-6))
    assert found.fails_outside
    assert "balanced" in found.reason
    assert found.finding.measured < 0.9 * found.finding.predicted
    mixed = np.array([[0.3, 0.01], [-0.3, 0.3]]), np.array([[2.0, 0.01], [-2.0, 2.0]])
    found = tried("optimality-one-sign", two_tasks, mixed)
    assert found.fails_outside
    assert "one sign" in found.reason
