"""Flows of random problems, over six decades of everything."""

from __future__ import annotations

import pytest

from tests.fuzz.campaign import campaign
from tests.fuzz.problems import judge
from tests.support.random_problems import random_flow


@pytest.mark.parametrize("number", range(0, 32, 8))
def test_random_flows_keep_every_invariant(number: int) -> None:
    for k in range(number, number + 8):
        assert judge(random_flow(k, root=1)) == [], k


@pytest.mark.slow
def test_ten_thousand_random_flows_keep_every_invariant() -> None:
    table = campaign("problems", range(10_000))
    assert not table.counts, str(table)
