"""The derived covariances and stationary losses are those that are computed."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import spectral_icl as si
from spectral_icl.multitask.noise.leading import leading_order
from spectral_icl.multitask.noise.plateau import _modes
from spectral_icl.multitask.state import State
from theory import derived
from theory.multitask import sgd_noise
from theory.symbols import L, d


def test_the_noise_of_two_heads_is_that_of_the_closed_form() -> None:
    """Of a task without signal, whose readings are noise alone: S = 4 E[e^2] Cov + 4 Cov Cov'."""
    problem = si.Problem(
        block_sizes=(3,), signal=((0.5,), (1e-20,)), noise=(0.1, 2.0), context_length=40, covariance=(0.8,)
    )
    at = State(np.array([[0.4], [0.3]]), np.array([[0.0, 1.0], [0.0, 0.0]]))
    found = leading_order(problem, at, np.zeros(2))[0]
    numbers = {L: 40, d: 3, sgd_noise.kappa: 0.8, sgd_noise.omega: 0.4, sgd_noise.omega2: 0.3}
    s = sp.Symbol("s")
    noise = s / L * sgd_noise.tilt(sgd_noise.omega, sgd_noise.omega2)
    cross = float(noise.subs(s, 2.0).subs(numbers))
    own = float((s / L * sgd_noise.tilt(sgd_noise.omega, sgd_noise.omega)).subs(s, 2.0).subs(numbers))
    # the error of task 1 is the reading of head 0; entries are omega of both heads, then mu head by head
    assert found[3, 5] == pytest.approx(4.0 * (own * cross + own * cross), rel=1e-9)
    tilted = sp.diff(noise, sgd_noise.omega) / d
    twice = sp.diff(noise, sgd_noise.omega).subs(sgd_noise.omega2, sgd_noise.omega)
    with_mu = float(tilted.subs(s, 2.0).subs(numbers))  # tilt of head 0 with the reading of head 1
    with_error = float((twice / d).subs(s, 2.0).subs(numbers))
    assert found[0, 5] == pytest.approx(4.0 * (own * with_mu + with_error * cross), rel=1e-9)


def test_the_loss_of_a_mode_is_derived() -> None:
    step, curvature, noise = 0.1, 7.0, 3.0
    told = sgd_noise.stationary_loss(*map(sp.Float, (step, curvature, noise, 1.0)))
    found = _modes(np.array([[curvature]]), np.array([[noise]]), np.eye(1), step)
    assert found == pytest.approx((float(told), curvature))


def test_the_change_of_an_imbalance_is_in_the_derivation() -> None:
    text = " ".join(derived("sgd_noise").to_text().split())
    assert "Delta(D_11)" in text
    assert "(g_12**2 - g_21**2)" in text
