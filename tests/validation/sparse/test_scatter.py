"""The recorded scatter of training runs: of the setting of commands, and small enough to decide claims."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch", reason="linear attention is trained by PyTorch")

from validation.result import LEVEL, not_above  # noqa: E402
from validation.sparse import scatter, trained  # noqa: E402
from validation.sparse.warm import FIRST, ONE  # noqa: E402

CLAIMS = 7  # about means over runs, in a quick command


def recorded(heads: tuple[int, ...], quantity: str) -> np.ndarray:
    """A quantity of every recorded run."""
    return np.array(scatter.recorded()["layouts"][str(list(heads))]["quantities"][quantity])


@pytest.mark.parametrize("heads", [FIRST, ONE])
def test_it_was_measured_in_the_setting_of_commands(heads: tuple[int, ...]) -> None:
    """Who changes how models are trained measures the scatter again."""
    assert scatter.recorded()["layouts"][str(list(heads))]["setting"] == scatter.setting(heads)
    assert len(set(scatter.recorded()["seeds"])) >= 8


@pytest.mark.parametrize(("heads", "other"), [(FIRST, ONE), (ONE, FIRST)])
def test_recorded_runs_meet_their_claims_and_those_of_the_other_layout_do_not(
    heads: tuple[int, ...], other: tuple[int, ...]
) -> None:
    """Each by itself, as a command has one, at the level of the smallest p-value of all claims."""
    assert sum(len(trained._CLAIMS[layout]) for layout in (FIRST, ONE)) == CLAIMS
    for quantity, (claimed, limit) in trained._CLAIMS[heads].items():
        for value in recorded(heads, quantity):
            row = claimed(quantity, scatter.over_runs([value], heads, quantity), limit)
            assert row.p is not None
            assert row.p > 0.5, quantity
        for value in recorded(other, quantity):
            row = claimed(quantity, scatter.over_runs([value], heads, quantity), limit)
            assert row.p is not None
            assert row.p < LEVEL / CLAIMS, quantity


@pytest.mark.parametrize("runs", [1, 4])
def test_a_claim_at_its_limit_fails_as_often_as_its_level_says(
    monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    """The mean is at the limit: p-values are uniform, whether the scatter is recorded or that of the runs.

    In the tail too, where the few runs that the scatter is known from count.
    """
    rng = np.random.default_rng(0)
    found = []
    for _ in range(2000):
        values = {"layouts": {str(list(FIRST)): {"quantities": {"risk": rng.normal(3.0, 0.1, 8)}}}}
        monkeypatch.setattr(scatter, "recorded", lambda values=values: values)
        estimate = scatter.over_runs(rng.normal(0.5, 0.1, runs).tolist(), FIRST, "risk")
        found.append(not_above("risk", estimate, 0.5).p)
    assert stats.kstest(found, "uniform").pvalue > 1e-3
    for level in (0.1, 0.01):
        assert stats.binomtest(int(np.sum(np.array(found) <= level)), len(found), level).pvalue > 1e-3
