"""Linear attention of `validation/`, held against loops, the package, and what it was built for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError
from spectral_icl.sparse import predictors
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.transformer.attention import Head
from spectral_icl.sparse.transformer.model import LinTF

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from validation.context import Context  # noqa: E402
from validation.sparse import probes  # noqa: E402
from validation.sparse import prompts as sparse_prompts  # noqa: E402
from validation.sparse import trained as sparse  # noqa: E402
from validation.sparse import training as sparse_training  # noqa: E402
from validation.sparse.linear_attention import LinearTransformer, Mask  # noqa: E402
from validation.sparse.prompts import SparsePrompts  # noqa: E402
from validation.sparse.training import Config, train, warm_start  # noqa: E402

PROBLEM = SparseProblem(d=4, s=2, n=20, noise=0.25)
HEADS = (3, 1, 2)


def prompts(count: int = 30, seed: int = 0, problem: SparseProblem = PROBLEM) -> SparsePrompts:
    return sparse_prompts.draw(problem, count, torch.Generator().manual_seed(seed), torch.float64)


@pytest.fixture
def model() -> LinearTransformer:
    return LinearTransformer.random(4, HEADS, 0, torch.float64)


def numpy_of(model: LinearTransformer) -> LinTF:
    """The package's model with the same weights."""
    parts = [[w.detach().double().numpy() for w in kind] for kind in (model.value, model.key, model.query)]
    layers = [Head(*heads) for heads in zip(*parts, strict=True)]
    embed, readout = (w.detach().double().numpy() for w in (model.embed, model.readout))
    return LinTF.from_weights(embed, readout, layers)


def asked(model: LinTF, data: SparsePrompts, **options: Any) -> np.ndarray:
    return model.forward(data.x.numpy(), data.y.numpy(), data.query.numpy(), **options)


def test_prediction_is_attention_token_by_token(model: LinearTransformer) -> None:
    """One head, one query and one key at a time, and every token in every layer."""
    data = prompts(3)
    told = model(data).detach().numpy()
    embed, readout = model.embed.detach().numpy(), model.readout.detach().numpy()
    for n in range(3):
        tokens = [embed @ [*x, y] for x, y in zip(data.x[n].numpy(), data.y[n].numpy(), strict=True)]
        tokens.append(embed @ [*data.query[n].numpy(), 0.0])
        for value, key, query in zip(model.value, model.key, model.query, strict=True):
            v, k, q = (w.detach().numpy() for w in (value, key, query))
            added = [np.zeros_like(token) for token in tokens]
            for h in range(len(v)):
                for at, token in enumerate(tokens):
                    for seen in tokens[:-1]:
                        added[at] += v[h] @ seen * ((k[h] @ seen) @ (q[h] @ token)) / PROBLEM.n
            tokens = [token + more for token, more in zip(tokens, added, strict=True)]
        assert told[n] == pytest.approx(readout @ tokens[-1], rel=1e-12)


def test_the_package_s_model_predicts_the_same(model: LinearTransformer) -> None:
    data, other = prompts(), numpy_of(model)
    np.testing.assert_allclose(model(data).detach(), asked(other, data), rtol=1e-12)
    mask = model.mask([[0, 2], [], [1]])
    np.testing.assert_allclose(model(data, mask).detach(), asked(other, data, mask=mask), rtol=1e-12)
    _, columns = asked(other, data, probe=True)
    for state, column in zip(model.states(data), columns, strict=True):
        np.testing.assert_allclose(state.read(data.query)[:, 0].detach(), column, rtol=1e-12)


def test_nothing_grows_with_the_context(model: LinearTransformer) -> None:
    """A context twice is the context once."""
    data = prompts()
    twice = data._replace(x=torch.cat([data.x, data.x], dim=1), y=torch.cat([data.y, data.y], dim=1))
    torch.testing.assert_close(model(twice), model(data))
    assert {part.shape[1] for state in model.states(twice) for part in state} == {5}


@pytest.mark.parametrize("heads", [(4, 1, 1), (6, 2, 1), (4,)], ids=str)
def test_constructed_weights_preprocess_then_optimize(heads: tuple[int, ...]) -> None:
    data, steps = prompts(200), len(heads) - 1
    built = LinearTransformer.constructed(4, heads, 0.6, 0.5, 0.3)
    beta = sparse_prompts.preprocessed_descent(data, 0.3, 0.6, 0.5, steps)
    torch.testing.assert_close(built(data), (beta * data.query).sum(dim=1), rtol=1e-12, atol=1e-12)
    bare = LinearTransformer.constructed(4, heads, 0.0, 0.2, 0.0)
    told = predictors.p2o(data.x.numpy(), data.y.numpy(), 0.2, steps)[:, -1]
    np.testing.assert_allclose(bare(data).detach(), (told * data.query.numpy()).sum(axis=1), atol=1e-12)


