"""Sweep files: what they mean, what they cost, and what is refused before anything is solved."""

from __future__ import annotations

import copy
import itertools
import json
import math
import pickle
import tracemalloc
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shell import run

import spectral_icl as si
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.sweeps.multitask.points import FlowPoints
from spectral_icl.sweeps.plan import Invalid, Plan, Valid, point_seed

PROBLEM = {"task_sizes": [10, 10], "signal": [10.0, 10.0], "noise": 0.09, "context_length": 100}
RANDOM = {"kind": "random", "scale": 0.05, "positive": True}

Table = dict[str, Any]


def sweep(*axes: Table, **tables: Any) -> Table:
    return {"problem": PROBLEM, "initial": RANDOM, "flow": {"t_end": 20.0}, "axis": list(axes), **tables}


def axis(path: str | list[str], **values: Any) -> Table:
    return {"path": path, **values}


LENGTHS = axis("problem.context_length", values=[50, 100, 400])
NOISES = axis("problem.noise", values=[0.0, 0.5])
SEEDS = axis("initial.seed", replicates=4)
EQUAL_TASKS = {"task_sizes": 10, "tasks": 2, "signal": 10.0, "noise": 0.09, "context_length": 100}


def test_points_are_the_product_of_the_axes_the_first_slowest() -> None:
    plan = Plan.from_dict(sweep(LENGTHS, NOISES, axis("initial.scale", values=[0.01, 0.02])))
    product = list(itertools.product([50, 100, 400], [0.0, 0.5], [0.01, 0.02]))
    assert plan.size == len(product) == 12
    assert [dim.name for dim in plan.dims] == ["problem.context_length", "problem.noise", "initial.scale"]
    columns = plan.coordinates(0, plan.size)
    assert list(columns) == ["problem.context_length", "problem.noise", "initial.scale"]
    assert list(zip(*columns.values(), strict=True)) == product
    for k, (length, noise, scale) in enumerate(product):
        point = plan.experiment(k)
        assert point.problem == si.Problem.multitask(**{**PROBLEM, "context_length": length, "noise": noise})
        assert point.initial.scale == scale  # type: ignore[union-attr]


@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.data())
def test_a_point_is_found_by_its_number(sizes: list[int], data: st.DataObject) -> None:
    fields = ["problem.context_length", "problem.noise", "initial.scale", "flow.t_end", "flow.max_steps"]
    plan = Plan.from_dict(
        sweep(*(axis(f, values=list(range(1, n + 1))) for f, n in zip(fields, sizes, strict=False)))
    )
    k = data.draw(st.integers(0, math.prod(sizes) - 1))
    stop = data.draw(st.integers(k, math.prod(sizes)))
    expected = [int(i) + 1 for i in np.unravel_index(k, sizes)]
    table = plan.table(k)
    found = [table[section][key] for section, _, key in (f.partition(".") for f in fields[: len(sizes)])]
    assert found == expected
    columns = plan.coordinates(k, stop)
    assert all(len(column) == stop - k for column in columns.values())
    if stop > k:
        assert [column[0] for column in columns.values()] == expected


def test_zipped_axes_are_one_dimension() -> None:
    plan = Plan.from_dict(
        sweep(
            axis("problem.context_length", values=[50, 100], zip="n"),
            axis("initial.scale", values=[0.01, 0.02]),
            axis("problem.noise", values=[0.1, 0.2], zip="n"),
        )
    )
    assert [(dim.name, dim.size) for dim in plan.dims] == [("n", 2), ("initial.scale", 2)]
    assert {k: v.tolist() for k, v in plan.dims[0].values.items()} == {
        "problem.context_length": [50, 100],
        "problem.noise": [0.1, 0.2],
    }
    rows = [(t["context_length"], t["noise"]) for t in (plan.table(k)["problem"] for k in range(4))]
    assert rows == [(50, 0.1), (50, 0.1), (100, 0.2), (100, 0.2)]


