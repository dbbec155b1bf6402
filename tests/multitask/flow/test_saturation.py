"""What a flow says of its law's error and range: levels, times, words."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si


def one_head(size: int, length: float, kernel: str = "asymptotic") -> si.Solution:
    """The flow of a dominant head on one task, to its end."""
    p = si.Problem.multitask(task_sizes=(size,), signal=1.0, noise=0.1, context_length=length)
    return si.gradient_flow(p, *si.initial.dominant(p, heads=1), t_end=1e6, stationary=1e-9, kernel=kernel)


@pytest.mark.parametrize(
    ("size", "length", "kernel", "level"),
    [
        (100, 1e4, "asymptotic", "accurate"),
        (10, 1e4, "asymptotic", "approximate"),
        (5, 1e4, "asymptotic", "approximate"),  # the logits are small, and the excess is a third too small
        (5, 1e4, "first-order", "accurate"),
        (1, 1e4, "asymptotic", "unreliable"),  # there is no first-order law to tell by how much
        (2, 40.0, "asymptotic", "unreliable"),
        (10, 5.0, "asymptotic", "invalid"),
    ],
)
def test_levels(size: int, length: float, kernel: str, level: str) -> None:
    sol = one_head(size, length, kernel)
    found = sol.saturation
    assert found.level == level
    assert found.law == kernel
    assert found.valid == (level != "invalid")
    assert found.trusted == (level in ("accurate", "approximate"))
    assert (str(found) in sol.message) == (not found.trusted)
    assert max(map(len, found.lines)) < 110


def test_small_blocks_are_not_called_accurate() -> None:
    """Softmax with these weights has 1.27 times the label noise and up to 1.67 times the excess."""
    found = one_head(5, 1e4).saturation
    assert found.excess_ratio > 1.5
    assert 0.3 < found.excess_error < 0.5
    assert "first order in 1/L is not enough" in str(found)
    assert f"{found.noise_ratio:.3g} times the noise term" in str(found)


def test_short_prompts_say_that_first_order_is_not_enough() -> None:
    found = one_head(10, 20.0, "first-order").saturation
    assert found.beyond > 0.1
    assert found.noise_ratio == found.excess_ratio == 1.0
    assert "first order in 1/L is not enough" in str(found)
    assert "times the noise term" not in str(found)


def test_what_is_not_known_is_not_guessed() -> None:
    found = one_head(1, 1e4).saturation
    assert found.excess_error == found.final_error == np.inf
    assert 0.0 < found.lost_at <= found.error_at
    assert found.noise_ratio == np.inf  # past the range of the first-order law
    assert "NOT to be trusted" in str(found)
    assert "not known at t =" in str(found)
    assert "nor at the end" in str(found)


def test_leaving_the_range_is_timed_and_told() -> None:
    """A strong task with a short context drives omega to d omega^2 = 1 > log(L) / 2."""
    p = si.Problem.multitask(task_sizes=(10,), signal=1.0, noise=0.0, context_length=5)
    sol = si.gradient_flow(p, *si.initial.dominant(p, heads=1), t_end=1e4)
    guard = sol.saturation
    assert not guard.valid
    assert guard.left_at is not None
    before, after = (float((10 * sol(t).omega ** 2).max()) for t in (0.98 * guard.left_at, guard.left_at))
    assert before < 0.5 * np.log(5) <= after + 1e-3
    assert guard.worst == pytest.approx(1.0, abs=0.05)
    assert guard.ratio == pytest.approx(guard.worst / np.log(5))
    assert "the softmax saturates, first at t =" in sol.message


def test_the_same_variance_is_watched_under_either_law() -> None:
    """Also with eigenvalues, and in ensembles."""
    p = si.Problem(
        block_sizes=(8, 20), signal=((1.0, 0.5),), noise=0.1, context_length=500, covariance=(0.7, 1.6)
    )
    omega, mu = np.array([[0.3, 0.05], [0.1, -0.1]]), np.array([[0.2], [0.1]])
    variance = (np.array(p.block_sizes) * (np.array(p.covariance) * omega) ** 2).sum(axis=1).max()
    for kernel in ("asymptotic", "first-order"):
        alone = si.gradient_flow(p, omega, mu, t_end=1e-9, kernel=kernel).saturation
        many = si.gradient_flow_ensemble(p, omega, mu, t_end=1e-9, kernel=kernel)
        assert alone.worst == pytest.approx(variance, rel=1e-6)
        assert many.saturation[0] == pytest.approx(alone.ratio, rel=1e-9)


def test_a_start_is_accurate(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2), t_end=1.0)
    assert sol.saturation.level == "accurate"
    assert sol.saturation.left_at is None
    assert "saturates" not in sol.message


def test_context_of_one_is_never_valid() -> None:
    p = si.Problem(block_sizes=(10,), signal=((1.0,),), noise=0.1, context_length=1)
    sol = si.gradient_flow(p, [[0.01]], [[0.01]], t_end=1.0)
    assert not sol.saturation.valid


def test_one_pair_has_no_logarithm_to_measure_by() -> None:
    guard = one_head(10, 1.0).saturation
    assert (guard.level, guard.ratio) == ("invalid", np.inf)
    assert "inf" not in str(guard)
    assert "do not hold where L = 1: a single pair has all of the attention" in str(guard)


@pytest.mark.parametrize("parametrization", [si.Merged(), si.Factored(0.1, 0.1)], ids=["merged", "factored"])
def test_a_loss_that_is_lost_in_the_errors_of_the_state_is_said_to_be(
    two_tasks: si.Problem, parametrization: si.Merged | si.Factored
) -> None:
    """exp(62) makes of a tolerated error of mu a loss many times that of the flow, mostly between steps."""
    omega = np.array([[2.5, 0.1], [0.1, 2.5]])
    sol = si.gradient_flow(
        two_tasks, omega, np.full((2, 2), 0.3), parametrization=parametrization, t_end=1.0, rtol=1e-4
    )
    found = sol.saturation
    assert found.level == "invalid"
    assert found.rise > 100.0
    assert found.rise_at is not None
    assert found.rise_at < 1e-12
    assert "dense output and phases there are not to be trusted" in sol.message
    between = sol.trajectory.refined(8)
    losses = si.loss(two_tasks, *sol(between))
    before = losses[between < found.rise_at].min()
    assert losses[between == found.rise_at][0] == pytest.approx((1.0 + found.rise) * before)
    assert max(map(len, found.lines)) < 110


def test_a_saturated_flow_that_descends_is_not_said_to_rise(two_tasks: si.Problem) -> None:
    omega = np.array([[1.2, 0.1], [0.1, 1.2]])
    sol = si.gradient_flow(two_tasks, omega, np.full((2, 2), 0.3), parametrization=si.Merged(), t_end=1.0)
    assert sol.saturation.level == "invalid"
    assert sol.saturation.rise < 1e-6
    assert "dense output" not in sol.message
