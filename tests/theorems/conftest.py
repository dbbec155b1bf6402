"""The documented suite, checked once."""

from __future__ import annotations

import pytest
from weights import slow

from spectral_icl.theorems.report import CaseReport, report_case
from spectral_icl.theorems.suite import suite


@pytest.fixture(scope="session", params=[200, slow(4000)])
def results(request: pytest.FixtureRequest) -> list[CaseReport]:
    """The documented suite, verified; claims that so few prompts do not decide ask for more."""
    return [report_case(case, prompts=request.param) for case in suite()]