def test_with_one_head_in_the_first_layer_the_construction_is_gradient_descent() -> None:
    data = prompts(200)
    built = LinearTransformer.constructed(4, (1, 1, 1), 0.2, 0.5, 0.2)
    told = predictors.gd(data.x.numpy(), data.y.numpy(), 0.2, 3)[:, -1]
    np.testing.assert_allclose(built(data).detach(), (told * data.query.numpy()).sum(axis=1), atol=1e-12)


def test_prompts_have_the_problem_s_law() -> None:
    data = prompts(20_000)
    assert (data.coefficients.ne(0.0).sum(dim=1) == 2).all()
    torch.testing.assert_close((data.coefficients**2).sum(dim=1), torch.ones(20_000, dtype=torch.float64))
    residual = data.y - (data.x @ data.coefficients[:, :, None])[:, :, 0]
    for squares, expected in (
        (data.x[:, 0] ** 2, 1.0),
        (data.query**2, 1.0),
        (residual[:, 0] ** 2, PROBLEM.noise),
        (data.coefficients**2, 1.0 / PROBLEM.d),
        (data.target**2, PROBLEM.signal),
    ):
        error = squares.std(dim=0) / 20_000**0.5
        assert ((squares.mean(dim=0) - expected).abs() < 4.5 * error).all()
    assert 0.45 < (data.coefficients > 0).sum() / 40_000 < 0.55
    gauss = prompts(20_000, problem=replace(PROBLEM, weights="gauss"))
    assert float((gauss.coefficients**2).sum(dim=1).mean()) == pytest.approx(1.0, abs=0.05)


def test_reference_predictors_are_the_package_s() -> None:
    data = prompts()
    x, y = data.x.numpy(), data.y.numpy()
    penalty = sparse_prompts.best_penalty(PROBLEM)
    assert penalty == 0.25 * 4 / 20
    np.testing.assert_allclose(
        sparse_prompts.ridge(data, penalty), predictors.ridge(x, y, penalty), rtol=1e-9
    )
    support = np.array([np.flatnonzero(w) for w in data.coefficients.numpy()])
    np.testing.assert_allclose(sparse_prompts.oracle(data), predictors.oracle(x, y, support), atol=1e-12)


def test_trimmed_means_leave_out_the_largest() -> None:
    squares = np.concatenate([np.arange(1.0, 1000.0), [1e9]])
    assert probes.trimmed(squares) == (
        pytest.approx(500.0),
        pytest.approx(np.sqrt(999 * 1000 / 12 / 999), rel=1e-2),
    )
    assert probes.trimmed(squares, 0.0)[0] > 1e6
    assert probes.ratio(2.0 * squares, squares) == (2.0, pytest.approx(0.0, abs=1e-12))
    rng = np.random.default_rng(0)
    found = np.array([probes.ratio(*rng.exponential((3.0, 1.0), (2000, 2)).T) for _ in range(200)])
    assert found[:, 0].mean() == pytest.approx(3.0, rel=0.02)
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=0.2)


@pytest.mark.parametrize("mode", ["mean", "zero"])
def test_importance_is_what_is_lost_without_a_head(model: LinearTransformer, mode: str) -> None:
    data, other = prompts(50), numpy_of(model)
    target = data.target.numpy()
    found = probes.head_importance(model, data, mode, share=0.0)
    whole = ((asked(other, data) - target) ** 2).mean()
    assert found.risk == pytest.approx(whole)
    for layer, heads in enumerate(HEADS):
        assert len(found.loss[layer]) == heads
        for head in range(heads):
            mask = [np.ones(count) for count in HEADS]
            mask[layer][head] = 0.0
            without: dict[str, Any] = {"mean_ablate": [(layer, head)]} if mode == "mean" else {"mask": mask}
            risk = ((asked(other, data, **without) - target) ** 2).mean()
            assert found.loss[layer][head] == pytest.approx(min(risk, (target**2).mean()) - whole)


