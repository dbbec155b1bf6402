"""The race of the warm-up against solved flows: who takes each task, and when."""

from __future__ import annotations

import numpy as np
import pytest
from weights import slow

import spectral_icl as si
from spectral_icl.multitask.flow.emergence import predicted_emergence, rates, size_of_start
from spectral_icl.multitask.flow.race import fall_delay, race, water_level


def forecasts(p: si.Problem, start: si.State, c: float | None = None) -> tuple[si.Solution, list[float]]:
    """A flow through all emergences, and the relative errors of the forecast times."""
    sol = si.gradient_flow(p, *start, parametrization=si.Balanced(c), t_end=1e12, stationary=1e-9)
    errors = []
    for task, forecast in zip(sol.phases.tasks, sol.forecast, strict=True):
        assert forecast.time is not None, forecast
        assert forecast.head == task.head
        errors.append(abs(forecast.time / task.time - 1.0))
    return sol, errors


@pytest.mark.parametrize("scale", [1e-4, 5e-4, 1.4e-3])
@pytest.mark.parametrize("margin", [0.1, 0.5, 3.0])
@pytest.mark.parametrize("length", [50.0, 300.0, 3000.0])
@pytest.mark.parametrize("size", [6, 20, 60])
def test_emergence_within_five_percent(scale: float, margin: float, length: float, size: int) -> None:
    """The stated range: every start of size at most 0.05, whatever the margin, L, d, H and the noise."""
    p = si.Problem.multitask(
        task_sizes=(size, size + 4, 2 * size),
        signal=(1.0, 2.0, 1.5),
        noise=(0.1, 1.0, 0.0),
        context_length=length,
    )
    start = si.initial.dominant(p, 3 + size % 4, scale=scale, margin=margin, seed=size)
    assert size_of_start(p, start, (p.dimension + 3) ** -0.5) <= 0.05
    _, errors = forecasts(p, start)
    assert max(errors) < 0.05


def test_the_forecast_becomes_exact_as_the_start_shrinks() -> None:
    """Close rivals in a short context, three tasks in turn: the lone head's time is off by 10 % and more."""
    p = si.Problem.multitask(
        task_sizes=(12, 20, 30), signal=(1.0, 2.0, 3.0), noise=(0.1, 0.2, 0.1), context_length=60
    )
    worst = []
    for scale in (1e-2, 1e-3, 1e-4):
        start = si.initial.dominant(p, heads=5, scale=scale, margin=0.2, seed=3)
        sol, errors = forecasts(p, start)
        worst.append(max(errors))
        lone = [abs((task.predicted_time or 0.0) / task.time - 1.0) for task in sol.phases.tasks]
        assert max(lone) > 0.1
    assert worst[0] < 0.05
    assert worst[2] < worst[1] < worst[0]
    assert worst[2] < 5e-4


def test_the_papers_example_to_a_thousandth(two_tasks: si.Problem) -> None:
    _, errors = forecasts(two_tasks, si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2))
    assert max(errors) < 1e-3


def test_a_lone_head_is_the_closed_form_and_a_delay() -> None:
    """One head, one task: the race has nothing to add but the distance to the steepest fall."""
    p = si.Problem(block_sizes=(15,), signal=((2.0,),), noise=0.3, context_length=80, covariance=0.6)
    start, c = si.State(np.array([[1e-4]]), np.array([[3e-4]])), 0.25
    divergence = predicted_emergence(p, start, c, 0).time
    (found,) = race(p, start, c)
    c1, c2, n, d, kappa = (float(values[0]) for values in rates(p, c))
    delay = fall_delay(kappa * n * d / c2, kappa * c) / (c1 * d**0.5)
    assert found.time == pytest.approx(divergence + delay, rel=1e-4)
    _, errors = forecasts(p, start, c)
    assert errors[0] < 1e-3


def test_the_divergence_is_bracketed_by_closed_forms() -> None:
    """T(n) <= time <= T(n S) for a head that leads in omega and mu, S = sum_k mu_k / mu_h."""
    p = si.Problem.multitask(task_sizes=(20, 20), signal=1.0, noise=0.2, context_length=100)
    start = si.initial.dominant(p, heads=4, scale=1e-4, margin=0.3)
    c = (p.dimension + 2) ** -0.5
    held = si.Problem.multitask(  # n S for n: a context shorter by S
        task_sizes=(20, 20),
        signal=1.0,
        noise=0.2,
        context_length=100 / (start.mu[:, 0].sum() / start.mu[0, 0]),
    )
    for forecast in race(p, start, c):
        low, high = (predicted_emergence(q, start, c, forecast.task).time for q in (p, held))
        assert low is not None
        assert high is not None
        assert low * 0.999 < (forecast.time or 0.0) < high * 1.001


