"""The closed forms of one task, and the shares of several under one head."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from expressions import positive, value
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from theory.multitask import gradient_step, lower_bound, single_head


@given(positive, st.integers(1, 40), positive, st.floats(10, 1000), positive)
@settings(max_examples=30)
def test_closed_forms_of_one_task(a: float, size: int, noise: float, length: float, kappa: float) -> None:
    p = si.Problem(block_sizes=(size,), signal=((a,),), noise=noise, context_length=length, covariance=kappa)
    s, ratio = a + noise, (a + noise) / a
    limit = si.optimal.head_per_task(p)
    assert limit.weights is not None
    omega, mu = limit.weights.omega[0, 0] * kappa, limit.weights.mu[0, 0]
    assert omega == pytest.approx(value(single_head.omega_star, d=size))
    assert mu == pytest.approx(value(single_head.mu_star, d=size, phi=ratio, L=length))
    bound = si.optimal.lower_bound(p).loss - noise
    expected = lower_bound.block_bound(*map(sp.Float, (a, s, size)))
    assert bound == pytest.approx(value(expected, L=length))
    gain = length / (ratio * size)
    assert (limit.loss - noise) / bound == pytest.approx(float(lower_bound.ratio(sp.Float(gain))))
    best = gradient_step.step(sp.Float(size), sp.Float(ratio))
    step = gradient_step.loss(best, sp.Float(a), sp.Float(s), sp.Float(size))
    assert si.optimal.gradient_step(p).loss - noise == pytest.approx(value(step, L=length))
    found = si.optimal.effective_dimension(p, si.optimal.gradient_step(p))[0]
    assert found == pytest.approx(float(gradient_step.dimension(sp.Float(size), sp.Float(ratio))))


def test_a_head_on_several_blocks_is_the_derived_one() -> None:
    """Its exponent and fractions, against those of the closed form and against a search."""
    p = si.Problem(
        block_sizes=(4, 9, 2), signal=((1.0, 3.0, 0.5),), noise=0.1, context_length=70, covariance=(2, 0.5, 1)
    )
    limit = si.optimal.head_per_task(p)
    assert limit.weights is not None
    v = limit.weights.omega[0] * np.array(p.covariance)
    assert np.array(p.block_sizes) @ v**2 == pytest.approx(1.0)
    for b, (size, power) in enumerate(zip(p.block_sizes, p.signal[0], strict=True)):
        best = single_head.read_off(sp.E * size, sp.Float(p.variance[0] / power))
        assert limit.weights.mu[0, 0] * v[b] == pytest.approx(value(best, L=70))
    assert limit.loss == pytest.approx(si.loss(p, *limit.weights), rel=1e-13)
    found = si.optimal.single_head(p)
    assert limit.loss == pytest.approx(found.loss, rel=1e-12)


def test_water_filling_is_the_derived_one() -> None:
    """Interior shares, of a single head (sum 1) and of three small heads (sum 2)."""
    p = si.Problem.multitask(
        task_sizes=(8, 10, 12), signal=(1.0, 1.2, 0.9), noise=(0.1, 0.2, 0.15), context_length=90
    )
    powers = [sp.Float(row[i]) for i, row in enumerate(p.signal)]
    gains = [90 * powers[i] / (p.variance[i] * p.block_sizes[i]) for i in range(3)]
    for benchmark, total, stretch in (
        (si.optimal.single_head(p), 1, sp.E),
        (si.optimal.head_budget(p, 3), 2, sp.Integer(1)),
    ):
        shares = single_head.shares(powers, [gain / stretch for gain in gains], sp.Integer(total))
        assert all(0 < share < 1 for share in shares)
        found = np.array(p.block_sizes) / si.optimal.effective_dimension(p, benchmark) * float(stretch)
        np.testing.assert_allclose(found, [float(share) for share in shares], rtol=1e-8)
