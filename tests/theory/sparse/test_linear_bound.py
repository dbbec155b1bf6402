"""The bound on linear estimates against sampled prompts of correlated features, and against the package's."""

from __future__ import annotations

import numpy as np
import pytest
from sampling import within_errors

from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.prompts import draw, excess_risk
from spectral_icl.theorems.sparse.bounds import eigenvalues, linear_lower_bound
from theory.sparse.linear_bound import seen


@pytest.mark.parametrize("correlation", [0.0, 0.7])
def test_the_bound_is_that_of_the_package(correlation: float) -> None:
    p = SparseProblem(12, 3, 40, 0.4, 1.5, correlation=correlation)
    found = float(sum(seen(x, p.d, p.n, p.v, p.noise) for x in eigenvalues(p)))
    assert linear_lower_bound(p) == pytest.approx(found, rel=1e-12)


@pytest.mark.parametrize("n", [5, 20])
def test_the_best_linear_estimate_leaves_what_is_derived_and_no_less_than_the_bound(n: int) -> None:
    """p tr Sigma (1/p + X'X/s2)^-1 against errors of the estimate itself, with other penalties above it."""
    p = SparseProblem(8, 2, n, 0.5, 1.0, correlation=0.6)
    w, X, y, _ = draw(p, 20_000, 3)
    power = p.v / p.d
    gram = np.swapaxes(X, 1, 2) @ X
    least = np.trace(p.Sigma @ np.linalg.inv(np.eye(p.d) / power + gram / p.noise), axis1=1, axis2=2)
    for factor in (1.0, 0.3, 3.0):
        inner = gram + factor * p.noise / power * np.eye(p.d)
        beta = np.linalg.solve(inner, np.swapaxes(X, 1, 2) @ y[..., None])[..., 0]
        errors = excess_risk(beta, w, p.Sigma)
        if factor == 1.0:
            assert within_errors(errors - least, 0.0)
        else:
            assert errors.mean() > least.mean() + 5.0 * errors.std() / np.sqrt(len(errors))
    assert least.mean() > linear_lower_bound(p)
