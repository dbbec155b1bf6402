"""Which flows have a forecast of their emergences."""

from __future__ import annotations

import pytest

import spectral_icl as si


@pytest.mark.parametrize(
    ("weights", "remark"),
    [(si.Merged(), "merged"), (si.Factored(0.1, 0.1), "imbalance is not small")],
)
def test_only_balanced_weights_are_forecast(
    two_tasks: si.Problem, weights: si.Merged | si.Factored, remark: str
) -> None:
    start = si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2)
    sol = si.gradient_flow(two_tasks, *start, parametrization=weights, t_end=30.0)
    for forecast in sol.forecast:
        assert forecast.time is None
        assert remark in forecast.remark
    nearly = si.gradient_flow(two_tasks, *start, parametrization=si.Factored(1e-6, 1e-6), t_end=30.0)
    assert nearly.forecast[0].time == pytest.approx(nearly.phases.tasks[0].time, rel=1e-3)
