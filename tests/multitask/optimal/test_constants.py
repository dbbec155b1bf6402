"""Factors between the limit, one head, as many heads and the Bayes risk."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask.optimal.constants import bayes_factor, budget_factor, separation
from spectral_icl.multitask.optimal.search import Attention
from theory.multitask import bayes_comparison, head_budget
from theory.multitask import separation as derived

OVERLAPPING = si.Problem(block_sizes=(4, 4), signal=((1.0, 1.0), (0.0, 1.0)), noise=0.1, context_length=50)


def drawn(seed: int, tasks: int) -> si.Problem:
    """Unequal disjoint tasks."""
    rng = np.random.default_rng(seed)
    return si.Problem.multitask(
        task_sizes=rng.integers(1, 40, tasks).tolist(),
        signal=rng.lognormal(0.0, 1.0, tasks).tolist(),
        noise=rng.lognormal(-1.0, 1.5, tasks).tolist(),
        context_length=float(np.exp(rng.uniform(1.0, 12.0))),
        covariance=rng.uniform(0.3, 3.0, tasks).tolist(),
    )


def excess(p: si.Problem, loss: float) -> float:
    """Without query noise."""
    return loss - float(np.sum(p.noise))


@given(st.integers(0, 10**6), st.integers(1, 6))
@settings(max_examples=60)
def test_separation(seed: int, tasks: int) -> None:
    """The factor is that of the benchmarks, between its bounds; with one share in the bound's own form."""
    p = drawn(seed, tasks)
    found = separation(p)
    single, limit = (excess(p, f(p).loss) for f in (si.optimal.single_head, si.optimal.head_per_task))
    assert found.factor == pytest.approx(single / limit, rel=1e-9)
    assert found.least <= found.factor * (1 + 1e-12)
    assert found.factor <= tasks * (1 + 1e-12)
    assert 1.0 <= found.tasks * (1 + 1e-12) <= tasks * (1 + 1e-9)
    gains = p.context_length * p.power / (np.e * p.variance * np.array(p.block_sizes))
    assert found.least > found.tasks / (1.0 + (1.0 / gains).sum()) * (1 - 1e-12)
    costs = p.variance * np.array(p.block_sizes)
    expected = derived.least([sp.Float(c) for c in costs], [sp.Float(g) for g in gains])
    assert found.least == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("tasks", [2, 7])
def test_equal_tasks(tasks: int) -> None:
    p = si.Problem.multitask(task_sizes=(9,) * tasks, signal=1.0, noise=0.5, context_length=321)
    found, gain = separation(p), 321 / (np.e * 1.5 * 9)
    expected = float(derived.equal(sp.Float(gain), sp.Integer(tasks)))
    assert found.factor == pytest.approx(expected, rel=1e-12)
    assert found.least == pytest.approx(expected, rel=1e-12)
    assert found.tasks == pytest.approx(tasks)


@given(st.integers(0, 10**6), st.integers(1, 5), st.integers(0, 2))
@settings(max_examples=60)
def test_the_limit_is_within_a_constant_of_as_many_heads(seed: int, tasks: int, more: int) -> None:
    p = drawn(seed, tasks)
    heads = tasks + more
    limit, most = excess(p, si.optimal.head_per_task(p).loss), budget_factor(p, heads)
    if heads == 1:
        assert most == 1.0
        return
    ratio = limit / excess(p, si.optimal.head_budget(p, heads).loss)
    assert 1.0 < ratio < most <= np.e * (1 + 1e-12)
    assert most >= np.e * (1 - 1 / tasks) - 1e-9 if more == 0 else most == pytest.approx(np.e)
    gain = sp.Float(p.context_length * p.power[0] / (p.variance[0] * p.block_sizes[0]))
    assert float(head_budget.limit_ratio(gain, sp.Integer(1))) < np.e


def test_the_constant_is_the_best_there_is() -> None:
    """Long prompts approach it."""
    p = si.Problem.multitask(task_sizes=(9, 9, 9), signal=1.0, noise=0.5, context_length=1e8)
    limit = excess(p, si.optimal.head_per_task(p).loss)
    for heads, most in ((3, np.e * 2 / 3), (4, np.e)):
        assert budget_factor(p, heads) == pytest.approx(most)
        assert limit / excess(p, si.optimal.head_budget(p, heads).loss) == pytest.approx(most, rel=1e-5)


@given(st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 4), st.floats(-1.0, 0.6))
@settings(max_examples=80)
def test_no_heads_have_more_shares_than_small_ones(seed: int, heads: int, tasks: int, size: float) -> None:
    """The sum of d_i / X_i is at most H - 1, for heads of any size and any directions."""
    p, rng = drawn(seed, tasks), np.random.default_rng(seed)
    w = rng.normal(size=(heads, tasks)) * 10.0**size
    losses = Attention(p, heads).profile(w)[0]
    length, sizes = p.context_length, np.array(p.block_sizes)
    shares = sizes * p.variance * (p.power - losses) / (length * p.power * losses)
    assert shares.max() <= 1.0 + 1e-9
    assert shares.sum() <= heads - 1.0 + 1e-6


def test_against_the_bayes_risk() -> None:
    p = drawn(3, 3)
    expected = [float(bayes_comparison.factor(a, s)) for a, s in zip(p.power, p.noise, strict=True)]
    np.testing.assert_allclose(bayes_factor(p), expected)
    silent = si.Problem.multitask(task_sizes=(3,), signal=1.0, noise=0.0, context_length=9)
    assert bayes_factor(silent)[0] == np.inf


def test_what_is_refused() -> None:
    for function in (separation, bayes_factor, lambda p: budget_factor(p, 3)):
        with pytest.raises(si.ProblemError, match="problem: expected disjoint tasks"):
            function(OVERLAPPING)
    with pytest.raises(si.ProblemError, match="heads: expected"):
        budget_factor(drawn(1, 3), 2)
