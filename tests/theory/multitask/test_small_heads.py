"""Small heads: the derived loss against softmax attention itself, and the numbers of the examples."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from expressions import value
from two_heads import exact_loss

from theory.derivation import ProofError
from theory.multitask import gradient_step, small_heads
from theory.symbols import L


@pytest.mark.parametrize("length", [2.0, 3.0, 12.0])
def test_softmax_attention_tends_to_it(length: float) -> None:
    """Two heads of opposite signs in one coordinate: the gap falls as the square of their KQ values."""
    power, noise, kappa, T = 0.8, 0.3, 1.3, 0.7
    limit = value(small_heads.loss(*map(sp.Float, (T, power, power + noise, 1))), L=length) + noise
    gaps = []
    for scale in (0.02, 0.01):
        omega = np.array([scale, -scale])
        mu = T / kappa / (2 * omega)
        gaps.append(exact_loss(length, omega, mu, power=power, noise=noise, kappa=kappa) - limit)
    assert abs(gaps[1]) < 2e-3 * limit
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.02)


@pytest.mark.parametrize("length", [3, 8])
def test_several_blocks_by_wishart_moments(length: int) -> None:
    """Blocks of several coordinates, sampled: the loss of linear attention on centred labels."""
    rng = np.random.default_rng(length)
    sizes, kappas, T = np.array([2, 3]), np.array([0.8, 1.4]), np.array([0.6, 0.3])
    powers, noise, draws = np.array([1.0, 0.5]), 0.2, 400_000
    each = np.repeat(kappas, sizes)
    x = rng.standard_normal((draws, length, 5)) * np.sqrt(each)
    g = rng.standard_normal((draws, 5)) * np.sqrt(np.repeat(powers / (sizes * kappas), sizes))
    y = np.einsum("nlj,nj->nl", x, g) + np.sqrt(noise) * rng.standard_normal((draws, length))
    read = np.einsum("nl,nlj->nj", y - y.mean(1, keepdims=True), x) / length
    errors = ((np.repeat(T / kappas, sizes) * read - g) ** 2) @ each
    blocks = zip(T, powers, sizes, strict=True)
    expected = sum(
        value(small_heads.loss(*map(sp.Float, (t, power, powers.sum() + noise, size))), L=length)
        for t, power, size in blocks
    )
    assert abs(errors.mean() - expected) < 4 * errors.std() / np.sqrt(draws)


def test_the_examples() -> None:
    """Two tasks of ten at length 100, where the step has 0.99829; and five coordinates at length 40."""
    a, s, d = sp.Float(10), sp.Float(10.09), sp.Integer(10)
    assert value(small_heads.excess(a, s, d), L=100) == pytest.approx(1.00736, abs=5e-6)
    optimal = gradient_step.loss(gradient_step.step(d, s / a), a, s, d)
    assert value(optimal, L=100) == pytest.approx(0.99829, abs=5e-6)
    assert value(small_heads.step(sp.Integer(5), sp.Float(1.1)), L=40) == pytest.approx(0.879121, abs=1e-6)
    least = value(small_heads.excess(sp.Float(1), sp.Float(1.1), sp.Integer(5)), L=40)
    assert least + 0.1 == pytest.approx(0.242857143, abs=1e-9)


def test_a_loss_of_all_pairs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = small_heads.loss
    monkeypatch.setattr(small_heads, "loss", lambda T, A, s, size: sound(T, A, s, size) + T**2 * A / L**2)
    with pytest.raises(ProofError, match="A constant first row"):
        small_heads.derive()