def test_one_axis_may_set_many_numbers_and_indices_reach_into_lists() -> None:
    overlap = {
        "block_sizes": [6, 6],
        "signal": [[1.0, 1.0], [0.0, 1.0]],
        "noise": [0.1, 0.1],
        "context_length": 200,
    }
    paths = ["problem.signal[0][1]", "problem.noise[1]", "problem.block_sizes[0]"]
    plan = Plan.from_dict(sweep(axis(paths, values=[2, 3]), problem=overlap))
    assert plan.dims[0].name == "problem.signal[0][1]"
    assert list(plan.dims[0].values) == paths
    problem = plan.experiment(1).problem
    assert problem.signal == ((1.0, 3.0), (0.0, 1.0))
    assert problem.noise == (0.1, 3.0)
    assert problem.block_sizes == (3, 6)
    assert plan.experiment(0).problem.signal == ((1.0, 2.0), (0.0, 1.0))
    assert overlap["signal"] == [[1.0, 1.0], [0.0, 1.0]], "the caller's table is not written to"


def test_a_point_is_the_callers_own() -> None:
    plan = Plan.from_dict(sweep(LENGTHS))
    plan.table(0)["problem"]["signal"][0] = -1.0
    assert plan.table(0)["problem"]["signal"] == [10.0, 10.0]


def test_replicates_have_the_seeds_of_a_seed_sequence() -> None:
    plan = Plan.from_dict(sweep(LENGTHS, SEEDS, seed=7))
    assert plan.dims[1].name == "replicate"
    assert not plan.dims[1].values
    columns = plan.coordinates(2, 9)
    expected = [
        int(np.random.SeedSequence(7, spawn_key=(k,)).generate_state(1, np.uint64)[0] >> 1)
        for k in range(2, 9)
    ]
    assert columns["seed"].tolist() == expected
    assert columns["seed"].dtype == np.int64
    assert columns["replicate"].tolist() == [k % 4 for k in range(2, 9)]
    assert [plan.table(k)["initial"]["seed"] for k in range(2, 9)] == expected
    assert len(set(plan.coordinates(0, plan.size)["seed"])) == plan.size, "all points differ"
    start = plan.experiment(5).start
    assert np.array_equal(
        start.mu, si.initial.random(plan.experiment(5).problem, 2, 0.05, expected[3], True).mu
    )


def test_the_root_seed_may_be_an_axis() -> None:
    plan = Plan.from_dict(sweep(axis("seed", values=[3, 9]), axis("initial.seed", replicates=2)))
    columns = plan.coordinates(0, 4)
    assert columns["root_seed"].tolist() == [3, 3, 9, 9]
    assert columns["seed"].tolist() == [point_seed(r, k) for k, r in enumerate([3, 3, 9, 9])]
    assert Plan.from_dict(plan.to_dict()).digest() == plan.digest()


def test_grids() -> None:
    def values(**given: Any) -> np.ndarray[Any, Any]:
        return (
            Plan.from_dict(sweep(axis("problem.context_length", **given)))
            .dims[0]
            .values["problem.context_length"]
        )

    np.testing.assert_array_equal(values(linear=[1, 2, 5]), np.linspace(1, 2, 5))
    log = values(log=[50, 5000, 21])
    np.testing.assert_allclose(log, np.geomspace(50, 5000, 21), rtol=1e-11)
    assert (log[0], log[10], log[20]) == (50.0, 500.0, 5000.0)
    assert values(log=[0.7e3, 123.4567890123456, 2]).tolist() == [700.0, 123.4567890123456], (
        "the ends are exact"
    )
    assert values(log=[7, 9, 1]).tolist() == values(linear=[7, 9, 1]).tolist() == [7]
    assert values(values=[1, 2.0]).dtype == np.int64
    assert values(values=[1, 2.5]).dtype == np.float64
    large = Plan.from_dict(sweep(axis("flow.t_end", values=[1.0, 1e20]))).coordinates(0, 2)["flow.t_end"]
    assert large.tolist() == [1.0, 1e20], "beyond what an integer holds"


