"""How the features of a block become equal: against exact laws, the Hessian, and flows in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.features import averaged, reciprocal_spread, spread, unevenness
from spectral_icl.multitask.flow.equality import (
    catch_up_time,
    equalising_rate,
    equalities,
    equivalent_flow,
    pull_of_rivals,
    served_plateau,
)
from spectral_icl.multitask.loss import hessian

ONE = si.Problem.multitask(task_sizes=(12,), signal=5.0, noise=0.2, context_length=90.0, covariance=0.8)
TWO = si.Problem.multitask(
    task_sizes=(8, 12), signal=(3.0, 6.0), noise=0.1, context_length=150.0, covariance=(1.3, 0.7)
)


def flow(p: si.Problem, start: si.State, **options: Any) -> si.Solution:
    return si.gradient_flow(p.by_feature(), *start, **{"rtol": 1e-10, "t_end": 400.0, **options})


@pytest.mark.parametrize("scatter", [0.2, 1.0, 2.0])
def test_reciprocals_of_a_lone_head_approach_each_other_as_derived(scatter: float) -> None:
    """From the start to a hundredth, through warm-up, fall and plateau: exact, whatever the scatter."""
    (found,) = equalities(ONE, flow(ONE, si.initial.scattered(ONE.by_feature(), 1, 0.01, 0.5, scatter)))
    assert found.folds > 5.0
    assert found.folds == pytest.approx(found.predicted_folds, abs=1e-6)
    assert found.rivals == 0.0
    assert (found.share, found.head) == (1.0, 0)


def test_quotients_of_differences_of_reciprocals_are_conserved() -> None:
    sol = flow(ONE, si.initial.scattered(ONE.by_feature(), 1, 0.01, 0.5, 1.5))
    early, late = (1.0 / sol(t).omega[0] for t in (0.0, sol.phases.tasks[0].time))
    assert np.ptp(late / early) > 0.2 * np.max(late / early), "they have moved apart by then"
    for j, k in ((2, 3), (7, 11)):
        before = (early[j] - early[0]) / (early[k] - early[1])
        assert (late[j] - late[0]) / (late[k] - late[1]) == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("head", [0, 1, 2])
def test_without_rivals_the_growth_of_features_is_one_line_in_their_omega(head: int) -> None:
    """Growth by the compiled gradient, at any state; with rivals it is scattered about a line."""
    at = si.initial.random(TWO.by_feature(), heads=3, scale=0.4, seed=head, positive=True)
    growth = -2.0 * 0.3 * si.gradient(TWO.by_feature(), *at).omega[head]
    for task, block in enumerate((slice(0, 8), slice(8, 20))):
        pull = pull_of_rivals(TWO, 0.3, si.State(at.omega[None], at.mu[None]), head, task)[0]
        omega, alone = at.omega[head, block], (growth + pull)[block]
        line = np.polynomial.Polynomial.fit(omega, alone, 1)
        np.testing.assert_allclose(line(omega), alone, atol=1e-12)
        assert np.ptp(growth[block] - np.polynomial.Polynomial.fit(omega, growth[block], 1)(omega)) > 0.01


@pytest.mark.parametrize(("scale", "scatter", "seed"), [(0.003, 0.3, 0), (0.01, 0.6, 1), (0.01, 0.6, 2)])
def test_rivals_make_no_more_of_a_difference_than_is_said(scale: float, scatter: float, seed: int) -> None:
    sol = flow(TWO, si.initial.scattered(TWO.by_feature(), 3, scale, 2.0, scatter, seed))
    found = equalities(TWO, sol)
    assert len(found) == 2
    for one in found:
        least, most = one.within
        assert 0.0 < one.rivals < 0.9
        assert least - 1e-3 < one.folds < most + 1e-3  # the bound is taken by the trapezoidal rule
        start, end = (unevenness(TWO, sol(t).omega)[one.head, one.task] for t in (0.0, one.end))
        assert end == pytest.approx(0.01 * start, rel=0.4)  # at the first step below


def test_the_rate_in_the_limit_is_an_eigenvalue_of_the_hessian() -> None:
    """On every block d - 1 times; the derivative of (log omega)' by log omega is -2 c omega Hessian omega."""
    limit = si.optimal.head_per_task(TWO).weights
    assert limit is not None
    at = spread(TWO, limit)
    c, edges = 22**-0.5, (0, 8, 20)
    curvature = hessian(TWO.by_feature(), *at)
    for task, rate in enumerate(equalising_rate(TWO)):
        entries = task * 20 + np.arange(edges[task], edges[task + 1])
        part = -2.0 * c * curvature[np.ix_(entries, entries)] * limit.omega[task, task]
        found = np.linalg.eigvals(part).real
        assert np.isclose(found, -rate, rtol=1e-9).sum() == len(entries) - 1


def test_a_perturbed_limit_comes_back_at_that_rate() -> None:
    limit = si.optimal.head_per_task(ONE).weights
    assert limit is not None
    at = spread(ONE, limit)
    at.omega[0] *= 1.0 + 0.01 * np.random.default_rng(1).normal(size=12)
    times = np.linspace(0.0, 3.0, 4)
    sol = flow(ONE, at, t_end=3.0, t_eval=times)
    measured = -np.diff(np.log(unevenness(ONE, sol.omega)[:, 0, 0])) / np.diff(times)
    np.testing.assert_allclose(measured, equalising_rate(ONE)[0], rtol=0.01)


