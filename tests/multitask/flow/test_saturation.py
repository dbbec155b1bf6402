"""The guard against results outside the large-L kernel's range."""

from __future__ import annotations

import numpy as np
import pytest
from weights import slow

import spectral_icl as si


def softmax_participation(size: int, length: int, omega: float, prompts: int) -> tuple[float, float]:
    """E |p|^2 of the softmax itself, its mean and standard error."""
    rng = np.random.default_rng(1)
    query = rng.normal(size=(prompts, 1, size))
    logits = omega * (rng.normal(size=(prompts, length, size)) * query).sum(axis=-1)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    weights /= weights.sum(axis=1, keepdims=True)
    squares = (weights**2).sum(axis=1)
    return float(squares.mean()), float(squares.std() / np.sqrt(squares.size))


def guarded(size: int, length: int, omega: float) -> si.Solution:
    p = si.Problem(block_sizes=(size,), signal=((1.0,),), noise=0.1, context_length=length)
    return si.gradient_flow(p, [[omega]], [[0.01]], t_end=1e-6)


@pytest.mark.parametrize(("size", "length"), [(100, 40), (100, 400), (40, 100)])
@pytest.mark.parametrize("prompts", [500, slow(4000)])
def test_levels_mean_what_they_say(size: int, length: int, prompts: int) -> None:
    """The kernel's E_hh / L against the sampled softmax, at variances on either side of the thresholds."""
    for ratio, level, low, high in (
        (0.1, "accurate", -0.02, 0.13),
        (0.4, "approximate", 0.1, 0.8),
        (0.9, "invalid", 0.5, np.inf),
    ):
        omega = (ratio * np.log(length) / size) ** 0.5
        sol = guarded(size, length, omega)
        assert sol.saturation.level == level
        sampled, error = softmax_participation(size, length, omega, prompts)
        excess = np.exp(size * omega**2) / length / sampled - 1.0
        assert low - 4 * error / sampled < excess < high


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
    assert "left the large-L kernel's range" in sol.message


def test_small_logits_are_fine(two_tasks: si.Problem) -> None:
    sol = si.gradient_flow(two_tasks, *si.initial.paper(two_tasks, 2, 0.1, 0.1, 0.2), t_end=1.0)
    assert sol.saturation.level == "accurate"
    assert sol.saturation.left_at is None
    assert "left" not in sol.message


def test_context_of_one_is_never_valid() -> None:
    p = si.Problem(block_sizes=(10,), signal=((1.0,),), noise=0.1, context_length=1)
    sol = si.gradient_flow(p, [[0.01]], [[0.01]], t_end=1.0)
    assert not sol.saturation.valid
