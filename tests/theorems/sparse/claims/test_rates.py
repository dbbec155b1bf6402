"""The rate along the context: what is fitted, where the bound is vacuous, and where it does not hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.simulation import Estimate, simulate
from spectral_icl.theorems.claim import Check, Verdict
from spectral_icl.theorems.sparse.check import check
from spectral_icl.theorems.sparse.claims import rates
from spectral_icl.theorems.sparse.claims.rates import fitted, scale_of

PROBLEM = SparseProblem(16, 1, 24, 0.25)


def of_rate(problem: SparseProblem, seed: int = 0) -> list[Check]:
    (found,) = check(["rate"], problem, 100, seed)
    return found


def test_a_power_law_is_fitted() -> None:
    lengths = [100, 200, 400]
    slope, constant = fitted(lengths, [Estimate(3.0 * (n / 100) ** -0.7, 0.1) for n in lengths])
    assert (slope, constant) == pytest.approx((-0.7, 3.0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_is_bounded_and_falls(seed: int) -> None:
    """The largest quotient is the definition's, on prompts of its own."""
    largest, last = of_rate(PROBLEM, seed)
    assert largest.verdict is last.verdict is Verdict.HOLDS
    found = simulate(PROBLEM, ("p2o",), 2000, 100 + seed).at_best("p2o")
    scale = 0.25 * np.log(24.0) * (1.0 / 24.0 + 16.0 / 24.0**2)
    assert largest.measured is not None
    assert largest.error is not None
    off = 4.0 * np.hypot(largest.error, found.se / scale)
    assert largest.measured == pytest.approx(found.mean / scale, abs=off)
    assert "fitted" in largest.reason
    assert "n = 24 to 96" in largest.reason


def test_a_vacuous_bound_is_not_claimed() -> None:
    """Noise of twelve times the signal, and few pairs: predicting 0 is below the bound, too."""
    for one in of_rate(SparseProblem(16, 4, 24, 12.0)):
        assert one.verdict is Verdict.NOT_APPLICABLE
        assert "a bound below the signal" in one.reason


def test_with_little_noise_no_constant_will_do() -> None:
    largest, _ = of_rate(replace(PROBLEM, n=12, noise=1e-3))
    assert "FAILS without: " in largest.reason
    assert "noise at least 1/4 of the signal" in largest.reason
    assert largest.measured is not None
    assert largest.measured > 4.0 * rates.CONSTANT


def test_a_smaller_constant_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "CONSTANT", 0.5)
    assert of_rate(PROBLEM)[0].verdict is Verdict.FAILS


def test_without_noise_or_pairs_there_is_no_bound() -> None:
    for problem in (replace(PROBLEM, noise=0.0), replace(PROBLEM, n=1)):
        (one,) = of_rate(problem)
        assert one.reason == "not measured: without noise, or with one pair, the bound is 0"
    assert scale_of(PROBLEM) == pytest.approx(0.25 * (1.0 / 24.0 + 16.0 / 576.0))
