"""The full model against loops, finite differences and sampling."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask import softmax

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from full_attention import AT, CPU, PROBLEM, factored, general  # noqa: E402

from validation.multitask import full_model, spectrum  # noqa: E402
from validation.multitask.prompts import Law, Prompts  # noqa: E402


def test_prediction_is_the_formula(law: Law) -> None:
    """One prompt, one head, one pair at a time."""
    model = factored(law)
    prompts = law.draw(4, law.generator(1))
    told = model(prompts).detach().numpy()
    k, q, v, o = (w.detach().numpy() for w in model.factors())
    for n in range(4):
        x, y, query = prompts.x[n].numpy(), prompts.y[n].numpy(), prompts.query[n].numpy()
        total = np.zeros(2)
        for h in range(2):
            logits = np.array([(k[h] @ x[pair]) @ (q[h] @ query) for pair in range(12)]) / np.sqrt(5 + 2)
            weights = np.exp(logits) / np.exp(logits).sum()
            total += o[h] @ v[h] @ sum(weights[pair] * y[:, pair] for pair in range(12))
        np.testing.assert_allclose(told[n], total, rtol=1e-12)


def test_the_target_is_the_noiseless_label_of_the_query() -> None:
    """With one coordinate known, a label over its covariate is the coefficient."""
    problem = si.Problem.multitask(task_sizes=(1,), signal=2.0, noise=0.0, context_length=3)
    prompts = Law.of(problem, CPU, torch.float64).draw(50, torch.Generator().manual_seed(0))
    coefficient = prompts.y[:, 0, 1] / prompts.x[:, 1, 0]
    torch.testing.assert_close(prompts.target[:, 0], coefficient * prompts.query[:, 0])


def test_prompts_have_the_problem_s_moments(law: Law) -> None:
    prompts = law.draw(40_000, law.generator(2))
    kappa = np.repeat(PROBLEM.covariance, PROBLEM.block_sizes)
    for drawn, expected in (
        (prompts.x.flatten(0, 1), kappa),
        (prompts.query, kappa),
        (prompts.target, np.asarray(PROBLEM.signal).sum(axis=1)),
        (prompts.y[:, :, 0], PROBLEM.variance),
    ):
        squares = (drawn**2).numpy()
        error = squares.std(axis=0) / np.sqrt(len(squares))
        assert (np.abs(squares.mean(axis=0) - expected) < 4.0 * error).all()


def test_lengths_are_whole() -> None:
    with pytest.raises(ValueError, match=r"context_length = 12\.5: prompts have whole lengths"):
        Law.of(replace(PROBLEM, context_length=12.5), CPU)


def test_one_function_three_parametrizations(law: Law) -> None:
    prompts = law.draw(20, law.generator(3))
    balanced = full_model.FactoredAttention.balanced(PROBLEM, AT, law)
    for model in (
        full_model.MergedAttention.diagonal(PROBLEM, AT, law),
        full_model.JointAttention(balanced),
        full_model.MergedAttention(balanced.kq().detach(), balanced.ov().detach()),
    ):
        torch.testing.assert_close(model(prompts), balanced(prompts))
        read = spectrum.spectral(PROBLEM, model.kq(), model.ov())
        np.testing.assert_allclose(read.omega, AT.omega, atol=1e-15)
        np.testing.assert_allclose(read.mu, AT.mu, atol=1e-15)


def test_joint_attention_looks_at_labels_once_trained(law: Law) -> None:
    """Entries between covariates and labels are zero at the start, and have gradients."""
    model = full_model.JointAttention(full_model.FactoredAttention.balanced(PROBLEM, AT, law))
    full_model.task_loss(model, law.draw(50, law.generator(4)), law).sum().backward()
    assert model.key.grad is not None
    assert model.value.grad is not None
    assert (model.key.grad[:, :5, 5:].abs() > 0.0).all()
    assert (model.value.grad[:, 5:, :5].abs() > 0.0).all()


def test_gradients_are_finite_differences(law: Law) -> None:
    prompts = law.draw(3, law.generator(5))
    for model in (factored(law), full_model.JointAttention(factored(law))):
        weights = [w.detach().clone().requires_grad_() for w in model.parameters()]
        names = [name for name, _ in model.named_parameters()]

        def loss(
            *values: torch.Tensor, model: torch.nn.Module = model, names: list[str] = names
        ) -> torch.Tensor:
            told = torch.func.functional_call(model, dict(zip(names, values, strict=True)), (prompts,))
            return ((told - prompts.target) ** 2).sum()

        assert torch.autograd.gradcheck(loss, weights)


def test_expected_loss_is_the_mean_over_labels(law: Law) -> None:
    kq, ov = general(law)
    x, query = law.inputs(2, law.generator(6))
    told = full_model.expected_task_loss(kq, ov, x, query, law).numpy()
    rng = np.random.default_rng(0)
    for n in range(2):
        g = rng.normal(size=(200_000, 2, 5)) * np.sqrt(law.prior.numpy())
        noise = rng.normal(size=(200_000, 2, 12)) * np.sqrt(law.noise.numpy())[:, None]
        y = torch.from_numpy(g @ x[n].numpy().T + noise)
        target = torch.from_numpy(g @ query[n].numpy())
        many = (200_000, -1, -1)
        prompts = Prompts(x[n].expand(many), y, query[n].expand(many[:2]), target)
        squares = ((full_model.MergedAttention(kq, ov)(prompts) - prompts.target) ** 2).detach().numpy()
        error = squares.std(axis=0) / np.sqrt(len(squares))
        assert (np.abs(squares.mean(axis=0) + law.noise.numpy() - told[n]) < 4.0 * error).all()


def test_losses_and_gradients_agree_with_sampling_in_numpy(law: Law) -> None:
    """Two programs, two samplers: the loss of decomposable weights and the gradient of general ones."""
    kq, ov = general(law)
    x, query = law.inputs(100_000, law.generator(7))
    ours = full_model.expected_task_loss(*spectrum.decomposable(PROBLEM, AT, law), x, query, law).numpy()
    theirs = softmax.losses(PROBLEM, [AT], 100_000, seed=8).task
    error = np.hypot(ours.std(axis=0) / np.sqrt(len(ours)), theirs.error[0])
    assert (np.abs(ours.mean(axis=0) - theirs.mean[0]) < 4.0 * error).all()

    model = full_model.MergedAttention(kq, ov)
    rows = []
    generator = law.generator(9)
    for _ in range(100):
        model.zero_grad()
        full_model.task_loss(model, law.draw(1000, generator), law).sum().backward()
        assert model.w.grad is not None
        assert model.u.grad is not None
        rows.append(np.concatenate([model.w.grad.numpy().ravel(), model.u.grad.numpy().ravel()]))
    slopes = np.array(rows)
    by_kq, by_ov = softmax.gradient(PROBLEM, kq.numpy(), ov.numpy(), 100_000, seed=10)
    mean = np.concatenate([by_kq.mean.ravel(), by_ov.mean.ravel()])
    error = np.concatenate([by_kq.error.ravel(), by_ov.error.ravel()])
    z = (slopes.mean(axis=0) - mean) / np.hypot(slopes.std(axis=0, ddof=1) / 10.0, error)
    assert np.abs(z).max() < 4.5
    assert 0.5 < (z**2).mean() < 1.5