def test_whole_values_become_ints() -> None:
    plan = Plan.from_dict(sweep(axis("model.heads", linear=[1, 3, 3]), axis("flow.t_end", values=[1.5, 2.0])))
    assert [plan.experiment(k).start.omega.shape[0] for k in range(6)] == [1, 1, 2, 2, 3, 3]
    exact = 2**63 - 1
    plan = Plan.from_dict(sweep(axis("initial.seed", values=[exact])))
    assert plan.table(0)["initial"]["seed"] == exact
    assert plan.coordinates(0, 1)["initial.seed"].tolist() == [exact]


def test_batches() -> None:
    def plan(count: int, **tables: Any) -> Plan:
        return Plan.from_dict(sweep(axis("initial.seed", replicates=count), **tables))

    sizes = [(plan(n).batch, plan(n).batches) for n in (1, 40, 6400, 10**6, 10**7)]
    assert sizes == [(32, 1), (32, 2), (100, 64), (1024, 977), (9766, 1024)]
    assert (plan(40, batch=7).batch, plan(40, batch=7).batches) == (7, 6)


def test_record() -> None:
    record = Plan.from_dict(sweep(LENGTHS)).points
    assert isinstance(record, FlowPoints)
    assert (record.state, record.phases, record.benchmarks, record.forecast) == (True, True, True, False)
    assert record.times is None
    for times, expected in (
        ([0, 1.5], [0.0, 1.5]),
        ({"linear": [0, 2, 3]}, [0.0, 1.0, 2.0]),
        ({"log": [0.1, 10, 3]}, [0.1, 1.0, 10.0]),
    ):
        record = Plan.from_dict(sweep(LENGTHS, record={"times": times, "state": False})).points
        assert isinstance(record, FlowPoints)
        assert record.times is not None
        assert record.times.dtype == np.float64
        np.testing.assert_allclose(record.times, expected, rtol=1e-12)
        assert not record.state


PLANS = [
    sweep(LENGTHS, NOISES),
    sweep(LENGTHS, SEEDS, seed=5, batch=3, record={"times": {"log": [0.1, 10, 4]}, "forecast": True}),
    sweep(
        axis(["problem.noise", "initial.scale"], linear=[0.1, 0.3, 4], zip="n"),
        {**LENGTHS, "values": [1, 2, 3, 4], "zip": "n"},
    ),
    sweep(axis("model.heads", values=[2, 3]), problem=EQUAL_TASKS, initial={}),
    sweep(axis("flow.t_end", values=[1.0, math.inf]), flow={"stationary": 1e-6}),
]


@pytest.mark.parametrize("table", PLANS)
def test_a_plan_survives_its_dictionary_and_a_pickle(table: Table) -> None:
    plan = Plan.from_dict(table)
    for again in (
        Plan.from_dict(plan.to_dict()),
        Plan.from_dict(json.loads(json.dumps(plan.to_dict()))),
        pickle.loads(pickle.dumps(plan)),
    ):
        assert again.to_dict() == plan.to_dict()
        assert again.digest() == plan.digest()
        assert [again.table(k) for k in range(plan.size)] == [plan.table(k) for k in range(plan.size)]


