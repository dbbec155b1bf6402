"""The vector number type: what it computes in each lane is what floats compute."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit

import spectral_icl as si
from spectral_icl.kernels import law
from spectral_icl.kernels.asymptotic import Asymptotic
from spectral_icl.kernels.elementary import fused
from spectral_icl.kernels.lanes import (
    WIDTH,
    as_lanes,
    blend,
    everywhere,
    in_every_lane,
    lane_array,
    lanes_like,
    load_lane,
    pick,
    put,
    room,
    where,
)
from spectral_icl.multitask.context import pack

NAMES = (
    "sum",
    "difference",
    "product",
    "quotient",
    "negative",
    "size",
    "root",
    "fused",
    "chosen",
    "both",
    "mixed",
)


@njit(error_model="numpy")
def _arithmetic(first, second, out):  # type: ignore[no-untyped-def]
    a, b, o = as_lanes(first)[0], as_lanes(second)[0], as_lanes(out)
    o[0] = a + b
    o[1] = a - b
    o[2] = a * b
    o[3] = a / b
    o[4] = -a
    o[5] = abs(a)
    o[6] = np.sqrt(abs(a))
    o[7] = fused(a, b, 2.0)
    o[8] = where(a < b, a, b)
    o[9] = where((a >= 0.0) & ~(b <= 1.0), 1.0, 0.0)
    total = 1.0  # becomes lanes at the first addition
    total += 2 * a
    total -= b
    total *= 0.5
    total /= 3
    o[10] = total


def test_arithmetic() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 1, WIDTH))
    out = np.empty((len(NAMES), WIDTH))
    _arithmetic(a, b, out)
    a, b = a[0], b[0]
    expected = [a + b, a - b, a * b, a / b, -a, abs(a), np.sqrt(abs(a)), a * b + 2.0, np.minimum(a, b)]
    expected += [(a >= 0) & (b > 1), (1 + 2 * a - b) / 6]
    for name, found, right in zip(NAMES, out, expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=4e-16, atol=4e-16, err_msg=name)


@njit(error_model="numpy")
def _move(values, lane, number):  # type: ignore[no-untyped-def]
    v = as_lanes(values)
    before = pick(v[0], lane)
    v[0] = put(v[0], lane, number)
    v[1] = everywhere(number)
    return before


@pytest.mark.parametrize("lane", [0, 1, WIDTH - 1])
def test_single_lanes(lane: int) -> None:
    values = np.arange(2.0 * WIDTH).reshape(2, WIDTH)
    assert _move(values, lane, -5.0) == lane
    expected = np.arange(1.0 * WIDTH)
    expected[lane] = -5.0
    np.testing.assert_array_equal(values, [expected, np.full(WIDTH, -5.0)])


@njit(error_model="numpy")
def _chosen(yes, first, second):  # type: ignore[no-untyped-def]
    return where(yes, first, second)


def test_numbers_are_chosen_too() -> None:
    assert [_chosen(True, 1.0, 2.0), _chosen(False, 1.0, 2.0)] == [1.0, 2.0]


@njit(error_model="numpy")
def _stored(values, chosen, out):  # type: ignore[no-untyped-def]
    """Fill ``out`` with one array in each lane, but the first where it is chosen; the storage's offsets."""
    own, first = lanes_like(values[0]), in_every_lane(values[0])
    for lane in range(WIDTH):
        load_lane(own, lane, values[lane])
    blend(as_lanes(chosen)[0] > 0.0, own, first)
    into = as_lanes(out)
    for i in range(own.shape[0]):
        for j in range(own.shape[1]):
            for k in range(own.shape[2]):
                into[i, j, k] = own[i, j, k]
    flat, like = lane_array((3,)), room(own, (5, 2))
    untouched = where(flat[2] == 0.0, 1.0, 0.0)
    return (own.ctypes.data, flat.ctypes.data, like.ctypes.data), like.shape, pick(untouched, WIDTH - 1)


def test_storage_of_lanes() -> None:
    """Arrays of any shape go into lanes and come back, and begin where a cache line does."""
    rng = np.random.default_rng(3)
    values = rng.normal(size=(WIDTH, 2, 3, 4))
    chosen = rng.choice([-1.0, 1.0], (1, WIDTH))
    out = np.empty((2, 3, 4, WIDTH))
    offsets, shape, untouched = _stored(values, chosen, out)
    expected = np.where(chosen[0] > 0.0, values[0][..., None], np.moveaxis(values, 0, -1))
    np.testing.assert_array_equal(out, expected)
    assert [offset % 64 for offset in offsets] == [0, 0, 0]
    assert shape == (5, 2)
    assert untouched == 1.0


def test_room_for_numbers_is_an_array() -> None:
    assert room(np.ones(3), (5, 2)).shape == (5, 2)


@njit(error_model="numpy")
def _derivatives(packed, length, omega, mu, grad_omega, grad_mu, hess):  # type: ignore[no-untyped-def]
    kappa, weight, signal, variance, noise = packed
    model = Asymptotic(
        as_lanes(kappa),
        as_lanes(weight),
        as_lanes(signal),
        as_lanes(variance),
        as_lanes(noise),
        as_lanes(length)[0],
    )
    work = law.scratch(model, (omega.shape[0], omega.shape[1], mu.shape[1]))
    law.gradient(model, as_lanes(omega), as_lanes(mu), as_lanes(grad_omega), as_lanes(grad_mu), work)
    law.hessian(model, as_lanes(omega), as_lanes(mu), work, as_lanes(hess))


def test_the_algebra_is_that_of_single_problems() -> None:
    """A different overlapping problem in every lane: gradient and Hessian are each problem's own."""
    rng = np.random.default_rng(2)
    heads, blocks, tasks = 3, 4, 2
    problems = [
        si.Problem(
            block_sizes=tuple(rng.integers(1, 20, blocks).tolist()),
            signal=rng.lognormal(size=(tasks, blocks)),
            noise=tuple(rng.random(tasks)),
            context_length=rng.uniform(20, 500),
            covariance=tuple(rng.uniform(0.5, 1.5, blocks)),
        )
        for _ in range(WIDTH)
    ]
    models = [pack(p) for p in problems]
    names = ("kappa", "weight", "signal", "variance", "noise", "inverse_length")
    *packed, length = (np.stack([getattr(m, name) for m in models], axis=-1) for name in names)
    omega, mu = rng.normal(0, 0.2, (heads, blocks, WIDTH)), rng.normal(size=(heads, tasks, WIDTH))
    grad_omega, grad_mu = np.empty_like(omega), np.empty_like(mu)
    size = heads * (blocks + tasks)
    hess = np.empty((size, size, WIDTH))
    _derivatives(tuple(packed), length[None], omega, mu, grad_omega, grad_mu, hess)
    for lane, p in enumerate(problems):
        slope = si.gradient(p, omega[..., lane], mu[..., lane])
        curvature = si.hessian(p, omega[..., lane], mu[..., lane])
        np.testing.assert_allclose(grad_omega[..., lane], slope.omega, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(grad_mu[..., lane], slope.mu, rtol=1e-12, atol=1e-12)
        found = np.triu(hess[..., lane])
        np.testing.assert_allclose(found, np.triu(curvature), rtol=1e-11, atol=1e-11 * abs(curvature).max())
