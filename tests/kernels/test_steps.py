"""The field against the flow that it stands for, and the linear systems of implicit steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from strategies import problems, starts

import spectral_icl as si
from spectral_icl.kernels import law
from spectral_icl.kernels.charts import to_primal
from spectral_icl.kernels.model import System
from spectral_icl.kernels.steps import Work, _scale_to_dual, _solve_stage, factorise, field
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


@njit
def _stage_solve(chart, theta, work, step, rhs):  # type: ignore[no-untyped-def]
    _scale_to_dual(chart, theta, work.hess, work.root, work.reach)
    coupled, definite = factorise(chart, step, work)
    _solve_stage(chart, coupled, work, rhs)
    return coupled, definite


@pytest.mark.parametrize("faded", [0, 1, 9])
def test_stage_systems_are_solved_with_idle_entries_too(faded: int) -> None:
    """(1 - step J) y = r with J from the chart's own derivative, when losing heads have all but vanished."""
    rng = np.random.default_rng(faded)
    p = si.Problem.multitask(task_sizes=(3, 5, 9), signal=(1, 2, 3), noise=0.2, context_length=60)
    at = si.State(rng.choice([-1, 1], (4, 3)) * rng.uniform(0.05, 0.3, (4, 3)), rng.normal(0, 1, (4, 3)))
    at.mu.ravel()[:faded] = 1e-40
    at.omega[3, 0] = 0.0  # frozen
    chart = si.Balanced(0.2).chart(p, at)
    x = to_dual(chart, at)
    theta = np.concatenate([at.omega.ravel(), at.mu.ravel()])
    size, step = x.size, 0.05
    hess = si.hessian(p, *at)
    jacobian = -(chart.speed * chart.sign)[:, None] * hess * theta
    rhs = rng.normal(size=size)
    work = Work(
        *(np.empty(size) for _ in range(6)),
        np.empty((8, size)),
        *(np.empty(size) for _ in range(4)),
        np.empty(size, dtype=np.int64),
        *(np.empty((size, size)) for _ in range(3)),
        law.scratch(pack(p), (1, 1, 1)),
    )
    work.hess[:] = hess
    found = rhs.copy()
    coupled, definite = _stage_solve(chart, theta, work, step, found)
    assert coupled == size - faded - 1
    assert definite
    np.testing.assert_allclose(found, np.linalg.solve(np.eye(size) - step * jacobian, rhs), rtol=1e-9)
