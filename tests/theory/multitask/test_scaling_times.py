"""Exponents of the closed forms, against differences of the rates of the package."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import spectral_icl as si
from spectral_icl.multitask.flow.rates import losing_rates, winner_rates
from theory.multitask import head_per_task, scaling_times
from theory.symbols import L, a, c, d, phi


def rates(length: float, size: int, noise: float) -> tuple[float, float]:
    """Losing rate and slow rate of one task, at a small key scale."""
    p = si.Problem.multitask(task_sizes=(size,), signal=2.0, noise=noise, context_length=length)
    return float(losing_rates(p, np.zeros(1))[0]), float(winner_rates(p, 1e-7).slow[0])


@pytest.mark.parametrize("length", [30.0, 3000.0])
def test_exponents_are_those_of_the_rates(length: float) -> None:
    size, noise, step = 1000, 2.0, 1e-3
    y = np.e * size * 2.0 / length
    slow = sp.limit(-head_per_task.winner_rates(a, phi, d, c)[1] / c, c, 0)
    formulas = (head_per_task.losing_rate(sp.Integer(0), a, phi, d), slow)
    steps = {
        L: [rates(length * (1 + s * step), size, noise) for s in (1, -1)],
        d: [rates(length, size + s, noise) for s in (1, -1)],
        phi: [rates(length, size, noise * (1 + 2 * s * step)) for s in (1, -1)],  # phi = 1 + noise / 2
    }
    for by, (more, less) in steps.items():
        for place, formula in enumerate(formulas):
            expected = float(scaling_times.exponent(formula, by).subs(scaling_times.y, y))
            measured = np.log(more[place] / less[place]) / (2 * step)
            assert measured == pytest.approx(expected, abs=2e-3), (by, place)
