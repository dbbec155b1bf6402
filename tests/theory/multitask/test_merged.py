"""Merged weights: how they grow, and that they do not rest in the limit of balanced ones."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import spectral_icl as si
from theory.multitask import merged


def test_small_weights_grow_at_the_derived_rate() -> None:
    """Without noise every head grows at the rate of the task, so that their ratios stay."""
    p = si.Problem.multitask(
        task_sizes=(9, 4), signal=(1.0, 2.0), noise=0.0, context_length=1e9, covariance=(0.5, 1.5)
    )
    start = np.array([[3e-7, 1e-7], [1e-7, 2e-7]])
    flow = si.gradient_flow(p, start, start, parametrization=si.Merged(), t_end=20.0, rtol=1e-10)
    root = np.sqrt(p.block_sizes)
    early, late = (root * flow(t).omega + flow(t).mu for t in (0.0, 3.0))
    for task in range(2):
        rate = merged.growth(p.power[task], sp.Integer(p.block_sizes[task]), p.covariance[task])
        expected = float(rate) * 3.0
        np.testing.assert_allclose(np.log(late[:, task] / early[:, task]), expected, rtol=1e-3)


def test_the_limit_of_balanced_weights_is_left(two_tasks: si.Problem) -> None:
    limit = si.optimal.head_per_task(two_tasks).weights
    assert limit is not None
    flow = si.gradient_flow(two_tasks, *limit, parametrization=si.Merged(), t_end=1e6)
    excess = flow.final_loss - 0.18
    assert excess < 0.99 * (si.optimal.head_per_task(two_tasks).loss - 0.18)
    assert excess == pytest.approx(si.optimal.head_budget(two_tasks, 2).loss - 0.18, rel=1e-3)
    assert flow(1.0).mu[0, 1] < 0.0
