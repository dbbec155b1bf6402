"""Borders on pages of evidence are those of the hypotheses, computed apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weights import slow

import spectral_icl as si
from spectral_icl.multitask.flow.emergence import size_of_start
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.margins import Line
from spectral_icl.theorems.multitask import ranges
from spectral_icl.theorems.multitask.check import names
from spectral_icl.theorems.multitask.claims.training import START
from spectral_icl.theorems.multitask.setting import Setting
from spectral_icl.theorems.suite import suite
from spectral_icl.theorems.theorem import theorem_of

SETTINGS = {case.name: Setting.of(case.experiment) for case in suite()}
COSTLY = {name for name, chosen in ranges.CHOICES.items() if chosen.costly}


def along(claim: str, variable: str, **options: Any) -> tuple[Line, Any]:
    """The claim along a variable about its own base, and the base."""
    ground = theorem_of(claim, **options).ground
    return ground.line(next(one for one in ground.variables if one.name == variable)), ground.base


@pytest.mark.parametrize("claim", names())
def test_every_claim_has_variables_about_a_base(claim: str) -> None:
    ground = ranges.ground(claim, SETTINGS.get(ranges.choice_of(claim).base, SETTINGS["two equal tasks"]))
    assert len(ground.variables) >= 3
    assert set(ground.plane) <= {one.name for one in ground.variables}
    for one in ground.variables:
        assert one.base in one.values
        assert list(one.values) == sorted(set(one.values))


def test_the_choices_are_of_claims_and_cases_that_there_are() -> None:
    """Else a claim that was given another name would have the defaults without a word."""
    assert set(ranges.CHOICES) <= set(names())
    for chosen in ranges.CHOICES.values():
        assert {*chosen.variables, *chosen.plane} <= set(ranges.KINDS)
        assert chosen.base in {"", *SETTINGS}


@pytest.mark.parametrize("claim", [slow(name) if name in COSTLY else name for name in names()])
def test_no_claim_fails_along_its_variables(claim: str) -> None:
    theorem = theorem_of(claim, points=2, prompts=100)
    lines = list(theorem.ground.lines())
    found = [one for line in lines for one in line.ranges]
    assert [one for one in found if one.verdict is Verdict.FAILS] == []
    assert any(one.verdict is Verdict.HOLDS for one in found)


def test_the_emergence_time_is_claimed_of_small_starts() -> None:
    line, base = along("three-phases", "size")
    (border,) = line.borders
    scale = base.parametrization.scale(base.problem)
    sizes = [size_of_start(base.problem, line.variable.at(base, value).state, scale) for value in border]
    assert sizes[0] <= START < sizes[1]
    assert border[1] / border[0] < 1.05


def test_the_factor_e_is_claimed_where_zero_weights_do_not_have_it() -> None:
    line, base = along("optimality", "length")
    (border,) = line.borders
    assert border[1] == border[0] + 1.0
    noise = np.asarray(base.problem.noise)
    passed = []
    for value in border:
        problem = line.variable.at(base, value).problem
        bound = np.asarray(si.optimal.lower_bound(problem).task_loss) - noise
        passed.append(bool((problem.power < np.e * bound).any()))
    assert passed == [True, False]


def test_allocation_fails_without_a_lead() -> None:
    """Where no head dominates the claim does fail, which its check on a problem does not show."""
    line, _ = along("task-allocation", "lead")
    first, second = line.ranges
    assert (first.verdict, second.verdict) == (Verdict.NOT_APPLICABLE, Verdict.HOLDS)
    assert first.why == ("every task has its own dominant head",)
    assert first.margin is not None
    assert first.margin < 0.0


def test_fewer_values_and_another_seed() -> None:
    line, _ = along("single-vs-multi", "snr", points=3, seed=5)
    assert len(line.variable.values) in (3, 4)
    with pytest.raises(si.ProblemError, match="points: expected a whole number >= 2"):
        theorem_of("single-vs-multi", points=1)
