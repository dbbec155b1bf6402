"""Single-index tasks: the loss of the package is the derived expression, which holds by quadrature."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import sympy as sp

from spectral_icl.multitask.nonlinear.loss import task_loss
from spectral_icl.multitask.nonlinear.problem import SingleIndex
from theory.multitask import nonlinear

HEADS = sp.symbols("omega_:2", real=True)
VALUES = sp.symbols("mu_:2", real=True)


@cache
def first_order(degree: int) -> sp.Expr:
    """Loss of one task of size ``d`` under two heads, from the derived parts."""
    c, length, d = nonlinear.coefficients(degree), nonlinear.L, nonlinear.d
    z = sp.Symbol("t", real=True)
    output = sum(mu * nonlinear.tilted(c, w * z) for mu, w in zip(VALUES, HEADS, strict=True))
    total = nonlinear.average((output - nonlinear.function(c, z)) ** 2, sp.Integer(1)) + nonlinear.noise
    for h in range(2):
        own = (1 - 2 * HEADS[h] ** 2) ** (-d / 2)
        total += 2 * VALUES[h] * own * nonlinear.drift(c, HEADS, VALUES, h) / length
        for k in range(2):
            overlap = (1 - 2 * HEADS[h] * HEADS[k]) ** (-d / 2)
            total += VALUES[h] * VALUES[k] * overlap * nonlinear.fluctuation(c, HEADS, h, k) / length
    return total


@pytest.mark.parametrize("degree", [1, 2, 3])
def test_the_loss_is_the_derived_expression(degree: int) -> None:
    rng = np.random.default_rng(degree)
    names = [*nonlinear.coefficients(degree), *HEADS, *VALUES, nonlinear.noise, nonlinear.d, nonlinear.L]
    derived = sp.lambdify(names, first_order(degree))
    for _ in range(5):
        c, omega, mu = rng.normal(size=degree + 1), rng.uniform(-0.4, 0.4, 2), rng.normal(size=2)
        p = SingleIndex(task_sizes=(7,), coefficients=c, noise=0.2, context_length=60)
        found = task_loss(p, omega[:, None], mu[:, None], "first-order")
        np.testing.assert_allclose(found, derived(*c, *omega, *mu, 0.2, 7, 60), rtol=1e-12)


def test_tilted_moments_by_quadrature() -> None:
    """Mean and variance of a function of degree four under a tilt, by a rule that knows no Hermite series."""
    x, w = np.polynomial.legendre.leggauss(400)
    x, w = 12.0 * x, 12.0 * w
    c, theta = (0.3, -0.7, 0.5, 0.2, 0.4), 0.8
    weight = w * np.exp(-((x - theta) ** 2) / 2) / np.sqrt(2 * np.pi)
    polynomial = [
        1.0 + 0 * x,
        x,
        (x**2 - 1) / 2**0.5,
        (x**3 - 3 * x) / 6**0.5,
        (x**4 - 6 * x**2 + 3) / 24**0.5,
    ]
    f = np.dot(c, polynomial)
    mean = (weight * f).sum()
    named = dict(zip(nonlinear.coefficients(4), c, strict=True)) | {nonlinear.theta: theta}
    at = nonlinear.theta
    assert float(nonlinear.tilted(nonlinear.coefficients(4), at).subs(named)) == pytest.approx(
        mean, rel=1e-12
    )
    variance = float(nonlinear.spread(nonlinear.coefficients(4), at).subs(named))
    assert variance == pytest.approx((weight * (f - mean) ** 2).sum(), rel=1e-12)
