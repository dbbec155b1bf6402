"""The derived losses, gradient and Hessian are what the kernels compute."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from expressions import overlapping
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from theory.multitask import gradient, loss
from theory.symbols import L


@cache
def symbolic(heads: int, blocks: int, tasks: int) -> tuple[list[sp.Symbol], Any]:
    """Symbols of a size, and a function of their values: task losses, gradient and Hessian of the theory."""
    at = loss.symbols(heads, blocks, tasks)
    order = [*at["omega"], *at["mu"], *at["powers"], *at["noises"], *at["sizes"], *at["kappas"], L]
    by_omega, by_mu = gradient.gradient(at)
    made = [sp.Matrix(loss.task_losses(at)), by_omega, by_mu, gradient.hessian(at)]
    return order, sp.lambdify(order, made, "numpy", cse=True)


@given(st.sampled_from([(1, 1, 1), (2, 1, 2), (2, 2, 1), (2, 2, 2), (3, 2, 2)]), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_kernels_are_the_derived_expressions(size: tuple[int, int, int], seed: int) -> None:
    heads, blocks, tasks = size
    rng = np.random.default_rng(seed)
    p = overlapping(rng, blocks, tasks)
    omega, mu = rng.normal(0, 0.3, (heads, blocks)), rng.normal(0, 1, (heads, tasks))
    numbers = [*omega.ravel(), *mu.ravel(), *np.ravel(p.signal), *p.noise, *p.block_sizes, *p.covariance]
    losses, by_omega, by_mu, curvature = symbolic(*size)[1](*numbers, p.context_length)
    np.testing.assert_allclose(si.task_loss(p, omega, mu), losses.ravel(), rtol=1e-12)
    slope = si.gradient(p, omega, mu)
    np.testing.assert_allclose(slope.omega, by_omega, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(slope.mu, by_mu, rtol=1e-10, atol=1e-11)
    np.testing.assert_allclose(si.hessian(p, omega, mu), curvature, rtol=1e-10, atol=1e-10)
