"""What heads and layers do, on models of which it is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from linear_attention import HEADS, PROBLEM, asked, numpy_of, prompts  # noqa: E402

from validation.sparse import probes  # noqa: E402
from validation.sparse import prompts as sparse_prompts  # noqa: E402
from validation.sparse.linear_attention import LinearTransformer  # noqa: E402
from validation.sparse.prompts import SparsePrompts  # noqa: E402
from validation.sparse.training import warm_start  # noqa: E402


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
