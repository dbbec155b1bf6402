"""What is solved for the points of a sweep: the same as for flows one by one, in any batches."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spectral_icl as si
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS
from spectral_icl.sweeps.multitask import points as flow_points
from spectral_icl.sweeps.multitask.points import FlowPoints
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import INVALID, SOLVED

# Six points with 2 or 3 equal tasks, 2 or 3 heads (too few for one of the combinations), two seeds.
RAGGED = {
    "problem": {"task_sizes": 10, "tasks": 2, "signal": 10.0, "snr": 100.0, "context_length": 100},
    "initial": {"kind": "dominant", "scale": 0.05},
    "flow": {"t_end": 60.0},
    "record": {"times": [0.5, 5.0, 50.0]},
    "axis": [
        {"path": "problem.tasks", "values": [2, 3]},
        {"path": "model.heads", "values": [2, 3]},
        {"path": "initial.seed", "replicates": 2},
    ],
}

Results = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def ragged() -> tuple[Plan, Results]:
    plan = Plan.from_dict(RAGGED)
    return plan, plan.solve(0, plan.size)


def test_every_variable_has_its_shape_and_type(ragged: tuple[Plan, Results]) -> None:
    plan, found = ragged
    sizes = {"point": 8, "task": 3, "head": 3, "block": 3, "time": 3}
    expected = plan.variables
    assert set(found) == {"status", *expected}
    assert found["status"].dtype == np.int8
    for name, variable in expected.items():
        assert found[name].shape == tuple(sizes[dim] for dim in variable.dims)
        assert found[name].dtype == variable.dtype
        assert variable.long_name


def test_what_is_recorded_is_what_was_asked_for() -> None:
    def names(**record: Any) -> set[str]:
        return set(Plan.from_dict({**RAGGED, "record": record}).variables)

    nothing = {"state": False, "phases": False, "benchmarks": False}
    least = {"t", "loss", "saturation", "steps", "task_loss"}
    assert names(**nothing) == least
    assert names(**{**nothing, "state": True}) == least | {"omega", "mu"}
    assert names(**{**nothing, "phases": True}) == least | {"emergence", "settled", "escape", "allocation"}
    assert names(**{**nothing, "times": [1.0]}) == least | {"loss_curve"}
    benchmarks = {"lower_bound", "head_per_task", "single_head", "gradient_step"}
    assert names(**{**nothing, "benchmarks": True}) == least | benchmarks
    forecast = {"emergence_predicted", "escape_predicted", "allocation_predicted"}
    assert names(**{**nothing, "forecast": True}) == least | forecast
    assert names(forecast=True, times=[1.0]) < FlowPoints.reserved(), (
        "no dimension may be called like a result"
    )


def test_a_point_is_the_flow_of_its_file(ragged: tuple[Plan, Results]) -> None:
    plan, found = ragged
    solved = [k for k in range(plan.size) if found["status"][k] != INVALID]
    assert solved == [0, 1, 2, 3, 6, 7]
    for k in solved:
        point = Experiment.from_dict(plan.table(k))
        flow = point.solve()
        heads, tasks = point.start.mu.shape
        assert found["status"][k] == flow.outcome
        assert found["t"][k] == pytest.approx(60.0, rel=1e-12)
        assert found["loss"][k] == pytest.approx(flow.final_loss, rel=1e-6)
        assert found["saturation"][k] == pytest.approx(flow.saturation.ratio, rel=1e-4)
        assert 0 < found["steps"][k] < 1000
        np.testing.assert_allclose(found["task_loss"][k, :tasks], flow.final_task_loss, rtol=1e-6)
        np.testing.assert_allclose(found["omega"][k, :heads, :tasks], flow.final.omega, atol=1e-6)
        np.testing.assert_allclose(found["mu"][k, :heads, :tasks], flow.final.mu, atol=1e-6)
        curve = si.loss(flow.problem, *flow(plan.points.times))
        np.testing.assert_allclose(found["loss_curve"][k], curve, rtol=1e-6)
        assert tuple(found["allocation"][k, :tasks]) == flow.allocation
        # the sampled steepest fall may move by a sample; 1 % is the distance of two of them
        times = [task.time for task in flow.phases.tasks]
        np.testing.assert_allclose(found["emergence"][k, :tasks], times, rtol=0.01)
        assert found["single_head"][k] == si.optimal.single_head(point.problem).loss
        assert found["lower_bound"][k] == si.optimal.lower_bound(point.problem).loss
        assert found["head_per_task"][k] == si.optimal.head_per_task(point.problem).loss
        assert found["gradient_step"][k] == si.optimal.gradient_step(point.problem).loss


def test_padding_and_invalid_points_are_empty(ragged: tuple[Plan, Results]) -> None:
    plan, found = ragged
    fills = {name: variable.fill for name, variable in plan.variables.items()}
    for k in (4, 5):  # three tasks for two heads
        assert found["status"][k] == INVALID
        for name, fill in fills.items():
            np.testing.assert_array_equal(found[name][k], np.full_like(found[name][k], fill))
    assert np.isnan(found["task_loss"][:4, 2]).all()
    assert np.isnan(found["omega"][:4, :, 2]).all()
    assert np.isnan(found["omega"][:2, 2]).all()
    assert np.isfinite(found["omega"][2:4, 2, :2]).all()
    assert (found["allocation"][:4, 2] == -1).all()


@pytest.mark.parametrize("cuts", [[3], [1, 2, 3, 4, 5, 6, 7], [0, 4, 8], [5, 6]])
def test_bits_do_not_depend_on_the_batches(ragged: tuple[Plan, Results], cuts: list[int]) -> None:
    plan, found = ragged
    ends = [0, *cuts, plan.size]
    pieces = [plan.solve(a, b, threads=2) for a, b in pairwise(ends)]
    for name, whole in found.items():
        assert np.concatenate([piece[name] for piece in pieces]).tobytes() == whole.tobytes(), name


def test_flows_that_fail_are_marked_and_keep_what_they_reached() -> None:
    table = {
        "problem": {"task_sizes": [10, 10], "signal": 10.0, "noise": 0.09, "context_length": 100},
        "record": {"times": [0.01, 100.0]},
        "axis": [{"path": "flow.max_steps", "values": [3, 100_000]}],
    }
    found = Plan.from_dict(table).solve(0, 2)
    assert found["status"].tolist() == [si.Outcome.STEP_LIMIT, si.Outcome.REACHED_END]
    assert 0.0 < found["t"][0] < 200.0 == found["t"][1]
    assert np.isfinite(found["loss"]).all()
    assert np.isnan(found["loss_curve"][0, 1])
    assert np.isfinite(found["loss_curve"][1]).all()


def test_what_varies_in_the_flow_reaches_the_integrator() -> None:
    table = {
        "problem": {"task_sizes": [10, 10], "signal": 10.0, "noise": 0.09, "context_length": 100},
        "model": {"parametrization": "factored", "imbalance_omega": 1e-6, "imbalance_mu": 1e-6},
        "flow": {"t_end": 5.0},
        "axis": [
            {"path": "flow.rtol", "values": [1e-4, 1e-10]},
            {"path": ["model.imbalance_mu", "model.imbalance_omega"], "values": [0.0, 0.1]},
            {"path": "flow.t_end", "values": [5.0, 1e4]},
            {"path": "flow.stationary", "values": [1e-9, 1e-4]},
        ],
    }
    plan = Plan.from_dict(table)
    found = plan.solve(0, plan.size)
    alone = [Experiment.from_dict(plan.table(k)).solve() for k in range(plan.size)]
    assert found["status"].tolist() == [int(flow.outcome) for flow in alone]
    assert {0, 1} == set(found["status"].tolist())
    tight = slice(plan.size // 2, None)
    assert (found["steps"][: plan.size // 2] < found["steps"][tight]).all()
    np.testing.assert_allclose(found["loss"][tight], [flow.final_loss for flow in alone[tight]], rtol=1e-6)
    np.testing.assert_allclose(found["t"][tight], [flow.trajectory.t[-1] for flow in alone[tight]], rtol=0.05)


def test_forecasts_are_those_of_the_flow() -> None:
    table = {
        "problem": {"task_sizes": [10, 10], "signal": 10.0, "noise": 0.09, "context_length": 100},
        "model": {"parametrization": "factored", "imbalance_omega": 1e-6, "imbalance_mu": 1e-6},
        "initial": {"kind": "paper", "qk": 0.1, "ov_low": 0.1, "ov_high": 0.2},
        "flow": {"t_end": 100.0},
        "record": {"forecast": True},
        "axis": [{"path": "problem.context_length", "values": [50, 100]}],
    }
    plan = Plan.from_dict(table)
    found = plan.solve(0, 2)
    for k in range(2):
        flow = plan.experiment(k).solve()
        assert found["emergence_predicted"][k].tolist() == [task.time for task in flow.forecast]
        assert found["allocation_predicted"][k].tolist() == [task.head for task in flow.forecast]
        escapes = {escape.task: escape.predicted_time for escape in flow.phases.escapes}
        assert escapes
        # from the state at the emergence, which ensembles solve for by a method of their own
        predicted = {i: found["escape_predicted"][k, i] for i in escapes}
        assert predicted == pytest.approx(escapes, rel=1e-6)
    np.testing.assert_allclose(found["emergence_predicted"], found["emergence"], rtol=0.2)


def test_benchmarks_are_computed_once_per_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    true = BENCHMARKS["single_head"].find

    def counted(problem: si.Problem, kernel: str) -> si.optimal.Benchmark:
        calls.append(problem)
        return true(problem, kernel)

    flow_points._benchmarks.cache_clear()
    reference = BENCHMARKS["single_head"]._replace(find=counted)
    monkeypatch.setitem(BENCHMARKS, "single_head", reference)
    plan = Plan.from_dict(RAGGED)
    plan.solve(0, 3)
    plan.solve(3, plan.size)
    assert len(calls) == len(set(calls)) == 2


def test_benchmark_out_of_range_is_none() -> None:
    """The first-order law has no best head for prompts so short."""
    problem = {"task_sizes": [1], "signal": 1.0, "noise": 1.0, "context_length": 2}
    table = {
        "problem": problem,
        "model": {"kernel": "first-order"},
        "flow": {"t_end": 1.0},
        "axis": [{"path": "problem.noise", "values": [1.0]}],
    }
    found = Plan.from_dict(table).solve(0, 1)
    assert found["status"][0] == 0
    assert np.isnan(found["single_head"][0])
    assert np.isfinite(found["lower_bound"][0])


def test_empty_range_and_wrong_range(ragged: tuple[Plan, Results]) -> None:
    plan, found = ragged
    empty = plan.solve(3, 3)
    assert set(empty) == set(found)
    assert all(len(values) == 0 for values in empty.values())
    for start, stop in ((-1, 2), (3, 2), (0, 9)):
        with pytest.raises(si.ProblemError):
            plan.solve(start, stop)


def test_failed_points_have_no_forecast_and_stop_nothing() -> None:
    start = {"omega": [[0.1, 0.1], [0.1, 0.1]], "mu": [[0.1, 0.2], [0.2, 0.1]]}
    plan = Plan.from_dict(
        {
            "problem": {"task_sizes": [10, 10], "signal": [10.0, 10.0], "noise": 0.09, "context_length": 100},
            "model": {"parametrization": "factored", "imbalance_omega": 1e-6, "imbalance_mu": 1e-6},
            "initial": start,
            "flow": {"t_end": 1e6, "max_steps": 2000},
            "record": {"forecast": True},
            "axis": [{"path": "initial.omega[0][0]", "values": [0.1, 1e6]}],
        }
    )
    found = plan.solve(0, 2)
    assert found["status"][0] == si.Outcome.REACHED_END
    assert np.isfinite(found["escape_predicted"][0]).any()
    assert found["status"][1] not in SOLVED
    assert np.isnan(found["emergence_predicted"][1]).all()
    assert (found["allocation_predicted"][1] == -1).all()
