"""The exact law that others are held against: identities, another program's values, and sampled softmax."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from exact_law import Pair, error, of_head, of_pair, task_losses

import spectral_icl as si
from spectral_icl.multitask import softmax
from spectral_icl.multitask.state import State

DATA = Path(__file__).parents[2] / "validation" / "data"

PAIRS = [  # al, be, ga, L and the ten digits of an independent program
    (
        (0.5, 0.5, 0.2, 40),
        Pair(3.0174207240e-02, 2.3047314154e-01, *[-2.2236100730e-04] * 2, 2.8225194363e-02),
    ),
    (
        (1, 2, -0.8, 10),
        Pair(5.7237081401e-02, 1.4588039251e-01, 3.4287119533e-03, 3.1699386960e-03, 4.2894402094e-02),
    ),
    ((1, 1, 1, 40), Pair(5.9642202926e-02, 2.2119858953e-01, *[-2.9870144282e-03] * 2, 4.9589410094e-02)),
    (
        (8, 6, 5, 40),
        Pair(1.6888738610e-01, 1.1931172906e-01, -1.2145670891e-02, -1.4425418892e-02, 5.4131226876e-02),
    ),
]


@pytest.mark.parametrize(("at", "values"), PAIRS)
def test_pairs_of_heads(at: tuple[float, ...], values: Pair) -> None:
    np.testing.assert_allclose(of_pair(*at), values, rtol=2e-10)


@pytest.mark.parametrize(
    ("al", "L", "D"),
    [
        (1, 40, 0.9403577970738),
        (4, 40, 0.7954394201661),
        (20, 40, 0.4561685849279),
        (1, 10, 0.8053126063054),
        (1, 1000, 0.9973017981147),
        (1, 2, 0.3631618460316),
    ],
)
def test_single_heads(al: float, L: float, D: float) -> None:
    np.testing.assert_allclose(of_head(al, L).D, D, atol=2e-13)


@pytest.mark.parametrize(("al", "L"), [(0.0, 40), (0.3, 7.5), (2.0, 40), (8.0, 1000), (1.0, 1e5)])
def test_a_head_is_a_pair_with_itself(al: float, L: float) -> None:
    """The one-dimensional rule and the two-dimensional one are derived apart."""
    alone, pair = of_head(al, L), of_pair(al, al, al, L)
    np.testing.assert_allclose(alone.D, 1.0 - alone.K, atol=1e-14)
    np.testing.assert_allclose(pair.K, alone.K, rtol=1e-9)
    np.testing.assert_allclose(4.0 * pair.M + 4.0 * pair.K_al + pair.K_ga, alone.Q, rtol=1e-9)


@pytest.mark.parametrize("L", [2, 40, 1e5])
def test_heads_with_uncorrelated_logits(L: float) -> None:
    one, two = of_head(2.0, L), of_head(0.5, L)
    pair = of_pair(2.0, 0.5, 0.0, L)
    np.testing.assert_allclose(pair.K, 1.0 / L, rtol=1e-11)
    np.testing.assert_allclose(pair.M, one.D * two.D / 4.0, rtol=1e-11)


@pytest.mark.parametrize("L", [1, 2, 40, 1e5])
def test_uniform_attention(L: float) -> None:
    pair = of_pair(0.0, 0.0, 0.0, L)
    exact = [1.0 / L, (1.0 - 1.0 / L) ** 2 / 4.0, 0.0, 0.0, (1.0 - 1.0 / L) / L]
    np.testing.assert_allclose(pair, exact, rtol=1e-9, atol=1e-14)


def test_one_and_two_pairs_of_context() -> None:
    np.testing.assert_allclose(of_head(3.0, 1), [0.0, 1.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(of_pair(3.0, 1.0, -1.0, 1), [1.0, 0.0, 0.0, 0.0, 0.0], atol=1e-12)
    z, w = np.polynomial.hermite_e.hermegauss(200)
    share = 1.0 / (1.0 + np.exp(-np.sqrt(6.0) * z))  # the logits differ by a normal variable of variance 2 al
    np.testing.assert_allclose(of_head(3.0, 2).K, w @ (share**2 + (1.0 - share) ** 2) / w.sum(), rtol=1e-9)


def one_block(L: float, d: int = 5, lam: float = 0.2) -> si.Problem:
    return si.Problem(block_sizes=(d,), signal=((lam * d,),), noise=0.1, context_length=L)


def two_blocks(L: float) -> si.Problem:
    return si.Problem(block_sizes=(3, 2), signal=((0.75, 0.2),), noise=0.1, context_length=L)


def loss(problem: si.Problem, omega: list[float], mu: list[float], **options: float) -> float:
    """The loss of one task, with heads of one value per block."""
    shape = len(mu), problem.blocks
    (value,) = task_losses(problem, np.reshape(omega, shape), np.reshape(mu, (-1, 1)), **options)
    return value


@pytest.mark.parametrize(
    ("L", "opposite", "single"),
    [
        (10, 0.59761800947, 0.75309708690),
        (40, 0.24324363848, 0.40807620330),
        (100, 0.16457819341, 0.25890267066),
    ],
)
def test_losses_in_one_block(L: float, opposite: float, single: float) -> None:
    root = np.sqrt(5.0)
    assert loss(one_block(L), [0.13, -0.13], [3.45, -3.45]) == pytest.approx(opposite, abs=1e-10)
    assert loss(one_block(L), [1 / root], [root / (1 + 5.5 * np.e / L)]) == pytest.approx(single, abs=1e-10)


@pytest.mark.parametrize(("L", "expected"), [(10, 0.78136931655), (40, 0.51151382219)])
def test_losses_in_two_blocks(L: float, expected: float) -> None:
    omega = [0.3, -0.2, -0.25, 0.15, 0.1, 0.35]
    value = loss(two_blocks(L), omega, [1.2, -0.8, 0.9], nodes=7, fine=0.75)
    assert value == pytest.approx(expected, abs=1e-8)


def test_losses_of_long_prompts() -> None:
    assert loss(one_block(1e4, 10, 0.1), [0.25], [3.2]) == pytest.approx(0.1424082784, abs=1e-10)
    p = si.Problem(block_sizes=(5, 3), signal=((0.5, 0.6),), noise=0.3, context_length=1e4)
    value = loss(p, [0.2, 0.1, -0.15, 0.25], [1.5, 2.0], nodes=8, fine=0.75)
    assert value == pytest.approx(0.8755299205, abs=1e-9)


def test_losses_of_saturated_heads() -> None:
    assert loss(one_block(40), [1.2], [0.6]) == pytest.approx(0.517815, abs=1e-6)
    assert loss(one_block(40), [2.5], [0.4]) == pytest.approx(0.62134, abs=1e-4)
    assert loss(one_block(40), [1.2, -0.8], [0.5, -0.4], nodes=14) == pytest.approx(0.353856, abs=2e-6)


def test_losses_on_record() -> None:
    optima = json.loads((DATA / "exact_optima.json").read_text("utf-8"))
    single, pair = optima["single"], optima["pair"]  # single: of 14 nodes, right to 1e-8
    assert loss(one_block(40), [single["omega"]], [single["mu"]]) == pytest.approx(single["loss"], abs=2e-8)
    for omega, mu, value in zip(pair["omega"], pair["mu"], pair["loss"], strict=True):
        assert loss(one_block(40), [omega, -omega], [mu, -mu], nodes=10) == pytest.approx(value, abs=1e-9)


def test_small_heads_have_a_closed_form() -> None:
    """As omega falls at fixed c = sum mu omega, softmax becomes one step of gradient descent, centred."""
    L, d, c, kappa = 30, 6, 0.8, 0.5
    p = si.Problem(block_sizes=(d,), signal=((1.3,),), noise=0.4, context_length=L, covariance=kappa)
    n, omega = L - 1, 1e-3
    value = loss(p, [omega / kappa, -omega / kappa], [c / (2 * omega), -c / (2 * omega)], nodes=6)
    small = 0.4 + 1.3 * (1 - 2 * c * n / L + c**2 * n * (n + d + 1) / L**2) + 0.4 * c**2 * d * n / L**2
    assert value == pytest.approx(small, rel=1e-5)


def test_the_scale_of_covariates_is_that_of_weights() -> None:
    def of(kappa: list[float]) -> si.Problem:
        signal = ((0.75, 0.2), (0.0, 1.0))
        return si.Problem(block_sizes=(3, 2), signal=signal, noise=0.1, context_length=20, covariance=kappa)

    omega, mu = np.array([[0.3, -0.2], [-0.25, 0.15]]), np.array([[1.2, 0.3], [-0.8, 0.5]])
    white = task_losses(of([1.0, 1.0]), omega, mu, nodes=4)
    np.testing.assert_allclose(
        task_losses(of([2.0, 0.5]), omega / [2.0, 0.5], mu, nodes=4), white, rtol=1e-13
    )


def test_sampled_softmax_agrees() -> None:
    """Overlapping tasks, uneven covariates, three heads: every task within four standard errors."""
    p = si.Problem(
        block_sizes=(2, 1),
        signal=((1.0, 0.5), (0.0, 2.0)),
        noise=(0.3, 0.1),
        context_length=12,
        covariance=(0.6, 1.7),
    )
    omega = np.array([[0.7, 0.1], [-0.4, 0.3], [0.2, -0.5]])
    mu = np.array([[0.9, 0.2], [-0.5, 0.6], [0.3, -0.4]])
    sample = softmax.losses(p, [State(omega, mu)], 30_000, 1).task
    exact = task_losses(p, omega, mu, nodes=6, fine=0.6)
    score = (sample.mean[0] - exact) / sample.error[0]
    assert (abs(score) < 4.0).all(), score
    assert (sample.error[0] < 0.03 * exact).all()


@pytest.mark.parametrize("L", [10, 1e5])
def test_half_the_steps_change_nothing(L: float) -> None:
    assert error(one_block(L), [[0.8]], [[1.0]]) < 1e-8
    assert error(one_block(L), [[0.4]], [[1.0]]) < 1e-11
    assert error(one_block(L), [[0.4], [-0.3]], [[1.0], [-0.5]], nodes=8) < 1e-6
