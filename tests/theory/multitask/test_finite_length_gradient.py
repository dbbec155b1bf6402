"""The gradient of the law at any length, as derived, against values computed on their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sympy as sp
from derived_integrals import Pair, one_head
from exact_law import queries

from theory.derivation import ProofError
from theory.multitask import finite_length_gradient as gradient
from theory.multitask.finite_length import DERIVATIVES, Kernel
from theory.multitask.second_order import alpha, gamma

# d = 5, signal 1, noise .1, L = 40: two heads of opposite signs
OMEGA, MU, SIZE, LENGTH, SHARE, LABELS = (0.13, -0.13), (3.45, -3.45), 5, 40, 0.2, 1.1


def of_pair(grams: tuple[float, float, float], v: float, w: float, rho: float) -> tuple[float, float]:
    """t of two heads in one block, and its derivative by the value v of the first."""
    at, signal = Pair(*grams, LENGTH), SHARE * rho
    of = Kernel(*(at(*letters) for letters in DERIVATIVES))
    slopes = (Kernel(*(at(*letters, entry) for letters in DERIVATIVES)) for entry in (alpha, gamma))
    t, *by = (gradient.moment(one, [v], [w], [signal], LABELS) for one in (of, *slopes))
    return float(t), float(gradient.by_value(of, tuple(by), v, w, rho, signal))


def test_gradient_of_two_heads() -> None:
    """By the KQ and by the OV value of head 0; those of head 1 have the opposite signs."""
    by_omega = by_mu = 0.0
    for weight, (rho,) in queries(np.array([SIZE]), 5):
        v, w = OMEGA
        al = v**2 * rho
        own, other = of_pair((al, al, al), v, v, rho), of_pair((al, al, -al), v, w, rho)
        D, slope = (one_head(order, al, LENGTH) for order in range(2))
        lead = SHARE * rho * v
        read_off = gradient.read_off_by_value(D, slope, lead, v, rho, SHARE * rho)
        by_mu += weight * 2 * (MU[0] * own[0] + MU[1] * other[0] - lead * D)
        by_omega += weight * 2 * MU[0] * (MU[0] * own[1] + MU[1] * other[1] - read_off)
    assert by_mu == pytest.approx(0.0043657898, abs=1e-8)
    assert by_omega == pytest.approx(0.1186842386, abs=1e-7)


def wrong_by_value(
    of: Kernel, t: tuple[sp.Expr, sp.Expr], v: sp.Expr, w: sp.Expr, chi: sp.Expr, signal: sp.Expr
) -> sp.Expr:
    return 2 * v * chi * t[0] + w * chi * t[1]  # as if the values were in the Gram entries alone


@pytest.mark.parametrize(
    ("name", "wrong", "step"),
    [
        ("by_value", wrong_by_value, "The Gram entries are quadratic"),
        ("read_off_by_value", lambda D, slope, lead, v, chi, signal: signal * D, "what a head reads off"),
        ("outputs", lambda of, a, b: a * of.M + b * of.by_gamma, "by the value of a head"),
    ],
)
def test_a_wrong_formula_is_refused(
    name: str, wrong: Any, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradient, name, wrong)
    with pytest.raises(ProofError, match=step):
        gradient.derive()
