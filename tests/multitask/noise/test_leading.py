"""The closed form, entry by entry, against the formulas it stands for."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.io.checks import Floats
from spectral_icl.multitask.noise.leading import leading_order
from spectral_icl.multitask.state import State

PROBLEM = si.Problem(
    block_sizes=(4, 3),
    signal=((1.0, 0.4), (0.2, 0.7)),
    noise=(0.3, 0.1),
    context_length=50,
    covariance=(1.0, 0.7),
)
AT = State(np.array([[0.3, -0.2], [-0.25, 0.4]]), np.array([[1.1, -0.5], [-0.8, 0.9]]))


def whole_loss(kq: Floats) -> float:
    """The asymptotic loss of whole matrices W^h (H, d, d) and the diagonal U^h of `AT`."""
    sizes, kappa = np.asarray(PROBLEM.block_sizes), np.asarray(PROBLEM.covariance)
    block = np.repeat([0, 1], sizes)
    variance, prior = kappa[block], (np.array(PROBLEM.signal) / (sizes * kappa))[:, block]
    pull = np.einsum("d,hde,e->hde", variance, kq, np.sqrt(variance))
    white = np.einsum("d,hde,e->hde", np.sqrt(variance), kq, np.sqrt(variance))
    tilt = np.exp(np.einsum("hde,kde->hk", white, white))
    residual = np.diag(np.sqrt(variance)) - np.einsum("hi,hde->ide", AT.mu, pull)
    signal = np.einsum("id,ide->", prior, residual**2)
    spread = np.einsum("i,hi,ki,hk->", PROBLEM.variance, AT.mu, AT.mu, tilt) / PROBLEM.context_length
    return float(signal + spread)


@pytest.mark.parametrize(
    ("row", "column", "b", "c"), [(0, 2, 0, 0), (1, 5, 0, 1), (6, 3, 1, 0), (4, 5, 1, 1)]
)
def test_the_bend_is_the_second_derivative_of_the_loss_of_whole_matrices(
    row: int, column: int, b: int, c: int
) -> None:
    block = np.repeat([0, 1], PROBLEM.block_sizes)
    bend = leading_order(PROBLEM, AT, np.zeros(2))[5]

    def at(one: float, other: float) -> float:
        kq = AT.omega[:, block, None] * np.eye(block.size)
        kq[0, row, column] += one
        kq[1, row, column] += other
        return whole_loss(kq)

    h = 1e-3
    own = (at(h, 0.0) - 2.0 * at(0.0, 0.0) + at(-h, 0.0)) / h**2
    crossed = (at(h, h) - at(h, -h) - at(-h, h) + at(-h, -h)) / (4.0 * h**2)
    assert bend[b, c, 0, 0] == pytest.approx(own, rel=1e-5)
    assert bend[b, c, 0, 1] == pytest.approx(crossed, rel=1e-4)


def test_noise_of_queries_adds_to_errors_alone() -> None:
    """Its covariance is hidden_i E[c c'], and the mean gradient does not see it."""
    plain, noisy = (leading_order(PROBLEM, AT, hidden) for hidden in (np.zeros(2), np.array([0.5, 0.0])))
    curvature = plain[3]
    np.testing.assert_allclose(noisy[1][0, 1] - plain[1][0, 1], 4.0 * 0.5 * 0.5 * curvature[1])
    np.testing.assert_allclose(noisy[1][1, 0], plain[1][1, 0])
    np.testing.assert_allclose(noisy[2], plain[2])
    by_mu = noisy[0][4:, 4:] - plain[0][4:, 4:]
    np.testing.assert_allclose(by_mu[::2, ::2], 4.0 * 0.5 * 0.5 * curvature[0], rtol=1e-12)


def test_covariances_are_covariances() -> None:
    entries, crossed, swapped, _, stray, bend = leading_order(PROBLEM, AT, np.zeros(2))
    pair = np.block([[crossed[0, 1], swapped[0, 1]], [swapped[0, 1].T, crossed[1, 0]]])
    for matrix in (entries, pair, *stray.reshape(-1, 2, 2), *bend.reshape(-1, 2, 2)):
        np.testing.assert_allclose(matrix, matrix.T, rtol=1e-10, atol=1e-14)
        assert np.linalg.eigvalsh(matrix)[0] > -1e-12
