"""Bounds of gradient descent and ridge, against sampled risks, other formulas and each other."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_icl.sparse import filters
from spectral_icl.sparse.filters import Flow
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import draw
from spectral_icl.sparse.risk.isotropic import spectral_lower_bound
from spectral_icl.sparse.simulation import simulate
from spectral_icl.theorems.claim import UnmeasurableError
from spectral_icl.theorems.sparse.bounds import least_filtered, linear_lower_bound, spectral_bound


@pytest.mark.parametrize(("d", "n", "noise"), [(8, 20, 0.25), (8, 5, 0.25), (8, 5, 0.0), (12, 3, 40.0)])
def test_isotropic_features_have_the_known_bound(d: int, n: int, noise: float) -> None:
    p = SparseProblem(d, 2, n, noise, 1.7)
    assert linear_lower_bound(p) == pytest.approx(spectral_lower_bound(d, n, p.v, noise), rel=1e-12)


@pytest.mark.parametrize("n", [5, 16, 60])
@pytest.mark.parametrize(
    "law",
    [{}, {"correlation": 0.8}, {"support_variance": 0.2}, {"support_variance": 3.0}, {"weights": "gauss"}],
)
def test_no_sampled_risk_is_below_the_bounds(n: int, law: dict[str, float]) -> None:
    p = SparseProblem(8, 2, n, 0.3, **law)  # type: ignore[arg-type]
    bound = spectral_bound(p, 1000, 0)
    found = simulate(p, ("gd", "ridge"), 1000, 1)
    for method in ("gd", "ridge"):
        best = found.at_best(method)
        assert best.mean > bound.mean - 3.0 * np.hypot(best.se, bound.se), method
    if p.support_variance == 1.0:
        assert bound.mean > linear_lower_bound(p)
    else:
        with pytest.raises(UnmeasurableError, match="always on the same features"):
            linear_lower_bound(p)


def test_the_least_risk_of_filters_is_the_least() -> None:
    """Against a thousand filters of the same prompt, near the best one too, by the risk written out."""
    p = SparseProblem(5, 1, 4, 0.4, support_variance=0.5)
    X = draw(p, 1, 0).X[0]
    assert p.Sigma is not None
    power, Sigma = np.where(np.arange(5) < 1, p.v, 0.0), np.diag(p.Sigma)
    values, U = np.linalg.eigh(X.T @ X / p.n)
    values = np.maximum(values, 0.0)

    def risk(h: np.ndarray) -> float:
        H = U * h @ U.T
        off = H @ X.T @ X / p.n - np.eye(5)
        noise = p.noise * H @ X.T @ X @ H / p.n**2
        return float(np.trace(Sigma @ (off * power @ off.T + noise)))

    least = least_filtered(X, power, Sigma, p.noise)
    rng = np.random.default_rng(0)
    best = filters.ridge(np.array([0.3]), values)[0]
    smallest = risk(best)
    for scale in (1.0, 0.1, 0.01, 0.001):
        for _ in range(1000):
            tried = best + scale * rng.normal(size=5)
            if risk(tried) < smallest:
                smallest, best = risk(tried), tried
    assert least == pytest.approx(smallest, rel=1e-4)
    assert least <= smallest
    for times in (0.3, 3.0):
        assert risk(Flow(times)(values)[0]) > least


def test_without_noise_only_hidden_directions_are_left() -> None:
    p = SparseProblem(6, 2, 4, 0.0, correlation=0.5)
    assert linear_lower_bound(p) > 0.0
    assert spectral_bound(p, 400, 0).mean > linear_lower_bound(p)
    assert linear_lower_bound(SparseProblem(6, 2, 6, 0.0)) == 0.0
