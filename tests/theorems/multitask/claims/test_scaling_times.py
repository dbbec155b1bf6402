"""Exponents of times, measured and of the closed forms."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check
from spectral_icl.theorems.multitask.claims import scaling_times

CLAIM = ["scaling-times"]


@pytest.fixture
def uneven() -> si.Problem:
    """Two tasks that differ in everything."""
    return si.Problem.multitask(
        task_sizes=(6, 12), signal=(2.0, 0.5), noise=(0.1, 0.4), context_length=90, covariance=(0.5, 2.0)
    )


@pytest.mark.parametrize("heads", [2, 3])
def test_it_holds(uneven: si.Problem, heads: int) -> None:
    (one,) = check(uneven, *si.initial.dominant(uneven, heads, 2e-3, 1.0), claims=CLAIM)
    assert one.verdict is Verdict.HOLDS, one
    assert one.margin > 0.7


def test_changes_change_one_thing(uneven: si.Problem) -> None:
    start = si.initial.dominant(uneven, 2, 1e-3, 1.0)
    made = {name: (p, at) for name, p, at in scaling_times.changes(uneven, start)}
    assert len(made) == 6
    assert made["the context length"][0].context_length == 180
    assert made["the dimension"][0].block_sizes == (12, 24)
    np.testing.assert_allclose(made["the power of the signal"][0].power, [4.0, 1.0])
    assert made["the noise"][0].noise == (0.2, 0.8)
    np.testing.assert_allclose(made["the size of the start"][1].mu, 2 * start.mu)
    double, at = made["the number of tasks"]
    assert (double.tasks, double.home) == (4, (0, 1, 2, 3))
    assert at.omega.shape == (4, 4)
    np.testing.assert_array_equal(at.omega[2:, 2:], start.omega)
    quiet = si.Problem.multitask(task_sizes=(6,), signal=1.0, noise=0.0, context_length=90)
    assert len(list(scaling_times.changes(quiet, si.initial.dominant(quiet, 1)))) == 5


def test_under_another_law_exponents_are_others(uneven: si.Problem) -> None:
    start = si.initial.dominant(uneven, 3, 2e-3, 1.0)
    (one,) = check(uneven, *start, claims=CLAIM, kernel="first-order")
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "law of the context is asymptotic" in one.reason
    assert one.margin is None
    assert one.measured is None or abs(one.measured - one.predicted) > scaling_times.EXPONENT


def test_a_wrong_exponent_would_be_seen(uneven: si.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Widths that grow with the dimension a little faster than they do."""
    right = scaling_times.emergence_widths

    def wrong(p: si.Problem, key_scale: float) -> np.ndarray:
        return right(p, key_scale) * np.sum(p.block_sizes) ** 0.05

    monkeypatch.setattr(scaling_times, "emergence_widths", wrong)
    (one,) = check(uneven, *si.initial.dominant(uneven, 2, 2e-3, 1.0), claims=CLAIM)
    assert one.verdict is Verdict.FAILS
    assert "its width in the" in one.reason
