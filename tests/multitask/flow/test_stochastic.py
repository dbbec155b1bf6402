"""Paths of stochastic gradient descent: against plain descent, linear noise, and laws of what they record."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from weights import slow

import spectral_icl as si
from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.kernels import descent as kernels
from spectral_icl.kernels.lanes import WIDTH
from spectral_icl.multitask.flow.paths import labels_of, model_of, roots_of
from spectral_icl.multitask.noise.factors import factors_of
from spectral_icl.multitask.noise.moments import gradient_noise
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.state import State

PROBLEM = si.Problem.multitask(task_sizes=(10, 10), signal=10.0, noise=0.09, context_length=100)
START = si.initial.paper(PROBLEM, 2, 0.1, 0.1, 0.2)
SMALL = si.Problem.multitask(task_sizes=(4, 3), signal=(2.0, 1.0), noise=0.1, context_length=60)
AT = State(np.array([[0.15, 0.05], [0.02, 0.2]]), np.array([[0.3, 0.05], [0.1, 0.4]]))
SILENT = 10**12  # prompts, whose noise is below 1e-5 of a gradient
WEIGHTS = [si.Balanced(), si.Factored(0.02, 0.05), si.Merged()]


def run(**given: Any) -> si.StochasticFlow:
    options = {"step": 0.01, "batch": 1000, "t_end": 60.0} | given
    return si.stochastic_flow(PROBLEM, *START, **options)


@pytest.fixture(scope="module")
def paths() -> si.StochasticFlow:
    return run(paths=256)


def descent(weights: Parametrization, kernel: str, step: float, steps: int) -> State:
    """Plain gradient descent of the factors on the diagonals."""
    key, query, value, output = factors_of(SMALL, weights, AT)
    scale, merged = weights.scale(SMALL), not weights.trains_factors
    for _ in range(steps):
        omega, mu = (key, value) if merged else (scale * key * query, value * output)
        slope = si.gradient(SMALL, omega, mu, kernel=kernel)
        by_omega, by_mu = step * scale * slope.omega / np.asarray(SMALL.block_sizes), step * slope.mu
        if merged:
            key, value = key - by_omega, value - by_mu
        else:
            key, query = key - by_omega * query, query - by_omega * key
            value, output = value - by_mu * output, output - by_mu * value
    return State(key, value) if merged else State(scale * key * query, value * output)


LAWS = ["asymptotic", "first-order", "exact"]


@pytest.mark.parametrize(
    ("weights", "kernel"),
    # a path of the exact law takes five seconds, and differs by its gradient alone
    [
        slow(weights, law) if law == "exact" and weights is not WEIGHTS[0] else (weights, law)
        for weights in WEIGHTS
        for law in LAWS
    ],
)
def test_without_noise_a_path_is_gradient_descent(weights: Parametrization, kernel: str) -> None:
    step, steps = 0.1, 8 if kernel == "exact" else 40  # by quadrature a gradient takes a tenth of a second
    found = si.stochastic_flow(
        SMALL,
        *AT,
        step=step,
        batch=SILENT,
        parametrization=weights,
        t_end=step * steps,
        kernel=kernel,
        paths=2,
    )
    told = descent(weights, kernel, step, steps)
    for values, expected in zip((found.omega[1, -1], found.mu[1, -1]), told, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-3, atol=1e-5)
    assert found.t[-1] == pytest.approx(step * steps)
    apart = np.abs(found.imbalance[0, -1] - (0.05 if isinstance(weights, si.Factored) else 0.0))
    assert apart.max() < (1e-2 if isinstance(weights, si.Factored) else 1e-9)  # of a finite step


def test_a_path_depends_on_the_seed_and_its_number_alone() -> None:
    few, many = (run(paths=count, t_end=2.0) for count in (3, 20))
    np.testing.assert_array_equal(few.mu, many.mu[:3])
    np.testing.assert_array_equal(few.omega, run(paths=3, t_end=2.0, threads=1).omega)
    assert (run(paths=3, t_end=2.0, seed=1).mu[:, 1:] != few.mu[:, 1:]).all()
    assert (few.mu[0, 1:] != few.mu[1, 1:]).all()


def test_lanes_and_single_paths_take_the_same_steps() -> None:
    """Of the exact law paths go one by one: the noise of one path drives the same law in lanes."""
    flow = si.gradient_flow(SMALL, *AT, t_end=1.0)
    noise = gradient_noise(SMALL, flow(flow.t))
    labels = labels_of(SMALL, np.zeros(2))
    table = roots_of(flow.t, noise, labels, flow(flow.t), flow.task_loss, strays=True)
    own = factors_of(SMALL, si.Balanced(), AT)
    matrices = (values[:, :, None] * np.eye(2) for values in (own.value, own.output))
    alone = kernels.Factors(own.key, own.query, *matrices)
    lanes = kernels.Factors(*(np.repeat(values[..., None], WIDTH, axis=-1) for values in alone))
    rule = kernels.Rule(0.02, si.Balanced().scale(SMALL), 5.0, 0, 1)
    normals = np.random.default_rng(0).standard_normal((51, 8 + 4, WIDTH))
    marks = np.array([0, 20, 50])
    shapes = ((3, 2, 2),) * 3
    together = kernels.Record(marks, *(np.zeros((*shape, WIDTH)) for shape in shapes))
    single = kernels.Record(marks, *(np.zeros(shape) for shape in shapes))
    model = model_of(SMALL, "asymptotic", AT)
    kernels.descend_many(model, labels, lanes, rule, table, normals, 0, together)
    for rows in (slice(0, 30), slice(30, 51)):  # in parts, as long paths are taken
        numbers = np.ascontiguousarray(normals[rows, :, 3])
        kernels.descend_alone(model, labels, alone, rule, table, numbers, rows.start, single)
    for one, other in zip(together[1:], single[1:], strict=True):
        np.testing.assert_allclose(one[..., 3], other, rtol=1e-9, atol=1e-13)


def test_the_noise_of_a_pair_of_entries_has_their_covariance() -> None:
    """Of U_01 of both heads, then of U_10, along the flow."""
    flow = si.gradient_flow(PROBLEM, *START, t_end=22.0)
    noise = gradient_noise(PROBLEM, flow(np.array([0.0, 20.0, 22.0])))
    times = np.array([0.0, 20.0, 22.0])
    losses = si.task_loss(PROBLEM, *flow(times))
    made = roots_of(times, noise, labels_of(PROBLEM, np.zeros(2)), flow(times), losses, strays=True)
    roots = made.pairs[:, 0]
    both = roots @ np.swapaxes(roots, 1, 2)
    np.testing.assert_allclose(both[:, :2, :2], noise.crossed[:, 0, 1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(both[:, 2:, 2:], noise.crossed[:, 1, 0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(both[:, :2, 2:], noise.swapped[:, 0, 1], rtol=1e-9, atol=1e-12)
    assert np.abs(noise.swapped[2, 0, 1]).max() > 0.1 * np.abs(noise.crossed[2, 0, 1]).max()


def test_small_noise_spreads_as_linear_theory_says() -> None:
    """The covariance C' = J C J' + step^2 S / batch of merged weights, J by differences of the gradient."""
    step, batch, steps = 0.05, 4000, 60
    found = si.stochastic_flow(
        SMALL, *AT, step=step, batch=batch, parametrization=si.Merged(), t_end=step * steps, paths=4000
    )
    sizes = np.repeat([*np.tile(SMALL.block_sizes, 2), 1.0], [1, 1, 1, 1, 4])

    def slope(x: Floats) -> Floats:
        found = si.gradient(SMALL, x[:4].reshape(2, 2), x[4:].reshape(2, 2))
        return np.concatenate([found.omega.ravel(), found.mu.ravel()]) / sizes

    x = np.concatenate([AT.omega.ravel(), AT.mu.ravel()])
    spread = np.zeros((8, 8))
    for _ in range(steps):
        jacobian = np.array([(slope(x + e) - slope(x - e)) / 2e-6 for e in 1e-6 * np.eye(8)]).T
        keep = np.eye(8) - step * jacobian
        at = State(x[:4].reshape(1, 2, 2), x[4:].reshape(1, 2, 2))
        spread = keep @ spread @ keep.T + step**2 * gradient_noise(SMALL, at).entries[0] / batch
        x = x - step * slope(x)
    ended = np.concatenate([found.omega[:, -1].reshape(4000, -1), found.mu[:, -1].reshape(4000, -1)], axis=1)
    measured = np.cov(ended.T)
    # standard errors of covariances of normal numbers
    error = np.sqrt((np.outer(np.diag(spread), np.diag(spread)) + spread**2) / 4000)
    assert np.abs((measured - spread) / error).max() < 5.0
    assert np.abs((ended.mean(axis=0) - x) / np.sqrt(np.diag(spread) / 4000)).max() < 5.0


def test_emergences_spread_as_the_root_of_the_batch(paths: si.StochasticFlow) -> None:
    spread = paths.emergence.std(axis=0)
    finer = run(paths=256, batch=16_000).emergence  # with the same random numbers
    np.testing.assert_allclose(finer.std(axis=0), spread / 4.0, rtol=0.06)
    moments = [task.time for task in paths.flow.phases.tasks]
    # a finite step is late by about one of them
    np.testing.assert_allclose(finer.mean(axis=0), moments, atol=0.03 + 5.0 * spread.max() / 4.0 / 16.0)
    assert np.abs(paths.emergence.mean(axis=0) - moments).max() < 5.0 * spread.max() / 16.0
    # by sampling of a full model the spread was 0.31
    np.testing.assert_allclose(spread, 0.31, rtol=0.15)


def test_imbalances_grow_as_unequal_noise_of_either_factor_makes_them(paths: si.StochasticFlow) -> None:
    """D_ii changes by step^2 [(G' o)_i^2 - (G v)_i^2] in a step, G the gradient by U: so does its mean."""
    end = 20.0  # before the emergence
    record = int(np.searchsorted(paths.t, end))
    times = np.linspace(0.0, paths.t[record], 101)
    at = paths.flow(times)
    noise = gradient_noise(PROBLEM, at)
    drift = np.zeros((times.size, 2, 2))
    for i, j in ((0, 1), (1, 0)):
        apart = np.einsum("thh->th", noise.crossed[:, i, j] - noise.crossed[:, j, i])
        drift[:, :, i] = np.abs(at.mu[:, :, i]) * apart
    told = np.trapezoid(drift, times, axis=0) * paths.step / paths.batch
    found = paths.imbalance[:, record]
    error = found.std(axis=0) / np.sqrt(len(paths))
    assert np.abs((found.mean(axis=0) - told) / error).max() < 5.0
    # so far the mean of a loser's is small against its scatter
    assert (np.abs(told[[0, 1], [1, 0]]) < 0.2 * found.std(axis=0)[[0, 1], [1, 0]]).all()


def test_of_unequal_tasks_the_mean_imbalance_is_not_zero() -> None:
    problem = si.Problem.multitask(task_sizes=(6, 6), signal=(4.0, 1.0), noise=(0.1, 2.0), context_length=50)
    start = State(np.full((2, 2), 0.01), np.array([[0.05, 0.04], [0.03, 0.05]]))
    found = si.stochastic_flow(problem, *start, step=0.01, batch=100, t_end=2.0, paths=1024)
    times = found.t
    at = found.flow(times)
    noise = gradient_noise(problem, at)
    drift = np.zeros((times.size, 2, 2))
    for i, j in ((0, 1), (1, 0)):
        apart = np.einsum("thh->th", noise.crossed[:, i, j] - noise.crossed[:, j, i])
        drift[:, :, i] = np.abs(at.mu[:, :, i]) * apart
    told = np.trapezoid(drift, times, axis=0) * found.step / found.batch
    error = found.imbalance[:, -1].std(axis=0) / np.sqrt(len(found))
    assert np.abs((found.imbalance[:, -1].mean(axis=0) - told) / error).max() < 5.0
    assert np.abs(told / error).min() > 20.0


def test_plateaus_are_left_that_the_flow_does_not_leave(paths: si.StochasticFlow) -> None:
    assert not paths.flow.phases.escapes
    wait = paths.escape - paths.emergence
    assert np.isfinite(wait).mean() > 0.97
    low, middle, high = paths.band(wait)
    assert (low > 22.0).all()
    assert (np.abs(middle - 26.0) < 1.0).all()
    assert (high < 33.0).all()


def test_without_entries_off_the_diagonals_nothing_is_left() -> None:
    problem = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.09, context_length=100)
    found = si.stochastic_flow(
        problem, *si.initial.paper(problem, 2, 0.1, 0.1, 0.2), step=0.01, batch=1000, t_end=60.0, paths=8
    )
    assert not found.strays
    assert np.isnan(found.escape).all()
    assert np.abs(found.imbalance).max() < 1e-12
    assert (found.cost.ov == 0.0).all()


def test_noise_of_queries_spreads_more() -> None:
    problem = si.Problem.multitask(task_sizes=(4, 3), signal=1.0, noise=3.0, context_length=60)
    quiet, loud = (
        si.stochastic_flow(problem, *AT, step=0.02, batch=500, t_end=2.0, paths=256, noisy_queries=noisy)
        for noisy in (False, True)
    )
    assert (loud.mu[:, -1].std(axis=0) > 1.5 * quiet.mu[:, -1].std(axis=0)).all()
    np.testing.assert_array_equal(loud.flow.mu, quiet.flow.mu)


def test_beyond_the_edge_paths_leave_all_bounds() -> None:
    found = si.stochastic_flow(PROBLEM, *START, step=1.0, batch=1000, t_end=300.0, paths=4)
    assert found.cost.edge[-1] > 1.0
    assert np.isinf(found.cost.loss[-1])
    assert np.isnan(found.mu[:, -1]).all()
    assert np.isfinite(found.band(found.loss)[:, 0]).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"step": 0.0}, "step: expected a number > 0"),
        ({"step": 40.0}, "step: expected t_end / step between 2 and 5,000,000; t_end is 60, got 40.0"),
        ({"step": 1e-9}, "step: expected t_end / step between 2 and"),
        ({"batch": 0}, "batch: expected a whole number >= 1"),
        ({"batch": 1.5}, "batch: expected a whole number"),
        ({"paths": 0}, "paths: expected a whole number >= 1"),
        ({"paths": 100_000}, "paths: expected less than 2 GB of records"),
        ({"seed": -1}, "seed: expected a whole number >= 0"),
        ({"prompts": 3}, "prompts: expected a whole number >= 100"),
        ({"noisy_queries": 1}, "noisy_queries: expected true or false"),
        ({"kernel": "linear"}, "kernel: expected one of"),
        ({"t_eval": [70.0]}, "t_eval"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_bad_input_is_one_line(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ProblemError) as refused:
        run(**given)
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_flow_that_is_too_large_is_refused_before_it_is_solved() -> None:
    problem = si.Problem.multitask(task_sizes=[2] * 70, signal=1.0, noise=0.1, context_length=100)
    with pytest.raises(ProblemError, match=r"omega0: expected H \(B \+ I\) <= 256"):
        si.stochastic_flow(problem, *si.initial.random(problem, 2), step=0.01, batch=10)
