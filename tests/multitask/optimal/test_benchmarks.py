"""Benchmarks: closed forms, optimality by independent search, and their order."""

from __future__ import annotations

import time
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from strategies import problems, starts
from weights import slow

import spectral_icl as si
from spectral_icl.multitask import softmax
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.optimal.optima import Optima, optima_of
from spectral_icl.multitask.optimal.report import benchmark_report
from spectral_icl.multitask.optimal.search import Attention, Coalescing, frame, search
from spectral_icl.multitask.optimal.small import targets
from spectral_icl.multitask.state import MOST_ENTRIES


def closed_form(p: si.Problem, dimensions: list[float]) -> float:
    """Sum of a / (1 + L / (phi X)) + noise for disjoint tasks with effective dimensions X."""
    total = 0.0
    for i, dimension in enumerate(dimensions):
        a = max(p.signal[i])
        phi = p.variance[i] / a
        total += a / (1.0 + p.context_length / (phi * dimension)) + p.noise[i]
    return total


def test_equal_tasks(two_tasks: si.Problem) -> None:
    e = np.e
    assert si.optimal.single_head(two_tasks).loss == pytest.approx(closed_form(two_tasks, [20 * e] * 2))
    assert si.optimal.head_per_task(two_tasks).loss == pytest.approx(closed_form(two_tasks, [10 * e] * 2))
    assert si.optimal.lower_bound(two_tasks).loss == pytest.approx(closed_form(two_tasks, [10] * 2))
    limit = si.optimal.head_per_task(two_tasks).weights
    assert limit is not None
    assert limit.omega[0, 0] == pytest.approx(10**-0.5)
    phi = 1 + 0.09 / 10
    assert limit.mu[1, 1] == pytest.approx(10**0.5 / (1 + e * 10 * phi / 100))


def test_covariance_only_rescales_disjoint_tasks() -> None:
    plain = si.Problem.multitask(task_sizes=(3, 8), signal=(1, 2), noise=0.2, context_length=50)
    stretched = si.Problem.multitask(
        task_sizes=(3, 8), signal=(1, 2), noise=0.2, context_length=50, covariance=(0.4, 2.5)
    )
    for name in ("single_head", "head_per_task", "lower_bound"):
        benchmark = getattr(si.optimal, name)
        assert benchmark(stretched).loss == pytest.approx(benchmark(plain).loss, rel=1e-7)


@given(st.data())
@settings(max_examples=10)
def test_weights_have_the_loss_that_is_claimed(data: st.DataObject) -> None:
    as_claimed(data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=100)
def test_weights_have_the_loss_that_is_claimed_on_many_problems(data: st.DataObject) -> None:
    as_claimed(data)


def as_claimed(data: st.DataObject) -> None:
    """The weights of a benchmark have the loss that it says."""
    p = data.draw(problems())
    for benchmark in (si.optimal.single_head(p), si.optimal.head_per_task(p)):
        assert benchmark.weights is not None
        np.testing.assert_allclose(si.task_loss(p, *benchmark.weights), benchmark.task_loss, rtol=1e-9)


@given(st.data())
@settings(max_examples=15)
def test_nothing_beats_the_lower_bound(data: st.DataObject) -> None:
    nothing_below(data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=200)
def test_nothing_beats_the_lower_bound_of_many_problems(data: st.DataObject) -> None:
    nothing_below(data)


def nothing_below(data: st.DataObject) -> None:
    """Neither a state, nor a single head, nor a head per task has a smaller loss than the bound."""
    p = data.draw(problems())
    bound = si.optimal.lower_bound(p).task_loss
    omega, mu = data.draw(starts(p, most=1.0))
    # the best mu for this omega, task by task, is the hardest test for the bound
    assert (si.task_loss(p, omega, mu) >= bound - 1e-12).all()
    for benchmark in (si.optimal.single_head(p), si.optimal.head_per_task(p)):
        assert (benchmark.task_loss >= bound - 1e-12).all()


