"""Agreement of means that are correlated."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from validation.statistics import agreement  # noqa: E402


def test_agreement_is_calibrated_for_correlated_entries() -> None:
    """Under the null the p-values are uniform although all entries share most of their noise."""
    rng = np.random.default_rng(0)
    values = []
    for seed in range(60):
        common = rng.normal(size=(50, 1))
        entries = 1.0 + 0.9 * common + 0.4 * rng.normal(size=(50, 30))
        values.append(agreement(entries, np.ones(30), seed).p)
    assert 0.3 < np.mean(values) < 0.7
    assert min(values) > 1e-3
    shifted = agreement(entries + 0.8, np.ones(30))
    assert shifted.p < 1e-3
    deviation = entries + 0.8 - 1.0
    z = deviation.mean(axis=0) / (deviation.std(axis=0, ddof=1) / np.sqrt(50))
    assert shifted.chi_square == pytest.approx(float((z**2).sum()))


def test_agreement_sees_a_wrong_distribution() -> None:
    rng = np.random.default_rng(1)
    right = rng.normal(size=(100, 400))
    assert agreement(right, np.zeros(400)).p_normal > 1e-3
    alternating = right + 0.4 * np.where(np.arange(400) % 2, 1.0, -1.0)
    assert agreement(alternating, np.zeros(400)).p_normal < 1e-3
