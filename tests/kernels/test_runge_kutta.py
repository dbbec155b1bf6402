"""Sums of rows, and explicit steps against the method written down."""

from __future__ import annotations

import numpy as np
import pytest
from compiled import plainly
from compiled_field import field
from numba import njit

import spectral_icl as si
from spectral_icl.kernels import law
from spectral_icl.kernels.compile import ALGEBRA
from spectral_icl.kernels.control import weigh
from spectral_icl.kernels.field import slope_at
from spectral_icl.kernels.integrator import workspace
from spectral_icl.kernels.lanes import WIDTH, as_lanes
from spectral_icl.kernels.model import LINEAR, Floats, System
from spectral_icl.kernels.runge_kutta import accumulate, explicit_step
from spectral_icl.kernels.tableaus import DORMAND_PRINCE
from spectral_icl.multitask.context import pack
from spectral_icl.multitask.parametrization import Parametrization, to_dual

STAGES = len(DORMAND_PRINCE.a)
RTOL = 1e-6


@njit(error_model="numpy", fastmath=set(ALGEBRA))
def _accumulated(coefficients, rows, count, out, rows_in_lanes, out_in_lanes):  # type: ignore[no-untyped-def]
    accumulate(out, coefficients, rows, count)
    accumulate(as_lanes(out_in_lanes), coefficients, as_lanes(rows_in_lanes), count)


@pytest.mark.parametrize("size", [1, 3, 8, 33])
def test_rows_are_added_up_to_any_count(size: int) -> None:
    """To what is there already; rows and coefficients past the count are not looked at."""
    rng = np.random.default_rng(size)
    for most in range(10):
        coefficients, rows = rng.normal(size=most), rng.normal(size=(most, size, WIDTH))
        for count in range(most + 1):
            coefficients[count:], rows[count:] = np.nan, np.nan
            begun = rng.normal(size=(size, WIDTH))
            alone, lanes = begun[:, 0].copy(), begun.copy()
            _accumulated(coefficients, np.ascontiguousarray(rows[:, :, 0]), count, alone, rows, lanes)
            expected = begun + np.einsum("q,qnw->nw", coefficients[:count], rows[:count])
            np.testing.assert_allclose(lanes, expected, rtol=1e-14, atol=1e-14)
            np.testing.assert_allclose(alone, expected[:, 0], rtol=1e-14, atol=1e-14)
            coefficients[count:], rows[count:] = rng.normal(), rng.normal(size=(most - count, size, WIDTH))


@plainly
def _step(system, tableau, x, step, rtol, first, increments, end, rate):  # type: ignore[no-untyped-def]
    """Fill the increments of a step, its end and the field there, and return what is said of it."""
    work = workspace(system, x.size, tableau.a.shape[0])
    if first == 1:
        slope_at(system.model, system.chart, x, work.theta, work.grad, work.scratch, work.slope, True)
    weigh(system.chart, x, rtol, work.weights, True)
    told = explicit_step(system.model, system.chart, tableau, x, step, first, work, True)
    increments[:], end[:], rate[:] = work.increments, work.trial, work.new_slope
    return told


def through(flavour: Parametrization) -> tuple[System, Floats]:
    """A flow of four heads of mixed signs, and a state of it."""
    rng = np.random.default_rng(1)
    p = si.Problem.multitask(task_sizes=(3, 5, 9), signal=(1, 2, 3), noise=0.2, context_length=60)
    omega = rng.choice([-1, 1], (4, 3)) * rng.uniform(0.05, 0.3, (4, 3))
    at = si.State(omega, rng.normal(0, 1, (4, 3)))
    chart = flavour.chart(p, at)
    x = to_dual(chart, at)
    return System(pack(p), chart, np.arange(x.size), (4, 3, 3)), x


def ask(system: System, x: Floats) -> Floats:
    """The field."""
    theta, grad, out = np.empty((3, x.size))
    assert field(system, x, theta, grad, law.scratch(system.model, system.shape), out)
    return out


FLAVOURS = [si.Balanced(0.2), si.Factored(0.02, 1e-3, 0.3), si.Merged()]


@pytest.mark.parametrize("flavour", FLAVOURS, ids=lambda flavour: flavour.name)
def test_a_step_is_the_method_written_down(flavour: Parametrization) -> None:
    system, x = through(flavour)
    step = 1e-3
    increments, end, rate = np.empty((STAGES, x.size)), np.empty(x.size), np.empty(x.size)
    error, finite, far, strain = _step(system, DORMAND_PRINCE, x, step, RTOL, 1, increments, end, rate)
    assert finite
    assert far == 0.0
    k, states = np.zeros((STAGES, x.size)), np.empty((STAGES, x.size))
    for s in range(STAGES):
        states[s] = x + DORMAND_PRINCE.a[s] @ k
        k[s] = step * ask(system, states[s])
    scale = abs(k).max()
    np.testing.assert_allclose(increments, k, atol=1e-13 * scale)
    np.testing.assert_allclose(end, states[-1], rtol=1e-14, atol=1e-14 * scale)
    np.testing.assert_allclose(step * rate, k[-1], atol=1e-13 * scale)
    linear = system.chart.kind == LINEAR
    bound = np.where(linear, np.maximum(abs(x), system.chart.scale), np.maximum(0.25 * abs(x), 1.0))
    estimate = abs(DORMAND_PRINCE.error @ k) / (RTOL * bound)
    assert error == pytest.approx(estimate.max(), rel=1e-6, abs=1e-14 / RTOL * scale)
    lipschitz = np.linalg.norm(k[-1] - k[-2]) / np.linalg.norm(states[-1] - states[-2])
    assert strain == pytest.approx(lipschitz, rel=1e-6)


def test_from_the_last_stage_a_step_of_zero_asks_for_the_field() -> None:
    """Nothing moves, nothing is strained, and what is not known of the start is not used."""
    system, x = through(si.Balanced(0.2))
    increments, end, rate = np.empty((STAGES, x.size)), np.empty(x.size), np.empty(x.size)
    told = _step(system, DORMAND_PRINCE, x, 0.0, RTOL, STAGES - 1, increments, end, rate)
    assert told == (0.0, True, 0.0, 0.0)
    np.testing.assert_array_equal(end, x)
    np.testing.assert_array_equal(increments, 0.0)
    np.testing.assert_allclose(rate, ask(system, x), rtol=1e-13)


def test_a_step_into_what_is_not_finite_says_so() -> None:
    system, x = through(si.Merged())
    increments, end, rate = np.empty((STAGES, x.size)), np.empty(x.size), np.empty(x.size)
    _, finite, _, _ = _step(system, DORMAND_PRINCE, x, 1e8, RTOL, 1, increments, end, rate)
    assert not finite
