"""The distance of the steepest fall from the divergence, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from spectral_icl.kernels.fall import delays
from spectral_icl.kernels.tableaus import RODAS5P


def rates(y: np.ndarray, g: float, k: float) -> np.ndarray:
    w, m = np.exp(y)
    tilt = g * np.exp(w * w)
    return np.array([m * (1.0 - m * w * (1.0 + tilt)), (w * (1.0 - m * w) - tilt * m) / k])


def loss(y: np.ndarray, g: float) -> np.ndarray:
    w, m = np.exp(y)
    return (1.0 - m * w) ** 2 + g * np.exp(w * w) * m * m


@pytest.mark.parametrize("g", [0.0, 1e-3, 0.3, 20.0])
@pytest.mark.parametrize("k", [3e-3, 0.2, 10.0])
def test_delay_is_that_of_the_curve(g: float, k: float) -> None:
    """From a point on the ray, ten times as close to zero as the kernel begins: off by a relative 1e-6 w."""
    ray = k + g
    begin = 1e-4 * min(1.0, ray**0.5)
    beyond = 5.0 * (ray**0.5 + ray)
    end = ray / begin + beyond
    run = solve_ivp(
        lambda _, y: rates(y, g, k),
        (0.0, end),
        np.log([begin, begin / ray]),
        "Radau",
        rtol=1e-9,
        atol=1e-11,
        dense_output=True,
    )
    assert run.sol is not None
    t = np.linspace(end - 2.0 * beyond, end, 40_001)
    slope = np.gradient(loss(run.sol(t), g), t)
    found = delays(RODAS5P, np.array([g]), np.array([k]))[0]
    assert found == pytest.approx(t[slope.argmin()] - ray / begin, abs=2e-3 * (ray + ray**0.5))


def test_what_is_too_extreme_has_no_delay() -> None:
    assert np.isnan(delays(RODAS5P, np.array([np.nan, np.inf]), np.array([1.0, 1.0]))).all()