def test_off_its_block_a_head_becomes_even_in_proportion_to_time() -> None:
    """Differences of 1 / omega stay, and the mean of 1 / omega grows with time: unevenness falls as 1 / t."""
    sol = flow(TWO, si.initial.scattered(TWO.by_feature(), 2, 0.003, 0.5, 0.5), t_end=1e7)
    settled = sol.phases.convergence[0] + 50.0
    times = np.array([settled, 1e3, 1e6, 1e7])
    omega = sol(times).omega
    for task in range(2):
        head = sol.allocation[1 - task]
        apart = reciprocal_spread(TWO, omega)[:, head, task]
        np.testing.assert_allclose(apart, apart[0], rtol=1e-3)
        late = unevenness(TWO, omega)[:, head, task]
        assert late[2] / late[3] == pytest.approx(10.0, rel=0.01)


def test_the_mean_of_a_block_says_when_its_task_emerges() -> None:
    """A third of the start, a third of the difference; the geometric mean is off by more than 10 %."""
    late = []
    for scale in (0.003, 0.001, 0.003 / 9.0):
        start = si.initial.scattered(ONE.by_feature(), 1, scale, 0.5, 1.0, seed=4)
        sol = flow(ONE, start, t_end=3.0 / scale)
        equal = equivalent_flow(ONE, sol)
        assert equal.forecast[0].time == pytest.approx(equal.phases.tasks[0].time, rel=0.01)
        late.append(sol.phases.tasks[0].time / equal.phases.tasks[0].time - 1.0)
        geometric = spread(ONE, si.State(np.exp(np.log(start.omega).mean(keepdims=True)), start.mu))
        wrong = flow(ONE, geometric, t_end=6.0 / scale).phases.tasks[0].time
        assert abs(wrong / sol.phases.tasks[0].time - 1.0) > 0.1
    assert abs(late[0]) < 0.01
    np.testing.assert_allclose(np.array(late[:-1]) / late[1:], 3.0, rtol=0.25)


def test_small_features_come_later_by_the_logarithm() -> None:
    """The first thousandth takes less, since the fall is on; in the end every one takes what is derived."""
    late, times, half = [], np.linspace(0.0, 600.0, 60001), 0.5 / (0.8 * 12**0.5)
    for ratio in (1e-3, 1e-6, 1e-9, 1e-12):
        at = spread(ONE, si.initial.dominant(ONE, 1, 0.003))
        at.omega[0, 0] *= ratio
        path = flow(ONE, at, t_end=600.0)(times).omega[:, 0]
        late.append(times[np.argmax(path[:, 0] > half)] - times[np.argmax(path[:, 1] > half)])
    expected = catch_up_time(ONE, 1e-3, served=11 / 12)[0]
    assert 0.8 * expected < late[0] < expected
    np.testing.assert_allclose(np.diff(late)[1:], expected, rtol=0.003)


@pytest.mark.parametrize("wrong", [2, 5])
def test_features_of_the_wrong_sign_are_never_learned(wrong: int) -> None:
    at = spread(ONE, si.initial.dominant(ONE, 1, 0.003))
    at.omega[0, :wrong] *= -1.0
    sol = flow(ONE, at, t_end=5000.0)
    assert abs(sol.final.omega[0, :wrong]).max() < 1e-12
    share = 1.0 - wrong / 12
    assert sol.final_loss == pytest.approx(served_plateau(ONE, np.array([share]))[0], rel=1e-6)
    np.testing.assert_allclose(sol.final.omega[0, wrong:], 1 / (0.8 * (12 - wrong) ** 0.5), rtol=1e-5)
    at.omega[0, wrong:] *= np.linspace(0.5, 1.5, 12 - wrong)
    (found,) = equalities(ONE, flow(ONE, at))
    assert found.share == pytest.approx(share)
    assert found.folds == pytest.approx(found.predicted_folds, abs=1e-6)
    whole = si.optimal.head_per_task(ONE).loss
    assert served_plateau(ONE, np.ones(1))[0] == pytest.approx(whole, rel=1e-12)


def test_what_is_refused_is_named() -> None:
    shared = si.Problem(block_sizes=(2, 2), signal=((1.0, 1.0),), noise=0.1, context_length=9.0)
    with pytest.raises(si.ProblemError, match=r"^problem: expected disjoint tasks"):
        equalising_rate(shared)
    start = si.initial.dominant(ONE, 1)
    with pytest.raises(si.ProblemError, match=r"^solution: expected a flow of problem\.by_feature"):
        equalities(ONE, si.gradient_flow(ONE, *start, t_end=1.0))
    wide = spread(ONE, start)
    with pytest.raises(si.ProblemError, match=r"^solution: expected a flow of Balanced weights"):
        equivalent_flow(ONE, flow(ONE, wide, t_end=1.0, parametrization=si.Factored(1e-3, 1e-3)))
    with pytest.raises(si.ProblemError, match=r"^solution: expected the asymptotic law"):
        equalities(ONE, flow(ONE, wide, t_end=1.0, kernel="first-order"))
    with pytest.raises(si.ProblemError, match=r"^solution: .*dense_output=True"):
        equalities(ONE, flow(ONE, wide, t_end=1.0, dense_output=False))
    with pytest.raises(si.ProblemError, match=r"^shares\[0\]: "):
        served_plateau(ONE, np.array([1.5]))
    with pytest.raises(si.ProblemError, match=r"^ratio: "):
        catch_up_time(ONE, 0.0)
    assert equalities(ONE, flow(ONE, wide)) == (), "nothing is unequal"
    np.testing.assert_allclose(averaged(ONE, wide).omega, start.omega, rtol=1e-15)
