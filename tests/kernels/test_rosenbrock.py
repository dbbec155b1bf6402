"""The linear systems of implicit steps, what their matrix says of the Jacobian, and whole steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from compiled import plainly
from compiled_field import field

import spectral_icl as si
from spectral_icl.kernels import law, linear
from spectral_icl.kernels.control import weigh
from spectral_icl.kernels.field import slope_at
from spectral_icl.kernels.integrator import workspace
from spectral_icl.kernels.model import EXPONENTIAL, HYPERBOLIC, LINEAR, Floats, System
from spectral_icl.kernels.rosenbrock import implicit_step
from spectral_icl.kernels.tableaus import RODAS5P
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.parametrization import Parametrization, to_dual

RTOL = 1e-6
STAGES = len(RODAS5P.a)
FLAVOURS = [si.Balanced(0.2), si.Factored(0.02, 1e-3, 0.3), si.Merged()]

every_chart = pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)


@plainly
def _solved(system, x, step, rhs):  # type: ignore[no-untyped-def]
    """Solve a stage in place at a state; a bound of the Jacobian, the coupled entries, and definiteness."""
    work = workspace(system, x.size, STAGES)
    slope_at(system.model, system.chart, x, work.theta, work.grad, work.scratch, work.slope, True)
    bound = linear.prepare(work.linear, system.model, system.chart, work, True)
    definite = linear.factorise(work.linear, system.model, system.chart, step, work)
    linear.solve(work.linear, system.model, work, rhs)
    return bound, work.linear.coupled[0], definite


@plainly
def _step(system, tableau, x, step, rtol, increments, end):  # type: ignore[no-untyped-def]
    """Fill the increments and the end of one step from a state, and return its error and if it was finite."""
    work = workspace(system, x.size, STAGES)
    slope_at(system.model, system.chart, x, work.theta, work.grad, work.scratch, work.slope, True)
    weigh(system.chart, x, rtol, work.weights, True)
    linear.prepare(work.linear, system.model, system.chart, work, True)
    linear.factorise(work.linear, system.model, system.chart, tableau.gamma * step, work)
    error, finite, _, _ = implicit_step(system.model, system.chart, tableau, x, step, work, True)
    increments[:], end[:] = work.increments, work.trial
    return error, finite


def overlapping() -> si.Problem:
    return si.Problem.multitask(task_sizes=(3, 5, 9), signal=(1, 2, 3), noise=0.2, context_length=60)


def state(seed: int) -> si.State:
    """Four heads of mixed signs."""
    rng = np.random.default_rng(seed)
    omega = rng.choice([-1, 1], (4, 3)) * rng.uniform(0.05, 0.3, (4, 3))
    return si.State(omega, rng.normal(0, 1, (4, 3)))


def through(p: si.Problem, flavour: Parametrization, at: si.State) -> tuple[System, Floats]:
    """The flow through a state, and its dual coordinates."""
    chart = flavour.chart(p, at)
    x = to_dual(chart, at)
    return System(pack(p), chart, np.arange(x.size), (len(at.omega), p.blocks, p.tasks)), x


def jacobian(p: si.Problem, system: System, x: Floats, at: si.State) -> Floats:
    """The derivative of dx/dt = -P s grad, with dtheta/dx by the definition of the charts."""
    kind, scale, speed, sign = system.chart
    bent = [scale * np.exp(x), scale * np.cosh(x)]
    moved = np.select([kind == EXPONENTIAL, kind == HYPERBOLIC], bent, 1.0)
    jac: Floats = -(speed * sign)[:, None] * si.hessian(p, *at) * moved
    return jac


def rate(system: System) -> Callable[[Floats], Floats]:
    """The field as a function of Python."""
    work = law.scratch(system.model, system.shape)

    def ask(x: Floats) -> Floats:
        theta, grad, out = np.empty((3, x.size))
        assert field(system, x, theta, grad, work, out)
        return out

    return ask


@every_chart
@pytest.mark.parametrize("faded", [0, 1, 9])
def test_stage_systems_are_solved_with_idle_entries_too(flavour: Parametrization, faded: int) -> None:
    """(1 - step J) y = r with J from the chart's own derivative, when losing heads have all but vanished."""
    p, at = overlapping(), state(faded)
    at.mu.ravel()[:faded] = 1e-40
    at.omega[3, 0] = 0.0  # frozen, if its chart is exponential
    system, x = through(p, flavour, at)
    step, rhs = 0.05, np.random.default_rng(faded).normal(size=x.size)
    found = rhs.copy()
    _, coupled, definite = _solved(system, x, step, found)
    assert definite
    assert coupled == (x.size - faded - 1 if flavour.conserves_signs else x.size)
    jac = jacobian(p, system, x, at)
    np.testing.assert_allclose(found, np.linalg.solve(np.eye(x.size) - step * jac, rhs), rtol=1e-9)


