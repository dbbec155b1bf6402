"""The risk of a gradient step against sampled prompts."""

from __future__ import annotations

import numpy as np
import pytest
from sampling import isotropic, within_errors

from theory.sparse.one_step import one_step_risk, one_step_size


@pytest.mark.parametrize(("d", "n", "s2"), [(6, 15, 0.4), (9, 4, 0.1), (2, 3, 3.0)])
def test_one_step_risk(d: int, n: int, s2: float) -> None:
    rng = np.random.default_rng(d)
    w = np.zeros(d)
    w[:2] = 0.9, -0.7
    v = float(w @ w)
    _, r, _ = isotropic(rng, 40_000, n, w, s2)
    best = one_step_size(d, n, v, s2)
    errors = {factor: ((factor * best * r - w) ** 2).sum(1) for factor in (0.8, 1.0, 1.2)}
    assert within_errors(errors[1.0], one_step_risk(d, n, v, s2))
    for factor in (0.8, 1.2):  # the risk is quadratic in the size
        assert within_errors(errors[factor] - errors[1.0], v * best * (factor - 1) ** 2)
