"""The check of sparse regression, with little of everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from validation.context import Context  # noqa: E402
from validation.sparse import bench, warm  # noqa: E402
from validation.sparse import prompts as sparse_prompts  # noqa: E402
from validation.sparse import trained as sparse  # noqa: E402
from validation.sparse import training as sparse_training  # noqa: E402
from validation.sparse.training import train  # noqa: E402


@pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])
def test_the_check_runs_and_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full: bool) -> None:
    """A few steps on a few prompts; what it claims needs more."""
    drawn = sparse_prompts.draw
    monkeypatch.setattr(sparse_training, "_WATCHED", 50)
    for module in (sparse, bench):
        monkeypatch.setattr(
            module, "draw", lambda problem, count, *rest: drawn(problem, min(count, 50), *rest)
        )
    for module in (sparse, warm):
        monkeypatch.setattr(
            module, "train", lambda config, *rest, **more: train(replace(config, steps=2), *rest, **more)
        )
    found = sparse.run(Context(full=full))
    claims = [one for one in found.judged() if one.verdict is not None]
    assert len(claims) == (14 if full else 9)
    exact = [one for one in claims if "constructed" in one.row.quantity]
    assert [one.verdict and one.verdict.value for one in exact] == ["holds", "holds"]
    assert all(one.row.p is not None for one in claims if one not in exact)
    again = sparse.figure(type(found)("sparse", sparse.TITLE, [], found.to_dict()["curves"]))
    again.savefig(tmp_path / "figure.png", dpi=30)
