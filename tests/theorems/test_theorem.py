"""Which base a theorem is followed from, and what of it can be asked."""

from __future__ import annotations

import pytest

import spectral_icl as si
from spectral_icl.multitask.experiment import BUILT_IN, Experiment
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.theorems.multitask import ranges
from spectral_icl.theorems.multitask.ranges import Choice
from spectral_icl.theorems.theorem import names, theorem_of

GIVEN = Experiment.from_dict(BUILT_IN)


def test_a_theorem_has_a_base_where_it_applies() -> None:
    assert theorem_of("convergence-to-limit").title == "two equal tasks"
    assert theorem_of("escape-rate").title == "two equal tasks, imbalanced"
    assert theorem_of("superposition").title == "overlapping tasks"


def test_without_a_choice_it_is_the_first_case_that_applies(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a new claim needs no line of the table."""
    monkeypatch.setitem(ranges.CHOICES, "escape-rate", Choice())
    assert theorem_of("escape-rate").title == "two equal tasks, imbalanced"


def test_a_base_may_be_given() -> None:
    found = theorem_of("optimality", GIVEN, "mine")
    assert (found.title, found.ground.base.problem) == ("mine", GIVEN.problem)
    problem = SparseProblem(16, 2, 40, 0.25)
    assert theorem_of("depth", problem).ground.base == problem
    assert found.problem["heads"] == 2
    assert theorem_of("depth", problem).problem["n"] == 40


def test_names_are_of_both_subjects() -> None:
    assert {"optimality", "depth"} <= set(names())
    assert len(names()) == len(set(names()))


@pytest.mark.parametrize(
    ("claim", "options", "message"),
    [
        ("magic", {}, "--theorem: expected one of"),
        ("depth", {"base": GIVEN}, "this one is about sparse regression"),
        ("optimality", {"base": SparseProblem(16, 2, 40, 0.25)}, "this one is about softmax attention"),
        ("optimality", {"prompts": 3}, "prompts: expected a whole number >= 100"),
        ("optimality", {"seed": -1}, "seed: expected a whole number >= 0"),
        ("depth", {"points": 1}, "points: expected a whole number >= 2"),
    ],
)
def test_bad_input_is_named(claim: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(si.ProblemError, match=message):
        theorem_of(claim, **options)  # type: ignore[arg-type]
