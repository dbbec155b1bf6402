"""The risk in large dimensions against sampled spectra."""

from __future__ import annotations

import numpy as np
import pytest

from theory.sparse.marchenko_pastur import marchenko_pastur_ridge
from theory.sparse.spectral import ridge_filter_risk, spectral_lower_bound


@pytest.mark.parametrize(("d", "n"), [(150, 250), (200, 200), (250, 150)])
def test_marchenko_pastur_ridge(d: int, n: int) -> None:
    rng = np.random.default_rng(1)
    found = []
    for _ in range(4):
        X = rng.normal(size=(n, d))
        found.append(ridge_filter_risk(np.linalg.eigvalsh(X.T @ X / n), d, n, 1.3, 0.4).sum())
    assert np.mean(found) == pytest.approx(float(marchenko_pastur_ridge(d, n, 1.3, 0.4)), rel=0.01)
    assert marchenko_pastur_ridge(d, n, 1.3, 0.4) > spectral_lower_bound(d, n, 1.3, 0.4)
