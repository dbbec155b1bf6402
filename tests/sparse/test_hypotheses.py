"""The hypotheses under which preprocess-then-optimize is claimed to win."""

from __future__ import annotations

from dataclasses import replace

import pytest

from spectral_icl.sparse.hypotheses import advantage
from spectral_icl.sparse.problem import SparseProblem

PROBLEM = SparseProblem(8, 2, 24, 0.3)


LIMITS: dict[str, tuple[str, list[tuple[float, bool]]]] = {
    "sparse": ("d", [(7, False), (8, True)]),
    "long": ("n", [(23, False), (24, True)]),
    "signal": ("noise", [(4.0, True), (4.01, False), (0.01, True), (0.009, False)]),
    "correlation": ("correlation", [(0.6, True), (-0.6, True), (0.61, False), (-0.61, False)]),
    "variance": ("support_variance", [(0.3, True), (0.29, False), (1.1, False)]),
}


@pytest.mark.parametrize("case", LIMITS)
def test_hypotheses_at_their_limits(case: str) -> None:
    """Each by itself: the others are met."""
    name, values = LIMITS[case]
    at = list(LIMITS).index(case)
    for value, met in values:
        found = advantage(replace(PROBLEM, **{name: value}))  # type: ignore[arg-type]
        assert [is_met for _, is_met in found] == [met if k == at else True for k in range(5)]