def test_lower_bound_is_approached_with_one_head_more() -> None:
    """H = B + 1 heads orthogonal to the all-ones vector, at a vanishing scale, on overlapping tasks."""
    p = si.Problem(
        block_sizes=(4, 6), signal=((1.0, 0.5), (0.0, 2.0)), noise=0.3, context_length=80, covariance=(1, 0.7)
    )
    basis = np.linalg.qr(np.column_stack([np.ones(3), np.eye(3)[:, :2]]))[0][:, 1:]
    gaps = []
    for scale in (1e-1, 1e-2, 1e-3):
        omega = scale * basis
        signal, kappa = np.array(p.signal), np.array(p.covariance)
        gain = p.context_length * signal / (p.variance[:, None] * np.array(p.block_sizes))
        target = gain / (1.0 + gain) / kappa  # T_ib / kappa_b
        mu = (target / scale**2 @ omega.T).T
        gaps.append(si.loss(p, omega, mu) - si.optimal.lower_bound(p).loss)
    assert gaps[0] > gaps[1] > gaps[2] > 0.0
    assert gaps[2] < 1e-5


def test_single_head_of_unequal_tasks_shares_the_exponent() -> None:
    """The closed form against the numerical search, which does not know of it; one task may go unserved."""
    for signal, noise in (((1.0, 3.0, 2.0), (0.1, 0.5, 0.3)), ((5.0, 0.05, 2.0), (0.1, 0.5, 0.3))):
        p = si.Problem.multitask(
            task_sizes=(4, 10, 20), signal=signal, noise=noise, context_length=60, covariance=(0.5, 1, 2)
        )
        best, found = si.optimal.single_head(p), si.optimal.minimise(p, 1)
        assert best.loss == pytest.approx(found.loss, rel=1e-10)
        assert best.weights is not None
        w = best.weights.omega * np.sqrt(p.block_sizes) * p.covariance
        assert (w**2).sum() == pytest.approx(1.0)
    assert w[0, 1] == 0.0


@pytest.mark.parametrize("seed", range(6))
def test_single_head_is_optimal(seed: int) -> None:
    """No local search over (omega, mu) from random starts finds a better head."""
    rng = np.random.default_rng(seed)
    p = si.Problem(
        block_sizes=tuple(rng.integers(2, 12, 3).tolist()),
        signal=rng.lognormal(0, 1, (3, 3)) * (rng.random((3, 3)) < 0.7) + 0.1 * np.eye(3),
        noise=0.2,
        context_length=float(rng.uniform(20, 300)),
        covariance=tuple(rng.uniform(0.5, 1.5, 3)),
    )
    best = si.optimal.single_head(p).loss

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        slope = si.gradient(p, z[None, :3], z[None, 3:])
        value = si.loss(p, z[None, :3], z[None, 3:])
        return float(value), np.concatenate([slope.omega[0], slope.mu[0]])

    for _ in range(10):
        z0 = np.concatenate([rng.normal(0, 0.3, 3), rng.normal(0, 1, 3)])
        with np.errstate(all="ignore"):  # trial points of the search may overflow
            found = minimize(objective, z0, jac=True, method="BFGS")
        assert found.fun >= best - 1e-7


def test_flow_is_within_e_of_optimal_and_beats_one_head(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.dominant(two_tasks, heads=3), t_end=1e6)
    noise = sum(two_tasks.noise)
    ratio = (sol.loss[-1] - noise) / (si.optimal.lower_bound(two_tasks).loss - noise)
    assert 1.0 < ratio < np.e
    assert sol.loss[-1] < si.optimal.single_head(two_tasks).loss
    assert sol.loss[-1] == pytest.approx(si.optimal.head_per_task(two_tasks).loss, rel=1e-6)


