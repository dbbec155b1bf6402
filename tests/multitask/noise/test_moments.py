"""Covariances of a prompt's gradient, against prompts that are drawn whole, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from one_prompt import Slopes, covariance, slopes

import spectral_icl as si
from spectral_icl.io.checks import Floats, ProblemError
from spectral_icl.multitask.noise.moments import GradientNoise, gradient_noise
from spectral_icl.multitask.state import State

SHORT = si.Problem(
    block_sizes=(3, 2),
    signal=((1.0, 0.3), (0.0, 0.8)),
    noise=(0.2, 0.1),
    context_length=12,
    covariance=(1.0, 0.6),
)
AT = State(np.array([[0.4, -0.2], [-0.3, 0.5]]), np.array([[1.2, -0.6], [-0.7, 0.9]]))
_FAR = 6.0  # standard errors of either half: of long tails one in 200 right numbers is 5 off in some draws


def stacked(at: State) -> State:
    return State(at.omega[None], at.mu[None])


@pytest.fixture(scope="module", params=[False, True], ids=["targets", "noisy"])
def drawn(request: pytest.FixtureRequest) -> tuple[Slopes, GradientNoise]:
    noisy = request.param
    found = gradient_noise(SHORT, stacked(AT), "exact", noisy_queries=noisy, prompts=1_000_000, seed=1)
    return slopes(SHORT, AT, 240_000, seed=2, noisy_queries=noisy), found


def agree(one: Floats, other: Floats, expected: Floats) -> None:
    """Covariances of gradients (N, ...) in either half of the prompts, within the errors of the other half.

    Products of four Gaussians have long tails: where a covariance comes out small its own error does too.
    What is expected, by labels averaged over, has the smaller error.
    """
    half = len(one) // 2
    (first, first_error), (second, second_error) = (
        covariance(one[part], other[part]) for part in (slice(half), slice(half, None))
    )
    assert np.abs((first - expected) / second_error).max() < _FAR
    assert np.abs((second - expected) / first_error).max() < _FAR


def test_entries_on_the_diagonals(drawn: tuple[Slopes, GradientNoise]) -> None:
    sampled, told = drawn
    rows = sampled.entries
    agree(rows[:, :, None], rows[:, None, :], told.entries[0])


def test_entries_of_u_off_the_diagonal(drawn: tuple[Slopes, GradientNoise]) -> None:
    sampled, told = drawn
    for i, j in ((0, 1), (1, 0)):
        rows, others = sampled.ov[:, :, i, j], sampled.ov[:, :, j, i]
        agree(rows[:, :, None], rows[:, None, :], told.crossed[0, i, j])
        agree(rows[:, :, None], others[:, None, :], told.swapped[0, i, j])
    assert (told.crossed[0, [0, 1], [0, 1]] == 0.0).all()


@pytest.mark.parametrize(
    ("row", "column", "b", "c"), [(0, 1, 0, 0), (2, 3, 0, 1), (4, 0, 1, 0), (3, 4, 1, 1)]
)
def test_entries_of_w_off_the_diagonal(
    drawn: tuple[Slopes, GradientNoise], row: int, column: int, b: int, c: int
) -> None:
    sampled, told = drawn
    rows = sampled.kq[:, :, row, column]
    agree(rows[:, :, None], rows[:, None, :], told.stray[0, b, c])


def test_a_block_of_one_coordinate_has_nothing_off_its_diagonal() -> None:
    problem = si.Problem.multitask(task_sizes=(1, 2), signal=1.0, noise=0.1, context_length=10)
    found = gradient_noise(problem, stacked(AT), "exact", prompts=200)
    assert (found.stray[0, 0, 0] == 0.0).all()
    assert (found.stray[0, 0, 1] != 0.0).any()
    assert all(np.isfinite(values).all() for values in found)


@pytest.mark.parametrize("kernel", ["asymptotic", "exact"])
def test_the_curvature_by_u_is_the_hessian_of_mu(kernel: str) -> None:
    found = gradient_noise(SHORT, stacked(AT), kernel, prompts=100)
    hessian = si.hessian(SHORT, *AT, kernel=kernel)[4:, 4:].reshape(2, 2, 2, 2)
    for j in range(2):
        np.testing.assert_allclose(found.curvature[0, j], hessian[:, j, :, j], rtol=1e-5, atol=1e-5)


def test_the_closed_form_is_the_leading_order() -> None:
    """What it leaves out falls as 1/L and, but for what is kept of it, as 1/d."""
    apart = []
    for size, length in ((6, 60), (24, 960)):
        problem = si.Problem.multitask(task_sizes=(size, size), signal=1.0, noise=0.2, context_length=length)
        at = stacked(State(AT.omega * (5.0 / size) ** 0.5, AT.mu))
        exact = gradient_noise(problem, at, "exact", prompts=6000 if size == 6 else 1500, seed=3)
        closed = gradient_noise(problem, at)
        pairs = ((exact.entries, closed.entries), (exact.stray, closed.stray), (exact.bend, closed.bend))
        apart.append([np.linalg.norm(a - b) / np.linalg.norm(a) for a, b in pairs])
    assert (np.array(apart[0]) < 0.35).all()
    assert (np.array(apart[1]) < 0.1).all()  # sampled to some percent


def test_what_is_kept_of_short_blocks_is_right() -> None:
    """With four coordinates to a block, before the emergence, where half of a covariance is due to them."""
    problem = si.Problem.multitask(task_sizes=(4, 4), signal=1.0, noise=0.2, context_length=600)
    at = stacked(State(np.array([[0.05, -0.02], [-0.03, 0.06]]), np.array([[0.4, -0.2], [-0.2, 0.3]])))
    exact, closed = gradient_noise(problem, at, "exact", prompts=4000, seed=3), gradient_noise(problem, at)
    np.testing.assert_allclose(np.diag(closed.entries[0]), np.diag(exact.entries[0]), rtol=0.12)
    for h in range(2):
        np.testing.assert_allclose(closed.stray[0, :, :, h, h], exact.stray[0, :, :, h, h], rtol=0.12)


def test_the_first_order_law_has_the_same_closed_form() -> None:
    for one, other in zip(
        gradient_noise(SHORT, stacked(AT)), gradient_noise(SHORT, stacked(AT), "first-order"), strict=True
    ):
        assert (one == other).all()


def test_a_law_that_is_none_is_refused() -> None:
    with pytest.raises(ProblemError, match="kernel: expected one of"):
        gradient_noise(SHORT, stacked(AT), "linear")
