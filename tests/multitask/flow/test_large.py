"""Flows whose stages are solved by products with the Hessian, against those that factor it."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from many_tasks import disjoint, overlapping

import spectral_icl as si
from spectral_icl.multitask import context
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.trajectory import Trajectory
from spectral_icl.multitask.parametrization import Parametrization

RTOL = 1e-6


def flow(
    monkeypatch: pytest.MonkeyPatch, by_products: bool, p: si.Problem, at: si.State, **options: Any
) -> si.Solution:
    """The flow as it is solved by products with the Hessian, or where the Hessian is factored."""
    with monkeypatch.context() as patch:
        patch.setattr(context, "_is_large", lambda problem, name, heads: by_products)
        return si.gradient_flow(p, *at, **options)


@pytest.mark.parametrize("kernel", ["asymptotic", "first-order"])
@pytest.mark.parametrize(
    "flavour", [si.Balanced(), si.Factored(1e-3, 1e-3), si.Merged()], ids=lambda f: f.name
)
@pytest.mark.parametrize("kind", ["equal", "unequal", "overlapping"])
def test_products_and_factors_make_the_same_steps(
    monkeypatch: pytest.MonkeyPatch, kernel: str, flavour: Parametrization, kind: str
) -> None:
    """The same flow, to a tenth of the error that either has at this tolerance."""
    p = {"equal": disjoint(20), "unequal": disjoint(20, 1.0), "overlapping": overlapping(12, 10, 2)}[kind]
    at = si.initial.random(p, 8, 0.01, seed=2)
    options: dict[str, Any] = {"parametrization": flavour, "t_end": 300.0, "kernel": kernel}
    found = flow(monkeypatch, True, p, at, rtol=RTOL, **options)
    assert found.stats.hessian_products > 0
    expected = flow(monkeypatch, False, p, at, rtol=RTOL, **options)
    assert expected.stats.hessian_products == 0
    assert abs(found.stats.steps - expected.stats.steps) <= 0.02 * expected.stats.steps
    times = np.geomspace(1.0, 300.0, 30)
    exact = flow(monkeypatch, False, p, at, rtol=1e-10, **options)(times)
    theirs, ours = expected(times), found(times)
    for part in (0, 1):
        error = abs(theirs[part] - exact[part]).max()
        assert error > 1e-9
        assert abs(ours[part] - theirs[part]).max() < 0.1 * error


def test_signs_loss_and_equal_heads_are_kept_among_twenty_thousand() -> None:
    p = disjoint(100)
    omega, mu = si.initial.random(p, 99, 0.01, seed=3)
    # the last head is the first one's twin
    at = si.State(np.vstack([omega, omega[:1]]), np.vstack([mu, mu[:1]]))
    found = si.gradient_flow(p, *at, t_end=100.0, rtol=RTOL)
    assert isinstance(found.trajectory, Outline)
    assert found.tied_heads == ((0, 99),)
    for before, after in zip(at, (found.omega, found.mu), strict=True):
        np.testing.assert_array_equal(np.sign(after), np.broadcast_to(np.sign(before), after.shape))
        np.testing.assert_array_equal(after[:, 0], after[:, 99])
    loss = found.trajectory.losses.sum(axis=1)
    assert (np.diff(loss) <= 1e-9 * loss[:-1]).all()
    assert loss[-1] < 0.9 * loss[0]
    np.testing.assert_allclose(found.final_loss, loss[-1], rtol=1e-12)


def test_what_every_step_takes_is_said_before(caplog: pytest.LogCaptureFixture) -> None:
    p = disjoint(600)
    at = si.initial.random(p, 4, 0.01, seed=1)
    with caplog.at_level(logging.INFO, logger="spectral_icl"):
        found = si.gradient_flow(p, *at, t_end=0.1, rtol=1e-3, dense_output=True)
    assert isinstance(found.trajectory, Trajectory)
    assert "every step is kept: 0.154 MB each" in caplog.text
    with pytest.raises(si.ProblemError, match="dense_output: expected True, False or None, got 'yes'"):
        si.gradient_flow(p, *at, dense_output="yes")  # type: ignore[arg-type]


def test_the_exact_law_says_how_far_it_goes() -> None:
    p = disjoint(600)
    at = si.initial.random(p, 4, 0.01, seed=1)
    with pytest.raises(si.ProblemError, match=r"omega0: expected H \(B \+ I\) <= 4096, got '4 heads'"):
        si.gradient_flow(p, *at, t_end=1.0, kernel="exact")
    with pytest.raises(si.ProblemError, match="dense_output: expected True under the exact law"):
        si.gradient_flow(disjoint(2), *si.initial.random(disjoint(2), 2), kernel="exact", dense_output=False)


@pytest.mark.parametrize("whole", [True, False])
def test_progress_is_told_how_far_a_flow_is(whole: bool) -> None:
    p = disjoint(200)
    seen: list[float] = []
    si.gradient_flow(
        p, *si.initial.random(p, 4, 0.01, seed=1), t_end=30.0, dense_output=whole, progress=seen.append
    )
    assert len(seen) > 1
    assert seen == sorted(seen)
    assert seen[-1] == 30.0


def test_progress_that_cannot_be_told_is_refused() -> None:
    p = disjoint(2)
    with pytest.raises(si.ProblemError, match=r"^progress: expected a function of the time that is reached"):
        si.gradient_flow(p, *si.initial.random(p, 2), progress=True)  # type: ignore[arg-type]
