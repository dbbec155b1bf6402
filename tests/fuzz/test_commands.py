"""Commands that are given anything at all."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from tests.fuzz.campaign import campaign
from tests.fuzz.commands import judge
from tests.support.odd_files import Case, cases


@given(cases())
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
def test_any_command_ends_well(case: Case) -> None:
    assert judge(case) == []


@pytest.mark.slow
def test_a_hundred_thousand_commands_end_well() -> None:
    table = campaign("commands", range(100_000))
    assert not table.counts, str(table)
