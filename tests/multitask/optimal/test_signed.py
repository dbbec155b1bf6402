"""The best attention whose OV values have one sign is the head-per-task limit."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask.optimal.signed import one_signed

OVERLAPPING = si.Problem(
    block_sizes=(8, 5, 3),
    signal=((1.0, 1.0, 0.0), (0.3, 1.0, 0.2)),
    noise=0.1,
    context_length=300,
    covariance=(1.0, 0.5, 2.0),
)


@given(st.integers(0, 10**6), st.integers(1, 4), st.floats(-2.0, 0.5), st.booleans())
@settings(max_examples=200)
def test_no_weights_of_one_sign_go_below(seed: int, heads: int, size: float, turned: bool) -> None:
    """Each task's loss is above its own, for omega of any sign."""
    rng = np.random.default_rng(seed)
    omega = rng.normal(size=(heads, 3)) * 10.0**size
    mu = np.abs(rng.normal(size=(heads, 2))) * 10.0 ** rng.uniform(-1, 1.5)
    losses = si.task_loss(OVERLAPPING, omega, -mu if turned else mu)
    assert (losses > si.optimal.head_per_task(OVERLAPPING).task_loss).all()


@pytest.mark.parametrize("heads", [2, 3])
def test_the_limit_is_the_best_of_them(heads: int, two_tasks: si.Problem) -> None:
    for p in (two_tasks, OVERLAPPING):
        limit = si.optimal.head_per_task(p).loss
        assert one_signed(p, heads) == pytest.approx(limit, rel=1e-7)
        assert one_signed(p, heads) >= limit * (1 - 1e-12)


@pytest.mark.parametrize(("lift", "searches"), [(0.0, 2), (1e-3, 5)])
def test_a_search_ends_once_two_starts_agree(
    lift: float, searches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of five, where the first two find the limit; all, if the least two losses differ."""
    ends: list[float] = []
    right = scipy.optimize.minimize

    def counted(*args: object, **options: object) -> object:
        end = right(*args, **options)
        end.fun = end.fun + lift * len(ends)
        ends.append(end.fun)
        return end

    monkeypatch.setattr(scipy.optimize, "minimize", counted)
    p = si.Problem.multitask(task_sizes=(6, 9), signal=(0.5, 3.0), noise=0.3, context_length=900)
    least = one_signed(p, 2) - 0.6
    assert len(ends) == searches
    assert least == pytest.approx(si.optimal.head_per_task(p).loss - 0.6, rel=1e-6)


def test_with_both_signs_it_is_not() -> None:
    assert si.optimal.minimise(OVERLAPPING, 3).loss < 0.95 * si.optimal.head_per_task(OVERLAPPING).loss