@pytest.mark.parametrize("heads", [1, 2, 3, 5])
def test_gradients_of_the_searches(heads: int) -> None:
    """Both objectives against central differences, away from and close to coalescing heads."""
    p = si.Problem(
        block_sizes=(3, 8, 5),
        signal=((1.0, 0.5, 0.0), (0.0, 2.0, 0.7)),
        noise=(0.1, 0.4),
        context_length=60,
        covariance=(1.0, 0.6, 1.4),
    )
    rng = np.random.default_rng(heads)
    attention = Attention(p, heads)
    cases = [(attention.objective, rng.normal(0.0, scale, heads * 3)) for scale in (0.7, 0.05)]
    if heads <= 3:
        for small in (False, True):
            cases.append((Coalescing(p, heads, small).objective, rng.normal(0.0, 0.6, heads * 3)))
    for objective, at in cases:
        slope = objective(at)[1]
        for k in range(at.size):
            step = np.zeros(at.size)
            step[k] = 1e-5 * np.abs(at).max()
            change = (objective(at + step)[0] - objective(at - step)[0]) / (2 * step[k])
            assert slope[k] == pytest.approx(change, rel=2e-5, abs=2e-8)


def test_coalescing_heads_approach_their_limit() -> None:
    """`Coalescing` is what `Attention` tends to as the heads come together, with an error of second order."""
    p = si.Problem(block_sizes=(3, 8), signal=((1.0, 0.5), (0.2, 2.0)), noise=0.3, context_length=60)
    limit, attention = Coalescing(p, 2), Attention(p, 2)
    at = np.array([0.4, -0.2, 0.3, 0.8])
    base, basis = limit.split(at)
    gaps = []
    for spread in (1e-1, 1e-2, 1e-3):
        w = base + spread * frame(2)[:, 1:] @ basis
        gaps.append(attention.objective(w.ravel())[0] - limit.objective(at)[0])
    assert abs(gaps[0]) > 50 * abs(gaps[1]) > 2500 * abs(gaps[2]) > 0.0


def test_two_heads_on_two_tasks(two_tasks: si.Problem) -> None:
    """The paper's example: two heads do better than the flow's limit, but only as they become small."""
    best = si.optimal.minimise(two_tasks, 2)
    per_task = (best.loss - 0.18) / 2
    assert per_task <= 10 / (1 + 100 / 20.18) * (1 + 1e-8)
    assert (best.infimum - 0.18) / 2 == pytest.approx(10 / (1 + 100 / 20.18), rel=1e-9)
    assert not best.attained
    assert "not attained" in best.remark
    assert best.infimum == pytest.approx(si.optimal.plateau(two_tasks).loss, rel=1e-9)
    assert best.loss < si.optimal.head_per_task(two_tasks).loss
    assert best.weights is not None
    np.testing.assert_allclose(si.task_loss(two_tasks, *best.weights), best.task_loss)


def test_one_head_is_found_numerically(two_tasks: si.Problem) -> None:
    best = si.optimal.minimise(two_tasks, 1)
    assert best.attained
    assert best.loss == pytest.approx(closed_form(two_tasks, [20 * np.e] * 2), rel=1e-9)
    assert best.minima[0][1] > 4


@given(st.data())
@settings(max_examples=5)
def test_minimise_is_between_its_bounds(data: st.DataObject) -> None:
    between_its_bounds(data)


@pytest.mark.slow
@given(st.data())
@settings(max_examples=50)
def test_minimise_is_between_its_bounds_on_many_problems(data: st.DataObject) -> None:
    between_its_bounds(data)


def between_its_bounds(data: st.DataObject) -> None:
    """The best of H heads is above the bound, below what is known, and no worse with another head."""
    p = data.draw(problems())
    bound = si.optimal.lower_bound(p).loss
    previous = np.inf
    for heads in range(1, p.tasks + 2):
        best = si.optimal.minimise(p, heads)
        assert bound <= best.infimum * (1 + 1e-12)
        assert bound <= best.loss * (1 + 1e-12)
        assert best.infimum <= best.loss * (1 + 1e-9)
        assert best.infimum <= previous * (1 + 1e-8)  # another head cannot hurt
        previous = best.infimum
        if heads == 1:
            assert best.loss == pytest.approx(si.optimal.single_head(p).loss, rel=1e-7)
        if heads >= 2:
            assert best.infimum <= si.optimal.head_budget(p, heads).loss * (1 + 1e-7)
        if heads >= p.tasks:
            assert best.infimum <= si.optimal.head_per_task(p).loss * (1 + 1e-9)
        if heads > p.tasks:
            assert best.loss == pytest.approx(bound, rel=1e-3)
            assert not best.attained


