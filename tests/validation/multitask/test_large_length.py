"""The large-L loss of whole matrices and its flow contain the reduced ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import problems, starts

import spectral_icl as si

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from full_attention import CPU, PROBLEM, factored  # noqa: E402

from validation.multitask import full_model, large_length, spectrum  # noqa: E402
from validation.multitask.prompts import Law  # noqa: E402


@given(data=st.data())
def test_large_length_loss_of_matrices_contains_the_reduced_one(data: st.DataObject) -> None:
    problem = data.draw(problems())
    problem = replace(problem, context_length=round(problem.context_length))
    at = data.draw(starts(problem))
    law = Law.of(problem, CPU, torch.float64)
    kq, ov = spectrum.decomposable(problem, at, law)
    told = large_length.task_loss(kq, ov, problem, law).numpy()
    np.testing.assert_allclose(told, si.task_loss(problem, *at), rtol=1e-11)
    by_kq, by_ov = large_length.gradient(kq, ov, problem, law)
    slope = si.gradient(problem, *at)
    sizes = np.asarray(problem.block_sizes)
    scale = 1e-11 * max(float(by_kq.abs().max()), float(by_ov.abs().max()), 1e-300)
    per_coordinate = np.repeat(slope.omega / sizes, sizes, axis=1)
    np.testing.assert_allclose(spectrum.diagonal(by_kq), per_coordinate, rtol=1e-9, atol=scale)
    np.testing.assert_allclose(spectrum.diagonal(by_ov), slope.mu, rtol=1e-9, atol=scale)
    # decomposable weights stay so
    for slopes in (by_kq, by_ov):
        assert np.nan_to_num(spectrum.stray(slopes)).max() <= scale


def test_flow_of_matrices_contains_the_reduced_flow(law: Law) -> None:
    """From diagonal factors, at the imbalance that the weights themselves have."""
    k, v = torch.tensor([[0.5, 0.3], [0.2, 0.6]]), torch.tensor([[0.4, 0.1], [0.2, 0.5]])
    sizes = torch.tensor(PROBLEM.block_sizes)

    def diagonal(values: torch.Tensor) -> torch.Tensor:
        return torch.diag_embed(values.double())

    key, query = (diagonal(torch.repeat_interleave(w, sizes, dim=1)) for w in (k, -0.5 * k))
    scale = (5 + 2) ** -0.5
    model = full_model.FactoredAttention(key, query, diagonal(v), diagonal(2.0 * v), scale)
    times = np.linspace(0.0, 5.0, 11)
    kq, ov = large_length.flow(model, PROBLEM, times)
    imbalance = spectrum.imbalance(PROBLEM, model.factors())
    fast = spectrum.effective_imbalance(PROBLEM, model.factors())
    for one, other in zip(imbalance, fast, strict=True):
        np.testing.assert_allclose(np.abs(one), other, rtol=1e-12)
    weights = si.Factored(*(np.abs(values).tolist() for values in imbalance))
    start = spectrum.spectral(PROBLEM, model.kq(), model.ov())
    flow = si.gradient_flow(PROBLEM, *start, parametrization=weights, t_end=5.0, t_eval=times)
    omega = np.diagonal(kq, axis1=2, axis2=3)[:, :, [0, 3]]
    np.testing.assert_allclose(omega, flow.omega, atol=1e-5)
    np.testing.assert_allclose(np.diagonal(ov, axis1=2, axis2=3), flow.mu, atol=1e-5)
    assert np.abs(flow.mu[-1] - flow.mu[0]).max() > 0.1  # it has moved


def test_imbalance_of_whole_matrices_does_not_move_with_the_gradient(law: Law) -> None:
    """To first order in a step, whatever the matrices; every other norm of the factors does."""
    model = factored(law)
    loss = large_length.task_loss(model.kq(), model.ov(), PROBLEM, law).sum()
    slopes = torch.autograd.grad(loss, model.factors())
    h = 1e-5
    ends = [
        [factor.detach() + step * slope for factor, slope in zip(model.factors(), slopes, strict=True)]
        for step in (h, -h)
    ]
    before, after = (spectrum.imbalance(PROBLEM, tuple(factors)) for factors in ends)
    for one, other in zip(before, after, strict=True):
        assert np.abs(one - other).max() / (2.0 * h) < 1e-8
    fast, slow = (spectrum.effective_imbalance(PROBLEM, tuple(factors)) for factors in ends)
    for one, other in zip(fast, slow, strict=True):
        assert np.abs(one - other).max() / (2.0 * h) > 1e-3
