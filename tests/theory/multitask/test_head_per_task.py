"""The head-per-task limit, and the rates near it, against the compiled field."""

from __future__ import annotations

import numpy as np
import pytest
from expressions import compiled, positive
from hypothesis import given, settings
from hypothesis import strategies as st

import spectral_icl as si
from theory.multitask import head_per_task, single_head
from theory.symbols import L


def test_limit_of_the_closed_forms() -> None:
    """All entries of the head-per-task weights, of tasks with different sizes and noises."""
    p = si.Problem.multitask(task_sizes=(4, 9), signal=(1.0, 0.5), noise=(0.1, 0.4), context_length=70)
    found = si.optimal.head_per_task(p).weights
    assert found is not None
    at = single_head.disjoint(2, 2)
    numbers = {L: p.context_length}
    for i in range(2):
        numbers |= {at["sizes"][i]: p.block_sizes[i], at["ratios"][i]: p.variance[i] / p.signal[i][i]}
    ends = {weight: float(end.subs(numbers)) for weight, end in head_per_task.limit(at).items()}
    for name, weights in (("omega", found.omega), ("mu", found.mu)):
        expected = np.array([ends[weight] for weight in at[name]]).reshape(2, 2)
        np.testing.assert_allclose(weights, expected, rtol=1e-12)


@given(positive, st.integers(2, 40), positive, st.floats(20, 500), st.floats(0.05, 1.0))
@settings(max_examples=25)
def test_rates_at_the_limit(a: float, size: int, noise: float, length: float, c: float) -> None:
    """Winner's Jacobian and eigenvalues, and the loser's rate, against differences of the compiled field."""
    p = si.Problem(block_sizes=(size,), signal=((a,),), noise=noise, context_length=length)
    limit = si.optimal.head_per_task(p).weights
    assert limit is not None
    ratio = (a + noise) / a
    z = 0.4
    at = si.State(
        np.array([limit.omega[0], [z / size**0.5]]), np.array([limit.mu[0], [1e-9 * limit.mu[0, 0]]])
    )

    def flow(omega: float, mu: float) -> np.ndarray:
        state = si.State(np.array([[omega], [at.omega[1, 0]]]), np.array([[mu], [at.mu[1, 0]]]))
        slope = si.gradient(p, *state)
        return np.array([-2 * c * omega * slope.omega[0, 0] / size, -2 * mu * slope.mu[0, 0]])

    here = np.array([limit.omega[0, 0], limit.mu[0, 0]])
    step = 1e-5 * here
    columns = [
        (flow(*(here + e * step)) - flow(*(here - e * step))) / (2 * step[k]) for k, e in enumerate(np.eye(2))
    ]
    numbers = (a, ratio, size, c)
    jacobian = compiled(head_per_task.winner_jacobian, 4, L)(*numbers, length)
    np.testing.assert_allclose(
        np.column_stack(columns), jacobian, rtol=1e-5, atol=1e-7 * np.abs(jacobian).max()
    )
    rates = compiled(head_per_task.winner_rates, 4, L)(*numbers, length)
    np.testing.assert_allclose(sorted(rates), np.sort(np.linalg.eigvals(jacobian).real), rtol=1e-8)
    losing = compiled(head_per_task.losing_rate, 4, L)(z, *numbers[:3], length)
    assert 2 * si.gradient(p, *at).mu[1, 0] == pytest.approx(losing, rel=1e-6)
