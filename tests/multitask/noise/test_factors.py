"""Factors have the products and the imbalances that they are made of."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.noise.factors import factors_of
from spectral_icl.multitask.parametrization import Parametrization
from spectral_icl.multitask.state import State

PROBLEM = si.Problem.multitask(task_sizes=(3, 2), signal=1.0, noise=0.1, context_length=20)
AT = State(np.array([[0.3, -0.2], [0.0, 1e-9]]), np.array([[1.1, -0.5], [0.0, 2.0]]))


@pytest.mark.parametrize(
    "weights", [si.Balanced(), si.Factored(1e-3, 0.5), si.Balanced(key_scale=2.0)], ids=repr
)
def test_products_and_imbalances(weights: Parametrization) -> None:
    key, query, value, output = factors_of(PROBLEM, weights, AT)
    np.testing.assert_allclose(weights.scale(PROBLEM) * key * query, AT.omega, rtol=1e-12)
    np.testing.assert_allclose(value * output, AT.mu, rtol=1e-12)
    np.testing.assert_allclose(key**2 - query**2, weights.imbalance("omega"), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(value**2 - output**2, weights.imbalance("mu"), rtol=1e-9, atol=1e-15)
    assert (key >= 0.0).all()
    assert (value >= 0.0).all()


def test_merged_weights_are_one_factor() -> None:
    key, query, value, output = factors_of(PROBLEM, si.Merged(), AT)
    assert (key == AT.omega).all()
    assert (value == AT.mu).all()
    assert (query == 1.0).all()
    assert (output == 1.0).all()
