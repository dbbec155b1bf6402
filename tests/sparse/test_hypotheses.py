"""The hypotheses under which preprocess-then-optimize is claimed to win."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spectral_icl.sparse import hypotheses
from spectral_icl.sparse.hypotheses import advantage, contrast
from spectral_icl.sparse.predictors import correlations
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import draw

PROBLEM = SparseProblem(32, 2, 400, 0.25)


LIMITS: dict[str, tuple[str, list[tuple[float, bool]]]] = {
    "sparse": ("d", [(7, False), (8, True)]),
    "shown": ("n", [(39, False), (40, True)]),
    "noise": ("noise", [(4.0, True), (4.01, False), (0.1, True), (0.099, False)]),
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


def test_correlated_features_need_sparser_weights() -> None:
    """Neighbours of a feature with weight are read off the labels, too."""
    dense = replace(PROBLEM, d=16)
    assert all(advantage(dense))
    assert [bool(one) for one in advantage(replace(dense, correlation=0.1))] == [False, *[True] * 4]


@pytest.mark.parametrize("variance", [1.0, 0.4])
def test_the_contrast_is_that_of_sampled_correlations(variance: float) -> None:
    """Squared mean on the support over variance off it, of r = X'y/n, within a part of its own error."""
    p = SparseProblem(10, 2, 50, 0.5, 1.5, support_variance=variance)
    w, X, y, _ = draw(p, 4_000, 0)
    r = correlations(X, y) * np.where(w < 0.0, -1.0, 1.0)
    on, off = r[w != 0.0], r[w == 0.0]
    assert off.mean() == pytest.approx(0.0, abs=4.0 * off.std() / np.sqrt(off.size))
    assert on.mean() ** 2 / off.var() == pytest.approx(contrast(p), rel=0.06)


@pytest.mark.parametrize("n", [48, 72])
def test_the_problems_on_which_thresholds_failed_are_outside(n: int) -> None:
    """Noise as large as the signal, and fewer pairs than show the support: P2O has 0.7 of ridge's risk."""
    p = SparseProblem(64, 4, n, 1.0)
    assert not all(hypotheses.half(p))
    assert not all(advantage(p))
    assert all(hypotheses.half(replace(p, n=128)))


def test_stricter_claims_suppose_more() -> None:
    """Whatever meets the hypotheses of a claim meets those of the claims that say less."""
    rng = np.random.default_rng(0)
    met = dict.fromkeys(("half", "near_oracle", "deep", "shallow", "rate", "below_bound"), 0)
    for _ in range(1500):
        d = int(rng.choice([16, 32, 64]))
        s = int(rng.choice([1, 4]))
        n = int(rng.integers(1, 2000))
        rho = float(rng.choice([0.0, 0.0, 0.3, 0.7]))
        p = SparseProblem(d, s, n, float(np.exp(rng.uniform(-3.0, 1.5))), correlation=rho)
        for name in met:
            if all(getattr(hypotheses, name)(p)):
                met[name] += 1
                assert all(advantage(p)), name
    assert min(met.values()) > 5
