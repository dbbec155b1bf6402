"""Experiment files: the schema has one owner, and a start is one class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask import experiment
from spectral_icl.multitask.experiment import BUILT_IN, STARTS, Experiment, Start, numeric_keys, start_of
from spectral_icl.sweeps.plan import Plan

ARRAYS = {"omega": [[0.1, 0.2]] * 2, "mu": [[0.1, 0.2]] * 2}


def file(**tables: Any) -> dict[str, Any]:
    return {**BUILT_IN, **tables}


@pytest.mark.parametrize(
    ("table", "kind"),
    [({}, "paper"), ({"qk": 0.2}, "paper"), (ARRAYS, "explicit"), ({"mu": [[1.0]]}, "explicit")]
    + [({"kind": kind}, kind) for kind in ("paper", "dominant", "random", "explicit")],
)
def test_the_kind_of_a_start_is_recognised(table: dict[str, Any], kind: str) -> None:
    assert start_of(table) is STARTS[kind]
    assert start_of(table).kind == kind


@pytest.mark.parametrize("initial", [{}, {"kind": "dominant"}, {"kind": "random", "seed": 3}, ARRAYS])
def test_tables_survive_an_experiment(initial: dict[str, Any]) -> None:
    made = Experiment.from_dict(file(initial=initial))
    table = made.initial.to_dict()
    assert next(iter(table)) == "kind"
    assert Experiment.from_dict(file(initial=table)).initial == made.initial


def test_keys_that_a_sweep_can_vary_are_numbers() -> None:
    assert numeric_keys("initial", {"kind": "random"}) == {"scale", "seed"}
    assert numeric_keys("initial", ARRAYS) == {"omega", "mu"}
    assert numeric_keys("flow", {}) == {"t_end", "rtol", "stationary", "max_steps"}
    assert numeric_keys("model", {}) == {"heads", "imbalance_omega", "imbalance_mu", "key_scale"}
    assert numeric_keys("record", {}) == set()
    whole = {"task_sizes": 4, "tasks": 2, "signal": 1.0, "decay": 0.5, "snr": 2.0}
    whole |= {"context_length": 9, "covariance": 1.0}
    blocks = si.Problem.from_dict(whole).to_dict()
    assert numeric_keys("problem", {}) == {*whole, *blocks}, "all that a problem understands"


@pytest.fixture
def _equal_start() -> Iterator[None]:
    @dataclass(frozen=True)
    class EqualStart(Start, kind="equal"):
        """All weights of one size."""

        size: float = 0.1

        def build(self, problem: si.Problem, heads: int, key_scale: float | None) -> si.State:
            """The state with every entry ``size``."""
            shapes = (heads, problem.blocks), (heads, problem.tasks)
            return si.State(*(np.full(shape, self.size) for shape in shapes))

    yield
    del experiment.STARTS["equal"]


@pytest.mark.usefixtures("_equal_start")
def test_a_start_is_one_class() -> None:
    """Files, error lines and sweeps know it without another word."""
    made = Experiment.from_dict(file(initial={"kind": "equal", "size": 1}))
    assert (made.start.omega == 1.0).all()
    assert made.initial.to_dict() == {"kind": "equal", "size": 1.0}
    with pytest.raises(si.ProblemError, match=r"^initial\.siz: expected a known key"):
        Experiment.from_dict(file(initial={"kind": "equal", "siz": 1}))
    with pytest.raises(si.ProblemError, match=r"^initial\.kind: expected one of .*'equal'.*, got 'equall'"):
        Experiment.from_dict(file(initial={"kind": "equall"}))
    axis = {"path": "initial.size", "values": [0.1, 0.2]}
    plan = Plan.from_dict(file(initial={"kind": "equal"}, axis=[axis]))
    assert (plan.experiment(1).start.mu == 0.2).all()
    assert plan.base["initial"] == {"kind": "equal", "size": 0.1}


def test_paths_are_those_of_the_flows_own_arguments() -> None:
    """A table [training] says how, every other table what: the weights, the law, the end."""
    tables = file(
        model={"heads": 2, "parametrization": "factored", "imbalance_omega": 0.1, "imbalance_mu": 0.2},
        flow={"t_end": 3.0},
        training={"step": 0.1, "batch": 50, "paths": 2, "seed": 4},
    )
    made = Experiment.from_dict(tables)
    paths = made.train(made.solve())
    assert paths is not None
    assert (len(paths), paths.step, paths.batch, paths.seed) == (2, 0.1, 50, 4)
    assert paths.flow.parametrization == si.Factored(0.1, 0.2)
    assert paths.t[[0, -1]] == pytest.approx([0.0, 3.0])
    same = si.stochastic_flow(
        made.problem, *made.start, parametrization=made.parametrization,
        step=0.1, batch=50, t_end=3.0, paths=2, seed=4,
    )  # fmt: skip
    np.testing.assert_array_equal(paths.omega[:, -1], same.omega[:, -1])


def test_paths_are_recorded_before_and_in_the_emergence() -> None:
    made = Experiment.from_dict(file(training={"step": 0.01, "batch": 1000, "paths": 1}))
    solution = made.solve()
    paths = made.train(solution)
    assert paths is not None
    onset, settled = solution.phases.emergence
    assert ((paths.t > onset) & (paths.t < settled)).sum() > 150
    assert (paths.t < onset).sum() > 50


def test_an_experiment_without_training_has_no_paths() -> None:
    made = Experiment.from_dict(file(flow={"t_end": 1.0}))
    assert made.training is None
    assert made.train(made.solve()) is None


def test_of_training_what_was_left_out_is_named() -> None:
    for table, key in (({"step": 0.1}, "batch"), ({"batch": 10}, "step"), ({}, "step")):
        with pytest.raises(si.ProblemError, match=rf"^training\.{key}: expected"):
            Experiment.from_dict(file(training=table))


def test_no_sweep_varies_training() -> None:
    assert numeric_keys("training", {}) == set()
    with pytest.raises(si.ProblemError, match=r"^training"):
        Plan.from_dict(
            file(training={"step": 0.1, "batch": 10}, axis=[{"path": "problem.noise", "values": [1]}])
        )