@pytest.mark.parametrize("scales", [6, slow(40)])
def test_a_task_that_is_worth_less_is_not_taken(scales: int) -> None:
    """One head for two tasks, of which it would lose more on the first than it gains on the second."""
    p = si.Problem.multitask(
        task_sizes=(20, 20), signal=(5.993, 0.3433), noise=0.1, context_length=100.0, covariance=(2.0, 0.5)
    )
    start = si.State(
        np.array([[1.1957825883e-07, 5.3620055382e-08]]), np.array([[2.0482614805e-08, 3.440934e-09]])
    )
    for c in np.geomspace(0.05, 1.0, scales):
        first, second = race(p, start, float(c))
        assert first.head == 0
        assert second.time is None
        assert "lose more" in second.remark


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_heads_that_take_several_tasks(heads: int, seed: int) -> None:
    """Fewer heads than tasks: who takes each, and when, and that those of which none is said stay."""
    rng = np.random.default_rng(10 * heads + seed)
    tasks = int(rng.integers(4, 9))
    p = si.Problem.multitask(
        task_sizes=rng.integers(4, 40, tasks).tolist(),
        signal=(10.0 / (1 + np.arange(tasks))).tolist(),
        noise=0.1,
        context_length=float(np.exp(rng.uniform(np.log(50), np.log(2000)))),
    )
    start = si.initial.random(p, heads, scale=2e-4, seed=seed, positive=True)
    c = (p.dimension + tasks) ** -0.5
    found = race(p, start, c)
    last = max(forecast.time or 0.0 for forecast in found)
    sol = si.gradient_flow(p, *start, parametrization=si.Balanced(c), t_end=3.0 * last, max_steps=10**5)
    assert sum(forecast.head is not None for forecast in found) > heads
    for forecast, task in zip(found, sol.phases.tasks, strict=True):
        assert forecast.head == task.head
        if forecast.time is not None:
            assert forecast.time == pytest.approx(task.time, rel=0.02)


def test_forecasts_of_several_tasks_become_exact_as_the_start_shrinks() -> None:
    p = si.Problem.multitask(
        task_sizes=(8, 12, 20, 10), signal=(4.0, 3.0, 2.0, 1.0), noise=0.1, context_length=400
    )
    worst = []
    for scale in (2e-3, 4e-4, 4e-5):
        start = si.initial.random(p, 2, scale=scale, seed=4, positive=True)
        _, errors = forecasts(p, start)
        worst.append(max(errors))
    assert worst[2] < worst[1] < worst[0] < 0.1
    assert worst[2] < 5e-3


def test_the_water_level_is_that_of_the_best_single_head() -> None:
    """V = (e / L) sum s mu^2 of its weights, also where it leaves the weakest task out."""
    for weakest in (2.0, 0.05):
        p = si.Problem.multitask(
            task_sizes=(10, 14, 6), signal=(3.0, 1.5, weakest), noise=0.2, context_length=150
        )
        weights = si.optimal.single_head(p).weights
        assert weights is not None
        power, sizes = np.array([3.0, 1.5, weakest]), np.array([10.0, 14.0, 6.0])
        gain = p.context_length * power / (np.e * p.variance * sizes)
        expected = np.e / p.context_length * float(p.variance @ weights.mu[0] ** 2)
        assert water_level(power, gain) == pytest.approx(expected, rel=1e-9)
        assert (power * gain > expected).tolist() == (weights.omega[0] > 1e-9).tolist()


def test_the_first_of_many_tasks_knows_of_no_other() -> None:
    """300 tasks in four heads; the one that falls first does so as if it were alone."""
    rng = np.random.default_rng(2)
    tasks, c = 300, 0.02
    powers = 10.0 / (1.0 + np.arange(tasks))
    p = si.Problem.multitask(task_sizes=[10] * tasks, signal=powers.tolist(), noise=0.1, context_length=1e3)
    start = si.State(*np.abs(rng.normal(0.0, 1e-4, (2, 4, tasks))))
    found = race(p, start, c)
    first = min(found, key=lambda forecast: forecast.time or np.inf)
    i = first.task
    alone = si.Problem.multitask(task_sizes=[10], signal=[powers[i]], noise=0.1, context_length=1e3)
    (expected,) = race(alone, si.State(start.omega[:, [i]], start.mu[:, [i]]), c)
    assert (first.head, first.time) == (expected.head, pytest.approx(expected.time, rel=1e-6))
    assert sum(forecast.time is not None for forecast in found) > 50
    assert all(forecast.time is not None or "lose more" in forecast.remark for forecast in found)


def test_equal_tasks_fall_at_once() -> None:
    """Each with a leader of its own, and both in one head."""
    p = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
    first, second = race(p, si.initial.dominant(p, 2, scale=1e-3), 0.2)
    assert first.time == second.time
    assert (first.head, second.head) == (0, 1)
    first, second = race(p, si.State(np.full((1, 2), 1e-3), np.full((1, 2), 1e-3)), 0.2)
    assert first.time == pytest.approx(second.time, rel=1e-6)
    assert first.head == second.head == 0


def test_signs_do_not_matter_where_they_agree() -> None:
    p = si.Problem.multitask(task_sizes=(10, 14), signal=(1.0, 2.0), noise=0.1, context_length=200)
    start = si.initial.dominant(p, heads=2, scale=1e-3, margin=1.0, seed=1)
    flipped = si.State(-start.omega, -start.mu)
    c = 0.2
    assert race(p, start, c) == race(p, flipped, c)


def test_reasons_for_no_forecast(two_tasks: si.Problem) -> None:
    c = 0.2
    for start, remark in (
        (si.State(np.full((2, 2), 1e-3), np.full((2, 2), 1e-3)), "tied"),
        (si.initial.dominant(two_tasks, 2, scale=0.3), "not small: size"),
        (si.State(np.full((1, 2), 1e-3), np.full((1, 2), -1e-3)), "differ in sign"),
        (
            si.State(np.array([[1e-3] * 2, [-2e-3] * 2]), np.array([[1e-3] * 2, [-2e-3] * 2])),
            "differ in sign",
        ),
        (si.State(np.zeros((2, 2)), np.full((2, 2), 1e-3)), "no head has omega mu > 0"),
    ):
        for forecast in race(two_tasks, start, c):
            assert forecast.time is None
            assert forecast.head is None
            assert remark in forecast.remark
    overlap = si.Problem(block_sizes=(4,), signal=((1.0,), (1.0,)), noise=0.1, context_length=50)
    assert "overlap" in race(overlap, si.initial.random(overlap, 2, positive=True), c)[0].remark
