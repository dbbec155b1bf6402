"""Margins along variables: borders are where the definition of a claim has them, on a claim made for it."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.hypothesis import Hypothesis
from spectral_icl.theorems.claim import Claim, Finding, Trial, Trials, UnmeasurableError, Verdict
from spectral_icl.theorems.examine import examine, weigh
from spectral_icl.theorems.margins import Ground, Line, Variable, with_base

LEAST, MOST = 0.1, 1.0


def below(x: float) -> Trials:
    """Below 1, and only claimed from 0.1 on."""
    supposed = [Hypothesis("x is at least 0.1", x >= LEAST)]
    yield Trial.of(Finding.below(x, MOST, "x"), supposed)
    if x > 5.0:
        yield Trial.of(Finding.below(x, 100.0, "x, loosely"), supposed)
    yield Trial.of(Finding.below(x, 0.5, "x, without a part"), supposed, without="a part")


CLAIM: Claim[float, str] = Claim("below", "x is below 1.", "here", below)


def to(base: float, value: float) -> float:
    if value > 50.0:
        raise ProblemError("x", value, "at most 50")
    return value


def variable(*values: float, whole: bool = False) -> Variable[float]:
    return Variable("x", "a number", "x", values[1], values, to, whole)


def ground(of: Variable[float], claim: Claim[float, str] = CLAIM, halvings: int = 12) -> Ground[float]:
    return Ground(of.base, lambda x: weigh(claim, [x]), (of,), ("x", "x"), 1, halvings)


def line(of: Variable[float], claim: Claim[float, str] = CLAIM) -> Line:
    return ground(of, claim).line(of)


def test_borders_are_those_of_the_claim() -> None:
    found = line(variable(0.01, 0.3, 0.7, 20.0, 90.0))
    verdicts = [one.verdict for one in found.ranges]
    absent = Verdict.NOT_APPLICABLE
    assert verdicts == [absent, Verdict.HOLDS, Verdict.FAILS, absent]
    for (low, high), border in zip(found.borders, (LEAST, MOST, 50.0), strict=True):
        assert low <= border <= high
        assert high / low < 1.01
    assert found.ranges[0].why == ("x is at least 0.1",)
    assert "there is no such problem: x has to be at most 50" in found.ranges[-1].why


def test_margins_are_seen_where_a_hypothesis_is_not_met() -> None:
    """The check of a claim without places has none there, as before."""
    found = line(variable(0.01, 0.3))
    for value, point in zip(found.values, found.points, strict=True):
        assert point.margin == pytest.approx(1.0 - value)
    (first, _) = examine(CLAIM, [0.01])
    assert (first.margin, first.verdict) == (None, Verdict.NOT_APPLICABLE)


def test_what_fails_decides_and_what_lacks_a_part_never_does() -> None:
    found = line(variable(0.3, 0.7, 10.0))
    *_, last = found.points
    assert last.verdict is Verdict.FAILS
    assert last.margin == pytest.approx(1.0 - 10.0)  # not that of the loose trial, which holds
    at_base = found.points[found.values.index(0.7)]
    assert at_base.margin == pytest.approx(0.3)  # not 1 - 0.7 / 0.5
    outside = ground(variable(0.01, 0.7)).line(variable(0.07, 0.09)).points
    assert all(point.margin == pytest.approx(1.0 - x) for point, x in zip(outside, (0.07, 0.09), strict=True))


def test_the_least_margin_of_a_range_and_where_it_is() -> None:
    holds = line(variable(0.2, 0.3, 0.9, 0.95)).ranges[0]
    assert (holds.first, holds.last, holds.at) == (0.2, 0.95, 0.95)
    assert holds.margin == pytest.approx(0.05)
    assert holds.margin_text == "0.05"


def test_whole_numbers_have_neighbours_as_borders() -> None:
    def test(x: float) -> Trials:
        yield Trial.of(Finding.below(x, 7.5, "x"))

    found = line(variable(1.0, 2.0, 40.0, whole=True), Claim("whole", "It is.", "here", test))
    assert found.borders == [(7.0, 8.0)]
    assert all(value == round(value) for value in found.values)


def test_reasons_that_differ_in_numbers_are_one() -> None:
    def test(x: float) -> Trials:
        raise UnmeasurableError(f"{x} is too much")
        yield

    (only,) = line(variable(1.25, 2.0, 3.5), Claim("none", "It is.", "here", test)).ranges
    assert only.why == ("not measured: 1.25 is too much",)
    assert (only.margin, only.margin_text) == (None, "")


def test_a_refuted_claim_has_no_number() -> None:
    def test(x: float) -> Trials:
        yield Trial.of(Finding.below(x, 10.0, "x").refuted("for another reason"))

    (only,) = line(variable(1.0, 2.0), Claim("refuted", "It is.", "here", test)).ranges
    assert (only.verdict, only.margin_text) == (Verdict.FAILS, "refuted")


def test_a_plane_has_a_row_for_each_value_of_y() -> None:
    x = variable(0.2, 0.5, 2.0)

    def shifted(base: float, value: float) -> float:
        return base + value

    y = Variable("y", "a shift", "y", 0.0, (0.0, 0.6), shifted)
    both = Ground(0.5, lambda at: weigh(CLAIM, [at]), (x, y), ("x", "y"))
    plane = both.over_plane()
    assert plane is not None
    expected = 1.0 - np.add.outer([0.0, 0.6], [0.2, 0.5, 2.0])
    np.testing.assert_allclose([[point.margin for point in row] for row in plane.points], expected)
    counted: list[int] = []
    list(both.lines(counted.append))
    both.over_plane(counted.append)
    assert sum(counted) == both.points == 3 + 2 + 6
    assert Ground(0.5, both.weigh, (x,), ("x", "z")).over_plane() is None


def test_a_value_that_rounding_sets_apart_from_the_base_is_the_base() -> None:
    base = 0.3
    assert with_base([0.1, np.nextafter(base, 1.0), 0.7, 0.1], base) == (0.1, base, 0.7)
    assert with_base([0.0, 1e-12], 0.0) == (0.0, 1e-12)
