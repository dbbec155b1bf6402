"""The searched limit of coalescing heads is the derived one."""

from __future__ import annotations

import numpy as np
import pytest
import sympy as sp
from expressions import overlapping
from hypothesis import given, settings
from hypothesis import strategies as st

from spectral_icl.multitask.optimal.search import Attention, Coalescing
from theory.multitask import coalescence


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.booleans(), st.integers(0, 2**32 - 1))
@settings(max_examples=40)
def test_coalescing_heads(heads: int, blocks: int, tasks: int, small: bool, seed: int) -> None:
    """The searched limit is the least loss over alpha and beta of the derived map and noise."""
    heads = min(heads, blocks + 1)
    rng = np.random.default_rng(seed)
    p = overlapping(rng, blocks, tasks)
    search = Coalescing(p, heads, small)
    point = rng.normal(0, 0.6, heads * blocks)
    base, basis = search.split(point)
    reads = np.array(
        coalescence.features(sp.Matrix(base), sp.Matrix(heads - 1, blocks, basis.ravel().tolist()))
    )
    reads = reads.astype(float) / np.sqrt(p.block_sizes)
    noise, expected = float(coalescence.noise(sp.Matrix(base))), []
    for power, variance in zip(np.asarray(p.signal), p.variance, strict=True):
        # sum_b A_b (1 - T_b)^2 + (s / L) noise |(alpha, beta)|^2 is a least-squares problem
        rows = np.vstack(
            [np.sqrt(power)[:, None] * reads.T, np.sqrt(variance / p.context_length * noise) * np.eye(heads)]
        )
        target = np.append(np.sqrt(power), np.zeros(heads))
        best = np.linalg.lstsq(rows, target, rcond=None)[0]
        expected.append(float(((target - rows @ best) ** 2).sum()))
    assert search.objective(point)[0] * search.unit == pytest.approx(sum(expected), rel=1e-10)
    np.testing.assert_allclose(search.task_losses(point), expected, rtol=1e-10)
    spread = Attention(p, heads).profile(base + 1e-3 * (search.weights(point) - base))[0]
    np.testing.assert_allclose(spread, expected, rtol=1e-3)
