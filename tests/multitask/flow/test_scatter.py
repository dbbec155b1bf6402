"""Numbers of paths about a flow, against what is counted by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.flow.scatter import Scatter, Spread
from spectral_icl.multitask.noise.plateau import Cost

PROBLEM = si.Problem.multitask(task_sizes=(4, 6), signal=(10.0, 8.0), noise=0.09, context_length=100)
START = si.initial.paper(PROBLEM, 3, 0.1, 0.1, 0.2)


@pytest.fixture(scope="module")
def paths() -> si.StochasticFlow:
    return si.stochastic_flow(PROBLEM, *START, step=0.05, batch=300, t_end=60.0, paths=8)


def test_a_spread_is_over_those_that_have_a_number() -> None:
    values = np.array([[3.0], [np.nan], [1.0], [2.0], [np.inf]])
    spread = Spread.of(values, 7.0)
    assert (spread.flow, spread.median, spread.share) == (7.0, 2.0, 0.6)
    assert spread.deviation == pytest.approx(1.0)
    assert (spread.low, spread.high) == pytest.approx((1.1, 2.9))


def test_a_spread_of_none_or_one_has_no_warning() -> None:
    none = Spread.of(np.full((3, 2), np.nan), np.nan)
    assert np.isnan([none.median, none.low, none.high, none.deviation]).all()
    assert none.share == 0.0
    one = Spread.of(np.array([4.0]), 4.0)
    assert (one.median, one.low, one.high, one.share) == (4.0, 4.0, 4.0, 1.0)
    assert np.isnan(one.deviation)


def test_times_are_those_of_the_paths_and_of_the_flow(paths: si.StochasticFlow) -> None:
    found = Scatter.of(paths)
    for i, task in enumerate(paths.flow.phases.tasks):
        times = paths.emergence[:, i]
        assert np.isfinite(times).all()
        assert found.emergence[i].flow == task.time
        assert found.emergence[i].median == np.median(times)
        assert found.emergence[i].deviation == pytest.approx(np.std(times, ddof=1))
        assert found.emergence[i].low < task.time < found.emergence[i].high
        assert found.escape[i].share == np.isfinite(paths.escape[:, i]).mean()
        assert np.isnan(found.escape[i].flow), "of a balanced flow there is none"


def test_the_escape_of_the_flow_is_its_own() -> None:
    free = si.Factored(1e-4, 1e-4)
    found = si.stochastic_flow(
        PROBLEM, *START, parametrization=free, step=0.05, batch=300, t_end=80.0, paths=2
    )
    scatter = Scatter.of(found)
    for escape in found.flow.phases.escapes:
        assert scatter.escape[escape.task].flow == escape.time
    assert scatter.imbalance[0].flow == 1e-4


def test_imbalance_is_that_of_losing_heads_on_the_plateau(paths: si.StochasticFlow) -> None:
    found = Scatter.of(paths)
    for i, task in enumerate(paths.flow.phases.tasks):
        assert found.imbalance_at[i] == task.settled
        (at,) = np.flatnonzero(np.abs(paths.t - task.settled) == np.abs(paths.t - task.settled).min())
        losing = [abs(paths.imbalance[p, at, h, i]) for p in range(8) for h in range(3) if h != task.head]
        assert len(losing) == 16
        assert found.imbalance[i].median == np.median(losing)
        assert found.imbalance[i].flow == 0.0


def test_a_lone_head_has_no_losing_ones() -> None:
    lone = si.initial.paper(PROBLEM, 1, 0.1, 0.1, 0.2)
    found = Scatter.of(si.stochastic_flow(PROBLEM, *lone, step=0.05, batch=300, t_end=60.0, paths=2))
    assert [spread.share for spread in found.imbalance] == [0.0, 0.0]


def test_cost_is_over_the_excess_of_the_flow(paths: si.StochasticFlow) -> None:
    nodes = paths.node.size
    cost = Cost(kq=np.full(nodes, 0.2), ov=np.full(nodes, 0.1), edge=np.linspace(0.1, 0.4, nodes))
    cost.edge[3] = 0.7
    found = Scatter.of(replace(paths, cost=cost))
    assert found.stray_loss == pytest.approx(0.3)
    final = si.loss(PROBLEM, *paths.flow.final) - 0.18
    assert found.stray_share == pytest.approx(0.3 / final)
    late = [t for t in paths.node if t >= paths.flow.phases.convergence[0]]
    shares = [0.3 / (si.loss(PROBLEM, *paths.flow(t)) - 0.18) for t in late]
    assert found.plateau_share == pytest.approx(max(shares))
    assert (found.edge, found.edge_at, found.final_edge) == (0.7, paths.node[3], pytest.approx(0.4))


def test_paths_that_left_all_bounds_are_counted(paths: si.StochasticFlow) -> None:
    assert Scatter.of(paths).lost == 0
    omega = paths.omega.copy()
    omega[[1, 4], -1] = np.nan
    assert Scatter.of(replace(paths, omega=omega)).lost == 2


def test_paths_that_all_diverge_have_no_warning_and_no_numbers() -> None:
    found = si.stochastic_flow(PROBLEM, *START, step=5.0, batch=1, t_end=60.0, paths=4)
    scatter = Scatter.of(found)
    assert scatter.lost == 4
    assert scatter.edge > 1.0
    assert scatter.stray_loss == np.inf
    assert np.isnan(found.band(found.loss)[:, -1]).all()
