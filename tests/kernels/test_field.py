"""The field against the flow that it stands for."""

from __future__ import annotations

import numpy as np
from compiled_field import field
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import problems, starts

import spectral_icl as si
from spectral_icl.kernels import law
from spectral_icl.kernels.charts import to_primal
from spectral_icl.kernels.model import System
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.parametrization import to_dual, twins


@given(st.data(), st.sampled_from(["balanced", "factored", "merged"]))
@settings(max_examples=60)
def test_field_is_the_primal_flow(data: st.DataObject, name: str) -> None:
    """dtheta/dt through the dual coordinates equals the flow written in omega and mu."""
    p = data.draw(problems())
    omega, mu = data.draw(starts(p))
    c, D = 0.3, 0.02
    parametrization = {
        "balanced": si.Balanced(c),
        "factored": si.Factored(D, 3 * D, c),
        "merged": si.Merged(),
    }
    chart = parametrization[name].chart(p, si.State(omega, mu))
    x = to_dual(chart, si.State(omega, mu))
    heads, size = omega.shape[0], x.size
    theta, grad, speed = np.empty(size), np.empty(size), np.empty(size)
    shape = heads, p.blocks, p.tasks
    system = System(pack(p), chart, twins(chart, x, shape), shape)
    finite = field(system, x, theta, grad, law.scratch(system.model, shape), speed)
    assert finite
    np.testing.assert_allclose(theta, np.concatenate([omega.ravel(), mu.ravel()]), rtol=1e-13)
    slope = si.gradient(p, omega, mu)
    g = slope.omega / np.array(p.block_sizes)
    expected = {
        "balanced": (-2 * c * abs(omega) * g, -2 * abs(mu) * slope.mu),
        "factored": (
            -c * np.sqrt((c * D) ** 2 + 4 * omega**2) * g,
            -np.sqrt((3 * D) ** 2 + 4 * mu**2) * slope.mu,
        ),
        "merged": (-g, -slope.mu),
    }[name]
    step = 1e-6
    ahead, behind = np.empty(size), np.empty(size)
    to_primal(chart, x + step * speed, ahead)
    to_primal(chart, x - step * speed, behind)
    moved = (ahead - behind) / (2 * step)
    scale = max(1e-3, *(float(abs(part).max()) for part in expected))
    flat = np.concatenate([part.ravel() for part in expected])
    np.testing.assert_allclose(moved, flat, rtol=1e-5, atol=1e-6 * scale)
