"""What is told of all tasks of a point, few or many, is counted from what is stored for each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.figures.sweep import sweep_figure
from spectral_icl.multitask.experiment import Experiment
from spectral_icl.multitask.optimal.benchmarks import BENCHMARKS
from spectral_icl.sweeps import run as sweep
from spectral_icl.sweeps.multitask.quantities import FlowSweep
from spectral_icl.sweeps.plan import Plan

# 3, 20 and 61 tasks in two heads; the last has more numbers than are solved by factors
MANY = {
    "problem": {"task_sizes": 4, "tasks": 3, "signal": 10.0, "noise": 0.1, "context_length": 1000},
    "model": {"heads": 2},
    "initial": {"kind": "random", "scale": 0.05, "seed": 1},
    "flow": {"t_end": 20.0, "rtol": 1e-4},
    "axis": [{"path": "problem.tasks", "values": [3, 20, 61]}],
}


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, FlowSweep]:
    plan, path = Plan.from_dict(MANY), tmp_path_factory.mktemp("sweep") / "many"
    sweep.run(plan, path)
    return plan, FlowSweep(si.open_sweep(path), plan)


def test_points_of_many_tasks_are_the_flows_of_their_files(many: tuple[Plan, FlowSweep]) -> None:
    plan, found = many
    assert found.data.sizes["task"] == 61
    for k, tasks in enumerate((3, 20, 61)):
        flow = Experiment.from_dict(plan.table(k)).solve()
        assert found.data["loss"][k] == pytest.approx(flow.final_loss, rel=1e-4)
        losses = found.data["task_loss"][k].values
        assert np.isfinite(losses).sum() == tasks
        np.testing.assert_allclose(losses[:tasks], flow.final_task_loss, rtol=1e-2)
        heads = [-1 if head is None else head for head in flow.allocation]
        assert found.data["allocation"][k, :tasks].values.tolist() == heads


def test_the_share_learned_and_the_median_are_those_of_the_tasks_that_there_are(
    many: tuple[Plan, FlowSweep],
) -> None:
    _, found = many
    learned, median = (found.quantity(name).values.values for name in ("learned", "emergence_median"))
    for k, tasks in enumerate((3, 20, 61)):
        heads = found.data["allocation"][k, :tasks].values
        times = np.sort(np.nan_to_num(found.data["emergence"][k, :tasks].values, nan=np.inf))
        assert learned[k] == pytest.approx((heads >= 0).mean())
        half = times[(tasks - 1) // 2]
        assert median[k] == half if np.isfinite(half) else np.isnan(median[k])
    assert np.isfinite(median).any()
    assert 0.0 < learned.min() < 1.0
    of_one = found.quantity("learned", task=10).values.values
    assert np.isnan(of_one[0])
    assert of_one[1] in (0.0, 1.0)
    with pytest.raises(si.ProblemError, match="nothing for emergence_median, which is not of one task"):
        found.quantity("emergence_median", task=0)


@pytest.mark.parametrize("name", ["learned", "emergence_median"])
def test_they_can_be_drawn(many: tuple[Plan, FlowSweep], name: str) -> None:
    (axes,) = sweep_figure(many[1].data, [name]).get_axes()
    assert axes.get_ylabel() == many[1].labels[name]


def test_separation_of_equal_tasks_is_what_the_theorem_says(tmp_path: Path) -> None:
    """A flow of one head is that factor above a head per task, and so is the best single head."""
    one = {
        **MANY,
        "model": {"heads": 1},
        "initial": {"kind": "random", "scale": 0.05, "positive": True},
        "flow": {"t_end": 1e4},
    }
    plan = Plan.from_dict(one)
    sweep.run(plan, tmp_path / "one")
    found = FlowSweep(si.open_sweep(tmp_path / "one"), plan)
    tasks = np.array([3, 20, 61])
    gamma = 1000 / (np.e * 1.01 * 4)
    factor = tasks * (1.0 + gamma) / (tasks + gamma)
    separation = found.quantity("separation")
    np.testing.assert_allclose(separation.values, factor, rtol=1e-6)
    best = {name: theory for name, theory in separation.theory.items() if "head per task" not in name}
    assert len(separation.theory) == len(best) == 2
    np.testing.assert_allclose(separation.theory[BENCHMARKS["single_head"].name], factor, rtol=1e-12)
    assert (separation.theory[BENCHMARKS["lower_bound"].name] < 1.0).all()
    assert separation.label == "excess loss / head per task, asymptotic law"


def test_the_median_has_its_prediction(tmp_path: Path) -> None:
    small = {
        **MANY,
        "initial": {"kind": "random", "scale": 1e-3, "positive": True},
        "flow": {"t_end": 1e4},
        "record": {"forecast": True},
    }
    plan = Plan.from_dict(small)
    sweep.run(plan, tmp_path / "small")
    median = FlowSweep(si.open_sweep(tmp_path / "small"), plan).quantity("emergence_median")
    np.testing.assert_allclose(median.theory["predicted"], median.values, rtol=0.02)
