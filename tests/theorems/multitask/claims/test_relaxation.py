"""How weights come to the limit: the claims hold on random problems, and fail where they suppose too much."""

from __future__ import annotations

import numpy as np
import pytest
from weights import slow

import spectral_icl as si
from spectral_icl.multitask.flow import rates
from spectral_icl.theorems.claim import Check, Verdict
from spectral_icl.theorems.multitask import measured
from spectral_icl.theorems.multitask.check import check
from spectral_icl.theorems.multitask.claims import relaxation
from spectral_icl.theorems.multitask.evidence import Evidence

CLAIMS = ["losing-heads", "winner-rates", "stray-decay"]
HOLDS, NOT_APPLICABLE = Verdict.HOLDS, Verdict.NOT_APPLICABLE


def found(p: si.Problem, start: si.State, name: str, **options: object) -> Check:
    """The check of one claim."""
    return check(p, *start, claims=[name], **options)[0]  # type: ignore[arg-type]


def uneven() -> si.Problem:
    """Two tasks that differ in everything."""
    return si.Problem.multitask(
        task_sizes=(6, 12), signal=(2.0, 0.5), noise=(0.1, 0.4), context_length=90, covariance=(0.5, 2.0)
    )


@pytest.mark.parametrize("problems", [8, slow(200)])
def test_rates_of_random_problems(problems: int) -> None:
    """Every verdict is that the claim holds, but for lone heads, which have no losers and no strays."""
    rng = np.random.default_rng(37)
    for seed in range(problems):
        tasks = int(rng.integers(1, 4))
        p = si.Problem.multitask(
            task_sizes=rng.integers(2, 40, tasks).tolist(),
            signal=rng.lognormal(0.0, 1.0, tasks).tolist(),
            noise=rng.lognormal(-1.5, 1.0, tasks).tolist(),
            context_length=float(np.exp(rng.uniform(np.log(30), np.log(5000)))),
            covariance=rng.uniform(0.5, 2.0, tasks).tolist(),
        )
        heads = tasks + int(rng.integers(0, 3))
        scale, margin = float(10 ** rng.uniform(-4, -2)), float(10 ** rng.uniform(-1, 0.7))
        for one in check(p, *si.initial.dominant(p, heads, scale, margin, seed), claims=CLAIMS):
            alone = (one.claim == "losing-heads" and heads == 1) or (
                one.claim == "stray-decay" and tasks == 1
            )
            assert one.verdict is (NOT_APPLICABLE if alone else HOLDS), (seed, one)


@pytest.mark.parametrize("name", CLAIMS)
def test_under_another_law_the_rates_are_others(name: str) -> None:
    """The hypothesis that the law is the asymptotic one is needed: at d = 6 the first-order law is far."""
    p = uneven()
    one = found(p, si.initial.dominant(p, 3, 1e-3, 1.0), name, kernel="first-order")
    assert one.verdict is NOT_APPLICABLE
    assert "law of the context is asymptotic" in one.reason
    assert one.measured is not None
    assert abs(one.measured / one.predicted - 1.0) > 10 * relaxation.RATE


def test_imbalanced_losers_do_not_decay() -> None:
    """Where signs may change a losing mu goes through zero and stays away from it."""
    p = uneven()
    start = si.initial.dominant(p, 3, 1e-3, 1.0)
    one = found(p, start, "losing-heads", parametrization=si.Factored(1e-8, 1e-8))
    assert one.verdict is NOT_APPLICABLE
    assert "weights are balanced" in one.reason
    assert one.measured is not None
    assert abs(one.measured / one.predicted - 1.0) > 10 * relaxation.RATE


def test_the_rate_is_that_of_what_the_head_reads() -> None:
    """After a close race, scaled down so that its lead counts, the loser reads and is slower for it."""
    p = si.Problem.multitask(task_sizes=(10,), signal=10.0, noise=0.09, context_length=100)
    start = si.State(1e-4 * np.array([[1.0011], [1.0]]), 1e-4 * np.ones((2, 1)))
    one = found(p, start, "losing-heads")
    assert one.verdict is HOLDS
    assert one.measured == pytest.approx(one.predicted, rel=1e-6)
    assert one.measured < 0.96 * rates.losing_rates(p, np.zeros(1))[0]


@pytest.mark.parametrize("name", CLAIMS)
def test_a_wrong_formula_would_be_seen(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One percent more of the power in the closed forms, and the claims fail."""
    p = uneven()
    start = si.initial.dominant(p, 3, 1e-3, 1.0)
    assert found(p, start, name).verdict is HOLDS
    for module, function in (
        (rates, "losing_rates"),
        (rates, "winner_rates"),
        (measured, "stray_coefficients"),
    ):
        right = getattr(module, function)

        def wrong(*args: object, right: object = right) -> object:
            values = right(*args)  # type: ignore[operator]
            return (
                1.01 * values if isinstance(values, np.ndarray) else type(values)(*(1.01 * x for x in values))
            )

        monkeypatch.setattr(module, function, wrong)
    assert found(p, start, name).verdict is Verdict.FAILS


def test_the_fast_rate_is_that_of_the_jacobian() -> None:
    """By the spanned area as by differences of the field at the limit."""
    p = uneven()
    start = si.initial.dominant(p, 2, 1e-3, 1.0)
    e = Evidence(p, start, si.Balanced(0.3), None, 1e-8, "asymptotic", 100, 0)
    seen = measured.winners(e)
    for task in range(2):
        limit = si.optimal.head_per_task(p).weights
        assert limit is not None

        def field(place: np.ndarray, task: int = task) -> np.ndarray:
            omega, mu = np.zeros((1, 2)), np.zeros((1, 2))
            omega[0, task], mu[0, task] = place
            slope = si.gradient(p, omega, mu)
            by_omega = slope.omega[0, task] / p.block_sizes[task]
            return np.array([-2 * 0.3 * place[0] * by_omega, -2 * place[1] * slope.mu[0, task]])

        here = np.array([limit.omega[task, task], limit.mu[task, task]])
        jacobian = np.column_stack(
            [(field(here + 1e-6 * one) - field(here - 1e-6 * one)) / 2e-6 for one in np.eye(2)]
        )
        fast, slow_rate = np.sort(-np.linalg.eigvals(jacobian).real)[::-1]
        assert seen.fast[task] == pytest.approx(fast, rel=1e-3)
        assert seen.slow[task] == pytest.approx(slow_rate, rel=1e-3)


@pytest.mark.parametrize("weights", [si.Factored(0.0, 2.0), si.Merged()])
def test_winners_of_other_weights_have_other_rates(weights: si.Factored | si.Merged) -> None:
    """The winner is followed with the weights that it has, so that the balance it supposes is needed."""
    p = uneven()
    one = found(p, si.initial.dominant(p, 2, 1e-3, 1.0), "winner-rates", parametrization=weights)
    assert one.verdict is NOT_APPLICABLE
    assert abs(one.measured / one.predicted - 1.0) > relaxation.RATE
