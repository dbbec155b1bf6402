"""The first-order law against softmax attention itself, by quadrature."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
import sympy as sp
from expressions import overlapping
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from two_heads import exact_loss

import spectral_icl as si
from theory.multitask import first_order, loss
from theory.symbols import L

A, NOISE, KAPPA = 0.8, 0.3, 1.3
OMEGA, MU = np.array([0.22, -0.15]), np.array([1.4, -1.9])


@cache
def exact(length: float) -> float:
    """The loss of softmax attention at the case above."""
    return exact_loss(length, OMEGA, MU, power=A, noise=NOISE, kappa=KAPPA)


def value(expression: sp.Expr, length: float) -> float:
    """An expression of two heads, one block and one task at the case above."""
    at = loss.symbols(2, 1, 1)
    numbers = {
        at["sizes"][0]: 1,
        at["kappas"][0]: KAPPA,
        at["powers"][0]: A,
        at["noises"][0]: NOISE,
        L: length,
    }
    numbers |= dict(zip([*at["omega"], *at["mu"]], [*OMEGA, *MU], strict=True))
    return float(expression.subs(numbers))


@cache
def gaps(variant: str) -> NDArray[np.float64]:
    """By how much a law misses the loss of softmax attention, at three lengths, each 4 times the last."""
    at = loss.symbols(2, 1, 1)
    whole = first_order.task_losses(at)[0]
    law = {
        "whole": whole,
        "without the bias": whole - first_order.bias(at, 0) / L,
        "asymptotic": loss.task_losses(at)[0],
    }[variant]
    return np.array([exact(length) - value(law, length) for length in (400.0, 1600.0, 6400.0)])


def test_what_it_misses_is_of_second_order() -> None:
    missed = gaps("whole")
    np.testing.assert_allclose(missed[1:] / missed[:-1], 1 / 16, rtol=0.1)


@pytest.mark.parametrize("variant", ["without the bias", "asymptotic"])
def test_less_than_the_whole_misses_at_first_order(variant: str) -> None:
    missed = gaps(variant)
    np.testing.assert_allclose(missed[1:] / missed[:-1], 1 / 4, rtol=0.1)


def test_large_blocks_have_the_large_l_loss() -> None:
    """The relative gap falls as one over the size of the block, the length growing in proportion."""
    at = loss.symbols(2, 1, 1)
    order = [at["sizes"][0], L, *at["omega"], *at["mu"]]
    fixed = {at["kappas"][0]: 1, at["powers"][0]: A, at["noises"][0]: NOISE}
    laws = sp.lambdify(order, [law.task_losses(at)[0].subs(fixed) for law in (first_order, loss)])
    rows = []
    for size in (100.0, 1000.0, 10000.0):
        scale = np.sqrt(size)
        first, large = laws(size, 3 * size, 0.9 / scale, -0.7 / scale, 0.8 * scale, -0.3 * scale)
        rows.append(first / large - 1)
    np.testing.assert_allclose(np.divide(rows[1:], rows[:-1]), 0.1, rtol=0.1)


@cache
def symbolic(heads: int, blocks: int, tasks: int) -> Any:
    """The task losses as a function of the values of all symbols."""
    at = loss.symbols(heads, blocks, tasks)
    order = [*at["omega"], *at["mu"], *at["powers"], *at["noises"], *at["sizes"], *at["kappas"], L]
    return sp.lambdify(order, first_order.task_losses(at), "numpy", cse=True)


@given(st.sampled_from([(1, 1, 1), (2, 1, 2), (2, 2, 2), (3, 2, 2)]), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_kernel_is_the_derived_expression(size: tuple[int, int, int], seed: int) -> None:
    heads, blocks, tasks = size
    rng = np.random.default_rng(seed)
    p = overlapping(rng, blocks, tasks)
    omega, mu = rng.uniform(-0.3, 0.3, (heads, blocks)), rng.normal(0, 1, (heads, tasks))
    numbers = [*omega.ravel(), *mu.ravel(), *np.ravel(p.signal), *p.noise, *p.block_sizes, *p.covariance]
    losses = symbolic(*size)(*numbers, p.context_length)
    np.testing.assert_allclose(si.task_loss(p, omega, mu, kernel="first-order"), losses, rtol=1e-12)
