"""Linear attention and the explicit heads that preprocess, then optimize."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import spectral_icl as si
from spectral_icl.sparse.predictors import group_p2o, p2o
from spectral_icl.sparse.prompts import Prompts, sample_prompts
from spectral_icl.sparse.transformer import construction
from spectral_icl.sparse.transformer.attention import (
    Head,
    attention_map,
    embed_prompt,
    linear_attention_layer,
    read_prediction,
    stack_heads,
)
from spectral_icl.sparse.transformer.construction import (
    VARIANTS,
    build_gd_head,
    build_group_heads,
    build_narrow_heads,
    build_preprocess_heads,
    check_construction,
)
from spectral_icl.sparse.transformer.model import LinTF

Array = NDArray[np.float64]


def token_by_token(E: Array, heads: Head) -> Array:
    """The layer as it is defined: every token attends to the pairs, one head and one key after another."""
    out, n = E.copy(), E.shape[1] - 1
    for V, K, Q in zip(*heads, strict=True):
        for i in range(n + 1):
            for k in range(n):
                out[:, i] += V @ E[:, k] * ((K @ E[:, k]) @ (Q @ E[:, i])) / n
    return out


def descent(X: Array, y: Array, metric: Array, eta: float, t: int, start: Array) -> Array:
    """Path (t + 1, d) of beta <- beta + eta metric X^T (y - X beta) / n for a metric (d, d)."""
    path = [start]
    for _ in range(t):
        path.append(path[-1] + eta * metric @ X.T @ (y - X @ path[-1]) / len(y))
    return np.array(path)


def prompts(B: int = 5, d: int = 4, n: int = 7, seed: int = 0) -> Prompts:
    return sample_prompts(B, d, 2, n, 0.3, rng=seed)


def random_heads(H: int, D: int, dh: int, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    return Head(rng.normal(size=(H, D, D)), rng.normal(size=(H, dh, D)), rng.normal(size=(H, dh, D)))


def top(features: Array) -> float:
    return float(np.linalg.eigvalsh(features.T @ features / len(features))[-1])


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_layer_is_its_definition(H: int, D: int, dh: int, n: int, seed: int) -> None:
    heads = random_heads(H, D, dh, seed)
    E = np.random.default_rng(seed).normal(size=(3, D, n + 1))
    expected = np.array([token_by_token(one, heads) for one in E])
    np.testing.assert_allclose(linear_attention_layer(E, heads), expected, atol=1e-10)
    np.testing.assert_allclose(linear_attention_layer(E[1], heads), expected[1], atol=1e-10)


def test_the_query_is_no_key() -> None:
    """Whatever the query is, the pairs do not see it."""
    heads = random_heads(2, 5, 3)
    E = np.random.default_rng(1).normal(size=(5, 8))
    other = E.copy()
    other[:, -1] = 3.0
    np.testing.assert_array_equal(
        linear_attention_layer(E, heads)[:, :-1], linear_attention_layer(other, heads)[:, :-1]
    )


def test_gram_matrix_of_the_next_layer() -> None:
    """G after a layer is (I + A) G (I + A)^T."""
    heads, E = random_heads(2, 5, 3), np.random.default_rng(1).normal(size=(5, 8))

    def gram(E: Array) -> Array:
        return E[:, :-1] @ E[:, :-1].T / 7

    step = np.eye(5) + attention_map(gram(E)[None], heads)[0]
    np.testing.assert_allclose(gram(linear_attention_layer(E, heads)), step @ gram(E) @ step.T, rtol=1e-10)


def test_order_of_heads_does_not_matter_and_heads_add_up() -> None:
    heads, E = random_heads(4, 5, 3), np.random.default_rng(1).normal(size=(5, 8))
    after = linear_attention_layer(E, heads)
    order = [2, 0, 3, 1]
    shuffled = linear_attention_layer(E, [Head(*(part[h] for part in heads)) for h in order])
    np.testing.assert_allclose(shuffled, after, atol=1e-12)
    alone = [linear_attention_layer(E, Head(*(part[h] for part in heads))) - E for h in order]
    np.testing.assert_allclose(E + np.sum(alone, axis=0), after, atol=1e-12)


def test_stacking_pads_keys_and_queries() -> None:
    small, large, E = (
        random_heads(2, 5, 1),
        random_heads(1, 5, 4),
        np.random.default_rng(1).normal(size=(5, 8)),
    )
    both = stack_heads([small, Head(*(part[0] for part in large))])
    assert both.V.shape == (3, 5, 5)
    assert both.K.shape == both.Q.shape == (3, 4, 5)
    apart = linear_attention_layer(E, small) + linear_attention_layer(E, large) - E
    np.testing.assert_allclose(linear_attention_layer(E, both), apart, atol=1e-12)


def test_embedding() -> None:
    p = prompts()
    wide, narrow = embed_prompt(p.X, p.y, p.xq), embed_prompt(p.X, p.y, p.xq, "narrow")
    assert wide.shape == (5, 9, 8)
    assert narrow.shape == (5, 5, 8)
    np.testing.assert_array_equal(wide[:, :4, :-1], p.X.transpose(0, 2, 1))
    np.testing.assert_array_equal(wide[:, :4, -1], p.xq)
    np.testing.assert_array_equal(wide[:, 8], np.hstack([p.y, np.zeros((5, 1))]))
    assert not wide[:, 4:8].any()
    np.testing.assert_array_equal(np.delete(wide, range(4, 8), axis=1), narrow)
    np.testing.assert_array_equal(embed_prompt(p.X[2], p.y[2], p.xq[2]), wide[2])
    wide[:, 8, -1] = np.arange(5)
    np.testing.assert_array_equal(read_prediction(wide), -np.arange(5.0))
    assert read_prediction(wide[3]) == -3.0


@given(st.sampled_from([4, 8, 16, 32]), st.integers(0, 16), st.integers(0, 2**32 - 1), st.data())
@settings(max_examples=40)
def test_transformer_is_the_predictor(d: int, t: int, seed: int, data: st.DataObject) -> None:
    s, n = data.draw(st.integers(1, d)), data.draw(st.integers(1, 3 * d))
    variant = data.draw(st.sampled_from(VARIANTS))
    H = data.draw(st.sampled_from([H for H in range(1, d + 1) if d % H == 0]))
    assert check_construction(d, s, n, t, seed, variant=variant, H=H) < 1e-10


@pytest.mark.parametrize("depth", [0, 2, 3])
def test_check_sees_an_error_in_any_layer(depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(X: Array, y: Array, eta: float, t: int) -> Array:
        path = p2o(X, y, eta, t)
        path[depth, 1] += 1e-3
        return path

    monkeypatch.setattr(construction, "p2o", wrong)
    assert check_construction(4, 2, 20, 3) > 1e-4


def test_preprocessing_heads_write_the_features() -> None:
    p = prompts(1)
    X, y, xq = p.X[0], p.y[0], p.xq[0]
    E = linear_attention_layer(embed_prompt(X, y, xq), build_preprocess_heads(4))
    r = sum(label * x for x, label in zip(X, y, strict=True)) / 7
    np.testing.assert_allclose(E[4:8], np.vstack([r * x for x in [*X, xq]]).T, atol=1e-14)
    np.testing.assert_array_equal(np.delete(E, range(4, 8), axis=0), embed_prompt(X, y, xq, "narrow"))
    free = linear_attention_layer(embed_prompt(X, y, xq), build_preprocess_heads(4, eta0=0.7))
    np.testing.assert_allclose(free[8], E[8] - 0.7 * E[:4].T @ r, atol=1e-14)
    np.testing.assert_array_equal(free[4:8], E[4:8])


def test_a_model_of_mixed_metric() -> None:
    """A free step and then beta <- beta + (a + b r^2) (r - S beta), for a batch in the fast form."""
    p, a, b, eta0 = prompts(n=30), 0.2, 0.6, 0.3
    model = LinTF.constructed([build_preprocess_heads(4, eta0)] + [build_gd_head(4, a, b)] * 5)
    prediction, columns = model.forward(p.X, p.y, p.xq, probe=True)
    for k in range(5):
        r = p.X[k].T @ p.y[k] / 30
        path = descent(p.X[k], p.y[k], a * np.eye(4) + b * np.diag(r**2), 1.0, 5, eta0 * r)
        np.testing.assert_allclose(-columns[1:, k, -1], path @ p.xq[k], atol=1e-12)
        assert prediction[k] == -columns[-1, k, -1]


def test_group_heads_are_group_p2o() -> None:
    """With explicit groups: descent on <r_g, x_g>, whose limit is the flow of `group_p2o`."""
    p, groups = prompts(1, n=30), [[1, 3], [0], [2]]
    X, y, xq = p.X[0], p.y[0], p.xq[0]
    r = X.T @ y / 30
    mixing = np.zeros((4, 3))
    for h, group in enumerate(groups):
        mixing[group, h] = r[group]
    eta, t = 0.1 / top(X @ mixing), 400
    model = LinTF.constructed([build_group_heads(4, groups)] + [build_gd_head(4, 0.0, eta)] * t)
    prediction, columns = model.forward(X, y, xq, probe=True)
    np.testing.assert_allclose(columns[1, 4:8], [*(mixing.T @ xq), 0.0], atol=1e-14)
    path = descent(X, y, mixing @ mixing.T, eta, t, np.zeros(4))
    np.testing.assert_allclose(-columns[1:, -1], path @ xq, atol=1e-12)
    flow = group_p2o(X, y, groups, times=eta * t) @ xq
    assert prediction == pytest.approx(flow, rel=1e-2)
    by_number, explicit = build_group_heads(6, 2), build_group_heads(6, [[0, 1, 2], [3, 4, 5]])
    for part, same in zip(by_number, explicit, strict=True):
        np.testing.assert_array_equal(part, same)


def test_narrow_layout_approaches_p2o() -> None:
    """Exactly the metric (I / c + Rhat)^2, and an error of O(1 / c) from P2O."""
    p = prompts(1, d=16, n=64)
    X, y, xq = p.X[0], p.y[0], p.xq[0]
    r = X.T @ y / 64
    eta = 1.0 / top(X * r)
    exact = p2o(X, y, eta, 6)[-1] @ xq
    errors = []
    for c in (1e2, 1e4, 1e6):
        layers = [build_narrow_heads(16, c)] + [build_gd_head(16, eta / c**2, layout="narrow")] * 6
        prediction = LinTF.constructed(layers, "narrow").forward(X, y, xq)
        metric = np.diag((1.0 / c + r) ** 2)
        assert prediction == pytest.approx(descent(X, y, metric, eta, 6, np.zeros(16))[-1] @ xq, abs=1e-9)
        errors.append(abs(float(prediction) - exact))
    assert errors[0] < 0.1
    assert errors[1] == pytest.approx(errors[0] / 100, rel=0.3)
    assert errors[2] == pytest.approx(errors[1] / 100, rel=0.3)


def test_plain_gradient_descent_needs_no_preprocessing() -> None:
    p = prompts(1, n=30)
    X, y, xq = p.X[0], p.y[0], p.xq[0]
    path = descent(X, y, np.eye(4), 0.3, 3, np.zeros(4))
    for layout in ("wide", "narrow"):
        model = LinTF.constructed([build_gd_head(4, a=0.3, layout=layout)] * 3, layout)
        assert model.forward(X, y, xq) == pytest.approx(path[-1] @ xq, abs=1e-13)


@pytest.mark.parametrize("seed", range(3))
def test_model_is_its_layers(seed: int) -> None:
    """The fast form, many prompts at once, against tokens that pass through one layer after another."""
    model, p = LinTF(4, 9, [3, 1, 2], 5, seed), prompts(70, seed=seed)  # more prompts than fit one chunk
    model = LinTF.from_weights(
        model.embedding, model.readout, [Head(8.0 * V, K, Q) for V, K, Q in model.layers]
    )
    predictions, columns = model.forward(p.X, p.y, p.xq, probe=True)
    maps = model.query_maps(p.X, p.y)
    assert columns.shape == (4, 70, 9)
    assert maps.shape == (4, 70, 9, 4)
    for k in (0, 42, 69):
        E = model.embedding @ embed_prompt(p.X[k], p.y[k], p.xq[k], "narrow")
        for depth in range(4):
            np.testing.assert_allclose(columns[depth, k], E[:, -1], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(maps[depth, k] @ p.xq[k], E[:, -1], rtol=1e-9, atol=1e-12)
            if depth < 3:
                E = token_by_token(E, model.layers[depth])
        assert predictions[k] == pytest.approx(model.readout @ E[:, -1], rel=1e-9)
        alone, column = model.forward(p.X[k], p.y[k], p.xq[k], probe=True)
        assert alone.shape == ()
        assert alone == pytest.approx(predictions[k], rel=1e-9)
        np.testing.assert_allclose(column, columns[:, k], rtol=1e-9, atol=1e-12)
    assert np.abs(columns[-1] - columns[0]).max() > 0.1


def test_initial_weights_of_a_random_model() -> None:
    model, again, other = (LinTF(20, 40, [8, 2], 30, seed) for seed in (1, 1, 2))
    assert (model.d, model.D, model.heads_per_layer) == (20, 40, (8, 2))
    np.testing.assert_array_equal(model.layers[1].K, again.layers[1].K)
    assert (model.layers[1].K != other.layers[1].K).any()
    assert model.embedding.std() == pytest.approx(40**-0.5, rel=0.1)
    assert model.readout.std() == pytest.approx(40**-0.5, rel=0.3)
    for H, (V, K, Q) in zip((8, 2), model.layers, strict=True):
        assert V.std() == pytest.approx(1.0 / (40 * H**0.5), rel=0.1)
        assert K.std() == pytest.approx(40**-0.5, rel=0.1)
        assert Q.std() == pytest.approx(40**-0.5, rel=0.1)
        assert K.shape == Q.shape == (H, 30, 40)


def test_mask() -> None:
    model, p = LinTF(4, 9, [3, 2], 5), prompts(20)
    full = model.forward(p.X, p.y, p.xq)
    np.testing.assert_allclose(model.forward(p.X, p.y, p.xq, mask=[[1, 1, 1], [1.0, 1.0]]), full)
    first = model.layers[0]
    without = LinTF.from_weights(
        model.embedding, model.readout, [Head(*(part[[0, 2]] for part in first)), model.layers[1]]
    )
    masked = model.forward(p.X, p.y, p.xq, mask=[[True, False, True], [True, True]])
    np.testing.assert_allclose(masked, without.forward(p.X, p.y, p.xq), rtol=1e-12)
    assert (masked != full).any()
    half = LinTF.from_weights(
        model.embedding, model.readout, [Head(first.V * [[[0.5]], [[1]], [[1]]], *first[1:]), model.layers[1]]
    )
    scaled = model.forward(p.X, p.y, p.xq, mask=[[0.5, 1, 1], [1, 1]])
    np.testing.assert_allclose(scaled, half.forward(p.X, p.y, p.xq), rtol=1e-12)
    nothing = model.forward(p.X, p.y, p.xq, mask=[[0, 0, 0], [0, 0]])
    np.testing.assert_allclose(nothing, p.xq @ model.embedding[:, :4].T @ model.readout, rtol=1e-12)


def test_mean_ablation() -> None:
    """Against the definition: A of every prompt and head, one of them replaced by its mean."""
    p, pairs = prompts(20), [(0, 1), (1, 0)]
    model = LinTF(4, 9, [3, 2], 5)
    G = [
        model.embedding @ np.c_[X, y].T @ np.c_[X, y] @ model.embedding.T / 7
        for X, y in zip(p.X, p.y, strict=True)
    ]
    column = p.xq @ model.embedding[:, :4].T
    for depth, layer in enumerate(model.layers):
        A = np.array([[V @ g @ K.T @ Q for V, K, Q in zip(*layer, strict=True)] for g in G])
        for k, h in pairs:
            if k == depth:
                A[:, h] = A[:, h].mean(axis=0)
        step = np.eye(9) + A.sum(axis=1)
        G = [one @ g @ one.T for one, g in zip(step, G, strict=True)]
        column = np.einsum("bij,bj->bi", step, column)
    ablated = model.forward(p.X, p.y, p.xq, mean_ablate=pairs)
    np.testing.assert_allclose(ablated, column @ model.readout, rtol=1e-10)
    full = model.forward(p.X, p.y, p.xq)
    assert (ablated != full).any()
    # on one prompt the mean is the head itself, and a head that is masked has nothing to replace
    for prompt in zip(p.X, p.y, p.xq, strict=True):
        one = model.forward(*prompt, mean_ablate=pairs)
        assert one == pytest.approx(model.forward(*prompt), rel=1e-12)
    mask = [[1, 0, 1], [0, 1]]
    np.testing.assert_allclose(
        model.forward(p.X, p.y, p.xq, mask, pairs), model.forward(p.X, p.y, p.xq, mask), rtol=1e-12
    )


def test_prompt_on_which_weights_overflow_predicts_infinity() -> None:
    p = prompts()
    model = LinTF.constructed([build_preprocess_heads(4)] + [build_gd_head(4, 0.0, 1e9)] * 40)
    p.X[1] = 0.0  # r = 0: nothing to amplify
    prediction = model.forward(p.X, p.y, p.xq)
    assert prediction[1] == 0.0
    assert np.isposinf(np.delete(prediction, 1)).all()


X, Y, XQ = np.ones((3, 4)), np.ones(3), np.ones(4)
MODEL = LinTF(4, 9, [3, 2], 5)
HEAD = build_gd_head(2, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: embed_prompt(X, Y, XQ, "tall"), "layout: expected one of 'wide', 'narrow', got 'tall'"),
        (lambda: embed_prompt(X, Y[:2], XQ), r"y: expected .* of shape \(3\), got 'shape \(2,\)'"),
        (lambda: embed_prompt(X, Y, XQ[:2]), r"xq: expected .* of shape \(4\), got 'shape \(2,\)'"),
        (lambda: embed_prompt([X, X], [Y, Y], XQ), r"xq: expected .* of shape \(2, 4\)"),
        (lambda: embed_prompt([[1.0, 2.0], [1.0]], Y, XQ), "X: expected an array of finite numbers"),
        (lambda: embed_prompt(X[:0], Y[:0], XQ), "X: expected at least one prompt, one pair"),
        (lambda: embed_prompt(X * np.nan, Y, XQ), r"X\[0, 0\]: expected a finite number"),
        (lambda: read_prediction(Y), r"E: expected .* of shape \(any, any\)"),
        (lambda: linear_attention_layer(np.ones((4, 3)), HEAD), "E: expected 5 rows, as the heads have"),
        (lambda: linear_attention_layer(np.ones((5, 1)), HEAD), "E: expected at least two: a pair and"),
        (lambda: linear_attention_layer(np.ones((5, 3)), []), r"heads: expected a Head \(V, K, Q\) or"),
        (lambda: stack_heads([HEAD[:2]]), r"heads\[0\]: expected a Head \(V, K, Q\)"),
        (lambda: stack_heads([HEAD, HEAD._replace(V=np.eye(4))]), r"heads\[1\].V: expected .* \(5, 5\)"),
        (lambda: stack_heads(HEAD._replace(V=np.ones((5, 4)))), "heads.V: expected as many rows"),
        (lambda: stack_heads(HEAD._replace(K=np.ones((2, 4)))), r"heads.K: expected .* \(any, 5\)"),
        (lambda: stack_heads(HEAD._replace(Q=np.ones((3, 5)))), r"heads.Q: expected .* \(2, 5\)"),
        (lambda: stack_heads(HEAD._replace(V=np.ones((2, 5, 5)))), "heads: expected as many V as K as Q"),
        (lambda: LinTF(0, 5, [1], 2), "d: expected a whole number >= 1"),
        (lambda: LinTF(4, 9, [2, 0], 2), r"heads_per_layer\[1\]: expected a whole number >= 1"),
        (lambda: LinTF(4, 9, 3, 2), "heads_per_layer: expected a number of heads for each layer"),  # type: ignore[arg-type]
        (lambda: LinTF.constructed([]), "layers: expected heads for at least one layer"),
        (
            lambda: LinTF.constructed([build_narrow_heads(3, 1.0)]),
            "layers: expected heads of the wide layout",
        ),
        (lambda: LinTF.constructed([HEAD, build_gd_head(3, 1.0)]), r"layers\[1\]: expected heads with D = 5"),
        (lambda: MODEL.forward(X[:, :3], Y, XQ[:3]), "X: expected 4 features"),
        (lambda: MODEL.forward(X, Y, XQ, mask=[[1, 1, 1]]), "mask: expected factors for the heads of each"),
        (lambda: MODEL.forward(X, Y, XQ, mask=[[1, 1], [1, 1]]), r"mask\[0\]: expected .* \(3\)"),
        (lambda: MODEL.forward(X, Y, XQ, mask=[[[1], 1, 1], [1, 1]]), r"mask\[0\]: expected an array"),
        (lambda: MODEL.forward(X, Y, XQ, mean_ablate=(1, 0)), r"mean_ablate: expected pairs \(layer, head\)"),  # type: ignore[arg-type]
        (lambda: MODEL.forward(X, Y, XQ, mean_ablate=3), "mean_ablate: expected pairs"),  # type: ignore[arg-type]
        (lambda: MODEL.forward(X, Y, XQ, mean_ablate=[(2, 0)]), "mean_ablate layer: expected .* <= 1"),
        (lambda: MODEL.forward(X, Y, XQ, mean_ablate=[(1, 2)]), "mean_ablate head: expected .* <= 1"),
        (lambda: build_group_heads(16, 3), "H: expected a divisor of d = 16, got 3"),
        (lambda: build_group_heads(3, [[0], [2]]), "groups: expected a number of groups, or a partition"),
        (lambda: build_group_heads(3, [[0, 1], [1, 2]]), "groups: expected a number of groups, or a parti"),
        (lambda: build_group_heads(3, [[0, 1], [3]]), r"groups\[1\]: expected a whole number .* <= 2"),
        (lambda: build_gd_head(3, -1.0), "a: expected a number >= 0"),
        (lambda: build_gd_head(3), "a, b: expected a positive step size among them"),
        (lambda: build_gd_head(3, 1.0, 1.0, "narrow"), "b: expected 0: the narrow layout has no rows"),
        (lambda: build_preprocess_heads(0), "d: expected a whole number >= 1"),
        (lambda: build_narrow_heads(2, np.inf), "c: expected a number"),
        (lambda: check_construction(4, 5, 8, 2), "s: expected a whole number >= 1 and <= 4, got 5"),
        (lambda: check_construction(4, 2, 8, -1), "t: expected a whole number >= 0"),
        (lambda: check_construction(4, 2, 8, 2, variant="best"), "variant: expected one of 'p2o'"),
        (lambda: check_construction(4, 2, 8, 2, variant="group"), "H: expected a divisor of d = 4, got None"),
    ],
)
def test_bad_input_is_one_line(call: Callable[[], object], message: str) -> None:
    with pytest.raises(si.ProblemError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)
