"""Flows whose stages are solved by products with the Hessian, against those that factor it, and outlines."""

from __future__ import annotations

import logging
import pickle
import tracemalloc
from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask import context
from spectral_icl.multitask.flow import one_by_one, outline
from spectral_icl.multitask.flow.outline import Outline
from spectral_icl.multitask.flow.trajectory import Trajectory
from spectral_icl.multitask.parametrization import Parametrization

RTOL = 1e-6


def disjoint(tasks: int, power: float = 0.0) -> si.Problem:
    """Tasks with powers that fall like a power of their number."""
    signal = 10.0 / np.arange(1.0, tasks + 1.0) ** power
    return si.Problem.multitask(
        task_sizes=[10] * tasks, signal=signal.tolist(), noise=0.1, context_length=100 * tasks
    )


def overlapping(tasks: int, blocks: int, others: int) -> si.Problem:
    """Every task in a block of its own number and in some others, with unequal eigenvalues."""
    rng = np.random.default_rng(tasks)
    rows = [
        {i % blocks: 5.0} | {int(b): float(rng.uniform(0.5, 5.0)) for b in rng.choice(blocks, others, False)}
        for i in range(tasks)
    ]
    return si.Problem(
        block_sizes=[10] * blocks,
        signal=[list(row.items()) for row in rows],
        noise=0.1,
        context_length=100 * blocks,
        covariance=rng.uniform(0.5, 2.0, blocks).tolist(),
    )


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


def test_an_outline_has_what_is_measured_of_the_whole_flow() -> None:
    """Phases, allocation, saturation and losses of the same flow, with and without its steps."""
    p = disjoint(30, 1.0)
    at = si.initial.random(p, 4, 0.01, seed=1)
    whole = si.gradient_flow(p, *at, t_end=1e4, rtol=RTOL)
    sketch = si.gradient_flow(p, *at, t_end=1e4, rtol=RTOL, dense_output=False)
    assert isinstance(whole.trajectory, Trajectory)
    assert isinstance(sketch.trajectory, Outline)
    np.testing.assert_array_equal(sketch.trajectory.t, whole.trajectory.t)
    assert set(sketch.t) <= set(whole.t)
    assert (sketch.t[0], sketch.t[-1]) == (0.0, 1e4)
    for ours, theirs in zip(sketch(sketch.t), whole(sketch.t), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    for ours, theirs in zip(sketch.final, whole.final, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert sketch.allocation == whole.allocation
    width = np.array([task.time - task.onset for task in whole.phases.tasks])
    for name in ("onset", "time", "settled"):
        ours = np.array([getattr(task, name) for task in sketch.phases.tasks])
        theirs = np.array([getattr(task, name) for task in whole.phases.tasks])
        assert (np.isfinite(ours) == np.isfinite(theirs)).all()
        # four samples of a step and not eight
        assert np.nanmax(abs(ours - theirs) / np.where(name == "settled", theirs, width)) < 0.05
    assert sketch.saturation.worst == pytest.approx(whole.saturation.worst, rel=1e-3)
    assert sketch.saturation.final_error == pytest.approx(whole.saturation.final_error, rel=1e-9)
    assert sketch.saturation.level == whole.saturation.level


def test_an_outline_has_states_at_the_times_that_were_asked_for() -> None:
    p = disjoint(20)
    at = si.initial.random(p, 4, 0.01, seed=1)
    times = [0.5, 3.0, 40.0]
    whole = si.gradient_flow(p, *at, t_end=100.0, rtol=RTOL)
    sketch = si.gradient_flow(p, *at, t_end=100.0, t_eval=times, rtol=RTOL, dense_output=False)
    np.testing.assert_array_equal(sketch.t, times)
    np.testing.assert_array_equal(sketch.omega, whole(times).omega)
    np.testing.assert_array_equal(sketch(100.0).mu, whole(100.0).mu)
    np.testing.assert_array_equal(sketch(0.0).mu, whole(0.0).mu)
    with pytest.raises(si.ProblemError, match=r"t: expected times of the 5 states .* got 7\.0"):
        sketch([3.0, 7.0])
    again = pickle.loads(pickle.dumps(sketch))
    np.testing.assert_array_equal(again.mu, sketch.mu)
    assert not again.trajectory.losses.flags.writeable


def test_a_flow_at_rest_repeats_its_last_state() -> None:
    p = disjoint(8)
    at = si.initial.dominant(p, 8, 0.1, 0.5)
    found = si.gradient_flow(p, *at, t_end=np.inf, stationary=1e-6, rtol=RTOL, dense_output=False)
    np.testing.assert_array_equal(found(1e9).omega, found.final.omega)


def test_samples_and_states_are_thinned_and_the_phases_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    p = disjoint(10, 1.0)
    at = si.initial.random(p, 6, 0.01, seed=1)
    whole = si.gradient_flow(p, *at, t_end=1e3, rtol=RTOL, dense_output=False)
    monkeypatch.setattr(outline, "_MOST_SAMPLES", 3000)
    monkeypatch.setattr(outline, "_ENOUGH", 20)
    from spectral_icl.multitask.flow import solve

    monkeypatch.setattr(solve, "_LARGEST_BUFFER", 120 * 20)  # so that there are several pieces
    few = si.gradient_flow(p, *at, t_end=1e3, rtol=RTOL, dense_output=False)
    assert isinstance(whole.trajectory, Outline)
    assert isinstance(few.trajectory, Outline)
    np.testing.assert_allclose(few.trajectory.t, whole.trajectory.t, rtol=1e-12)
    assert few.t.size <= 21
    assert set(few.trajectory.times) <= set(whole.trajectory.times) | set(few.trajectory.t)
    steps = few.trajectory.t.size - 1
    assert few.trajectory.times.size == steps + 1  # the steps themselves, and nothing between
    assert few.allocation == whole.allocation
    np.testing.assert_allclose(few.trajectory.losses[-1], whole.trajectory.losses[-1], rtol=1e-9)


def test_memory_does_not_grow_with_the_steps() -> None:
    """A flow of N = 8000: kept whole, a hundred of its steps would take 32 MB."""
    p = disjoint(1000)
    at = si.initial.random(p, 4, 0.01, seed=1)
    options: dict[str, Any] = {"t_end": 1.0, "rtol": 1e-3}
    si.gradient_flow(p, *at, **options)
    tracemalloc.start()
    found = si.gradient_flow(p, *at, t_end=20.0, rtol=RTOL)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    steps, size = found.stats.steps, 8000
    kept = 8 * (found.t.size * size + 4 * steps * p.tasks + 3 * steps * p.tasks)
    assert steps > 90
    assert peak < kept + 8 * size * 300 + 2e7


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
    expected = r"kernel: expected one of \['asymptotic', 'first-order'\], as H \(B \+ I\) > 4096, got 'exact'"
    with pytest.raises(si.ProblemError, match=expected):
        si.gradient_flow(p, *at, t_end=1.0, kernel="exact")
    with pytest.raises(si.ProblemError, match="dense_output: expected True under the exact law"):
        si.gradient_flow(disjoint(2), *si.initial.random(disjoint(2), 2), kernel="exact", dense_output=False)


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
    assert one_by_one.Ended._fields[0] == "outcome"
