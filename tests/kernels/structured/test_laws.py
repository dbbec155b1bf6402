"""The laws on nonzero signals against those on all entries: losses, gradients, products and blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from compiled import plainly
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from strategies import problems, starts

import spectral_icl as si
from spectral_icl.kernels import law
from spectral_icl.kernels.loss import losses_by
from spectral_icl.kernels.model import Floats, frozen
from spectral_icl.multitask.context import LAWS, OF_LARGE

LARGE = sorted(OF_LARGE)
States = tuple[si.Problem, Floats, Floats]

every_law = pytest.mark.parametrize("kernel", LARGE)


@st.composite
def states(draw: st.DrawFn) -> States:
    """A problem, disjoint or overlapping, and a state inside the range of all laws."""
    p = draw(problems(disjoint=draw(st.booleans())))
    omega, mu = draw(starts(p))
    kappa = np.array(p.covariance)
    return p, 0.3 * np.tanh(omega * kappa) / kappa, mu


def packed(p: si.Problem, kernel: str) -> tuple[Any, Any]:
    """The model on all entries, and that on nonzero signals."""
    return frozen(LAWS[kernel](p)), frozen(OF_LARGE[kernel].pack(p))


def gradient(model: Any, omega: Floats, mu: Floats) -> tuple[Floats, Any]:
    """The flat gradient, and the work arrays that it leaves."""
    work = law.scratch(model, (*omega.shape, mu.shape[1]))
    slopes = np.empty_like(omega), np.empty_like(mu)
    law.gradient(model, omega, mu, *slopes, work)
    return np.concatenate([part.ravel() for part in slopes]), work


def hessian(model: Any, omega: Floats, mu: Floats) -> Floats:
    """The Hessian of a law on all entries."""
    upper = np.zeros((omega.size + mu.size,) * 2)
    law.hessian(model, omega, mu, gradient(model, omega, mu)[1], upper)
    full: Floats = np.triu(upper) + np.triu(upper, 1).T
    return full


@every_law
@given(state=states())
@settings(max_examples=60)
def test_loss_gradient_and_product_are_those_of_all_entries(kernel: str, state: States) -> None:
    p, omega, mu = state
    whole, model = packed(p, kernel)
    by_task = losses_by(whole, omega[None], mu[None])
    np.testing.assert_allclose(losses_by(model, omega[None], mu[None]), by_task, rtol=1e-11)
    expected, found = gradient(whole, omega, mu)[0], gradient(model, omega, mu)[0]
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12 * abs(expected).max())
    direction = np.random.default_rng(0).normal(size=expected.size)
    given_omega = direction[: omega.size].reshape(omega.shape)
    given_mu = direction[omega.size :].reshape(mu.shape)
    got = np.empty_like(omega), np.empty_like(mu)
    work = gradient(model, omega, mu)[1]
    law.product(model, omega, mu, work, given_omega, given_mu, *got)
    image = hessian(whole, omega, mu)
    size = abs(image) @ abs(direction)
    flat = np.concatenate([part.ravel() for part in got])
    np.testing.assert_array_less(abs(flat - image @ direction), 1e-11 * size + 1e-13 * size.max() + 1e-300)


@plainly
def _blocks(model, shape, omega, mu, heads, blocks, tasks, links, of_omega, of_mu):  # type: ignore[no-untyped-def]
    work = law.scratch(model, shape)
    law.gradient(model, omega, mu, of_omega, of_mu, work)
    law.curvatures(model, omega, mu, work, of_omega, of_mu)
    for b in range(omega.shape[1]):
        law.within_block(model, omega, mu, work, b, heads, heads.size, blocks[b])
    for i in range(mu.shape[1]):
        law.within_task(model, omega, mu, work, i, heads, heads.size, tasks[i])
    for n in range(links.shape[0]):
        law.across(model, omega, mu, work, n, heads, heads.size, heads[::-1].copy(), heads.size, links[n])


@every_law
@given(state=states())
@settings(max_examples=40)
def test_blocks_are_parts_of_the_hessian(kernel: str, state: States) -> None:
    p, omega, mu = state
    whole, model = packed(p, kernel)
    image = hessian(whole, omega, mu)
    heads = np.arange(len(omega))[::2].copy()
    k, split = heads.size, omega.size
    blocks, tasks = np.zeros((p.blocks, k, k)), np.zeros((p.tasks, k, k))
    links, slopes = np.zeros((model.power.size, k, k)), (np.zeros_like(omega), np.zeros_like(mu))
    shape = (len(omega), p.blocks, p.tasks)
    _blocks(model, shape, omega, mu, heads, blocks, tasks, links, *slopes)
    of_block = [heads * p.blocks + b for b in range(p.blocks)]
    of_task = [split + heads * p.tasks + i for i in range(p.tasks)]
    close = {"rtol": 1e-10, "atol": 1e-11 * abs(image).max()}
    for found, at in zip([*blocks, *tasks], [*of_block, *of_task], strict=True):
        np.testing.assert_allclose(np.triu(found), np.triu(image[np.ix_(at, at)]), **close)
    for n, found in enumerate(links):
        part = image[np.ix_(of_block[model.block[n]], of_task[model.task[n]][::-1])]
        np.testing.assert_allclose(found, part, **close)
    size = np.concatenate([part.ravel() for part in slopes])
    assert (size >= abs(np.diag(image)) * (1.0 - 1e-10) - 1e-11 * abs(image).max()).all()


@every_law
def test_what_a_head_contributes_is_its_share(kernel: str) -> None:
    """`law.learned` of either model, by its definition."""
    p = si.Problem(
        block_sizes=(3, 4, 5),
        signal=((1.0, 0.0, 2.0), (0.0, 3.0, 0.5)),
        noise=0.1,
        context_length=40,
        covariance=(0.5, 1.0, 2.0),
    )
    omega, mu = np.random.default_rng(1).normal(size=(2, 3)), np.random.default_rng(2).normal(size=(2, 2))
    expected = np.einsum("ib,b,hb,hi->hi", np.asarray(p.signal), p.covariance, omega, mu)

    @njit(error_model="numpy")
    def learned(model, omega, mu, out):  # type: ignore[no-untyped-def]
        for h in range(out.shape[0]):
            for i in range(out.shape[1]):
                out[h, i] = law.learned(model, omega, mu, h, i)

    for model in packed(p, kernel):
        found = np.empty((2, 2))
        learned(model, omega, mu, found)
        np.testing.assert_allclose(found, expected, rtol=1e-14)


@every_law
def test_the_product_with_the_hessian_is_public(kernel: str) -> None:
    p = si.Problem.multitask(task_sizes=(3, 5), signal=(1, 2), noise=0.2, context_length=60)
    at, by = si.initial.random(p, 3, 0.1, seed=1), si.initial.random(p, 3, 1.0, seed=2)
    for name in (kernel, "exact"):
        found = si.hessian_product(p, *at, *by, kernel=name)
        direction = np.concatenate([part.ravel() for part in by])
        expected = si.hessian(p, *at, kernel=name) @ direction
        flat = np.concatenate([part.ravel() for part in found])
        np.testing.assert_allclose(flat, expected, rtol=1e-12, atol=1e-13 * abs(expected).max())
    with pytest.raises(si.ProblemError, match="by_omega: expected 3 heads, as omega has, got '2 heads'"):
        si.hessian_product(p, *at, by.omega[:2], by.mu[:2])
    with pytest.raises(si.ProblemError, match="by_mu"):
        si.hessian_product(p, *at, by.omega, by.mu[:, :1])