def test_a_state_where_nothing_is_coupled() -> None:
    """All entries idle: a step is as long as the field says."""
    p, at = overlapping(), si.State(np.full((2, 3), 1e-30), np.full((2, 3), 1e-30))
    system, x = through(p, si.Balanced(), at)
    rhs = np.arange(1.0, x.size + 1.0)
    found = rhs.copy()
    _, coupled, definite = _solved(system, x, 0.05, found)
    assert (coupled, definite) == (0, True)
    np.testing.assert_array_equal(found, rhs)


@every_chart
def test_the_bound_is_above_the_spectral_radius(flavour: Parametrization) -> None:
    for seed in range(20):
        p, at = overlapping(), state(seed)
        system, x = through(p, flavour, at)
        bound, _, _ = _solved(system, x, 1e-3, np.zeros(x.size))
        radius = abs(np.linalg.eigvals(jacobian(p, system, x, at))).max()
        assert radius <= bound * (1.0 + 1e-12)
        assert bound <= np.sqrt(x.size) * radius  # as of any symmetric matrix


def test_past_the_pole_on_a_growing_mode_the_matrix_is_not_definite() -> None:
    p, at = overlapping(), si.State(np.full((2, 3), 0.05), np.full((2, 3), 0.1))
    system, x = through(p, si.Balanced(), at)
    growing = np.linalg.eigvals(jacobian(p, system, x, at)).real.max()
    assert growing > 0.0
    for step, expected in ((0.99 / growing, True), (1.01 / growing, False)):
        assert _solved(system, x, step, np.zeros(x.size))[2] == expected


@every_chart
@pytest.mark.parametrize("faded", [0, 9])
def test_a_step_is_the_method_written_down(flavour: Parametrization, faded: int) -> None:
    """(1 - gamma h J) k_i = gamma h f(x + sum_j a_ij k_j) + gamma sum_j c_ij k_j, with NumPy."""
    p, at = overlapping(), state(faded)
    at.mu.ravel()[:faded] = 1e-40
    system, x = through(p, flavour, at)
    step = 2e-3
    increments, end = np.empty((STAGES, x.size)), np.empty(x.size)
    error, finite = _step(system, RODAS5P, x, step, RTOL, increments, end)
    assert finite
    assert error < 1.0  # else the step ends early
    ask, k = rate(system), np.zeros((STAGES, x.size))
    gamma, matrix = RODAS5P.gamma, np.eye(x.size) - RODAS5P.gamma * step * jacobian(p, system, x, at)
    for i in range(STAGES):
        rhs = gamma * (step * ask(x + RODAS5P.a[i] @ k) + RODAS5P.c[i] @ k)
        k[i] = np.linalg.solve(matrix, rhs)
    scale = abs(k).max()
    np.testing.assert_allclose(increments, k, atol=1e-12 * scale)
    np.testing.assert_allclose(end, x + RODAS5P.a[-1] @ k + k[-1], rtol=1e-13, atol=1e-12 * scale)
    linear = system.chart.kind == LINEAR
    bound = np.where(linear, np.maximum(abs(x), system.chart.scale), np.maximum(0.25 * abs(x), 1.0))
    assert error == pytest.approx((abs(k[-1]) / (RTOL * bound)).max(), rel=1e-3)


def test_a_step_that_is_too_long_is_told_by_its_error() -> None:
    p, at = overlapping(), state(0)
    system, x = through(p, si.Balanced(0.2), at)
    increments, end = np.empty((STAGES, x.size)), np.empty(x.size)
    error, finite = _step(system, RODAS5P, x, 0.5, 1e-12, increments, end)
    assert finite
    assert error > 1.0
