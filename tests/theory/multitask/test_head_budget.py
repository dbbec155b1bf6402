"""Heads of opposite signs against the profile of attention."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from hypothesis import given
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask.optimal.search import Attention
from theory.multitask import head_budget, plateau


@given(st.integers(1, 30), st.floats(0.01, 0.4))
def test_pair_of_opposite_heads(size: int, omega: float) -> None:
    """The profile of +-omega on one task, and of H heads each on its own of H equal tasks."""
    p = si.Problem(block_sizes=(size,), signal=((2.0,),), noise=0.5, context_length=80)
    w = np.array([[omega], [-omega]]) * np.sqrt(size)
    excess = Attention(p, 2).profile(w)[0].sum()
    dimension = 80 * 2.0 * excess / (2.5 * (2.0 - excess))
    assert dimension == pytest.approx(float(head_budget.pair_dimension(sp.Float(omega), sp.Integer(size))))
    for heads in (2, 3):
        many = si.Problem.multitask(task_sizes=(size,) * heads, signal=2.0, noise=0.5, context_length=80)
        losses = Attention(many, heads).profile(omega * np.sqrt(size) * np.eye(heads))[0]
        expected = float(plateau.exact_dimension(sp.Float(omega), sp.Integer(size), sp.Integer(heads)))
        np.testing.assert_allclose(80 * 2.0 * losses / (2.5 * (2.0 - losses)), expected, rtol=1e-9)
