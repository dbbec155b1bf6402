"""The trained factors of semi-singular values, omega = c k q and mu = o v, at a conserved imbalance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State


class Factors(NamedTuple):
    """Diagonals of K and Q, (..., H, B), of V and O, (..., H, I); merged weights are key and value."""

    key: Floats
    query: Floats
    value: Floats
    output: Floats


def factors_of(problem: Problem, parametrization: Parametrization, at: State) -> Factors:
    """The factors of states. Of two that differ in size the larger are k and v, which are positive."""
    if not parametrization.trains_factors:
        return Factors(at.omega, np.ones_like(at.omega), at.mu, np.ones_like(at.mu))
    scale = parametrization.scale(problem)
    key, query = _split(at.omega / scale, parametrization.imbalance("omega"))
    value, output = _split(at.mu, parametrization.imbalance("mu"))
    return Factors(key, query, value, output)


def _split(product: Floats, imbalance: Floats) -> tuple[Floats, Floats]:
    """Two factors of a product whose squares differ by an imbalance >= 0."""
    larger = np.sqrt(0.5 * (imbalance + np.hypot(imbalance, 2.0 * product)))
    with np.errstate(invalid="ignore", divide="ignore"):
        smaller = np.where(larger > 0.0, product / larger, 0.0)
    return larger, smaller
