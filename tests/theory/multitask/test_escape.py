"""The predicted escape time is the derived one."""

from __future__ import annotations

import pytest
import sympy as sp

import spectral_icl as si
from spectral_icl.multitask.flow.escape import EXIT, predicted_escape
from theory.multitask import escape


def test_escape_time(two_tasks: si.Problem) -> None:
    limit = si.optimal.head_per_task(two_tasks).weights
    assert limit is not None
    z, mu, imbalance = 0.3, 1e-4, 1e-7
    at = si.State(limit.omega.copy(), limit.mu.copy())
    at.omega[1, 0], at.mu[1, 0] = z / 10**0.5, mu
    at.omega[1, 1] = 0.0  # an idle rival: its own block carries nothing
    found = predicted_escape(two_tasks, at, imbalance / 2, 0, 0, 1)
    star = sp.Float(limit.mu[0, 0])
    rate = escape.rate(sp.Float(z), sp.Float(10.09), sp.Integer(100), star)
    expected = escape.time(sp.Float(mu), EXIT * star, sp.Float(imbalance), rate)
    assert found == pytest.approx(float(expected))
