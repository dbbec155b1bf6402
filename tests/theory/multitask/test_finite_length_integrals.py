"""The derived integrands, integrated: to ten digits, and fourth derivatives by differences of third."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from derived_integrals import Pair, one_head

from theory.derivation import ProofError
from theory.multitask import finite_length_integrals as integrals
from theory.multitask.second_order import alpha, beta, gamma
from theory.symbols import L

POINTS = ((0.5, 0.5, 0.2, 40), (1.0, 2.0, -0.8, 10))
DIGITS = {  # at these variances, covariance and length
    "K": (0.03017420724, 0.057237081401),
    "K_gamma": (0.028225194363, 0.042894402094),
    "K_alpha": (-0.0002223610073, 0.0034287119533),
    "K_beta": (-0.0002223610073, 0.003169938696),
    "M": (0.23047314154, 0.14588039251),
    "K_gamma_gamma": (0.024795514489, 0.024533608064),
    "K_alpha_gamma": (-0.001392257024, -0.0016997827723),
    "K_beta_gamma": (-0.001392257024, -0.0018098950722),
    "K_alpha_beta": (1.2366818169e-05, -8.7324111824e-05),
    "K_alpha_alpha": (-0.00011880307559, -9.4237531989e-05),
    "K_beta_beta": (-0.00011880307559, -0.0004723950357),
    "M_alpha": (-0.008398506809, -0.016394176233),
    "M_beta": (-0.008398506809, -0.014457355421),
}


@pytest.mark.parametrize("which", [0, 1])
def test_functions_to_ten_digits(which: int) -> None:
    """Values computed on their own, of everything that a loss and its gradient take."""
    at = Pair(*POINTS[which])
    assert set(DIGITS) == set(integrals.FUNCTIONS)
    found = [at(*integrals.FUNCTIONS[name]) for name in DIGITS]
    np.testing.assert_allclose(found, [values[which] for values in DIGITS.values()], rtol=2e-9)


@pytest.mark.parametrize("entry", [0, 1, 2])
def test_fourth_derivatives_are_differences_of_third(entry: int) -> None:
    point, step = np.array([0.6, 0.9, 0.3]), 2e-3
    up, down = (Pair(*(point + sign * step * np.eye(3)[entry]), 12) for sign in (1, -1))
    here, letter = Pair(*point, 12), (alpha, beta, gamma)[entry]
    for letters in ((alpha, beta, gamma), (alpha, gamma, gamma), (gamma,) * 3, (alpha, alpha, beta)):
        slope = (up(*letters) - down(*letters)) / (2 * step)
        assert here(*letters, letter) == pytest.approx(slope, rel=1e-3, abs=1e-7)


@pytest.mark.parametrize(
    ("al", "length", "values"),
    [
        (1, 40, (0.9403577970738, -0.04361538123770, -0.01366657221683)),
        (4, 40, (0.7954394201661, -0.0444271092103, 0.00488249972954)),
    ],
)
def test_one_head_to_eleven_digits(al: float, length: float, values: tuple[float, ...]) -> None:
    """D and its derivatives."""
    found = [one_head(order, al, length) for order in range(len(values))]
    np.testing.assert_allclose(found, values, rtol=1e-10)


def wrong_ratios(base: sp.Expr) -> dict[sp.Expr, sp.Expr]:
    return {integrals.ratio(n): ((L - 1) / base) ** n for n in (1, 2, 3)}


def wrong_composed(letters: Any) -> sp.Expr:
    i, j, k = (list(letters).count(entry) for entry in (alpha, beta, gamma))
    return integrals.array(2 * i + k, 2 * j + k)  # without the factors one half


@pytest.mark.parametrize(
    ("name", "wrong", "step"),
    [
        ("composed", wrong_composed, "and"),
        ("ratios", wrong_ratios, "of three"),
        ("chain", lambda letters, derivative: derivative(letters), "they are sums over all ways"),
    ],
)
def test_a_wrong_formula_is_refused(
    name: str, wrong: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(integrals, name, wrong)
    with pytest.raises(ProofError, match=step):
        integrals.derive()
