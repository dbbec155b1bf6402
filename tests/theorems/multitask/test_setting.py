"""Every variable of a setting changes what it says, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.experiment import BUILT_IN, Experiment
from spectral_icl.theorems.multitask import setting
from spectral_icl.theorems.multitask.ranges import KINDS
from spectral_icl.theorems.multitask.setting import Setting
from spectral_icl.theorems.suite import suite

CASES = {case.name: Setting.of(case.experiment) for case in suite()}


@pytest.mark.parametrize("name", CASES)
def test_a_setting_starts_where_its_experiment_does(name: str) -> None:
    case = next(case for case in suite() if case.name == name)
    for ours, theirs in zip(CASES[name].state, case.experiment.start, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", CASES)
def test_a_variable_has_the_value_that_it_is_given_and_others_keep_theirs(name: str) -> None:
    at = CASES[name]
    for varied, kind in KINDS.items():
        before = kind.read(at)
        if before is None:
            continue
        value = before + 1.0 if kind.counted else 2.0 * before
        if varied == "tasks" and at.problem.home is None:
            value = 1.0
        changed = kind.change(at, value)
        assert kind.read(changed) == pytest.approx(value), varied
        kept = set(KINDS) - {varied}
        if varied == "tasks":  # heads come with them; of unequal tasks sizes and powers are others
            assert changed.heads - at.heads == changed.problem.tasks - at.problem.tasks
            kept &= {"length", "lead", "imbalance"}
        if varied == "lead":
            kept -= {"size"}  # the largest entry is that of a leader
        for other in kept:
            if other == "size" and varied in ("length", "dimension", "heads"):
                continue  # starts are made anew, and the key scale is one of the problem
            was, now = KINDS[other].read(at), KINDS[other].read(changed)
            assert now == (None if was is None else pytest.approx(was)), (varied, other)


def test_the_lead_of_the_authors_start_is_that_of_mu() -> None:
    at = CASES["two equal tasks"]
    mu = setting.with_lead(at, 0.25).state.mu
    np.testing.assert_allclose(mu, 0.01 * np.array([[1.25, 1.0], [1.0, 1.25]]))
    assert setting.lead(at) == pytest.approx(3.0)


def test_fewer_heads_than_tasks_keep_their_leads() -> None:
    case = CASES["three unequal tasks"]
    whole, part = case.state, setting.with_heads(case, 2).state
    for ours, theirs in zip(part, whole, strict=True):
        np.testing.assert_array_equal(ours, theirs[:2])


def test_more_tasks_are_like_those_there_are() -> None:
    grown = setting.with_tasks(CASES["three unequal tasks"], 5.0).problem
    assert grown.block_sizes == (12, 20, 30, 12, 20)
    assert grown.power.tolist() == [1.0, 2.0, 3.0, 1.0, 2.0]
    assert grown.home == (0, 1, 2, 3, 4)
    with pytest.raises(si.ProblemError, match="at most 2, of tasks that share or span blocks"):
        setting.with_tasks(CASES["overlapping tasks"], 3.0)


def test_a_start_given_entry_by_entry_keeps_its_shape() -> None:
    tied = CASES["two tasks, tied heads"]
    assert [name for name, kind in KINDS.items() if kind.read(tied) is None] == [
        "tasks",
        "heads",
        "lead",
        "imbalance",
    ]
    quiet = Experiment.from_dict({**BUILT_IN, "problem": {**BUILT_IN["problem"], "noise": 0.0}})
    assert setting.ratio(Setting.of(quiet)) is None
    assert setting.size(replace(Setting.of(quiet), start=type(quiet.initial)(0.0, 0.0, 0.0))) is None


def test_the_size_of_a_task_counts_all_blocks_that_it_has_power_in() -> None:
    """Two tasks of three blocks, one shared, and a block that is none of theirs; then feature by feature."""
    signal = ((1.0, 1.0, 0.0, 0.0), (0.0, 1.0, 1.0, 0.0))
    problem = si.Problem(block_sizes=(20, 21, 7, 90), signal=signal, noise=0.1, context_length=100.0)
    at = CASES["overlapping tasks"]
    for base in (problem, problem.by_feature()):
        given = replace(at, problem=base)
        assert setting.dimension(given) == 41.0
        for value in (41.0, 43.0, 82.0, 100.0):
            changed = setting.with_dimension(given, value)
            assert setting.dimension(changed) == value
            assert changed.problem.signal.power.sum() == pytest.approx(base.signal.power.sum())
    with pytest.raises(si.ProblemError, match=r"^dimension: expected at least 2, of a task that spans"):
        setting.with_dimension(replace(at, problem=problem), 1.0)
