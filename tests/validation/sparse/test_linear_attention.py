"""Linear attention against loops, the package's model, and what it was built for."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_icl.sparse import predictors

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from linear_attention import PROBLEM, asked, numpy_of, prompts  # noqa: E402

from validation.sparse import prompts as sparse_prompts  # noqa: E402
from validation.sparse.linear_attention import LinearTransformer  # noqa: E402


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
