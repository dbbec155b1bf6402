"""The check of sparse regression, with little of everything."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from validation.context import Context  # noqa: E402
from validation.sparse import prompts as sparse_prompts  # noqa: E402
from validation.sparse import trained as sparse  # noqa: E402
from validation.sparse import training as sparse_training  # noqa: E402
from validation.sparse.training import train  # noqa: E402


@pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])
def test_the_check_runs_and_draws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, full: bool) -> None:
    """A few steps on a few prompts; what it claims needs more."""
    drawn = sparse_prompts.draw
    monkeypatch.setattr(sparse_training, "_WATCHED", 50)
    monkeypatch.setattr(sparse, "draw", lambda problem, count, *rest: drawn(problem, min(count, 50), *rest))
    monkeypatch.setattr(
        sparse, "train", lambda config, *rest, **more: train(replace(config, steps=2), *rest, **more)
    )
    found = sparse.run(Context(full=full))
    claims = [row for row in found.rows if row.verdict is not None]
    assert len(claims) >= 8
    exact = [row for row in claims if "constructed" in row.quantity]
    assert [row.verdict and row.verdict.value for row in exact] == ["holds", "holds"]
    again = sparse.figure(type(found)("sparse", sparse.TITLE, [], found.to_dict()["curves"]))
    again.savefig(tmp_path / "figure.png", dpi=30)
