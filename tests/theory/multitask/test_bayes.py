"""The Bayes risk: its equation, its next order and its exact law."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_icl.multitask.optimal import ridge
from theory.multitask import bayes


@given(st.integers(1, 40), st.floats(0.1, 5.0), st.floats(0.01, 2.0), st.floats(5, 500))
@settings(max_examples=30)
def test_bayes_risk_solves_the_derived_equation(size: int, a: float, noise: float, length: float) -> None:
    sizes, powers = np.array([size, 7.0]), np.array([a, 0.5])
    near, _ = ridge.equivalent(powers, noise, sizes, length)
    first = ridge._fixed_point(powers / sizes, sizes, noise, length)
    listed = [list(map(sp.Float, powers)), list(map(sp.Float, sizes))]
    right = bayes.fixed_point(sp.Float(first), *listed, sp.Float(noise), sp.Float(length))
    assert float(right) == pytest.approx(first, rel=1e-10)
    correction = _next_order()(*(powers / sizes), *sizes, 1 / (noise + first), length)
    assert near == pytest.approx(first + correction, rel=1e-8)
    alone = ridge._fixed_point(powers[:1] / sizes[:1], sizes[:1], noise, length)
    one = bayes.isotropic_risk(*map(sp.Float, (a, size, length, noise)))
    assert float(one) == pytest.approx(alone, rel=1e-7)


@cache
def _next_order() -> Callable[..., float]:
    """The derived correction as a function of two priors, two sizes, m and the length."""
    priors, sizes = sp.symbols("t_0 t_1", positive=True), sp.symbols("d_0 d_1")
    m, length = sp.Symbol("m", positive=True), sp.Symbol("len")
    return sp.lambdify(
        [*priors, *sizes, m, length], bayes.next_order(priors, sizes, m, length), "math", cse=True
    )


@pytest.mark.parametrize(("length", "size"), [(3, 2), (2, 4), (4, 4)])
def test_exact_risk_is_the_mean_of_the_derived_fraction(length: int, size: int) -> None:
    """The continued fraction on sampled chi variables, against the quadrature that replaces them."""
    rng = np.random.default_rng(length)
    steps, penalty = min(length, size), 0.7
    diagonal, above = sp.symbols(f"a_:{steps}"), sp.symbols(f"b_:{steps if size > length else steps - 1}")
    fraction = sp.lambdify([*diagonal, *above], bayes.continued_fraction(diagonal, above, sp.Float(penalty)))
    freedom = [length - k for k in range(len(diagonal))] + [size - 1 - k for k in range(len(above))]
    draws = np.sqrt(rng.chisquare(np.array(freedom)[:, None], (len(freedom), 200_000)))
    sampled = fraction(*draws)
    risk = ridge.exact(1.0, penalty / size, size, length)
    assert abs(sampled.mean() - risk) < 4 * sampled.std() / np.sqrt(sampled.size)
