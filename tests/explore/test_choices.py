"""The choices of the explorer: all that a file can say comes back from them."""

from __future__ import annotations

import tomllib
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from spectral_icl.explore.choices import MOST_BLOCKS, MOST_HEADS, MOST_TASKS, Choices
from spectral_icl.explore.dials import dials
from spectral_icl.explore.export import toml
from spectral_icl.io.checks import ProblemError
from spectral_icl.multitask.experiment import BUILT_IN, Experiment
from spectral_icl.multitask.flow.solution import IntegrationError
from spectral_icl.multitask.state import MOST_DENSE

OVERLAP = {
    "block_sizes": [5, 7],
    "signal": [[1.0, 2.0], [0.0, 3.0]],
    "noise": [0.1, 0.2],
    "context_length": 50,
}
BLOCKS = {"block_sizes": [1] * 4, "signal": [[(0, 1.0)]], "noise": 0.1, "context_length": 50}
EXPLICIT = {"kind": "explicit", "omega": [[0.1, 0.2]], "mu": [[0.3, -0.1]]}


def with_tables(**tables: Any) -> dict[str, Any]:
    """The built-in file with other tables."""
    return {**BUILT_IN, **tables}


def same(found: Experiment, wanted: Experiment) -> None:
    assert found.problem == wanted.problem
    assert found.parametrization == wanted.parametrization
    assert found.flow == wanted.flow
    assert found.model.kernel == wanted.model.kernel
    np.testing.assert_array_equal(found.start.omega, wanted.start.omega)
    np.testing.assert_array_equal(found.start.mu, wanted.start.mu)


@pytest.mark.parametrize(
    "table",
    [
        BUILT_IN,
        with_tables(problem=OVERLAP),
        with_tables(problem={"task_sizes": 4, "tasks": 3, "signal": 2, "snr": 10, "context_length": 30}),
        with_tables(problem={**BUILT_IN["problem"], "noise": [1 / 3, 1e-7], "covariance": [1.0, 2 / 7]}),
        with_tables(initial=EXPLICIT, model={}),
        with_tables(model={"parametrization": "factored", "imbalance_omega": 0.1, "imbalance_mu": 0.0}),
        with_tables(model={"parametrization": "balanced", "key_scale": 0.3, "kernel": "large-L"}),
        with_tables(model={"heads": 3, "parametrization": "merged"}, initial={"kind": "random", "seed": 7}),
        with_tables(flow={"t_end": float("inf"), "stationary": 1e-6, "max_steps": 500}),
        {"problem": BUILT_IN["problem"]},
    ],
)
def test_a_file_comes_back(table: dict[str, Any]) -> None:
    again = tomllib.loads(toml(Choices.of(table).table()))
    same(Experiment.from_dict(again), Experiment.from_dict(table))


@st.composite
def turned(draw: st.DrawFn) -> Choices:
    """The built-in choices after any number of moves of any controls."""
    choices = Choices.of(BUILT_IN)
    for dial in draw(st.lists(st.sampled_from(dials(choices)), max_size=12)):
        choices = choices.turned(dial.path, draw(st.sampled_from(dial.values)))
    return choices


@given(turned())
@settings(max_examples=60)
def test_choices_their_file_and_their_flow_agree(choices: Choices) -> None:
    """What is solved is what is copied: the same numbers, to the last bit."""
    table = choices.table()
    again = tomllib.loads(toml(table))
    assert again == table
    one, other = (made(tables) for tables in (table, again))
    if isinstance(one, str) or isinstance(other, str):  # refused, with the same words
        assert one == other
        return
    same(other, one)
    assume(one.model.kernel == "asymptotic" and one.flow.t_end <= 1e4)
    assert outcome(one) == outcome(other)


def made(tables: dict[str, Any]) -> Experiment | str:
    """The experiment, or why there is none."""
    try:
        return Experiment.from_dict(tables)
    except ProblemError as error:
        return str(error)


def outcome(experiment: Experiment) -> float | str:
    """The final loss, or why the end was not reached."""
    try:
        return experiment.solve().final_loss
    except IntegrationError as error:
        return str(error)


def test_what_is_not_in_force_is_remembered_and_left_out() -> None:
    choices = Choices.of(BUILT_IN).turned("problem.task_sizes.1", 30).turned("model.imbalance_mu", 0.5)
    alone = choices.turned("problem.tasks", 1)
    assert alone.table()["problem"]["task_sizes"] == [10]
    assert alone.turned("problem.tasks", 2).table() == choices.table()
    assert "imbalance_mu" not in choices.table()["model"]
    assert choices.turned("model.parametrization", "factored").table()["model"]["imbalance_mu"] == 0.5
    assert "kind" not in choices.tables["initial"]["random"]


def test_a_state_is_not_changed_by_another() -> None:
    choices = Choices.of(BUILT_IN)
    before = toml(choices.table())
    choices.turned("problem.signal.0", 3.0)
    assert toml(choices.table()) == before
    assert BUILT_IN["problem"]["signal"] == [10.0, 10.0]


def test_every_flow_of_a_page_is_kept_whole() -> None:
    """The pictures ask for the state at any time."""
    largest = {**BLOCKS, "block_sizes": [1] * MOST_BLOCKS, "signal": [[(0, 1.0)]] * MOST_TASKS}
    table = with_tables(problem=largest, model={"heads": MOST_HEADS}, flow={"dense_output": False})
    made = Experiment.from_dict(Choices.of(table).table())
    assert made.flow.dense_output is None
    assert sum(values.size for values in made.start) <= MOST_DENSE


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (with_tables(model={"heads": MOST_HEADS + 1}), "model.heads: expected at most 8 heads, "),
        (
            with_tables(problem={**BUILT_IN["problem"], "task_sizes": [1] * (MOST_TASKS + 1), "signal": 1.0}),
            "problem: expected at most 6 tasks, ",
        ),
        (
            with_tables(problem={**BLOCKS, "block_sizes": [1] * (MOST_BLOCKS + 1)}),
            "problem: expected at most 500 blocks, ",
        ),
        (with_tables(model={"heads": 0}), "model.heads: "),
        ({"problem": {}}, "problem.block_sizes: "),
        (with_tables(axis=[]), "axis: "),
    ],
)
def test_what_no_page_can_show_is_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ProblemError) as refused:
        Choices.of(table)
    assert str(refused.value).startswith(said)
