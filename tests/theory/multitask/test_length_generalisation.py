"""Losses at other lengths are the derived ones."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from expressions import value

import spectral_icl as si
from theory.multitask import length_generalisation


@pytest.mark.parametrize("length", [20.0, 100.0, 5000.0])
def test_length_generalisation(two_tasks: si.Problem, length: float) -> None:
    tested = si.optimal.length_generalisation(two_tasks, length).task_loss - 0.09
    expression = length_generalisation.loss_at(sp.Float(length))
    at = {"a": 10.0, "d": 10.0, "phi": 1.009, "L": 100.0}
    np.testing.assert_allclose(tested, value(expression, **at))
    endless = si.optimal.length_generalisation(two_tasks, 1e12).task_loss - 0.09
    np.testing.assert_allclose(endless, value(length_generalisation.floor(), **at), rtol=1e-8)
