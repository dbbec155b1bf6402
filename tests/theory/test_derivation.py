"""A derivation refuses what is wrong, and says how it proved the rest."""

from __future__ import annotations

import pytest
import sympy as sp

from theory.derivation import Derivation, ProofError

x, y = sp.symbols("x y", positive=True)


def test_claims_that_are_wrong_are_refused() -> None:
    step = Derivation("A wrong one", "nowhere")
    with pytest.raises(ProofError, match="which is not zero"):
        step.identity("", sp.sin(x) ** 2 + sp.cos(x) ** 2, sp.Integer(2))
    with pytest.raises(ProofError, match="not established"):
        step.sign("", x - y, ">")
    with pytest.raises(ProofError, match=r"is not \(x - y\)\*\*2"):
        step.sign("", x**2 + y**2, ">=", form=(x - y) ** 2)
    with pytest.raises(ProofError, match=r"f'\(2\)"):
        step.minimum("", sp.exp(x) - sp.E * x, x, sp.Integer(2))
    with pytest.raises(ProofError, match="f''"):
        step.minimum("", sp.cos(x), x, sp.Integer(0))
    assert step.steps == []


def test_definitions_are_not_proved_and_proofs_are_named() -> None:
    step = Derivation("A small one", "nowhere")
    step.say("Prose.")
    step.define("A name.", x, y)
    step.identity("A claim of {y}.", (x + y) ** 2, x**2 + 2 * x * y + y**2, how="by expanding {y}", y=y)
    step.sign("A sign.", x**2 + y**2 - 2 * x * y, ">=", form=(x - y) ** 2)
    assert [made.proved for made in step.steps] == [False, False, True, True]
    assert "[by expanding y]" in step.to_text()
    assert r"{\small [by expanding $y$]}" in step.to_latex()
    assert r"{\small [since it equals $\left(x - y\right)^{2}$]}" in step.to_latex()
