"""The best heads: against the closed forms of linear tasks, random search, and the lower bound."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.nonlinear.laws import LAWS
from spectral_icl.multitask.nonlinear.loss import gradient, loss
from spectral_icl.multitask.nonlinear.optimal import BestHeads, best_head, best_pair, lower_bound
from spectral_icl.multitask.nonlinear.problem import SingleIndex

KERNELS = sorted(LAWS)
CASES = {
    "linear": (0.0, 1.0),
    "intercept": (0.3, 1.0),
    "even": (0.0, 0.0, 1.0),
    "mixed": (0.3, 1.0, 0.5, 0.4),
}


def problem(case: str, d: int = 30, length: float = 3000.0) -> SingleIndex:
    return SingleIndex(task_sizes=(d,), coefficients=CASES[case], noise=0.1, context_length=length)


@cache
def best(case: str, kernel: str, pair: bool) -> BestHeads:
    return (best_pair if pair else best_head)(problem(case), 0, kernel)


LINEAR = si.Problem.multitask(task_sizes=(30,), signal=1.0, noise=0.1, context_length=3000.0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_best_head_of_a_linear_task(kernel: str) -> None:
    known = si.optimal.single_head(LINEAR, kernel)
    assert best("linear", kernel, False).loss == pytest.approx(known.loss, rel=1e-9)


def test_pairs_and_bounds_of_a_linear_task() -> None:
    bound = si.optimal.lower_bound(LINEAR).loss
    assert lower_bound(problem("linear"))[0] == pytest.approx(bound, rel=1e-12)
    assert bound < best("linear", "asymptotic", True).loss < bound * (1 + 1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("pair", [False, True], ids=["head", "pair"])
def test_no_heads_that_are_drawn_are_better(kernel: str, case: str, pair: bool) -> None:
    p, found = problem(case), best(case, kernel, pair)
    assert loss(p, found.omega[:, None], found.mu[:, None], kernel) == pytest.approx(found.loss, rel=1e-9)
    rng = np.random.default_rng(0)
    for _ in range(100):
        scale = 10.0 ** rng.uniform(-2.0, 0.0)
        omega = found.omega * (1.0 + scale * rng.normal(size=found.omega.size))
        mu = found.mu * (1.0 + scale * rng.normal(size=found.mu.size))
        if pair:
            if abs(omega[0] - omega[1]) * 30**0.5 < 0.04:
                continue  # closer than what is searched
            mu = (mu[0] - mu[1]) / 2 * np.array([1.0, -1.0])
        if kernel == "first-order" and np.abs(omega).max() > 0.45:
            continue  # beyond small corrections, where that law has no least loss
        assert loss(p, omega[:, None], mu[:, None], kernel) > found.loss * (1 - 1e-9)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("case", CASES)
def test_the_best_head_is_stationary(kernel: str, case: str) -> None:
    p, found = problem(case), best(case, kernel, False)
    slope = gradient(p, found.omega[:, None], found.mu[:, None], kernel)
    assert abs(slope.mu[0, 0] * found.mu[0]) < 1e-8
    assert abs(slope.omega[0, 0] * found.omega[0]) < 1e-4


def test_an_intercept_is_removed_by_a_pair() -> None:
    head, pair = best("intercept", "asymptotic", False), best("intercept", "asymptotic", True)
    assert pair.gain == pytest.approx(0.0, abs=1e-9)
    assert pair.loss == pytest.approx(best("linear", "asymptotic", True).loss + 0.3**2, rel=1e-9)
    assert head.loss > 1.5 * pair.loss
    free = best_pair(problem("intercept"), balanced=False)
    assert free.loss < pair.loss - 0.08
    assert free.gain == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("heads", [1, 2, 5])
def test_nothing_is_below_the_bound(case: str, heads: int) -> None:
    p = problem(case)
    bound, rng = lower_bound(p)[0], np.random.default_rng(heads)
    assert bound < min(best(case, "asymptotic", pair).loss for pair in (False, True))
    for _ in range(100):
        omega = rng.normal(0.0, 0.3, (heads, 1)) * 10.0 ** rng.uniform(-1, 0)
        mu = rng.normal(0.0, 5.0, (heads, 1)) * 10.0 ** rng.uniform(-1, 0)
        assert loss(p, omega, mu) > bound


def test_small_heads_approach_the_bound() -> None:
    """One head more than degrees, their mu solved for: the gap falls as the fourth power of their size."""
    p = SingleIndex(task_sizes=(10,), coefficients=(0.3, 1.0, 0.5), noise=0.1, context_length=3000.0)
    bound = lower_bound(p)[0]
    gaps = []
    for size in (0.2, 0.1, 0.05):
        omega = size * np.array([-1.0, 0.0, 1.0])[:, None]
        slopes = [gradient(p, omega, mu[:, None]).mu[:, 0] for mu in (np.zeros(3), *np.eye(3))]
        mu = -np.linalg.solve(np.array(slopes[1:]) - slopes[0], slopes[0])
        gaps.append(loss(p, omega, mu[:, None]) - bound)
    assert (np.array(gaps) > 0.0).all()
    np.testing.assert_allclose(np.divide(gaps[1:], gaps[:-1]), 1 / 16, rtol=0.05)


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_highest_degree_takes_prompts_of_its_dimension(degree: int) -> None:
    """d^k / k! pairs for a degree k, with all the lower ones there to be combined; for the first exactly."""
    c = (*(0.5, 0.3, 0.2)[:degree], 0.8)
    p = SingleIndex(task_sizes=(10,), coefficients=c, noise=0.1, context_length=500.0)
    own = 0.64 / (1.0 + 500.0 * math.factorial(degree) * 0.64 / (p.variance[0] * 10.0**degree))
    assert lower_bound(p)[0] - 0.1 > own
    c = (0.0,) * degree + (0.8,)
    alone = SingleIndex(task_sizes=(10,), coefficients=c, noise=0.1, context_length=500.0)
    own = 0.64 / (1.0 + 500.0 * math.factorial(degree) * 0.64 / (0.74 * 10.0**degree))
    assert lower_bound(alone)[0] - 0.1 == pytest.approx(own) or degree > 1
    assert lower_bound(alone)[0] - 0.1 > own * (1.0 - 1e-12)


def test_a_degree_without_its_lower_ones_is_never_learned_whole() -> None:
    """A third is left of h_2 alone; with an intercept to take away, nothing is."""
    endless: dict[str, Any] = {"task_sizes": (10,), "noise": 0.1, "context_length": 1e12}
    assert lower_bound(SingleIndex(coefficients=(0.0, 0.0, 0.8), **endless))[0] - 0.1 == pytest.approx(
        0.64 / 3
    )
    assert lower_bound(SingleIndex(coefficients=(0.1, 0.0, 0.8), **endless))[0] - 0.1 < 1e-8


def test_a_task_that_is_not_there_is_refused() -> None:
    with pytest.raises(si.ProblemError, match="task: expected a whole number >= 0 and <= 0, got 1"):
        best_head(problem("linear"), 1)


@pytest.mark.parametrize(
    ("size", "length", "coefficients", "noise", "omega"),
    [
        (1, 1031.468, (-0.3043, -1.0479, -0.3962, 0.0, -1.3552), 0.0911, (0.567, 0.5245)),
        (2, 10856.0, (-1.78, -0.57, 0.7, 1.58, 0.42), 0.716, (0.46, -0.409)),
    ],
)
def test_no_pair_of_few_features_is_better_where_it_is_searched(
    size: int, length: float, coefficients: tuple[float, ...], noise: float, omega: tuple[float, float]
) -> None:
    """Large heads on small blocks, whose loss has several valleys; the best mu from losses at six of them."""
    p = SingleIndex(task_sizes=(size,), coefficients=coefficients, noise=noise, context_length=length)
    heads = np.array(omega)[:, None]

    def at(mu: tuple[float, float]) -> float:
        return loss(p, heads, np.array(mu)[:, None], "first-order")

    zero, units = at((0.0, 0.0)), ((1.0, 0.0), (0.0, 1.0))
    slope = np.array([(at(u) - at((-u[0], -u[1]))) / 2 for u in units])
    square = np.diag([(at(u) + at((-u[0], -u[1]))) / 2 - zero for u in units])
    square[0, 1] = square[1, 0] = (at((1.0, 1.0)) - zero - slope.sum() - np.trace(square)) / 2
    other = zero - slope @ np.linalg.solve(square, slope) / 4
    assert best_pair(p, kernel="first-order", balanced=False).loss < other + 1e-3 * p.power[0]
