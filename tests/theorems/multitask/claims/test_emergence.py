"""Width over time falls in proportion to the start of balanced weights with a leader, and of no others."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check
from spectral_icl.theorems.multitask.claims import emergence
from spectral_icl.theorems.multitask.evidence import Evidence

CLAIM = ["emergence-width"]


def test_the_example_of_the_paper(two_tasks: si.Problem) -> None:
    """Width from onset to plateau 4.71 at every scale, and its ratio to the time in tenths."""
    for scale, ratio in ((1e-3, 0.0470), (1e-4, 0.00469), (1e-5, 0.000469)):
        flow = si.gradient_flow(
            two_tasks, *si.initial.dominant(two_tasks, 2, scale=scale), t_end=1e14, stationary=1e-12
        )
        task = flow.phases.tasks[0]
        assert task.settled - task.onset == pytest.approx(4.71, abs=0.02)
        assert (task.settled - task.onset) / task.time == pytest.approx(ratio, rel=5e-3)


@pytest.mark.parametrize("heads", [2, 4])
def test_it_holds_of_unequal_tasks(heads: int) -> None:
    p = si.Problem.multitask(
        task_sizes=(6, 30), signal=(2.0, 0.5), noise=(0.1, 0.4), context_length=90, covariance=(0.5, 2.0)
    )
    (one,) = check(p, *si.initial.dominant(p, heads, 2e-3, 2.0), claims=CLAIM)
    assert one.verdict is Verdict.HOLDS, one
    assert one.margin > 0.7


def test_rivals_close_behind_emerge_too(two_tasks: si.Problem) -> None:
    """Leads of half the start leave a rival at the emergence; large ones leave little."""
    close, ahead = (
        check(two_tasks, *si.initial.dominant(two_tasks, 2, 0.005, lead), claims=CLAIM)[0]
        for lead in (0.006, 2.0)
    )
    assert close.verdict is Verdict.NOT_APPLICABLE
    assert "leaders are ahead" in close.reason
    assert abs(close.measured / close.predicted - 1.0) > emergence.EXPONENT
    assert ahead.verdict is Verdict.HOLDS


@pytest.mark.parametrize("weights", [si.Merged(), si.Factored(0.1, 0.1)])
def test_other_weights_emerge_in_logarithmic_time(two_tasks: si.Problem, weights: si.Merged) -> None:
    """Where small weights grow exponentially the time is a logarithm of the start."""
    start = si.initial.dominant(two_tasks, 2, 1e-3)
    (one,) = check(two_tasks, *start, claims=CLAIM, parametrization=weights)
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "weights are balanced" in one.reason
    assert one.measured is not None
    assert abs(one.measured / one.predicted - 1.0) > 10 * emergence.WIDTH
    flows = [
        si.gradient_flow(two_tasks, *(x * factor for x in start), parametrization=weights, t_end=1e4)
        for factor in emergence.FACTORS
    ]
    times = [flow.phases.tasks[0].time for flow in flows]
    assert times[-1] < 3.0 * times[0]  # balanced ones take 16 times as long


def test_tied_heads_have_another_width(two_tasks: si.Problem) -> None:
    """Equal heads share the fall: the exponent is one all the same, and the width is not a lone head's."""
    (one,) = check(two_tasks, np.full((2, 2), 0.001), np.full((2, 2), 0.001), claims=CLAIM)
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "dominant" in one.reason
    assert one.measured is None or not abs(one.measured / one.predicted - 1.0) < 5 * emergence.WIDTH


def test_other_starts_are_not_small(two_tasks: si.Problem) -> None:
    (one,) = check(two_tasks, *si.initial.dominant(two_tasks, 2, 0.05), claims=CLAIM)
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "the start is small, of size at most 0.05" in one.reason


def test_a_slow_emergence_would_be_seen(two_tasks: si.Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Widths that grow as the logarithm of the start would fail, and so would a width that is 3 % off."""
    start = si.initial.dominant(two_tasks, 2, 1e-3)
    right = emergence.measured.widths

    def growing(e: Evidence) -> np.ndarray:
        return right(e) * -np.log(e.start.mu.max())

    monkeypatch.setattr(emergence.measured, "widths", growing)
    assert check(two_tasks, *start, claims=CLAIM)[0].verdict is Verdict.FAILS
    monkeypatch.setattr(emergence.measured, "widths", lambda e: 1.03 * right(e))
    assert check(two_tasks, *start, claims=CLAIM)[0].verdict is Verdict.FAILS


@pytest.mark.parametrize(("scale", "lead"), [(4e-3, 0.05), (6e-3, 0.10)])
def test_rivals_that_are_close_make_it_wider(scale: float, lead: float) -> None:
    """An omega as large, a lead not large against the start: the rival is there at the emergence."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=1000)
    omega, mu = np.full((3, 2), scale), np.full((3, 2), scale)
    mu[0, 0] *= 1.0 + lead
    mu[1, 1] *= 1.0 + lead
    (one,) = check(p, omega, mu, claims=CLAIM)
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "leaders are ahead" in one.reason
    assert one.measured is not None
    assert abs(one.measured - 1.0) > 2 * emergence.EXPONENT
