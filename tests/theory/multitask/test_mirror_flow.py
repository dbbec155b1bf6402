"""The derived rates are those of a solved flow."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import spectral_icl as si
from theory.multitask import mirror_flow


@pytest.mark.parametrize("imbalance", [0.0, 1e-3, 0.5])
def test_mirror_flow_is_the_solved_flow(two_tasks: si.Problem, imbalance: float) -> None:
    """Rates of omega and mu from the derivation, against the first moments of a solved flow."""
    rng = np.random.default_rng(0)
    at = si.State(rng.normal(0, 0.2, (2, 2)), rng.normal(0, 1, (2, 2)))
    c, step = 0.3, 1e-5
    free = si.Factored(imbalance, 2 * imbalance, key_scale=c)
    sol = si.gradient_flow(two_tasks, *at, parametrization=free, t_end=1e-3, rtol=1e-12)
    slope = si.gradient(two_tasks, *at)
    for k, path in enumerate(sol(np.array([0.0, step, 2 * step]))):
        measured = (4 * path[1] - 3 * path[0] - path[2]) / (2 * step)
        for h, i in np.ndindex(2, 2):
            number = [sp.Float(at[k][h, i]), sp.Float(slope[k][h, i])]
            if k == 0:
                number[1] /= 10  # of one of the ten coordinates
                expected = mirror_flow.omega_rate(*number, sp.Float(imbalance), sp.Float(c))
            else:
                expected = mirror_flow.mu_rate(*number, sp.Float(2 * imbalance))
            assert measured[h, i] == pytest.approx(float(expected), rel=1e-5)