def test_importance_of_the_construction() -> None:
    """Every preprocessing head counts, and one head of the others; predicting worse than zero is capped."""
    built, data = warm_start(4, (4, 3), 0.5, 0.5, 0.0, 0), prompts(8000)
    found = probes.head_importance(built, data)
    assert probes.effective_heads(found.loss) == pytest.approx([4.0, 1.0], rel=0.05)
    assert found.loss[1][1:] == pytest.approx(0.0, abs=1e-12)
    masked = probes.head_importance(built, data, mask=built.mask([range(4), [0]]))
    assert masked.loss[1][1:] == pytest.approx(0.0, abs=1e-12)
    with torch.no_grad():
        built.readout *= 100.0
        built.value[1] /= 100.0
    blown = probes.head_importance(built, data, "zero", share=0.0)
    assert max(layer.max() for layer in blown.loss) <= float((data.target**2).mean()) - blown.risk + 1e-12


def test_effective_heads() -> None:
    layers = [np.ones(5), np.array([0.0, 2.0, -1.0]), np.array([-1.0, 0.0]), np.array([1.0, 3.0])]
    np.testing.assert_allclose(probes.effective_heads(layers), [5.0, 1.0, np.nan, 1.6])


def test_pruning_leaves_the_most_important_head() -> None:
    built = LinearTransformer.constructed(4, (4, 3, 2), 0.2, 0.2, 0.2)
    importance = [np.array([1.0, 3.0, 2.0, 0.0]), np.array([-3.0, -2.0, np.nan]), np.array([0.0, 1.0])]
    mask = probes.prune(built, importance, (0, 1))
    assert [layer.tolist() for layer in mask] == [
        [False, True, False, False],
        [False, True, False],
        [True, True],
    ]
    data = prompts(500)
    kept = probes.prune(built, probes.head_importance(built, data).loss, (1, 2))
    torch.testing.assert_close(built(data, kept), built(data))


def test_what_the_first_layer_writes() -> None:
    """Preprocessing writes d rows, gradient descent one."""
    assert probes.layer1_readout(LinearTransformer.constructed(4, (4, 1), 0.5, 0.5, 0.0)) == pytest.approx(
        (1, 4)
    )
    assert probes.layer1_readout(LinearTransformer.constructed(4, (1, 1), 0.5, 0.5, 0.5)) == pytest.approx(
        (1, 1)
    )
    random = LinearTransformer.random(4, (8, 1), 0)
    alignment, rank = probes.layer1_readout(random)
    assert 0.1 < alignment < 0.5
    assert 1.0 < rank < 4.0


def test_what_the_first_layer_writes_is_its_part_in_r(model: LinearTransformer) -> None:
    """T_k of a random layer, by differences of the layer between moments."""
    single = LinearTransformer.random(4, (3,), 0, torch.float64)

    def written(r: np.ndarray) -> np.ndarray:
        moments = torch.zeros(1, 5, 5, dtype=torch.float64)
        moments[0, :4, 4] = moments[0, 4, :4] = torch.as_tensor(r)
        state = single.states(prompts(1), last=0)[0]._replace(moments=moments)
        added = single.attend(0, state, state.rows)[0, :4]
        return added.detach().numpy().T  # (D, d)

    T = np.array([written(r) for r in np.eye(4)])
    alignment, rank = probes.layer1_readout(single)
    own = np.array([T[k, :, k] for k in range(4)])
    assert alignment == pytest.approx((own**2).sum() / (T**2).sum())
    squares = np.linalg.svd(own, compute_uv=False) ** 2
    assert rank == pytest.approx(squares.sum() ** 2 / (squares**2).sum())


def test_the_p_probe_sees_preprocessing_and_nothing_else() -> None:
    data = prompts(2000)
    built = LinearTransformer.constructed(4, (4, 1), 0.5, 0.5, 0.0)
    with torch.no_grad():
        built.value[0] *= 10.0  # features that outweigh covariates
    many = probes.p_probe(built, data)
    one = probes.p_probe(LinearTransformer.constructed(4, (1, 1), 0.5, 0.5, 0.3), data)
    penalty = sparse_prompts.best_penalty(PROBLEM)
    squares = ((sparse_prompts.ridge(data, penalty) - data.coefficients) ** 2).sum(dim=1).numpy()
    for views in (many, one):
        assert views.layers[0] == pytest.approx(views.raw)
        assert views.raw == pytest.approx(probes.trimmed(squares)[0], rel=0.02)
    assert many.preprocessed < many.layers[1] < 0.95 * many.raw
    assert min(one.layers) > 0.98 * one.raw


