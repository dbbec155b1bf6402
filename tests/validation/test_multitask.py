"""The full model of `validation/`, held against loops, finite differences, sampling and the theory."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from strategies import problems, starts

import spectral_icl as si
from spectral_icl.multitask import softmax
from spectral_icl.multitask.loss import State

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from matplotlib.figure import Figure  # noqa: E402

from validation import MODULES, NAMES, result  # noqa: E402
from validation.__main__ import main  # noqa: E402
from validation.context import Context  # noqa: E402
from validation.multitask import (  # noqa: E402
    edge,
    escape,
    full_model,
    gap,
    large_length,
    recorded,
    spectrum,
)
from validation.multitask.prompts import Law, Prompts  # noqa: E402
from validation.multitask.train import Run, Schedule, train  # noqa: E402
from validation.statistics import agreement  # noqa: E402

ROOT = Path(__file__).parents[2]
EXPECTED = ROOT / "validation" / "expected"
CPU = torch.device("cpu")

# unequal blocks, an overlap, an eigenvalue that is not 1, unequal noise
PROBLEM = si.Problem(
    block_sizes=(3, 2),
    signal=((1.0, 0.5), (0.3, 2.0)),
    noise=(0.1, 0.4),
    context_length=12,
    covariance=(1.0, 0.6),
)
AT = State(np.array([[0.4, -0.2], [0.1, 0.5]]), np.array([[1.2, -0.3], [0.4, 0.8]]))


@pytest.fixture
def law() -> Law:
    return Law.of(PROBLEM, CPU, torch.float64)


def general(law: Law, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Whole matrices of two heads."""
    generator = law.generator(seed)
    kq = 0.3 * torch.randn(2, 5, 5, generator=generator, **law.like)
    ov = torch.randn(2, 2, 2, generator=generator, **law.like)
    return kq, ov


def factored(law: Law, seed: int = 0) -> full_model.FactoredAttention:
    return full_model.FactoredAttention.random(PROBLEM, 2, 0.8, law, seed)


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


def test_agreement_is_calibrated_for_correlated_entries() -> None:
    """Under the null the p-values are uniform although all entries share most of their noise."""
    rng = np.random.default_rng(0)
    values = []
    for seed in range(60):
        common = rng.normal(size=(50, 1))
        entries = 1.0 + 0.9 * common + 0.4 * rng.normal(size=(50, 30))
        values.append(agreement(entries, np.ones(30), seed).p)
    assert 0.3 < np.mean(values) < 0.7
    assert min(values) > 1e-3
    shifted = agreement(entries + 0.8, np.ones(30))
    assert shifted.p < 1e-3
    deviation = entries + 0.8 - 1.0
    z = deviation.mean(axis=0) / (deviation.std(axis=0, ddof=1) / np.sqrt(50))
    assert shifted.chi_square == pytest.approx(float((z**2).sum()))


def test_agreement_sees_a_wrong_distribution() -> None:
    rng = np.random.default_rng(1)
    right = rng.normal(size=(100, 400))
    assert agreement(right, np.zeros(400)).p_normal > 1e-3
    alternating = right + 0.4 * np.where(np.arange(400) % 2, 1.0, -1.0)
    assert agreement(alternating, np.zeros(400)).p_normal < 1e-3


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


def stop_after(steps: int) -> object:
    """A track that is interrupted between two steps."""

    def track(items: Iterable[int], _: str) -> Iterator[int]:
        for count, item in enumerate(items):
            if count == steps:
                raise KeyboardInterrupt
            yield item

    return track


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
            (full_model.FactoredAttention.random(PROBLEM, 2, 0.8, single, 0), PROBLEM, single, schedule, {}),
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


def test_lengths_are_whole() -> None:
    with pytest.raises(ValueError, match=r"context_length = 12\.5: prompts have whole lengths"):
        Law.of(replace(PROBLEM, context_length=12.5), CPU)


def test_the_recorded_run_is_the_recorded_case() -> None:
    trace = recorded.authors()
    np.testing.assert_allclose(trace.omega[0], recorded.START.omega, rtol=1e-3)
    np.testing.assert_allclose(trace.mu[0], recorded.START.mu, rtol=2e-2)
    assert trace.loss[0] == pytest.approx(PROBLEM.tasks * 10.09, rel=0.05)
    emerged = [task.time for task in recorded.flow().phases.tasks]
    np.testing.assert_allclose(recorded.emergence(trace), emerged, rtol=0.05)


