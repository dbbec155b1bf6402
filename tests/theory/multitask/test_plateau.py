"""The effective dimension of the plateau."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp

import spectral_icl as si
from theory import derived
from theory.multitask import plateau


@pytest.mark.parametrize("tasks", [2, 3, 6])
def test_plateau_dimension(tasks: int) -> None:
    p = si.Problem.multitask(task_sizes=(9,) * tasks, signal=1.0, noise=0.2, context_length=50)
    found = si.optimal.effective_dimension(p, si.optimal.plateau(p))
    np.testing.assert_allclose(found, float(plateau.plateau_dimension(sp.Integer(9), sp.Integer(tasks))))


def test_two_task_example_is_in_the_derivation() -> None:
    assert "costs 1.679, and 2.152 at the limit" in " ".join(derived("plateau").to_text().split())
