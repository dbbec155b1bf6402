"""Verdicts and what is written of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from validation import result  # noqa: E402


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
    loaded = json.loads(made.to_json(seconds=1.0))
    assert loaded == made.to_dict(seconds=1.0)
    assert loaded["curves"] == {"x": [0.333333, None]}
    assert [row["verdict"] for row in loaded["rows"]] == ["fails"] * len(fails) + [None]