@pytest.mark.parametrize("seed", [0, *map(slow, (1, 2, 3))])
def test_no_other_search_beats_minimise(seed: int) -> None:
    """A search over (omega, mu) together, with the package's gradient, from random starts."""
    rng = np.random.default_rng(seed)
    p = si.Problem.multitask(
        task_sizes=rng.integers(3, 15, 3).tolist(),
        signal=rng.lognormal(0, 1, 3).tolist(),
        noise=0.2,
        context_length=float(rng.uniform(20, 200)),
    )
    heads = 2 + seed % 2
    best = si.optimal.minimise(p, heads).infimum

    def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
        omega, mu = z.reshape(2, heads, 3)
        slope = si.gradient(p, omega, mu)
        return float(si.loss(p, omega, mu)), np.concatenate([slope.omega.ravel(), slope.mu.ravel()])

    for _ in range(5):
        z0 = np.concatenate([rng.normal(0, 0.3, 3 * heads), rng.normal(0, 1, 3 * heads)])
        with np.errstate(all="ignore"):  # trial points of the search may overflow
            found = minimize(objective, z0, jac=True, method="BFGS", options={"maxiter": 2000})
        assert found.fun >= best - 1e-9


def test_overlapping_tasks_may_coalesce_away_from_zero() -> None:
    """What the tasks share is served by a common base, as by a single head; small heads alone do worse."""
    p = si.Problem(
        block_sizes=(27, 6, 1),
        signal=((0.0, 0.3, 4.5), (0.6, 1.0, 0.5)),
        noise=(0.2, 1.4),
        context_length=1800,
    )
    best, small = si.optimal.minimise(p, 2), si.optimal.head_budget(p, 2)
    assert best.infimum < 0.995 * small.loss
    assert not best.attained
    assert best.weights is not None
    center = best.weights.omega.mean(axis=0)
    assert np.abs(center).max() > 5 * np.abs(best.weights.omega - center).max()


@pytest.mark.parametrize("heads", [2, 3])
def test_head_budget_is_a_water_filling(heads: int) -> None:
    """The closed form against the numerical limit of small heads, which does not know of it."""
    p = si.Problem.multitask(
        task_sizes=(4, 10, 20), signal=(1.0, 3.0, 2.0), noise=(0.1, 0.5, 0.3), context_length=60
    )
    limit = Coalescing(p, heads, small=True)
    rng = np.random.default_rng(0)
    ends = search(limit.objective, limit.unit, [rng.normal(size=3 * heads) for _ in range(5)])
    budget = si.optimal.head_budget(p, heads)
    assert budget.loss == pytest.approx(ends[0].loss + sum(p.noise), rel=1e-9)
    np.testing.assert_allclose(limit.task_losses(ends[0].point) + p.noise, budget.task_loss, rtol=1e-5)


def test_plateau_of_equal_tasks_and_its_heads() -> None:
    for tasks in (2, 3, 5):
        p = si.Problem.multitask(task_sizes=(7,) * tasks, signal=2.0, noise=0.3, context_length=80)
        dimension = si.optimal.effective_dimension(p, si.optimal.plateau(p))
        np.testing.assert_allclose(dimension, 7 / (1 - 1 / tasks))
    one = si.Problem.multitask(task_sizes=(7,), signal=2.0, noise=0.3, context_length=80)
    with pytest.raises(si.ProblemError, match="at least two tasks"):
        si.optimal.plateau(one)


