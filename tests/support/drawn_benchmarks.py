"""The figure of the benchmarks on fewer points: it searches for optima at every one."""

from __future__ import annotations

import pytest

from spectral_icl.figures import optimal


def few_points(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw three points of everything."""
    for name in ("_DENSE", "_SEARCHED", "_SPARSE"):
        monkeypatch.setattr(optimal, name, 3)
