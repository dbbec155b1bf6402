"""Training follows the flow, and goes on where it was interrupted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.state import State

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from full_attention import AT, CPU, PROBLEM, factored, general, stop_after  # noqa: E402

from validation.multitask import full_model  # noqa: E402
from validation.multitask.prompts import Law, Prompts  # noqa: E402
from validation.multitask.train import Run, Schedule, train  # noqa: E402


def test_training_follows_the_flow_and_keeps_the_imbalance() -> None:
    """At a length and a dimension at which the large-L kernel is good, until the losses have halved."""
    problem = replace(PROBLEM, context_length=400, block_sizes=(15, 15), covariance=(1.0, 1.0))
    law = Law.of(problem, CPU)
    start = State(np.array([[0.05, 0.02], [0.02, 0.05]]), np.array([[0.5, 0.2], [0.1, 0.6]]))
    model = full_model.FactoredAttention.balanced(problem, start, law)
    run = train(model, problem, law, Schedule(0.05, 200, 100, 50, seed=0))
    flow = si.gradient_flow(problem, *start, t_end=10.0, t_eval=run.time)
    assert flow.loss[-1] < 0.6 * flow.loss[0]
    for trained, told in ((run.omega, flow.omega), (run.mu, flow.mu)):
        moved = np.abs(told - told[0]).max()
        assert np.abs(trained - told).max() < 0.06 * moved
    assert np.abs(run.imbalance_mu).max() < 2e-3 * np.abs(run.mu).max()
    assert np.abs(run.imbalance_omega).max() < 2e-2 * np.abs(run.omega).max() / model.key_scale


class Interrupting(Law):
    """A law whose prompts are interrupted while they are drawn, as Ctrl-C would."""

    def draw(self, count: int, generator: torch.Generator) -> Prompts:
        prompts = super().draw(count, generator)
        if self.left == 0:  # type: ignore[attr-defined]
            raise KeyboardInterrupt
        object.__setattr__(self, "left", self.left - 1)  # type: ignore[attr-defined]
        return prompts


def interrupting(law: Law, after: int) -> Law:
    """The law, interrupted at a step."""
    made = Interrupting(law.length, law.root, law.prior, law.noise)
    object.__setattr__(made, "left", after)
    return made


def assert_same(one: Run, other: Run) -> None:
    for name in ("time", "omega", "mu", "task_loss", "imbalance_mu"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    for mine, yours in zip(one.weights, other.weights, strict=True):
        assert all(torch.equal(mine[name], yours[name]) for name in mine)


@pytest.mark.parametrize("save_every", [0.0, 1e9], ids=["saved each step", "saved at stops"])
@pytest.mark.parametrize("rule", [None, lambda w: torch.optim.Adam(w, lr=1e-2)], ids=["sgd", "adam"])
def test_an_interrupted_run_continues_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, law: Law, rule: object, save_every: float
) -> None:
    """Whether it is stopped between two steps or, as by Ctrl-C, in the middle of one."""
    monkeypatch.setattr("validation.checkpoint._SAVE_EVERY", save_every)
    schedule = Schedule(0.02, 25, 8, 5, seed=3, keep=True)
    whole = train(factored(law), PROBLEM, law, schedule, rule)
    for stop in (7, 6):
        with pytest.raises(KeyboardInterrupt):
            train(factored(law), PROBLEM, law, schedule, rule, track=stop_after(stop), folder=tmp_path)
        with pytest.raises(KeyboardInterrupt):
            train(factored(law), PROBLEM, interrupting(law, 2), schedule, rule, folder=tmp_path)
    model = factored(law)
    pieces = train(model, PROBLEM, law, schedule, rule, folder=tmp_path)
    assert_same(pieces, whole)
    again = train(factored(law), PROBLEM, law, schedule, rule, track=stop_after(0), folder=tmp_path)
    assert_same(again, whole)
    assert all(torch.equal(whole.weights[-1][name], values) for name, values in model.state_dict().items())
    assert whole.time.tolist() == [0.0, 0.1, 0.2, pytest.approx(0.3), 0.4, 0.5]
    assert len(whole.task_loss) == 25
    assert len(whole.weights) == 6


def test_another_run_s_checkpoint_is_not_continued(tmp_path: Path, law: Law) -> None:
    schedule = Schedule(0.02, 5, 8, 5, seed=3)
    first = train(factored(law), PROBLEM, law, schedule, folder=tmp_path)
    (file,) = tmp_path.iterdir()
    single = Law.of(PROBLEM, CPU, torch.float32)
    scaled = factored(law)
    scaled.key_scale *= 2.0
    merged = full_model.MergedAttention(*general(law))
    problem = replace(PROBLEM, noise=(0.2, 0.4))
    adam = {"rule": lambda w: torch.optim.Adam(w, lr=1e-2)}
    for count, (model, case, prompts, other, options) in enumerate(
        [
            (factored(law), PROBLEM, law, replace(schedule, seed=4), {}),
            (factored(law), PROBLEM, law, replace(schedule, batch=9), {}),
            (factored(law), PROBLEM, law, replace(schedule, rate=0.01), {}),
            (factored(law, seed=1), PROBLEM, law, schedule, {}),
            (scaled, PROBLEM, law, schedule, {}),
            (merged, PROBLEM, law, schedule, {}),
            (factored(law), PROBLEM, law, schedule, adam),
            (factored(law), problem, Law.of(problem, CPU, torch.float64), schedule, {}),
            (
                full_model.FactoredAttention.random(PROBLEM, 2, 0.8, single, single.generator(0)),
                PROBLEM,
                single,
                schedule,
                {},
            ),
        ]
    ):
        run = train(model, case, prompts, other, folder=tmp_path, **options)
        assert len(run.task_loss) == 5
        assert (run.task_loss[1:] != first.task_loss[1:]).any()
        assert len(list(tmp_path.iterdir())) == count + 2  # none is overwritten
    file.write_bytes(file.read_bytes()[:100])
    run = train(factored(law), PROBLEM, law, schedule, folder=tmp_path)
    np.testing.assert_array_equal(run.task_loss, first.task_loss)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_precision_is_the_law_s(dtype: torch.dtype) -> None:
    law = Law.of(PROBLEM, CPU, dtype)
    model = full_model.FactoredAttention.balanced(PROBLEM, AT, law)
    assert model(law.draw(2, law.generator(0))).dtype is dtype
    assert train(model, PROBLEM, law, Schedule(0.1, 2, 4, 1, seed=0)).omega.dtype == np.float64
