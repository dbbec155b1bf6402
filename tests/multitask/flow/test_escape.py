"""Measured escapes beside predicted ones."""

from __future__ import annotations

import pytest

import spectral_icl as si


@pytest.mark.parametrize("imbalance", [1e-10, 1e-8, 1e-6, 1e-4])
def test_escape_time(two_tasks: si.Problem, imbalance: float) -> None:
    sol = si.gradient_flow(
        two_tasks,
        *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2),
        parametrization=si.Factored(imbalance, imbalance),
        t_end=400.0,
    )
    assert len(sol.phases.escapes) == 2
    plateau = si.optimal.head_per_task(two_tasks).loss
    for escape in sol.phases.escapes:
        assert escape.head == 1 - escape.task
        assert escape.time == pytest.approx(escape.predicted_time, rel=0.05)
        assert sol.phases.convergence[1] <= escape.time
        assert si.loss(two_tasks, *sol(escape.time)) < 0.95 * plateau
    assert sol.loss[-1] < 0.85 * plateau


def test_escape_through_a_rival_that_starts_on_the_other_side(two_tasks: si.Problem) -> None:
    omega, mu = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    mu[[0, 1], [1, 0]] *= -1.0
    sol = si.gradient_flow(two_tasks, omega, mu, parametrization=si.Factored(1e-6, 1e-6), t_end=1e3)
    assert [escape.head for escape in sol.phases.escapes] == [1, 0]
    for escape, task in zip(sol.phases.escapes, sol.phases.tasks, strict=True):
        assert task.time < escape.time < 40.0  # sooner than the 49 of a rival that must first change sign
