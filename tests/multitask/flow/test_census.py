"""Emergences are counted as they are in the phases, and told in a line whatever their number."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.flow.census import Census


@pytest.fixture(scope="module")
def flow() -> si.Solution:
    """A flow of many tasks, of which the weak ones have not emerged at the end."""
    power = [10.0] * 10 + [0.01] * 4
    p = si.Problem.multitask(task_sizes=[4] * 14, signal=power, noise=0.1, context_length=1000)
    return si.gradient_flow(p, *si.initial.random(p, 3, 0.1, seed=2, positive=True), t_end=60.0)


def test_every_task_that_emerged_is_counted_once(flow: si.Solution) -> None:
    census = Census.of(flow.phases, flow.heads)
    emerged = [task for task in flow.phases.tasks if task.head is not None]
    assert 0 < len(emerged) < 14
    assert census.held.sum() == census.times.size == len(emerged)
    assert (np.diff(census.times) >= 0.0).all()
    assert [list(flow.allocation).count(head) for head in range(3)] == census.held.tolist()
    assert census.emerged == f"{len(emerged)} of 14 tasks emerged"
    assert census.allocation == f"tasks per head: {', '.join(map(str, census.held))}"


@pytest.mark.parametrize(
    ("held", "words"),
    [
        ([3, 0], "3, 0"),
        ([1] * 100, "100 heads have 1"),
        ([0, 2, *[1] * 98], "1 heads have 2, 98 heads have 1, 1 heads have 0"),
        (list(range(20)), "0 to 19, median 9.5; most in head 19, 1 heads have none"),
    ],
)
def test_heads_are_listed_while_they_are_few(held: list[int], words: str) -> None:
    counted = np.array(held, dtype=np.int64)
    census = Census(sum(held), np.zeros(sum(held)), counted)
    assert census.allocation.replace("tasks per head: ", "") == words
    assert str(census) == f"{census.emerged}; {census.allocation}"


def test_a_solution_of_many_tasks_is_told_in_a_line(flow: si.Solution) -> None:
    assert flow.phases
    (line,) = [line for line in repr(flow).splitlines() if line.startswith("  allocation")]
    assert line == f"  {'allocation':15} {Census.of(flow.phases, flow.heads)}"


def test_phases_of_many_tasks_show_the_first_and_the_last(flow: si.Solution) -> None:
    text = repr(flow.phases)
    assert text.count("Emergence(") == 5
    assert "..., Emergence(task=12, " in text
