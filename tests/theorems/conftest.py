"""The documented suite, checked once."""

from __future__ import annotations

import pytest

from spectral_icl.theorems.report import CaseReport, report_case
from spectral_icl.theorems.suite import suite


@pytest.fixture(scope="session")
def results() -> list[CaseReport]:
    """The documented suite, verified."""
    return [report_case(case, prompts=1000) for case in suite()]