def test_digest_is_that_of_the_plan_not_of_the_file() -> None:
    first = Plan.from_dict(sweep(LENGTHS, SEEDS)).digest()
    table = sweep(dict(reversed(LENGTHS.items())), SEEDS, seed=0, model={"kernel": "large-L"})
    table["problem"] = {**dict(reversed(PROBLEM.items())), "signal": [10, 10]}
    table["axis"][0] = {"path": ["problem.context_length"], "values": [50.0, 100.0, 400.0]}
    assert Plan.from_dict(dict(reversed(table.items()))).digest() == first


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update(seed=1),
        lambda t: t.update(batch=5),
        lambda t: t.update(record={"state": False}),
        lambda t: t.update(record={"times": [1.0]}),
        lambda t: t["flow"].update(t_end=20.5),
        lambda t: t["problem"].update(signal=[10.0, 10.1]),
        lambda t: t["axis"].reverse(),
        lambda t: t["axis"][0]["values"].append(500),
        lambda t: t["axis"][0].update(zip="n"),
        lambda t: t["axis"][1].update(replicates=5),
    ],
)
def test_digest_changes_with_the_plan(change: Any) -> None:
    table = sweep(copy.deepcopy(LENGTHS), copy.deepcopy(SEEDS))
    table = copy.deepcopy(table)
    before = Plan.from_dict(table).digest()
    change(table)
    assert Plan.from_dict(table).digest() != before


def test_extents_are_the_largest() -> None:
    def shape(table: Table) -> tuple[int, ...]:
        extents = Plan.from_dict(table).extents
        assert list(extents) == ["head", "block", "task"]
        return tuple(extents.values())

    heads = axis("model.heads", values=[5, 2])
    tasks = axis("problem.tasks", values=[2, 4, 3])
    equal = {"problem": EQUAL_TASKS}
    assert shape(sweep(LENGTHS)) == (2, 2, 2)
    assert shape(sweep(heads)) == (5, 2, 2)
    assert shape(sweep(tasks, **equal)) == (4, 4, 4)
    assert shape(sweep(tasks, heads, **equal)) == (5, 4, 4)
    assert shape(sweep(tasks, model={"heads": 3}, **equal)) == (3, 4, 4)
    fixed = {"omega": [[0.1, 0.2]] * 3, "mu": [[0.1, 0.2]] * 3}
    assert shape(sweep(axis("initial.mu[2][1]", values=[0.3]), initial=fixed)) == (3, 2, 2)
    assert shape(sweep(axis("flow.t_end", values=[1.0, math.inf]), flow={"stationary": 1e-6}))