def test_effective_dimensions(two_tasks: si.Problem) -> None:
    phi = 1 + 0.09 / 10
    for benchmark, expected in (
        (si.optimal.single_head(two_tasks), 20 * np.e),
        (si.optimal.head_per_task(two_tasks), 10 * np.e),
        (si.optimal.gradient_step(two_tasks), 10 + 1 / phi),
        (si.optimal.lower_bound(two_tasks), 10),
    ):
        np.testing.assert_allclose(si.optimal.effective_dimension(two_tasks, benchmark), expected)


def test_gradient_step_on_sampled_prompts() -> None:
    """The best step of linear attention, drawn: prompts, coefficients, labels, queries."""
    p = si.Problem(
        block_sizes=(3, 4), signal=((1.0, 2.0),), noise=0.4, context_length=12, covariance=(1.0, 0.5)
    )
    rng = np.random.default_rng(3)
    prompts, kappa = 60_000, np.repeat(p.covariance, p.block_sizes)
    power, sizes = np.repeat(p.signal[0], p.block_sizes), np.repeat(p.block_sizes, p.block_sizes)
    x = rng.normal(size=(prompts, 13, 7)) * np.sqrt(kappa)
    g = rng.normal(size=(prompts, 7, 1)) * np.sqrt(power / sizes / kappa)[:, None]
    y = (x @ g)[:, :, 0] + rng.normal(size=(prompts, 13)) * np.sqrt(0.4)
    phi = p.variance[0] / power
    results = []
    for stretch in (0.9, 1.0, 1.1):
        step = stretch / (1 + (sizes * phi + 1) / 12)
        moment = (y[:, :12, None] * x[:, :12]).mean(axis=1)
        errors = (y[:, 12] - (moment * step / kappa * x[:, 12]).sum(axis=1)) ** 2
        results.append(errors)
    best = si.optimal.gradient_step(p).loss
    assert abs(results[1].mean() - best) < 3.5 * results[1].std() / np.sqrt(prompts)
    for other in (results[0], results[2]):  # paired: the same prompts
        worse = other - results[1]
        assert worse.mean() > 2 * worse.std() / np.sqrt(prompts)


@pytest.mark.parametrize("length", [20.0, 100.0, 5000.0])
def test_length_generalisation(two_tasks: si.Problem, length: float) -> None:
    """The closed form of the head-per-task limit, its floor, and that retraining is better."""
    tested = si.optimal.length_generalisation(two_tasks, length)
    r = 1 / (1 + 100 / (np.e * 10.09))
    expected = 10 * (r**2 + r * (1 - r) * 100 / length) + 0.09
    np.testing.assert_allclose(tested.task_loss, expected)
    retrained = replace(two_tasks, context_length=length)
    best = si.optimal.head_per_task(retrained).loss
    assert tested.loss >= best * (1 - 1e-12)
    assert (tested.loss == pytest.approx(best, rel=1e-12)) == (length == 100.0)
    weights = si.optimal.head_per_task(two_tasks).weights
    assert weights is not None
    assert si.optimal.length_generalisation(two_tasks, length, *weights).loss == tested.loss


def test_bad_arguments(two_tasks: si.Problem) -> None:
    for call, message in (
        (lambda: si.optimal.minimise(two_tasks, 0), "heads: expected a whole number >= 1"),
        (
            lambda: si.optimal.minimise(two_tasks, 2, kernel="large-d"),
            "kernel: expected one of 'asymptotic', 'first-order', 'exact'",
        ),
        (lambda: si.optimal.minimise(two_tasks, 2, seed=-1), "seed: expected"),
        (lambda: si.optimal.head_budget(two_tasks, 1), "heads: expected a whole number >= 2"),
        (lambda: si.optimal.length_generalisation(two_tasks, 0.0), "context_length: expected a number >= 1"),
        (lambda: si.optimal.length_generalisation(two_tasks, 10, [[1.0, 1.0]]), "mu: expected omega and mu"),
    ):
        with pytest.raises(si.ProblemError, match=message):
            call()


