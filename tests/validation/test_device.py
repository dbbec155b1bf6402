"""Every tensor is made on the context's device, and products on it are exact."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.state import State

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from full_attention import AT, CPU, PROBLEM  # noqa: E402

from validation.context import Context  # noqa: E402
from validation.device import opened  # noqa: E402
from validation.multitask import descent, edge, full_model, gap, gradient, recorded  # noqa: E402
from validation.multitask.prompts import Law  # noqa: E402
from validation.multitask.sampled_loss import sampled_loss  # noqa: E402
from validation.multitask.spectrum import decomposable  # noqa: E402
from validation.multitask.train import Schedule, training_run  # noqa: E402

SMALL = si.Problem.multitask(task_sizes=(2,), signal=1.0, noise=0.1, context_length=10)
ONE = State(np.array([[0.4]]), np.array([[1.1]]))


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """What is made on no device in particular is made where it has no values, and cannot be used."""
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


def everything(context: Context) -> None:
    """A little of all that the checks do with PyTorch."""
    law = Law.of(PROBLEM, context.device)
    at = Law.of(SMALL, context.device, torch.float64)
    random = full_model.FactoredAttention.random(PROBLEM, 2, 0.1, law, context.generator("start"))
    balanced = full_model.FactoredAttention.balanced(PROBLEM, AT, law)
    merged = full_model.MergedAttention.diagonal(PROBLEM, AT, law)
    for name, model in {
        "random": random,
        "balanced": balanced,
        "joint": full_model.JointAttention(balanced),
        "merged": merged,
    }.items():
        run = training_run(context, name, model, PROBLEM, Schedule(0.01, 4, 8, 2, keep=True))
        assert np.isfinite(run.task_loss).all()
        assert all(weight.device.type == context.device.type for weight in model.parameters())
    plateau = full_model.FactoredAttention.balanced(
        recorded.PROBLEM, recorded.START, Law.of(recorded.PROBLEM, context.device)
    )
    gap._difference(plateau, Law.of(recorded.PROBLEM, context.device), 1, context.generator("difference"))
    training_run(
        context,
        "adam",
        merged,
        PROBLEM,
        Schedule(0.01, 4, 8, 2),
        lambda weights: torch.optim.Adam(weights, lr=1e-3),
    )
    sampled_loss(context, SMALL, ONE, 200, "loss")
    gradient.sample(law, *decomposable(PROBLEM, AT, law), 400, context, "gradient")
    gradient._expected(context, SMALL, ONE, 400, "expected")
    descent.gradient_covariance(PROBLEM, AT, law, context.generator("covariance"))
    objective = edge.Objective(
        context, SMALL, full_model.MergedAttention.diagonal(SMALL, ONE, at), 50, "edge"
    )
    objective.minimise()
    value, direction = objective.sharpness()
    assert objective.curvatures([direction])[0] == pytest.approx(value, rel=1e-3)
    edge._growth(objective, direction, 1.0 / value)
    joint = full_model.JointAttention(full_model.FactoredAttention.balanced(SMALL, ONE, at))
    edge.SampledObjective(context, SMALL, joint, 50, "labels").sharpness()


@pytest.mark.usefixtures("elsewhere")
def test_every_tensor_is_made_on_the_context_s_device(tmp_path: Path) -> None:
    """And comes back to it from the files of runs."""
    everything(Context(device=CPU, folder=tmp_path))
    everything(Context(device=CPU, folder=tmp_path))


@pytest.mark.usefixtures("elsewhere")
def test_the_trap_catches_what_names_no_device() -> None:
    with pytest.raises(RuntimeError):
        Law.of(PROBLEM, CPU).root + torch.ones(5)
    with pytest.raises((RuntimeError, NotImplementedError)):
        torch.as_tensor(np.ones(2)) + torch.ones(2, device=CPU)


def test_every_generator_is_on_the_context_s_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is told to be, at least: there is no other device here to try."""
    made = []
    genuine = torch.Generator

    def told(device: object = None) -> torch.Generator:
        made.append(device)
        return genuine("cpu")

    monkeypatch.setattr(torch, "Generator", told)
    meta = torch.device("meta")
    Context(device=meta).generator("a")
    Law.of(PROBLEM, meta).generator(0)
    assert made == [meta, meta]
    made.clear()
    everything(Context(device=CPU))
    assert made
    assert set(made) == {CPU}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_everything_runs_on_a_gpu(tmp_path: Path) -> None:
    for _ in range(2):
        everything(Context(device=opened("cuda"), folder=tmp_path))


def test_products_are_not_rounded_to_ten_bits() -> None:
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.set_float32_matmul_precision("medium")
    assert opened("cpu") == CPU
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert torch.get_float32_matmul_precision() == "highest"