def test_the_p_probe_is_ridge_regression_on_features() -> None:
    """One prompt, features and penalty written out."""
    data, random = prompts(1), LinearTransformer.random(4, (2, 1), 3, torch.float64)
    twice = SparsePrompts(*(torch.cat([part, part]) for part in data))
    found = probes.p_probe(random, twice).layers[2]
    view = random.states(data)[2].rows[0, :4].detach().numpy()
    x, y, w = (part[0].numpy() for part in (data.x, data.y, data.coefficients))
    features = x @ view
    moment = features.T @ features / 20
    risks = []
    for penalty in probes.PENALTIES:
        inner = moment + penalty * np.trace(moment) * np.eye(len(moment))
        beta = view @ np.linalg.solve(inner, features.T @ y / 20)
        risks.append(((beta - w) ** 2).sum())
    assert found == pytest.approx(min(risks), rel=1e-6)


def test_the_linear_probe_finds_the_prediction() -> None:
    built = LinearTransformer.constructed(4, (1, 1, 1), 0.5, 0.5, 0.5)
    data = prompts(6000)
    fit, check = (SparsePrompts(*(part[rows] for part in data)) for rows in (slice(3000), slice(3000, None)))
    risks = probes.linear_probe(built, fit, check)
    assert risks[0] == pytest.approx(float((check.target**2).clamp(max=9.0).mean()), rel=0.05)
    assert risks == sorted(risks, reverse=True)
    assert risks[-1] <= 1.02 * probes.squared_errors(built, check).mean()


CONFIG = Config(PROBLEM, (2, 1), steps=12, seed=3, batch=16, warmup=4, every=5)


def stop_after(steps: int) -> Callable[[Iterable[int], str], Iterator[int]]:
    def track(items: Iterable[int], _: str) -> Iterator[int]:
        for count, item in enumerate(items):
            if count == steps:
                raise KeyboardInterrupt
            yield item

    return track


def assert_same(one: tuple[Any, Any], other: tuple[Any, Any]) -> None:
    assert one[1].loss == other[1].loss
    assert one[1].risk == other[1].risk
    assert one[1].step == other[1].step
    for mine, yours in zip(one[0].parameters(), other[0].parameters(), strict=True):
        assert torch.equal(mine, yours)


@pytest.mark.parametrize("save_every", [0.0, 1e9], ids=["saved each step", "saved at stops"])
def test_an_interrupted_run_continues_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_every: float
) -> None:
    monkeypatch.setattr("validation.checkpoint._SAVE_EVERY", save_every)
    whole = train(CONFIG)
    folder = tmp_path / "runs"
    for stop in (4, 5):
        with pytest.raises(KeyboardInterrupt):
            train(CONFIG, track=stop_after(stop), folder=folder, label="a")
        with monkeypatch.context() as during:
            during.setattr(torch.nn.utils, "clip_grad_norm_", stop_in_a_step)
            with pytest.raises(KeyboardInterrupt):
                train(CONFIG, folder=folder, label="a")
    assert_same(train(CONFIG, folder=folder, label="a"), whole)
    assert_same(train(CONFIG, folder=folder, label="a", track=stop_after(0)), whole)
    assert whole[1].step == [0, 5, 10, 12]
    assert len(whole[1].loss) == whole[1].done == 12
    (file,) = folder.iterdir()
    file.write_bytes(file.read_bytes()[:100])
    assert_same(train(CONFIG, folder=folder, label="a"), whole)


def stop_in_a_step(*_: object) -> None:
    raise KeyboardInterrupt


def test_another_run_s_checkpoint_is_not_continued(tmp_path: Path) -> None:
    start = LinearTransformer.random(4, (2, 1), 3)
    first = train(CONFIG, copy.deepcopy(start), folder=tmp_path)
    assert_same(train(CONFIG, folder=tmp_path), first)  # the same random weights
    masks = [start.mask([[0], [0]]), start.mask([[1], [0]])]
    others: list[tuple[Config, int, Mask | None]] = [
        (replace(CONFIG, rate=1e-3), 3, None),
        (replace(CONFIG, steps=13), 3, None),
        (replace(CONFIG, decay=0.1), 3, None),
        (replace(CONFIG, problem=replace(PROBLEM, s=1)), 3, None),
        (CONFIG, 4, None),
        (CONFIG, 3, masks[0]),
        (CONFIG, 3, masks[1]),
    ]
    for count, (config, seed, mask) in enumerate(others):
        _, history = train(config, LinearTransformer.random(4, (2, 1), seed), mask, folder=tmp_path)
        assert history.done == config.steps
        assert len(list(tmp_path.iterdir())) == count + 2  # none is overwritten


