"""Problems as the compiled exact law takes them: nodes in vectors of lanes, tables that reach far enough."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.kernels.lanes import WIDTH
from spectral_icl.multitask.exact.packing import largest, packed, query_rule, reach_of, usual_reach
from spectral_icl.multitask.exact.table import REACHES

P = si.Problem(
    block_sizes=[3, 2], signal=[[1.0, 0.0], [0.5, 2.0]], noise=0.1, context_length=12, covariance=[2.0, 0.5]
)


def test_nodes_lie_in_lanes_and_what_fills_them_weighs_nothing() -> None:
    model, rule = packed(P, REACHES[0]), query_rule(P, REACHES[0])
    rho = model.rho.transpose(0, 2, 1).reshape(-1, 2)
    assert model.rho.shape[2] == WIDTH
    assert model.used == len(rule.weight)
    assert (rho[: model.used] == rule.rho).all()
    assert (model.weight.ravel()[: model.used] == rule.weight).all()
    assert not model.weight.ravel()[model.used :].any()
    assert not rho[model.used :].any()
    assert model.share == pytest.approx(np.array(P.signal) / [3, 2])
    assert model.count.tolist() == [1, 2]


def test_the_largest_logits_are_those_of_white_covariates() -> None:
    rule = query_rule(P, REACHES[0])
    omega = np.array([[0.1, 0.3], [-0.2, 0.1]])
    direct = max(float((np.array([2.0, 0.5]) ** 2 * heads**2) @ rho) for heads in omega for rho in rule.rho)
    assert largest(P, omega, rule) == pytest.approx(direct)


@pytest.mark.parametrize("size", [0.01, 0.2, 0.5])
def test_the_first_table_that_reaches_is_taken(size: float) -> None:
    omega = size * np.ones((1, 2))
    reach = reach_of(P, omega)
    assert largest(P, omega, query_rule(P, reach)) <= reach
    smaller = [each for each in REACHES if each < reach]
    assert all(largest(P, omega, query_rule(P, each)) > each for each in smaller)


def test_heads_that_have_emerged_are_usual() -> None:
    usual = usual_reach(P)
    assert reach_of(P, np.diag(1.0 / (np.sqrt([3, 2]) * np.array([2.0, 0.5])))) <= usual < REACHES[-1]


def test_beyond_all_tables_is_the_last() -> None:
    assert reach_of(P, np.full((1, 2), 50.0)) == REACHES[-1]
