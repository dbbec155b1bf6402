"""Zeros of the gradient in the authors' embedding, and what would be seen if they were none."""

from __future__ import annotations

import numpy as np
import pytest
from weights import slow

import spectral_icl as si
from spectral_icl.multitask import softmax
from spectral_icl.theorems.claim import Verdict
from spectral_icl.theorems.multitask.check import check
from spectral_icl.theorems.multitask.claims import embedding

PROMPTS = 1000


@pytest.fixture
def two_blocks() -> si.Problem:
    """Two tasks on blocks of three and two coordinates, with another covariance each."""
    return si.Problem.multitask(
        task_sizes=(3, 2), signal=(1.0, 2.0), noise=0.2, context_length=20, covariance=(0.5, 2.0)
    )


def halfway(p: si.Problem) -> tuple[np.ndarray, np.ndarray]:
    """Decomposable weights in the embedding, at which the gradient is not small."""
    at = si.State(np.array([[0.4, 0.1], [-0.1, 0.3]]), np.array([[0.8, 0.1], [0.2, 0.6]]))
    return softmax.embedded(p, at)


def largest(p: si.Problem, kq: np.ndarray, ov: np.ndarray, prompts: int = PROMPTS) -> tuple[float, float]:
    """The largest score, and its bound."""
    scores = embedding.scores(softmax.embedded_gradient(p, kq, ov, prompts, 1), prompts)
    return float(np.abs(scores).max()), embedding.bound(scores.size)


def test_the_plain_gradient_is_part_of_it(two_blocks: si.Problem) -> None:
    """At W_YX = U_X = 0 the blocks W_XX and U_Y have the gradient of the model without the embedding."""
    kq, ov = halfway(two_blocks)
    found = softmax.embedded_gradient(two_blocks, kq, ov, 200, 3)
    plain = softmax.gradient(two_blocks, kq[:, :5], ov[:, :, 5:], 200, 3)
    np.testing.assert_allclose(found.kq.mean[:, :5], plain[0].mean, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.ov.error[:, :, 5:], plain[1].error, rtol=1e-10)
    gaps = np.diff(np.diagonal(plain[0].mean, axis1=1, axis2=2), axis=1)[:, [0, 1, 3]]
    np.testing.assert_allclose(found.gaps.mean, gaps, atol=1e-12)


def test_the_gradient_is_that_of_the_loss(two_blocks: si.Problem) -> None:
    """Entries of W_YX and U_X too, by differences of the loss on the same prompts."""
    rng = np.random.default_rng(0)
    kq, ov = halfway(two_blocks)
    kq, ov = kq + 0.1 * rng.normal(size=kq.shape), ov + 0.1 * rng.normal(size=ov.shape)
    found = softmax.embedded_gradient(two_blocks, kq, ov, 50, 3)
    tasks, prior = two_blocks.tasks, np.array([[1 / 1.5] * 3 + [0] * 2, [0] * 3 + [2 / 4.0] * 2])

    def loss(kq: np.ndarray, ov: np.ndarray) -> float:
        draw = np.random.default_rng(3)
        root = np.sqrt([0.5] * 3 + [2.0] * 2)
        x, q = draw.normal(size=(50, 20, 5)) * root, draw.normal(size=(50, 5)) * root
        g = draw.normal(size=(50, tasks, 5)) * np.sqrt(prior)
        y = np.einsum("nld,nid->nil", x, g) + draw.normal(size=(50, tasks, 20)) * np.sqrt(0.2)
        total = 0.0
        for n in range(50):
            tokens = np.concatenate([x[n], y[n].T], axis=1)
            logits = tokens @ kq @ q[n]
            p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
            read = sum(ov[h] @ (p[h] @ tokens) for h in range(len(ov)))
            total += float(((read - g[n] @ q[n]) ** 2).sum())
        return total / 50

    for of, values, mean in ((0, kq, found.kq.mean), (1, ov, found.ov.mean)):
        for place in ((0, 0, 0), (1, -1, 1), (0, 1, 2)):
            ends = []
            for step in (1e-5, -1e-5):
                moved = values.copy()
                moved[place] += step
                ends.append(loss(*((moved, ov) if of == 0 else (kq, moved))))
            assert mean[place] == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-8)


@pytest.mark.parametrize("seeds", [1, slow(20)])
def test_zeros_are_within_the_bound(two_blocks: si.Problem, seeds: int) -> None:
    kq, ov = halfway(two_blocks)
    for _ in range(seeds):
        score, bound = largest(two_blocks, kq, ov)
        assert score < 0.7 * bound


@pytest.mark.parametrize("broken", ["W_YX", "U_X", "W_XX", "U_Y", "unequal"])
def test_weights_that_are_not_decomposable_are_seen(two_blocks: si.Problem, broken: str) -> None:
    """Every part of the claim fails where the weights have what the gradient should not."""
    kq, ov = halfway(two_blocks)
    if broken == "W_YX":
        kq[0, 5, 0] = 0.6
    elif broken == "U_X":
        ov[0, 0, 0] = 0.6
    elif broken == "W_XX":
        kq[0, 0, 1] = 0.6
    elif broken == "U_Y":
        ov[0, 0, 6] = 0.6
    else:
        kq[0, 0, 0] += 0.6
    score, bound = largest(two_blocks, kq, ov, 8000)
    assert score > bound


def test_the_false_alarm_is_bounded_whatever_the_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Symmetric samples of infinite variance, a few at a time: alarms are rarer than stated."""
    monkeypatch.setattr(embedding, "FALSE_ALARM", 0.05)
    rng = np.random.default_rng(0)
    count, entries, runs = 128, 10, 2000
    alarms = 0
    for _ in range(runs):
        drawn = rng.standard_cauchy((count, entries))
        scores = drawn.sum(axis=0) / np.sqrt((drawn**2).sum(axis=0))
        alarms += bool((np.abs(scores) > embedding.bound(entries)).any())
    assert alarms / runs < 0.05


@pytest.mark.parametrize("length", [20, 400])
def test_the_claim_looks_along_the_flow(length: int) -> None:
    p = si.Problem.multitask(task_sizes=(4, 6), signal=(1.0, 2.0), noise=0.2, context_length=length)
    (found,) = check(p, *si.initial.dominant(p, 2), claims=["decomposability-preserved"], prompts=600)
    assert found.verdict is Verdict.HOLDS
    # at four times, of two heads: W_XX and W_YX off the diagonal, U_X and U_Y, and neighbours on the diagonal
    zeros = 4 * 2 * (10 * 9 + 2 * 10 + 2 * 10 + 2 + 3 + 5)
    assert f"of {zeros} zeros at 4 times" in found.reason
    assert found.predicted == pytest.approx(embedding.bound(zeros))
    assert embedding.bound(10**8) < embedding.FEWEST**0.5  # so that the fewest prompts can fail it
