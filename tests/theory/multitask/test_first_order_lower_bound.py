"""The lower bound of the first-order law, against its noise at drawn weights."""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from theory.derivation import ProofError
from theory.multitask import first_order, first_order_lower_bound, gradient_step, loss


@cache
def compiled(heads: int, blocks: int) -> Any:
    """The noise and the fractions that are read off, as a function of the values of all symbols."""
    at = loss.symbols(heads, blocks, 1)
    mu = at["mu"]
    pairs = product(range(heads), repeat=2)
    noise = sum(mu[h, 0] * mu[k, 0] * first_order.fluctuation(at, h, k, 0) for h, k in pairs)
    reads = [1 - first_order.residual(at, 0, b) for b in range(blocks)]
    order = [*at["omega"], *mu, *at["powers"], *at["noises"], *at["sizes"], *at["kappas"]]
    return sp.lambdify(order, [noise, *reads], "numpy")


@given(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_the_noise_is_above_the_bound(heads: int, blocks: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    kappas, sizes, powers = (
        rng.uniform(0.5, 1.5, blocks),
        rng.integers(1, 9, blocks),
        rng.uniform(0, 2, blocks),
    )
    omega, mu = rng.uniform(-0.45, 0.45, (heads, blocks)), rng.normal(0, 1, heads)
    noise, *reads = compiled(heads, blocks)(*omega.ravel(), *mu, *powers, 0.3, *sizes, *kappas)
    parts = first_order_lower_bound.least_noise(powers, powers.sum() + 0.3, sizes) * np.square(reads)
    assert noise > parts.sum()


@given(st.integers(1, 30), st.floats(1, 4), st.floats(0.02, 0.3))
@settings(max_examples=30)
def test_the_pair_is_above_the_step(size: int, phi: float, value: float) -> None:
    pair = first_order_lower_bound.pair_dimension(sp.Float(value, 30), sp.Integer(size), sp.Float(phi, 30))
    assert float(pair) > float(gradient_step.dimension(size, phi))
    small = first_order_lower_bound.pair_dimension(sp.Float(1e-4, 50), sp.Integer(size), sp.Float(phi, 50))
    assert float(small) == pytest.approx(float(gradient_step.dimension(size, phi)), rel=1e-9)


def test_a_bound_without_the_signal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_order_lower_bound, "least_noise", lambda A, s, size: s * size)
    with pytest.raises(ProofError, match="degree one"):
        first_order_lower_bound.derive()