def test_the_explicit_limit_is_the_searched_one() -> None:
    """What every law is given for a head per task, and what the asymptotic law has in closed form."""
    p = si.Problem.multitask(
        task_sizes=(1, 5, 30),
        signal=(1.0, 2.0, 1e-3),
        noise=(0.0, 0.1, 3.0),
        context_length=50,
        covariance=0.3,
    )
    explicit, searched = si.optimal.head_per_task(p), Optima.head_per_task(optima_of("asymptotic"), p)
    np.testing.assert_allclose(explicit.task_loss, searched.task_loss, rtol=1e-14)
    assert explicit.weights is not None
    assert searched.weights is not None
    for one, other in zip(explicit.weights, searched.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-13)


def many(tasks: int, **changed: object) -> si.Problem:
    """Disjoint tasks of a power law."""
    given = {"signal": 10.0 / (1.0 + np.arange(tasks)), "noise": 0.1, "context_length": 200}
    return si.Problem.multitask(task_sizes=(10,) * tasks, **(given | changed))  # type: ignore[arg-type]


def chain(tasks: int) -> si.Problem:
    """Tasks each of which shares a block with the next."""
    rows = [[(i, 2.0), ((i + 1) % tasks, 1.0 + i % 3)] for i in range(tasks)]
    return si.Problem(block_sizes=(10,) * tasks, signal=rows, noise=0.1, context_length=200)


CLOSED = {
    "lower_bound": si.optimal.lower_bound,
    "lower_bound, first-order": lambda p: si.optimal.lower_bound(p, "first-order"),
    "lower_bound, exact": lambda p: si.optimal.lower_bound(p, "exact"),
    "head_per_task": si.optimal.head_per_task,
    "small_heads": si.optimal.small_heads,
    "gradient_step": si.optimal.gradient_step,
}
DISJOINT = {
    "single_head": si.optimal.single_head,
    "head_budget": lambda p: si.optimal.head_budget(p, 3),
    "plateau": si.optimal.plateau,
    "minimise": lambda p: si.optimal.minimise(p, 1),
}


@pytest.mark.parametrize("name", [*CLOSED, *DISJOINT])
def test_closed_forms_of_ten_thousand_tasks_take_little_memory(name: str) -> None:
    benchmark = (CLOSED | DISJOINT)[name]
    for p in (many(10_000), chain(10_000))[: 1 if name in DISJOINT else 2]:
        tracemalloc.start()
        found = benchmark(p)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 50e6
        assert found.task_loss.shape == (10_000,)
        assert found.attained == (name in ("single_head", "head_per_task", "minimise"))
        assert np.isfinite(found.loss)


@pytest.mark.parametrize("name", CLOSED)
def test_tasks_far_apart_do_not_know_each_other(name: str) -> None:
    """A chain's losses are those of one of its tasks, which every third is."""
    three, long = (CLOSED[name](chain(n)).task_loss for n in (6, 999))
    np.testing.assert_allclose(long.reshape(-1, 3), np.tile(three[:3], (333, 1)), rtol=1e-13)


@pytest.mark.parametrize("tasks", [3, 300])
def test_one_head_of_disjoint_tasks_has_the_loss_of_its_weights(tasks: int) -> None:
    p = many(tasks, noise=np.linspace(0.0, 1.0, tasks), covariance=np.linspace(0.5, 2.0, tasks))
    found = si.optimal.single_head(p)
    assert found.weights is not None
    np.testing.assert_allclose(si.task_loss(p, *found.weights), found.task_loss, rtol=1e-12)


def test_many_tasks_are_reported_in_a_few_lines() -> None:
    report = benchmark_report(many(1000, signal=10.0), "many")
    lines = report.to_text().splitlines()
    assert max(map(len, lines)) < 150
    assert "27.18, 27.18, 27.18, ..., 27.18" in report.to_text()
    assert list(report.missing) == ["best_of_2_to_1001"]
    assert report.found["best_of_1"].loss == report.found["single_head"].loss


