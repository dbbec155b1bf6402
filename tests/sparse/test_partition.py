"""Partitions of features into groups."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.sparse.partition import partition


def test_groups_keep_their_order() -> None:
    assert partition([[3, 0], [2], [1]], 4, "groups") == [[3, 0], [2], [1]]
    assert partition(np.arange(6).reshape(3, 2), 6, "groups") == [[0, 1], [2, 3], [4, 5]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([[0, 1]], "groups: expected pairs, got"),
        ([[0, 1], [1, 2]], "groups: expected pairs, got"),
        ([[0, 1], [2], []], "groups: expected pairs, got"),
        ([], "groups: expected pairs, got"),
        ("012", "groups: expected pairs, got"),
        ([[0, 1], [3]], r"groups\[1\]: expected a whole number >= 0 and <= 2, got 3"),
        ([[0.5, 1], [2]], r"groups\[0\]: expected a whole number"),
    ],
)
def test_anything_else_is_refused(groups: Any, message: str) -> None:
    with pytest.raises(si.ProblemError, match=message):
        partition(groups, 3, "pairs")
