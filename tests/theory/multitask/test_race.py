"""The rates of lone and of taken heads, and the time of a leader among rivals."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from expressions import positive
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from spectral_icl.multitask.flow.race import fall_delay
from spectral_icl.multitask.flow.race import race as full_race
from theory.multitask import emergence, race


@given(positive, st.integers(1, 40), positive, st.floats(20, 500), st.floats(0.05, 1.0), st.floats(0.4, 2.0))
@settings(max_examples=30)
def test_curve_of_a_lone_head(
    a: float, size: int, noise: float, length: float, c: float, kappa: float
) -> None:
    """Both rates, and the loss, at any point of the plane."""
    p = si.Problem(block_sizes=(size,), signal=((a,),), noise=noise, context_length=length, covariance=kappa)
    g = size * (a + noise) / a / length
    for w, m in ((0.1, 0.3), (0.9, 0.5), (1.4, 1.1)):
        at = si.State(np.array([[w / (kappa * size**0.5)]]), np.array([[m * size**0.5]]))
        slope, unit = si.gradient(p, *at), 4 * c * kappa * a / size**0.5
        found = [-2 * c * slope.omega[0, 0] / size / unit, -2 * slope.mu[0, 0] / unit]
        rates = race.curve(*map(sp.Float, (w, m, g, kappa * c)))
        np.testing.assert_allclose(found, [float(rate) for rate in rates], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("shrink", [1e-3, 1e-5])
def test_rates_of_a_head_that_has_a_task(shrink: float) -> None:
    """Of its small weights on another task, against the compiled gradient, to first order in these."""
    p = si.Problem(
        block_sizes=(6, 11),
        signal=((1.3, 0.0), (0.0, 0.8)),
        noise=(0.2, 0.3),
        context_length=90,
        covariance=(0.7, 1.4),
    )
    limit, c = si.optimal.head_per_task(p).weights, 0.4
    assert limit is not None
    mu_j = limit.mu[1, 1]
    at = si.State(shrink * np.array([[0.8, 0.5], [0.6, 0.0]]), shrink * np.array([[0.9, 0.4], [0.7, 0.0]]))
    at.omega[1, 1], at.mu[1, 1] = limit.omega[1, 1], mu_j
    slope = si.gradient(p, *at)
    c1, c2, n = emergence.rates(*map(sp.Float, (1.3, 6, 0.7, 1.5, 90, c)))
    omega, mu = (float(values[1, 0]) for values in at)
    taken = float(np.e) * 1.1 * mu_j**2 / 90
    strayed = float(race.stray_rate(omega, mu, c1, c, 0.7, taken))
    held = float(race.stray_mu_rate(mu, at.mu[:, 0].sum(), omega, c2, n))
    assert -2 * c * slope.omega[1, 0] / 6 == pytest.approx(strayed, rel=20 * shrink)
    assert -2 * slope.mu[1, 0] == pytest.approx(held, rel=20 * shrink)
    assert float(c1) * mu > 1.05 * strayed  # the hold is no small correction


@pytest.mark.parametrize("length", [15.0, 200.0])
def test_time_of_a_leader_is_bracketed(length: float) -> None:
    """The full race of three heads on one task, between the lone head's times with n and with n S."""
    p = si.Problem(block_sizes=(5,), signal=((1.0,),), noise=0.6, context_length=length)
    start = si.State(1e-4 * np.array([[1.0], [0.8], [0.5]]), 1e-4 * np.array([[2.0], [1.7], [1.9]]))
    c1, c2, n = emergence.rates(*map(sp.Float, (1, 5, 1, 1.6, length, 0.5)))
    share = float(start.mu.sum() / start.mu[0, 0])
    low, high = (
        float(sp.re(emergence.time(sp.Float(1e-4), sp.Float(2e-4), c1, c2, n * f).evalf(30)))
        for f in (1, share)
    )
    forecast = full_race(p, start, 0.5)[0]
    assert forecast.time is not None
    found = forecast.time - fall_delay(5 * 1.6 / length, 0.5) / (float(c1) * 5**0.5)
    assert forecast.head == 0
    assert low * 1.001 < found < high * 0.999
