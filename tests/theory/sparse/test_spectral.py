"""The risks of spectral filters against sampled prompts, and that ridge regression has the least."""

from __future__ import annotations

import numpy as np
import pytest
from sampling import isotropic, within_errors

from theory.sparse.filters import gradient_filter
from theory.sparse.spectral import filter_risk, ridge_filter_risk, ridge_penalty, spectral_lower_bound


@pytest.mark.parametrize(("d", "n"), [(5, 12), (8, 4)])
def test_spectral_filters_and_the_ridge_bound(d: int, n: int) -> None:
    """Each filter's errors against the sum over the same prompts' eigenvalues; ridge has the least."""
    rng = np.random.default_rng(n)
    w, s2 = rng.normal(size=d), 0.6
    v = float(w @ w)
    penalty = ridge_penalty(d, n, v, s2)
    _, r, S = isotropic(rng, 20_000, n, w, s2)
    values, vectors = np.linalg.eigh(S)
    values = np.maximum(values, 1e-12)
    modes = np.einsum("bij,bi->bj", vectors, r)
    least = ridge_filter_risk(values, d, n, v, s2).sum(1)
    filters = {
        "ridge": 1 / (values + penalty),
        "weaker": 1 / (values + penalty / 3),
        "descent": gradient_filter(values, 0.2, 6),
        "flow": -np.expm1(-1.5 * values) / values,
    }
    for name, h in filters.items():
        errors = ((np.einsum("bij,bj->bi", vectors, h * modes) - w) ** 2).sum(1)
        risks = filter_risk(h, values, d, n, v, s2).sum(1)
        assert within_errors(errors - risks, 0.0), name
        if name == "ridge":
            np.testing.assert_allclose(risks, least, rtol=1e-8)
        else:
            assert (risks > least).all(), name
    bound = max(spectral_lower_bound(d, n, v, s2), v * (1 - n / d))
    assert least.mean() > bound