def test_verdicts() -> None:
    holds = [
        result.within("a", 1.04, None, 1.0, 0.05),
        result.consistent("a", 1.3, 0.1, 1.0),
        result.at_least("a", 1.0, 1.0),
        result.at_most("a", 1.0, 1.0),
        result.same("a", 1.0, 1.0),
        result.plausible("a", 0.5),
        result.rejected("a", 1e-4),
    ]
    nan = float("nan")
    fails = [
        result.within("a", 1.06, None, 1.0, 0.05),
        result.within("a", nan, None, 1.0, 0.05),
        result.within("a", 1.0, None, nan, 0.05),
        result.consistent("a", 1.5, 0.1, 1.0),
        result.consistent("a", nan, 0.1, 1.0),
        result.at_least("a", nan, 1.0),
        result.at_most("a", nan, 1.0),
        result.same("a", 2.0, 1.0),
        result.plausible("a", 1e-4),
        result.rejected("a", 0.5),
    ]
    assert [row.verdict and row.verdict.value for row in holds] == ["holds"] * len(holds)
    assert [row.verdict and row.verdict.value for row in fails] == ["fails"] * len(fails)
    made = result.Result("name", "title", [*fails, result.noted("a", nan)], {"x": np.array([1.0 / 3.0, nan])})
    assert made.failures == len(fails)
    loaded = json.loads(made.as_json_text(seconds=1.0))
    assert loaded == made.as_json(seconds=1.0)
    assert loaded["curves"] == {"x": [0.333333, None]}
    assert [row["verdict"] for row in loaded["rows"]] == ["fails"] * len(fails) + [None]


def ask(*arguments: str, code: str = "") -> subprocess.CompletedProcess[str]:
    run = ["-c", f"{code}; import runpy; runpy.run_module('validation', run_name='__main__', alter_sys=True)"]
    command = [sys.executable, *(run if code else ["-m", "validation"]), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nonsense"], "", "NAME = 'nonsense': expected one of gradient, "),
        (["edge", "--device", "abacus"], "", "--device = 'abacus': expected a device of this machine"),
        (
            ["edge", "--out", "/dev/null/x"],
            "",
            "--out = '/dev/null/x': expected a folder that can be written",
        ),
        (["edge", "--ful"], "", "Error: No such option '--ful'"),
        (
            ["edge", "--out", "README.md"],
            "",
            "Error: Invalid value for '--out': Directory 'README.md' is a file.",
        ),
        (["edge"], "import sys; sys.modules['torch'] = None", "the package 'torch' is not installed: "),
    ],
    ids=["name", "device", "out", "option", "file", "torch"],
)
def test_bad_input_is_one_line(arguments: list[str], code: str, message: str) -> None:
    done = ask(*arguments, code=code)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


def stub(run: Callable[[Context], result.Result]) -> ModuleType:
    """A check."""
    module = ModuleType("validation.stub")
    module.run = run  # type: ignore[attr-defined]
    module.figure = lambda _: Figure()  # type: ignore[attr-defined]
    return module


@pytest.mark.parametrize("measured", [1.0, 2.0])
def test_a_check_writes_its_table_its_data_and_its_figure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, measured: float
) -> None:
    def run(context: Context) -> result.Result:
        assert context.full
        assert context.folder == tmp_path / "new" / "runs"
        return result.Result("stub", "a title", [result.same("quantity", measured, 1.0)], {}, ["a note"])

    monkeypatch.setitem(sys.modules, "validation.stub", stub(run))
    monkeypatch.setattr("validation.__main__.NAMES", ("stub",))
    monkeypatch.setattr("validation.__main__.MODULES", {"stub": "validation.stub"})
    done = CliRunner().invoke(main, ["--full", "--out", str(tmp_path / "new")])
    failures = int(measured != 1.0)
    assert done.exit_code == failures
    assert done.stderr == ""  # no bar without a terminal
    assert done.stdout.startswith("a title\n")
    assert f"{failures} failures" in done.stdout
    table = json.loads((tmp_path / "new" / "stub.json").read_text("utf-8"))
    assert table["setting"] == "full"
    assert table["rows"][0]["verdict"] == ("fails" if failures else "holds")
    assert table["environment"]["torch"] == version("torch")
    assert (tmp_path / "new" / "stub.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(("out", "word"), [(True, "the same command continues"), (False, "--out")])
def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, out: bool, word: str
) -> None:
    def run(_: Context) -> result.Result:
        raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "validation.stub", stub(run))
    monkeypatch.setattr("validation.__main__.NAMES", ("stub",))
    monkeypatch.setattr("validation.__main__.MODULES", {"stub": "validation.stub"})
    done = CliRunner().invoke(main, ["stub", *(["--out", str(tmp_path)] if out else [])])
    assert done.exit_code == 130
    assert word in done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_can_be_drawn_from_recorded_data(name: str, tmp_path: Path) -> None:
    module = importlib.import_module(MODULES[name])
    table = json.loads((EXPECTED / f"{name}.json").read_text("utf-8"))
    assert table["title"] == module.TITLE
    figure = module.figure(result.Result(name, module.TITLE, [], table["curves"]))
    drawn = [line for axes in figure.axes for line in [*axes.lines, *axes.patches]]
    assert len(drawn) >= 4
    figure.savefig(tmp_path / "figure.png")


