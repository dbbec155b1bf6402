"""Training learns, and goes on where it was interrupted."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from full_attention import stop_after  # noqa: E402
from linear_attention import PROBLEM, prompts  # noqa: E402

from validation.sparse import probes  # noqa: E402
from validation.sparse.linear_attention import LinearTransformer, Mask  # noqa: E402
from validation.sparse.training import Config, train, warm_start  # noqa: E402

CONFIG = Config(PROBLEM, (2, 1), steps=12, seed=3, batch=16, warmup=4, every=5)


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