def test_training_learns_and_pruned_heads_stay_as_they_are() -> None:
    start = warm_start(4, (4, 2), 0.3, 0.3, 0.02, 1)
    mask = start.mask([[0, 1, 2, 3], [0]])
    before = copy.deepcopy(start)
    model, history = train(replace(CONFIG, heads=(4, 2), steps=60, rate=1e-2), start, mask)
    assert model is start
    assert history.risk[-1] < 0.9 * history.risk[0]
    for mine, old in ((model.value, before.value), (model.key, before.key), (model.query, before.query)):
        assert torch.equal(mine[1][1], old[1][1])
        assert not torch.equal(mine[1][0], old[1][0])


def test_the_learning_rate_warms_up_and_falls() -> None:
    config = Config(PROBLEM, (1,), steps=1000)
    rates = [config.rate_at(step) for step in range(1000)]
    assert rates[0] == pytest.approx(4e-5)
    assert np.argmax(rates) == 99
    assert rates[-1] == pytest.approx(4e-5, rel=1e-3)
    assert config.rate_at(500) == pytest.approx(4e-3 * 0.505)


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda: LinearTransformer.random(0, (1,), 0), "dimension: expected a whole number >= 1"),
        (lambda: LinearTransformer.random(4, (), 0), "heads: expected numbers of heads, one per layer"),
        (lambda: LinearTransformer.random(4, (2, 0), 0), "heads[1]: expected a whole number >= 1"),
        (lambda: LinearTransformer.constructed(4, (4, 1), -1.0, 0.5, 0.1), "a: expected a number >= 0"),
        (lambda: warm_start(4, (4, 1), 0.5, 0.5, -0.1, 0), "eps: expected a number >= 0"),
        (lambda: warm_start(4, (4, 1), 0.5, 0.5, 0.1, -1), "seed: expected a whole number >= 0"),
        (lambda: replace(CONFIG, steps=0), "steps: expected a whole number >= 1"),
        (lambda: replace(CONFIG, rate=0.0), "rate: expected a number > 0"),
        (lambda: replace(CONFIG, decay=-1.0), "decay: expected a number >= 0"),
        (lambda: prompts(0), "count: expected a whole number >= 1"),
        (lambda: prompts(problem=replace(PROBLEM, correlation=0.5)), "problem: expected independent"),
        (lambda: LinearTransformer.random(4, (2, 1), 0).mask([[0]]), "kept: expected heads of 2 layers"),
        (lambda: LinearTransformer.random(4, (2,), 0).mask([[2]]), "kept[0]: expected heads of 2, counted"),
        (
            lambda: probes.head_importance(LinearTransformer.random(4, (2,), 0), prompts(), "median"),
            "mode: expected one of 'mean', 'zero'",
        ),
        (
            lambda: probes.prune(LinearTransformer.random(4, (2,), 0), [np.ones(2)], [1]),
            "layers: expected layers of 1, counted from 0",
        ),
        (lambda: train(CONFIG, warm_start(5, (5,), 1, 1, 0, 0)), "model: expected d = 4, got 'd = 5'"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(ask: Callable[[], object], message: str) -> None:
    with pytest.raises(ProblemError) as caught:
        ask()
    assert str(caught.value).startswith(message)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])
def test_the_check_runs_and_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full: bool) -> None:
    """A few steps on a few prompts; what it claims needs more."""
    drawn = sparse_prompts.draw
    monkeypatch.setattr(sparse_training, "_WATCHED", 200)
    monkeypatch.setattr(sparse, "draw", lambda problem, count, *rest: drawn(problem, min(count, 200), *rest))
    monkeypatch.setattr(
        sparse, "train", lambda config, *rest, **more: train(replace(config, steps=2), *rest, **more)
    )
    found = sparse.run(Context(full=full))
    claims = [row for row in found.rows if row.verdict is not None]
    assert len(claims) >= 8
    exact = [row for row in claims if "constructed" in row.quantity]
    assert [row.verdict and row.verdict.value for row in exact] == ["holds", "holds"]
    again = sparse.figure(type(found)("sparse", sparse.TITLE, [], found.as_json()["curves"]))
    again.savefig(tmp_path / "figure.png")
