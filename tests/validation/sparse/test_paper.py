"""The check at the scale of the paper, with little of everything."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from spectral_icl.sparse.problem import SparseProblem  # noqa: E402
from validation import BY_NAME, MODULES, NAMES  # noqa: E402
from validation.commands import all_checked  # noqa: E402
from validation.context import Context  # noqa: E402
from validation.result import LEVEL, not_above  # noqa: E402
from validation.sparse import paper  # noqa: E402
from validation.sparse import training as sparse_training  # noqa: E402
from validation.sparse.training import History  # noqa: E402

SMALL = paper.Scale(
    problems=tuple(SparseProblem(d=3, s=1, n=12, noise=noise) for noise in (0.1, 0.2)),
    layers=(3, 2),
    heads=2,
    steps=150,
    tuning=5,
    batch=16,
    bench=(200, 100),
)


def test_it_runs_by_its_name_and_draws_and_what_it_has_kept_is_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hundred steps already make the loss smaller; patterns are only recorded."""
    monkeypatch.setattr(paper, "QUICK", SMALL)
    monkeypatch.setattr(sparse_training, "_WATCHED", 50)
    (first,), (again,) = (
        list(all_checked(["sparse_paper"], Context(folder=tmp_path / "runs"))) for _ in range(2)
    )
    result = first.result
    claims = [one for one in result.judged() if one.verdict is not None]
    assert [one.verdict and one.verdict.value for one in claims] == ["holds"] * 4
    assert result.to_dict()["rows"] == again.result.to_dict()["rows"]
    counted = [row for row in result.rows if "effective heads" in row.quantity]
    assert [row.expected for row in counted] == [2.0, 1.0, 1.0, 2.0, 1.0]
    assert sum("after training on" in row.quantity for row in result.rows) == 4
    table = type(result)("sparse_paper", paper.TITLE, [], result.to_dict()["curves"])
    paper.figure(table).savefig(tmp_path / "figure.png", dpi=30)


def test_it_is_not_among_the_checks_that_a_command_runs_by_itself() -> None:
    assert BY_NAME == ("sparse_paper",)
    assert set(MODULES) - set(NAMES) == {"sparse_paper"}


@pytest.mark.parametrize(("end", "fails"), [(0.5, False), (2.0, True), (float("nan"), True)])
def test_a_loss_that_rises_or_is_lost_is_a_failure(end: float, fails: bool) -> None:
    losses = [1.0 + 0.1 * (-1) ** k for k in range(100)] + [end + 0.1 * (-1) ** k for k in range(100)]
    row = not_above("loss", paper._fallen(History(loss=losses)), 0.0)
    assert row.p is not None
    assert (not row.p > LEVEL) == fails
