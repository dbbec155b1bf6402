"""The best single head of the first-order law, against a search over its loss."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from theory.derivation import ProofError
from theory.multitask import first_order, first_order_single_head, gradient_step, loss
from theory.symbols import L


@given(st.integers(1, 40), st.floats(0, 3))
@settings(max_examples=20)
def test_the_best_value_minimises_the_dimension(size: int, noise: float) -> None:
    d, phi = sp.Integer(size), sp.Float(1 + noise)
    u = sp.Symbol("u")
    dimension = sp.lambdify(u, first_order_single_head.dimension(u, d, phi))
    best = float(first_order_single_head.best_value(d, phi))
    found = minimize_scalar(dimension, bounds=(1e-6, 0.5 - 1e-9), method="bounded", options={"xatol": 1e-10})
    assert found.x == pytest.approx(best, rel=1e-4)
    assert found.fun == pytest.approx(dimension(best), rel=1e-9)
    assert dimension(best) > np.e * size


def test_the_loss_of_a_long_prompt_is_that_of_the_dimension() -> None:
    """Search over both weights: L times the loss tends to a phi X, with what is left of first order."""
    at, size, power, noise = loss.symbols(1, 1, 1), 6, 1.5, 0.4
    fixed = {at["sizes"][0]: size, at["kappas"][0]: 0.7, at["powers"][0]: power, at["noises"][0]: noise}
    expression = first_order.task_losses(at)[0].subs(fixed) - noise
    ratio, (omega,), (mu,) = sp.Float(1 + noise / power), at["omega"], at["mu"]
    quadratic = sp.lambdify(
        [omega, L], [sp.Poly(sp.expand(expression), mu).coeff_monomial(mu**n) for n in range(3)]
    )

    def least(length: float) -> float:
        def profiled(value: float) -> float:
            constant, linear, square = quadratic(value, length)
            return float(constant - linear**2 / (4 * square))

        options = {"xatol": 1e-9}
        return float(minimize_scalar(profiled, bounds=(0.1, 0.9), method="bounded", options=options).fun)

    u = first_order_single_head.best_value(sp.Integer(size), ratio)
    limit = power * ratio * first_order_single_head.dimension(u, sp.Integer(size), ratio)
    gaps = [length * least(length) / float(limit) - 1 for length in (1e4, 1e5, 1e6)]
    np.testing.assert_allclose(np.divide(gaps[1:], gaps[:-1]), 0.1, rtol=0.1)


def test_one_head_against_the_step() -> None:
    """The two-task example of the package: 2.97 times the excess of the step, which is above e."""
    d, phi = sp.Integer(10), sp.Float(1.009)
    least = first_order_single_head.dimension(first_order_single_head.best_value(d, phi), d, phi)
    assert float(least / gradient_step.dimension(d, phi)) == pytest.approx(2.97, abs=0.01)


def test_a_value_for_another_size_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = first_order_single_head.best_value
    monkeypatch.setattr(first_order_single_head, "best_value", lambda size, ratio: sound(size + 1, ratio))
    with pytest.raises(ProofError, match="It is at"):
        first_order_single_head.derive()