@pytest.mark.parametrize("task", [0, 1])
def test_an_imbalance_is_fitted_from_the_path_it_makes(task: int) -> None:
    imbalance = np.array([3e-7, 2e-6])
    flow = escape._flow(imbalance)
    trace = recorded.Trace(flow.t, flow.omega, flow.mu, flow.t, flow.loss)
    moment, reached = escape._crossing(trace, task)
    assert reached < -2e-3
    assert escape._fitted(moment, reached, task) == pytest.approx(imbalance[task], rel=0.02)
    left = escape._escapes(flow.t, flow.mu)
    assert left[task] == pytest.approx(flow.phases.escapes[task].time, abs=0.05)


def test_an_imbalance_that_shows_nowhere_is_not_fitted() -> None:
    flow = recorded.flow()
    trace = recorded.Trace(flow.t, flow.omega, flow.mu, flow.t, flow.loss)
    assert np.isnan(escape._crossing(trace, 0)).all()
    assert np.isnan(escape._fitted(np.nan, np.nan, 0))
    assert np.isnan(escape._escapes(flow.t, flow.mu)).all()


def test_exponents_are_found_with_their_errors() -> None:
    settings = np.array([(0.01, 1000), (0.01, 4000), (0.0025, 1000), (0.0025, 4000)])
    mean = 3.0 * settings[:, 0] ** 1.3 / settings[:, 1]
    excess = np.column_stack([mean, 0.01 * mean])
    (batch, batch_error), (step, step_error) = gap._exponents(settings, excess)
    assert batch == pytest.approx(1.0)
    assert step == pytest.approx(1.3)
    # two differences of logarithms, each with two errors of 1 %, averaged
    assert batch_error == pytest.approx(step_error) == pytest.approx(0.01 / np.log(4.0))
    ((alone, _),) = gap._exponents(settings[:2], excess[:2])
    assert alone == pytest.approx(1.0)


def test_sharpness_is_the_largest_eigenvalue() -> None:
    """Of a Hessian that is small enough to be written down."""
    problem = si.Problem.multitask(task_sizes=(2,), signal=1.0, noise=0.1, context_length=10)
    law = Law.of(problem, CPU, torch.float64)
    at = State(np.array([[0.4]]), np.array([[1.1]]))
    model = full_model.MergedAttention.diagonal(problem, at, law)
    objective = edge.Objective(Context(), problem, model, 50)

    def loss(flat: torch.Tensor) -> torch.Tensor:
        kq, ov = flat[:4].reshape(1, 2, 2), flat[4:].reshape(1, 1, 1)
        return full_model.expected_task_loss(kq, ov, *objective.inputs, law).sum(dim=1).mean()

    flat = torch.nn.utils.parameters_to_vector(objective.weights).detach()
    values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(loss, flat))
    value, direction = objective.sharpness()
    assert value == pytest.approx(float(values[-1]), rel=1e-4)
    found = torch.cat([part.flatten() for part in direction])
    assert abs(float(found @ vectors[:, -1])) == pytest.approx(1.0, abs=1e-3)


def test_reduced_sharpness_by_factors_is_that_of_the_factors() -> None:
    """The chain rule through omega = c k q and mu = o v, against differences of the loss."""
    problem = si.Problem.multitask(task_sizes=(3,), signal=1.0, noise=0.1, context_length=50)
    at = si.optimal.single_head(problem).weights
    assert at is not None
    scale = (3 + 1) ** -0.5
    k, v = np.sqrt(at.omega[0, 0] / scale), np.sqrt(at.mu[0, 0])
    fine = si.Problem(block_sizes=(1, 1, 1), signal=((1 / 3,) * 3,), noise=0.1, context_length=50)

    def loss(w: np.ndarray) -> float:
        key, query, value, output = w[:3], w[3:6], w[6], w[7]
        told = si.loss(fine, (scale * key * query)[None, :], np.array([[value * output]]))
        assert isinstance(told, float)
        return told

    start, h = np.array([k] * 6 + [v] * 2), 1e-4
    unit = h * np.eye(8)
    hessian = np.array([
        [
            loss(start + a + b) - loss(start + a - b) - loss(start - a + b) + loss(start - a - b)
            for b in unit
        ]
        for a in unit
    ]) / (4.0 * h * h)  # fmt: skip
    _, told = edge._reduced_sharpness(problem, at)
    assert told == pytest.approx(np.linalg.eigvalsh(hessian)[-1], rel=1e-5)


def test_recorded_results_are_of_every_check_and_none_failed() -> None:
    assert sorted(path.stem for path in EXPECTED.glob("*.json")) == sorted(NAMES)
    for path in EXPECTED.glob("*.json"):
        table = json.loads(path.read_text("utf-8"))
        assert table["setting"] == "full"
        assert [row["quantity"] for row in table["rows"] if row["verdict"] == "fails"] == []
        assert path.with_suffix(".png").exists()


def test_default_context_is_quick_and_silent() -> None:
    context = Context()
    assert context.pick("quick", "full") == "quick"
    assert list(context.track(range(3), "label")) == [0, 1, 2]


def test_a_bar_is_drawn_beside_the_output(capsys: pytest.CaptureFixture[str]) -> None:
    context = Context(progress=True)
    assert list(context.track(range(3), "a label")) == [0, 1, 2]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "a label" in printed.err
