"""The derived gradient and Hessian of the first-order law, by complex steps and against the kernels."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp
from expressions import overlapping
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from theory.derivation import ProofError
from theory.multitask import first_order, first_order_gradient, loss
from theory.symbols import L


@cache
def symbolic(heads: int, blocks: int, tasks: int) -> Any:
    """A function of the values of all symbols: task losses, gradient and Hessian of the theory."""
    at = loss.symbols(heads, blocks, tasks)
    order = [*at["omega"], *at["mu"], *at["powers"], *at["noises"], *at["sizes"], *at["kappas"], L]
    by_omega, by_mu = first_order_gradient.gradient(at)
    made = [sp.Matrix(first_order.task_losses(at)), by_omega, by_mu, first_order_gradient.hessian(at)]
    return sp.lambdify(order, made, "numpy", cse=True)


def drawn(heads: int, blocks: int, tasks: int, seed: int) -> tuple[si.Problem, Any, Any, list[Any]]:
    """A problem, weights in the range of the law, and both in the order of the symbols."""
    rng = np.random.default_rng(seed)
    p = overlapping(rng, blocks, tasks)
    omega, mu = rng.uniform(-0.3, 0.3, (heads, blocks)), rng.normal(0, 1, (heads, tasks))
    numbers = [*omega.ravel(), *mu.ravel(), *np.ravel(p.signal), *p.noise, *p.block_sizes, *p.covariance]
    return p, omega, mu, [*numbers, p.context_length]


@pytest.mark.parametrize("size", [(3, 2, 2), (2, 3, 2)])
def test_complex_steps(size: tuple[int, int, int]) -> None:
    """At three heads and two tasks, of which the proof has two and one with several blocks."""
    _, omega, mu, numbers = drawn(*size, seed=3)
    _, by_omega, by_mu, curvature = symbolic(*size)(*numbers)
    for place in range(omega.size + mu.size):
        moved = list(numbers)
        moved[place] = complex(moved[place], 1e-30)
        losses, *slopes, _ = symbolic(*size)(*moved)
        slope = np.concatenate([part.ravel() for part in slopes])
        assert losses.sum().imag / 1e-30 == pytest.approx([*by_omega.flat, *by_mu.flat][place], rel=1e-11)
        np.testing.assert_allclose(slope.imag / 1e-30, curvature[place], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["EXCESS", "PULL_1"])
def test_a_wrong_formula_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_order_gradient, name, 2 * getattr(first_order_gradient, name))
    with pytest.raises(ProofError):
        first_order_gradient.derive()


@given(st.sampled_from([(1, 1, 1), (2, 1, 2), (2, 2, 1), (2, 2, 2), (3, 2, 2)]), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_kernels_are_the_derived_expressions(size: tuple[int, int, int], seed: int) -> None:
    p, omega, mu, numbers = drawn(*size, seed=seed)
    losses, by_omega, by_mu, curvature = symbolic(*size)(*numbers)
    np.testing.assert_allclose(si.task_loss(p, omega, mu, kernel="first-order"), losses.ravel(), rtol=1e-12)
    slope = si.gradient(p, omega, mu, kernel="first-order")
    np.testing.assert_allclose(slope.omega, by_omega, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(slope.mu, by_mu, rtol=1e-10, atol=1e-11)
    found = si.hessian(p, omega, mu, kernel="first-order")
    np.testing.assert_allclose(found, curvature, rtol=1e-10, atol=1e-10)
