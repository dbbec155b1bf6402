"""The predicted emergence time is the derived one."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from expressions import positive
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask.flow.emergence import predicted_emergence
from theory.multitask import emergence


@given(positive, st.integers(1, 40), positive, st.floats(20, 2000), st.floats(1e-4, 1e-2), st.floats(0.1, 10))
@settings(max_examples=30)
def test_emergence_time(a: float, size: int, noise: float, length: float, omega0: float, tilt: float) -> None:
    p = si.Problem(block_sizes=(size,), signal=((a,),), noise=noise, context_length=length, covariance=0.7)
    rates = emergence.rates(*map(sp.Float, (a, size, 0.7, a + noise, length, 0.3)))
    mu0 = tilt * omega0 * float(rates[1] / rates[0])
    start = si.State(np.array([[omega0]]), np.array([[mu0]]))
    found = predicted_emergence(p, start, 0.3, 0)
    predicted = found.time
    if predicted is None:
        assert "not small" in found.remark
        return
    expected = emergence.time(sp.Float(omega0), sp.Float(mu0), *rates)
    assert predicted == pytest.approx(float(sp.re(expected.evalf(30))), rel=1e-8)
