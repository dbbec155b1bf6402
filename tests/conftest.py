"""Shared fixtures. Examples of Hypothesis are derandomised, so that a failure is everybody's failure."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator

import pytest
from cases import CASES, Case
from hypothesis import settings

import spectral_icl as si

settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

gc.set_threshold(100_000, 20, 50)  # sympy and PyTorch keep millions of objects, of which none are garbage


@pytest.fixture(params=sorted(CASES))
def case(request: pytest.FixtureRequest) -> Case:
    """Every reference case in turn."""
    return CASES[request.param]


@pytest.fixture(scope="session", autouse=True)
def _signals_end_what_runs() -> Iterator[None]:
    """Whatever started the tests: under nohup a hang-up would be ignored, by what they start too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture(scope="session", autouse=True)
def _compiled() -> None:
    """Compile, or load from the cache, before the first test: no test is about the first run by accident."""
    case = CASES["paper_two_tasks_balanced"]
    si.gradient_flow(case.problem, case.omega0, case.mu0, t_end=1.0).saturation  # noqa: B018
    si.gradient_flow_ensemble(case.problem, case.omega0, case.mu0, t_end=1.0)


@pytest.fixture
def two_tasks() -> si.Problem:
    """The two-task problem of the authors' code."""
    return si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
