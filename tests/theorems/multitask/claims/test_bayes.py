"""The limit, one gradient step and the Bayes risk, in this order and within a factor."""

from __future__ import annotations

import numpy as np
import pytest
from tried import tried

import spectral_icl as si
from spectral_icl.theorems.claim import UnmeasurableError, Verdict


def test_the_factor_is_reached_for_long_prompts() -> None:
    for length, close in ((2000, 0.2), (500_000, 1e-3)):
        p = si.Problem.multitask(task_sizes=(10, 10), signal=1.0, noise=0.5, context_length=length)
        found = tried("bayes-comparison", p, si.initial.dominant(p, 2))
        assert found.verdict is Verdict.HOLDS
        assert found.finding.predicted == pytest.approx(3 * np.e)
        assert 0.0 < 1.0 - found.finding.measured / (3 * np.e) < close
    with_noise = si.Problem.multitask(task_sizes=(10,), signal=1.0, noise=200.0, context_length=10**7)
    found = tried("bayes-comparison", with_noise, si.initial.dominant(with_noise, 1))
    assert found.finding.measured == pytest.approx(np.e, rel=0.02)


def test_one_head_for_several_tasks_is_beyond_the_factor() -> None:
    p = si.Problem.multitask(task_sizes=(10, 10), signal=1.0, noise=0.5, context_length=50_000)
    found = tried("bayes-comparison", p, (np.full((2, 2), 0.01), np.full((2, 2), 0.01)))
    assert found.fails_outside
    assert "dominant head" in found.reason
    assert found.finding.measured > 3 * np.e


def test_the_bound_of_the_first_order_law_is_passed_in_few_dimensions() -> None:
    p = si.Problem.multitask(task_sizes=(3,), signal=1.0, noise=0.5, context_length=50_000)
    found = tried("bayes-comparison", p, si.initial.dominant(p, 1), kernel="first-order")
    assert found.fails_outside
    assert "the law of the context is asymptotic" in found.reason


def test_a_ratio_at_the_factor_itself_says_nothing() -> None:
    """Where they agree to what the flow resolves, the error of its end would decide."""
    p = si.Problem.multitask(task_sizes=(10,), signal=1.0, noise=0.5, context_length=10**8)
    with pytest.raises(UnmeasurableError, match=r"e \(1 \+ SNR\)"):
        tried("bayes-comparison", p, si.initial.dominant(p, 1))
