"""Every claim about sparse regression has variables, and borders where its hypotheses have them."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_icl.sparse import hypotheses
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.sparse import ranges
from spectral_icl.theorems.sparse.check import names


@pytest.mark.parametrize("claim", names())
def test_every_claim_has_variables_about_a_base(claim: str) -> None:
    base = ranges.base_of(claim)
    ground = ranges.ground(claim, base)
    assert ground.variables
    assert set(ground.plane) <= {one.name for one in ground.variables}
    for one in ground.variables:
        assert one.at(base, one.base) == base
        assert getattr(one.at(base, one.values[0]), one.name) == one.values[0]


def test_the_choices_are_of_claims_that_there_are() -> None:
    assert set(ranges.CHOICES) <= set(names())
    for chosen in ranges.CHOICES.values():
        assert {*chosen.variables, *chosen.plane} <= set(ranges.KINDS)


def test_the_upper_bound_is_claimed_from_a_quarter_of_the_signal_on() -> None:
    ground = ranges.ground("upper-bound", SparseProblem(16, 2, 24, 0.3), points=3)
    line = ground.line(next(one for one in ground.variables if one.name == "noise"))
    first, second = line.ranges
    assert (first.verdict, second.verdict) == (Verdict.NOT_APPLICABLE, Verdict.HOLDS)
    assert first.last < 0.25 <= second.first
    assert second.first / first.last < 2.0


def test_an_advantage_stops_with_its_prompts() -> None:
    base = SparseProblem(16, 1, 24, 0.25)
    ground = ranges.ground("advantage", base, points=3)
    line = ground.line(next(one for one in ground.variables if one.name == "n"))
    first, second = line.ranges
    met = [all(hypotheses.half(line.variable.at(base, n))) for n in (first.last, second.first)]
    assert met == [False, True]


def test_without_noise_there_is_a_range_of_it() -> None:
    (noise,) = ranges.ground("exponents", SparseProblem(16, 1, 24, 0.0)).variables
    assert noise.base == noise.values[0] == 0.0
    assert noise.values[-1] > 1.0


def test_the_base_is_one_of_the_values_and_not_two() -> None:
    """The middle of values spread about 0.3 is that but for rounding."""
    (noise,) = ranges.ground("exponents", SparseProblem(16, 1, 24, 0.3), points=7).variables
    assert np.diff(np.log(noise.values)).min() > 0.1
