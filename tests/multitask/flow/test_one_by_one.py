"""Ensembles of flows that are too large for lanes, against the same flows alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from many_tasks import disjoint

import spectral_icl as si
from spectral_icl.multitask.parametrization import Parametrization

RTOL = 1e-6


@pytest.mark.parametrize("flavour", [si.Balanced(), si.Factored(1e-3, 1e-3)], ids=lambda f: f.name)
def test_an_ensemble_of_large_flows_is_its_flows(flavour: Parametrization) -> None:
    p = disjoint(70)
    starts = [si.initial.random(p, 4, 0.01, seed=seed) for seed in range(3)]
    times = [0.0, 1.0, 50.0, 400.0]
    t_end = [100.0, 10.0, 100.0]
    options: dict[str, Any] = {"parametrization": flavour, "rtol": RTOL}
    found = si.gradient_flow_ensemble(
        p, *zip(*starts, strict=True), t_end=t_end, t_eval=times, phases=True, threads=2, **options
    )
    assert found.success.all()
    assert found.loss_curve is not None
    assert found.allocation is not None
    assert found.escape is not None
    assert found.emergence is not None
    for k, (start, end) in enumerate(zip(starts, t_end, strict=True)):
        one = si.gradient_flow(p, *start, t_end=end, **options)
        np.testing.assert_array_equal(found.omega[k], one.final.omega)
        assert found.steps[k] == one.stats.steps
        inside = np.array(times) <= end
        losses = si.loss(p, *one(np.array(times)[inside]))
        np.testing.assert_allclose(found.loss_curve[k, inside], losses, rtol=1e-12)
        assert np.isnan(found.loss_curve[k, ~inside]).all()
        heads = tuple(-1 if head is None else head for head in one.allocation)
        assert tuple(found.allocation[k]) == heads
        escapes = {escape.task: escape.time for escape in one.phases.escapes if np.isfinite(escape.time)}
        seen = {i: t for i, t in enumerate(found.escape[k]) if np.isfinite(t)}
        assert seen == pytest.approx(escapes)
        assert found.saturation[k] == pytest.approx(one.saturation.ratio, rel=1e-2)
    if flavour.conserves_signs:
        assert np.isnan(found.escape).all()
    else:
        assert np.isfinite(found.escape).any()


def test_a_large_member_that_fails_has_what_it_reached() -> None:
    p = disjoint(70)
    start = si.initial.random(p, 4, 0.01, seed=0)
    found = si.gradient_flow_ensemble(
        p, *start, t_end=1e4, max_steps=[30, 100_000], t_eval=[1.0, 9e3], rtol=RTOL
    )
    assert found.success.tolist() == [False, True]
    assert found.t[0] < 1e4
    assert found.loss_curve is not None
    assert np.isnan(found.loss_curve[0, 1])


def test_prompts_of_one_pair_and_no_times_are_no_obstacle() -> None:
    """At L = 1 no law in 1/L holds, however small the logits; and a flow may end before all times."""
    p = si.Problem.multitask(task_sizes=[4] * 70, signal=1.0, noise=0.1, context_length=1)
    start = si.initial.random(p, 4, 0.01, seed=0)
    found = si.gradient_flow_ensemble(p, *start, t_end=[0.5, 2.0], t_eval=[1.0, 2.0, 3.0], rtol=RTOL)
    assert found.success.all()
    assert np.isposinf(found.saturation).all()
    assert not found.valid.any()
    assert found.loss_curve is not None
    assert np.isnan(found.loss_curve).tolist() == [[True] * 3, [False, False, True]]
    np.testing.assert_allclose(found.loss_curve[1, 1], found.loss[1], rtol=1e-12)


def test_a_large_member_at_rest_keeps_its_loss() -> None:
    p = disjoint(20)
    start = si.initial.dominant(p, 20, 0.1)
    found = si.gradient_flow_ensemble(
        p, *start, t_end=np.inf, stationary=1e-4, t_eval=[0.0, 1e12], rtol=RTOL, phases=True
    )
    assert found.success.all()
    assert found.loss_curve is not None
    np.testing.assert_allclose(found.loss_curve[0, 1], found.loss[0], rtol=1e-12)
    assert found.loss_curve[0, 0] > found.loss[0]
    assert found.allocation is not None
    assert set(found.allocation[0].tolist()) == set(range(20))
