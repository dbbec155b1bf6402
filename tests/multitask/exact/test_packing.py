"""Problems with the table and the rule that their states need."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.exact.packing import largest, packed, query_rule, reach_of, usual_reach
from spectral_icl.multitask.exact.table import REACHES


def problem(*sizes: int) -> si.Problem:
    signal = np.eye(len(sizes)) + 0.1
    return si.Problem(block_sizes=sizes, signal=signal, noise=0.1, context_length=40, covariance=0.7)


@pytest.mark.parametrize("sizes", [(5,), (5, 3), (4, 3, 2), (4, 3, 2, 5)])
def test_a_state_has_the_first_table_that_knows_its_logits(sizes: tuple[int, ...]) -> None:
    p = problem(*sizes)
    seen = set()
    for size in np.geomspace(0.01, 1.5, 60):
        omega = size * np.ones((2, len(sizes)))
        reach = reach_of(p, omega)
        seen.add(reach)
        knows = [r for r in REACHES if largest(p, omega, query_rule(p, r)) <= r]
        assert reach == (knows[0] if knows else REACHES[-1])
    assert len(seen) == len(REACHES)


def test_the_usual_table_knows_heads_that_have_emerged() -> None:
    p = problem(10, 10)
    sol = si.gradient_flow(p, *si.initial.dominant(p, heads=2), t_end=1e3, kernel="exact")
    assert sol.success
    assert reach_of(p, sol.omega) <= usual_reach(p)


def test_nodes_fill_vectors_and_what_is_left_has_no_weight() -> None:
    p = problem(5, 3)
    model, nodes = packed(p, 0.5), query_rule(p, 0.5)
    assert model.used == nodes.weight.size
    rho = model.rho.transpose(0, 2, 1).reshape(-1, 2)
    np.testing.assert_array_equal(rho[: model.used], nodes.rho)
    np.testing.assert_array_equal(model.weight.ravel()[: model.used], nodes.weight)
    assert not model.weight.ravel()[model.used :].any()
    assert not rho[model.used :].any()
