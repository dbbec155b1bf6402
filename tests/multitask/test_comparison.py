"""Flows under every law, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask import comparison
from spectral_icl.multitask.comparison import compare_flows, steepest


def test_times_are_those_of_phases_and_limits_those_of_optima() -> None:
    found = compare_flows([40.0], [5])
    p = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.1, context_length=40)
    flow = si.gradient_flow(p, *si.initial.dominant(p, 1), t_end=500.0)
    assert steepest(flow.trajectory) == pytest.approx(flow.phases.tasks[0].time, rel=0.01)
    assert found.time["asymptotic"].item() == pytest.approx(flow.phases.tasks[0].time, rel=0.01)
    single = si.optimal.single_head(p).loss - 0.1
    assert found.limit["asymptotic"].item() == pytest.approx(single, rel=1e-6)
    # the best single head of softmax attention at d = 5, L = 40, from another implementation
    assert found.limit["exact"].item() == pytest.approx(0.4039631673 - 0.1, rel=1e-5)
    assert found.limit_over("asymptotic").item() == pytest.approx(0.3039631673 / single, rel=1e-5)
    assert found.time_over("asymptotic").item() == pytest.approx(1.0, abs=0.2)


def test_the_steepest_fall_of_an_outline_is_that_of_the_flow() -> None:
    p = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.1, context_length=40)
    start = si.initial.dominant(p, 1)
    whole, outline = (si.gradient_flow(p, *start, t_end=500.0, dense_output=kept) for kept in (True, False))
    assert steepest(outline.trajectory) == pytest.approx(steepest(whole.trajectory), rel=0.01)


def test_a_flow_that_fails_has_no_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here for want of steps; at L = 10 and d = 1 a head grows past all tables."""

    def stopped(*args: Any, kernel: str, **options: Any) -> si.Solution:
        return si.gradient_flow(*args, kernel=kernel, **options, max_steps=5 if kernel == "exact" else 10_000)

    monkeypatch.setattr(comparison, "gradient_flow", stopped)
    found = comparison.compare_flows([40.0], [5])
    assert np.isnan(found.time["exact"]).all()
    assert np.isnan(found.limit_over("asymptotic")).all()
    assert np.isfinite(found.limit["asymptotic"]).all()


def test_bad_arguments_are_named() -> None:
    with pytest.raises(si.ProblemError, match="scale"):
        compare_flows([10.0], [5], scale=0.0)
    with pytest.raises(si.ProblemError, match=r"dimensions\[1\]"):
        compare_flows([10.0], [5, 0])