def test_ten_million_points_cost_nothing_until_asked_for() -> None:
    table = sweep(
        axis("problem.context_length", log=[50, 5000, 100]),
        axis("problem.noise", linear=[0.1, 0.9, 100]),
        axis("initial.seed", replicates=1000),
    )
    Plan.from_dict(table)  # what is imported and cached once is not the plan's
    tracemalloc.start()
    plan = Plan.from_dict(table)
    last = plan.experiment(plan.size - 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert plan.size == 10**7
    assert (last.problem.context_length, last.problem.noise) == (5000.0, (0.9, 0.9))
    assert peak < 10**6
    began = perf_counter()
    for k in range(0, plan.size, plan.size // 1000):
        plan.table(k)
    assert perf_counter() - began < 1.0, "a thousand points in far less than a second"


def test_experiments_are_those_asked_for_one_by_one() -> None:
    plan = Plan.from_dict(
        sweep(
            axis("model.heads", values=[2, 3]),
            axis("problem.tasks", values=[2, 3]),
            axis("initial.seed", replicates=2),
            problem=EQUAL_TASKS,
            initial={"kind": "dominant"},
        )
    )
    found = list(plan.experiments(1, 8))
    for k, point in zip(range(1, 8), found, strict=True):
        if k in (2, 3):  # three tasks with two heads
            assert isinstance(point, Invalid)
            with pytest.raises(si.ProblemError, match=r"^model\.heads: expected >= 3 heads"):
                plan.experiment(k)
        else:
            alone = plan.experiment(k)
            assert isinstance(point, Valid)
            assert point.point.problem == alone.problem
            assert np.array_equal(point.point.start.mu, alone.start.mu)
            assert point.point.flow == alone.flow


def test_equal_tasks_and_signal_to_noise_ratio() -> None:
    problem = si.Problem.from_dict(EQUAL_TASKS | {"tasks": 3})
    assert problem == si.Problem.multitask(task_sizes=[10] * 3, signal=10.0, noise=0.09, context_length=100)
    entries = {"task_sizes": [10, 10], "signal": [10.0, 5.0], "context_length": 100}
    assert si.Problem.from_dict(entries | {"snr": 100}).noise == (0.1, 0.05)
    assert si.Problem.from_dict(entries | {"snr": [100.0, 10]}).noise == (0.1, 0.5)
    both = {"task_sizes": 10, "tasks": 2, "signal": 1.0, "snr": 4, "context_length": 100}
    assert si.Problem.from_dict(both).noise == (0.25, 0.25)
    assert (
        si.Problem.from_dict(both).to_dict()
        == si.Problem.from_dict(si.Problem.from_dict(both).to_dict()).to_dict()
    )


@pytest.mark.parametrize(
    ("changes", "argument", "shown"),
    [
        ({"snr": 10.0}, "snr", "nothing beside noise"),
        ({"noise": None, "snr": 0.0}, "snr", "> 0"),
        ({"noise": None, "snr": -1}, "snr", "> 0"),
        ({"noise": None, "snr": math.nan}, "snr", "nan"),
        ({"noise": None, "snr": [1.0, 0.0]}, "snr[1]", "> 0"),
        ({"noise": None, "snr": [1.0]}, "snr", "2 numbers"),
        ({"noise": None, "snr": True}, "snr", "True"),
        ({"noise": None, "snr": "ten"}, "snr", "'ten'"),
        ({"noise": None, "snr": 1e-12}, "snr", "1e+12"),
        ({"noise": None, "snr": 1.0, "signal": None}, "signal", "a value"),
        ({"noise": None}, "noise", "a value"),
        ({"tasks": 2}, "tasks", "nothing unless task_sizes is one whole number"),
        ({"task_sizes": 10}, "task_sizes", "got 10"),
        ({"task_sizes": 10, "tasks": 0}, "tasks", ">= 1"),
        ({"task_sizes": 10, "tasks": 2.5}, "tasks", "2.5"),
        ({"task_sizes": 10, "tasks": True}, "tasks", "True"),
        ({"task_sizes": 10, "tasks": 10**9}, "tasks", "<= 100000"),
        ({"task_sizes": True, "tasks": 2}, "task_sizes", "True"),
        ({"task_sizes": 0, "tasks": 2}, "task_sizes", ">= 1"),
        ({"task_sizes": 10, "tasks": 3}, "signal", "3 numbers"),
        ({"task_sizes": None, "block_sizes": [10, 10], "tasks": 2}, "tasks", "without task_sizes"),
        ({"task_sizes": None, "block_sizes": [10, 10], "snr": 2}, "snr", "without task_sizes"),
    ],
)
def test_contradictory_problem(changes: Table, argument: str, shown: str) -> None:
    entries = {k: v for k, v in {**PROBLEM, **changes}.items() if v is not None}
    with pytest.raises(si.ProblemError) as caught:
        si.Problem.from_dict(entries)
    assert caught.value.argument == argument
    assert shown in str(caught.value)


def given_axis(**entries: Any) -> Table:
    return sweep({k: v for k, v in {**LENGTHS, **entries}.items() if v is not None})


# (a file, the argument that the message must name, what else it must show)
REFUSED: list[tuple[Table, str, str]] = [
    ({"problem": PROBLEM}, "axis", "at least one [[axis]], got None"),
    (sweep(), "axis", "at least one [[axis]], got []"),
    (sweep(axis=3), "axis", "got 3"),
    (sweep(LENGTHS, axes=[]), "axes", "a known key"),
    ({"problem": PROBLEM, "axs": [LENGTHS]}, "axs", "a known key"),
    (sweep(LENGTHS, model=3), "model", "a table [model], got 3"),
    ({"axis": [NOISES]}, "problem.block_sizes", "a value"),
    (sweep(LENGTHS, seed=-1), "seed", ">= 0"),
    (sweep(LENGTHS, seed=1.5), "seed", "1.5"),
    (sweep(LENGTHS, seed=2**63), "seed", "<= 9223372036854775807"),
    (sweep(LENGTHS, batch=0), "batch", ">= 1"),
    (sweep(LENGTHS, batch=True), "batch", "True"),
    (sweep(LENGTHS, record={"states": True}), "record.states", "a known key"),
    (sweep(LENGTHS, record={"state": 1}), "record.state", "got 1"),
    (sweep(LENGTHS, record={"times": []}), "record.times", "got []"),
    (sweep(LENGTHS, record={"times": [1.0, 1e300]}), "record.times", "<= 1e+12"),
    (sweep(LENGTHS, record={"times": 3}), "record.times", "got 3"),
    (sweep(LENGTHS, record={"times": [2.0, 1.0]}), "record.times", "increasing"),
    (sweep(LENGTHS, record={"times": [-1.0]}), "record.times", ">= 0"),
    (sweep(LENGTHS, record={"times": [1.0, math.inf]}), "record.times", "inf"),
    (sweep(LENGTHS, record={"times": [1.0, math.nan]}), "record.times[1]", "nan"),
    (sweep(LENGTHS, record={"times": {"cubic": [1, 2, 3]}}), "record.times", "cubic"),
    (sweep(LENGTHS, record={"times": {"log": [0, 2, 3]}}), "record.times.log[0]", "> 0"),
    (sweep(LENGTHS, flow={"t_eval": [1.0]}), "flow.t_eval", "record.times"),
    (sweep(LENGTHS, flow={"dense_output": True}), "flow.dense_output", "no steps are kept"),
    (given_axis(path=None), "axis[0].path", "a value"),
    (given_axis(path=3), "axis[0].path", "got 3"),
    (given_axis(path=[]), "axis[0].path", "got []"),
    (given_axis(path=["problem.noise", 3]), "axis[0].path[1]", "got 3"),
    (given_axis(path="problem.noize"), "axis[0].path", "a numeric field of the file, got 'problem.noize'"),
    (given_axis(path="noise"), "axis[0].path", "'noise'"),
    (given_axis(path="problem"), "axis[0].path", "'problem'"),
    (given_axis(path="record.times"), "axis[0].path", "'record.times'"),
    (given_axis(path="problem.noise "), "axis[0].path", "'problem.noise '"),
    (given_axis(path="problem.noise[0]"), "axis[0].path", "'problem.noise[0]'"),
    (given_axis(path="problem.signal[2]"), "axis[0].path", "'problem.signal[2]'"),
    (given_axis(path="problem.signal[-1]"), "axis[0].path", "'problem.signal[-1]'"),
    (given_axis(path="problem.signal[0][0]"), "axis[0].path", "'problem.signal[0][0]'"),
    (given_axis(path="model.kernel"), "axis[0].path", "'model.kernel'"),
    (given_axis(path="model.parametrization"), "axis[0].path", "numeric"),
    (given_axis(path="initial.positive"), "axis[0].path", "numeric"),
    (given_axis(path="initial.kind"), "axis[0].path", "numeric"),
    (given_axis(path="initial.qk"), "axis[0].path", "numeric"),
    (given_axis(path="flow.t_eval"), "axis[0].path", "numeric"),
    (given_axis(values=None), "axis[0]", "exactly one of values, linear, log and replicates, got []"),
    (given_axis(linear=[1, 2, 3]), "axis[0]", "['linear', 'values']"),
    (given_axis(value=[1]), "axis[0].value", "a known key"),
    (given_axis(values=[]), "axis[0].values", "got []"),
    (given_axis(values=3), "axis[0].values", "got 3"),
    (given_axis(values=[100, True]), "axis[0].values[1]", "True"),
    (given_axis(values=[100, "200"]), "axis[0].values[1]", "'200'"),
    (given_axis(values=[100, math.nan]), "axis[0].values[1]", "nan"),
    (given_axis(values=[100, 10**30]), "axis[0].values[1]", "1000000"),
    (given_axis(values=[100, [200]]), "axis[0].values[1]", "[200]"),
    (given_axis(values=None, linear=[1, 2]), "axis[0].linear", "[start, stop, n], got [1, 2]"),
    (given_axis(values=None, linear=[1, 2, 0]), "axis[0].linear[2]", ">= 1"),
    (given_axis(values=None, linear=[1, 2, 2.5]), "axis[0].linear[2]", "2.5"),
    (given_axis(values=None, linear=[1, 2, 10**12]), "axis[0].linear[2]", "<= 100000"),
    (given_axis(values=None, linear=[1, math.inf, 2]), "axis[0].linear[1]", "inf"),
    (given_axis(values=None, log=[0, 2, 2]), "axis[0].log[0]", "> 0"),
    (given_axis(values=None, log=[1, -2, 2]), "axis[0].log[1]", "> 0"),
    (given_axis(values=None, log="abc"), "axis[0].log", "'abc'"),
    (given_axis(values=None, replicates=3), "axis[0].path", "initial.seed"),
    (sweep(axis("initial.seed", replicates=0)), "axis[0].replicates", ">= 1"),
    (sweep(axis("initial.seed", replicates=True)), "axis[0].replicates", "True"),
    (sweep(SEEDS, initial={"kind": "paper"}), "axis[0].path", "scattered or matrices start"),
    (sweep(SEEDS, initial={"kind": "foo"}), "initial.kind", "'foo'"),
    (sweep(SEEDS | {"zip": "n"}), "axis[0].zip", "replicates"),
    (sweep(SEEDS, SEEDS), "axis[1].path", "initial.seed"),
    (sweep(axis("seed", values=[1, 2])), "axis", "replicates"),
    (sweep(axis("seed", values=[-1, 2]), SEEDS), "axis[0].values", "whole numbers >= 0"),
    (sweep(axis("seed", values=[0.5, 2]), SEEDS), "axis[0].values", "whole numbers >= 0"),
    (sweep(LENGTHS, LENGTHS), "axis[1].path", "'problem.context_length'"),
    (sweep(axis(["problem.noise"] * 2, values=[1])), "axis[0].path", "'problem.noise'"),
    (sweep(axis("problem.signal", values=[1]), axis("problem.signal[0]", values=[1])), "axis[1].path", "set"),
    (sweep(LENGTHS | {"zip": "n"}, NOISES | {"zip": "n"}), "axis[1]", "3 values, as the others of zip = 'n'"),
    (sweep(LENGTHS | {"zip": "loss"}), "axis[0].zip", "'loss'"),
    (sweep(LENGTHS | {"zip": "a b"}), "axis[0].zip", "'a b'"),
    (sweep(LENGTHS | {"zip": ""}), "axis[0].zip", "''"),
    (sweep(LENGTHS | {"zip": 3}), "axis[0].zip", "got 3"),
    (sweep(axis("initial.seed", replicates=10**12), LENGTHS), "axis", "at most 1000000000000"),
    (given_axis(values=[100, 50, 100]), "axis[0].values", "differ"),
    # values that no point can have
    (given_axis(values=[0.5, 100]), "problem.context_length", "0.5"),
    (given_axis(values=[100, 0.5]), "problem.context_length", "0.5"),
    (given_axis(values=[*range(100, 600), 0.5, *range(600, 1100)]), "problem.context_length", "0.5"),
    (sweep(LENGTHS, axis("problem.noise", values=[0.1, -0.2])), "problem.noise", "-0.2"),
    (sweep(axis("model.heads", values=[2, 2.5])), "model.heads", "2.5"),
    (sweep(axis("model.heads", values=[2, 10**6])), "model.heads", "1000000"),
    (sweep(axis("model.heads", values=[2, 1]), initial={"kind": "dominant"}), "model.heads", ">= 2 heads"),
    (
        sweep(axis("problem.tasks", values=[2, 3]), problem=EQUAL_TASKS | {"signal": [1.0, 1.0]}),
        "problem.signal",
        "3",
    ),
    (sweep(axis("flow.rtol", values=[1e-8, 1.0])), "flow.rtol", "<= 0.1"),
    (sweep(axis("flow.t_end", values=[1.0, math.inf])), "flow.t_end", "inf"),
    (sweep(axis("flow.max_steps", values=[10, 0])), "flow.max_steps", ">= 1"),
    (sweep(axis("flow.stationary", values=[1e-6, 0])), "flow.stationary", "> 0"),
    (sweep(axis("initial.qk", values=[0.1, 1e9]), initial={}), "initial.qk", "<= 2.1"),
]


@pytest.mark.parametrize(
    ("table", "argument", "shown"), REFUSED, ids=[f"{k}-{case[1]}" for k, case in enumerate(REFUSED)]
)
def test_bad_plan(table: Table, argument: str, shown: str) -> None:
    with pytest.raises(si.ProblemError) as caught:
        Plan.from_dict(table)
    assert caught.value.argument == argument, str(caught.value)
    assert shown in str(caught.value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("tasks", "heads"),
    [([2, 4, 3], [3, 4, 2]), ([3, 2, 4], [4, 2, 3]), ([2, 4], [2, 4]), ([3, 2, 5], [3, 2, 5])],
)
def test_a_value_that_suits_some_of_the_others_is_kept(tasks: list[int], heads: list[int]) -> None:
    """Two heads for four tasks are not enough for the start, but enough for two."""
    table = sweep(
        axis("problem.tasks", values=tasks),
        axis("model.heads", values=heads),
        problem=EQUAL_TASKS,
        initial={"kind": "dominant"},
    )
    plan = Plan.from_dict(table)
    invalid = [isinstance(point, Invalid) for point in plan.experiments(0, plan.size)]
    assert invalid == [t > h for t in tasks for h in heads]


@pytest.mark.parametrize(("k", "shown"), [(-1, "-1"), (3, "<= 2"), (1.5, "1.5"), (True, "True")])
def test_no_such_point(k: Any, shown: str) -> None:
    plan = Plan.from_dict(sweep(LENGTHS))
    for call in (plan.table, plan.experiment):
        with pytest.raises(si.ProblemError, match=shown):
            call(k)


def test_files_and_overrides(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text(
        "seed = 4\n[problem]\ntask_sizes = 10\ntasks = 2\nsignal = 10.0\nsnr = 100\ncontext_length = 100\n"
        "[initial]\nkind = 'random'\n[record]\nstate = false\ntimes = {log = [0.1, 1.0, 3]}\n"
        "[[axis]]\npath = 'problem.snr'\nvalues = [10, 100]\n"
        "[[axis]]\npath = 'initial.seed'\nreplicates = 2\n"
    )
    plan = Plan.read(file)
    assert plan.experiment(0).problem.noise == (1.0, 1.0)
    assert (plan.seed, plan.size, plan.points.state) == (4, 4, False)
    changed = Plan.read(file, ("problem.context_length=50", "record.state=true", "seed=5", "batch=2"))
    assert (changed.seed, changed.batch, changed.points.state) == (5, 2, True)
    assert changed.experiment(0).problem.context_length == 50.0
    for override, argument in (
        ("problem.snr=5", "problem.snr"),
        ("problem.noise=5", "problem.snr"),
        ("axis.path=3", "overrides"),
        ("seeds=3", "overrides"),
        ("seed=-1", "seed"),
    ):
        with pytest.raises(si.ProblemError) as caught:
            Plan.read(file, (override,))
        assert caught.value.argument == argument
    for command in ("flow", "verify", "optimal"):
        status, out, err = run(command, str(file))
        assert (status, out) == (2, "")
        assert err.startswith("Error: axis: ")
        assert "spectral-icl sweep" in err
    with pytest.raises(si.ProblemError, match=r"^seed: .*sweep"):
        Experiment.from_dict({"problem": PROBLEM, "seed": 3})