TOO_LARGE = {
    "single head of a chain": (lambda: si.optimal.single_head(chain(1500)), r"I H \(B \+ H\) <= 2097152"),
    "first-order head": (lambda: si.optimal.single_head(many(200), "first-order"), r"I H .* <= 16384"),
    "exact head": (lambda: si.optimal.single_head(many(200), "exact"), r"I H .* <= 16384"),
    "two heads": (lambda: si.optimal.minimise(many(1000), 2), "H B <= 400"),
    "heads enough": (lambda: si.optimal.minimise(many(1000), 1001), r"H \(B \+ I\) <= 4096"),
    "plateau of a chain": (lambda: si.optimal.plateau(chain(100)), "H B <= 1000 where tasks overlap"),
    "a chain of millions": (
        lambda: si.optimal.head_budget(chain(2000), 2),
        "H B <= 1000 where tasks overlap",
    ),
    "heads for each": (lambda: si.optimal.head_per_task(many(1001), "first-order"), "at most 1000 tasks"),
    "weights for each": (
        lambda: si.optimal.length_generalisation(many(2000), 9.0),
        "2000 heads are too many",
    ),
    "heads of very many": (lambda: si.initial.paper(many(3000), 700), "heads: .* <= 699, got 700"),
    "Hessian": (
        lambda: si.hessian(many(65), np.zeros((32, 65)), np.zeros((32, 65))),
        r"omega: expected H \(B \+ I\) <= 4096, got '32 heads'",
    ),
    "exact loss": (
        lambda: si.loss(many(65), np.zeros((32, 65)), np.zeros((32, 65)), "exact"),
        r"omega: expected H \(B \+ I\) <= 4096, got '32 heads'",
    ),
    "exact law": (lambda: pack(many(2049), "exact"), r"H \(B \+ I\) <= 4096"),
    "prompts": (lambda: softmax.affordable(many(1000, context_length=10), 100), "I d and I L <= 4e"),
}


@pytest.mark.parametrize("name", TOO_LARGE)
def test_what_is_too_large_is_refused_at_once(name: str) -> None:
    call, message = TOO_LARGE[name]
    begin = time.perf_counter()
    with pytest.raises(si.ProblemError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
    assert time.perf_counter() - begin < 5.0


def test_weights_of_a_head_per_task_are_left_out_where_they_are_too_many() -> None:
    weights = si.optimal.head_per_task(many(1448)).weights
    assert weights is not None
    assert weights.omega.size + weights.mu.size <= MOST_ENTRIES
    assert si.optimal.head_per_task(many(1449)).weights is None


def test_dimensions_that_tasks_span() -> None:
    """By singular values as long as they can be found, else from where there is signal at all."""
    alike = si.Problem(block_sizes=(2, 2), signal=((1, 2), (1, 2), (2, 1)), noise=1.0, context_length=9)
    assert [si.optimal.rank(p) for p in (alike, many(5), chain(6))] == [2, 5, 6]
    faint = many(5, signal=(1e12, 1e-20, 1e-20, 1e12, 1.0), noise=1e10)
    dense = np.linalg.matrix_rank(targets(faint))
    assert si.optimal.rank(faint) == dense < 5
    assert si.optimal.rank(many(10_000, signal=1.0)) == 10_000
    assert si.optimal.rank(chain(2000)) == 2000


def test_equal_tasks_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searched = []
    known = optima_of("first-order")
    found = type(known).single_head
    monkeypatch.setattr(type(known), "single_head", lambda self, p: searched.append(p) or found(self, p))
    p = many(4, signal=(1.0, 2.0, 1.0, 2.0))
    limit = si.optimal.head_per_task(p, "first-order")
    assert (len(searched), limit.weights is None) == (2, False)
    assert limit.loss == pytest.approx(si.loss(p, *limit.weights, "first-order"), rel=1e-12)
