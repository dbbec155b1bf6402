"""P2O beside the bound of methods linear in the labels: below it, above it, and where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.risk.isotropic import spectral_lower_bound
from spectral_icl.sparse.simulation import simulate
from spectral_icl.theorems.claim import Check, Verdict
from spectral_icl.theorems.sparse.check import check
from spectral_icl.theorems.sparse.claims import linear

PROBLEM = SparseProblem(16, 1, 32, 0.25)


def beats(problem: SparseProblem, seed: int = 0) -> list[Check]:
    (found,) = check(["beats-lower-bound"], problem, 100, seed)
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("law", [{}, {"correlation": -0.4}, {"weights": "gauss"}, {"support_variance": 0.6}])
def test_it_is_below_where_prompts_show_the_support(seed: int, law: dict[str, float]) -> None:
    below, *sampled = beats(replace(PROBLEM, n=64, **law), seed)  # type: ignore[arg-type]
    assert below.verdict is Verdict.HOLDS
    assert below.measured is not None
    assert below.measured < 0.7
    assert len(sampled) == ("correlation" in law)
    assert all(one.verdict is Verdict.HOLDS for one in sampled)


@pytest.mark.parametrize(
    ("law", "missing"),
    [
        ({"s": 16, "n": 40}, "sparse weights"),
        ({"correlation": 0.95, "s": 4, "n": 128}, "correlation at most 0.6"),
        ({"support_variance": 0.05, "n": 128}, "variance on the support from 0.5"),
        ({"n": 12, "s": 4, "noise": 1.0}, "prompts that show the support"),
    ],
)
def test_it_is_not_without_a_hypothesis(law: dict[str, float], missing: str) -> None:
    one = beats(replace(PROBLEM, **law))[0]  # type: ignore[arg-type]
    assert one.verdict is Verdict.NOT_APPLICABLE
    assert "FAILS without: " in one.reason
    assert missing in one.reason


def test_the_quotient_is_that_of_its_definition() -> None:
    """The isotropic bound times what is measured is the risk of P2O, on prompts of its own."""
    (one,) = beats(PROBLEM)
    found = simulate(PROBLEM, ("p2o",), 2000, 100).at_best("p2o")
    bound = spectral_lower_bound(16, 32, 1.0, 0.25)
    assert one.measured is not None
    assert one.error is not None
    off = 4.0 * float(np.hypot(one.error * bound, found.se))
    assert one.measured * bound == pytest.approx(found.mean, abs=off)


def test_a_bound_too_low_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = linear.linear_lower_bound
    monkeypatch.setattr(linear, "linear_lower_bound", lambda p: 0.2 * whole(p))
    assert beats(PROBLEM)[0].verdict is Verdict.FAILS


def test_without_noise_there_is_none() -> None:
    for problem in (replace(PROBLEM, noise=0.0), replace(PROBLEM, noise=0.0, support_variance=0.5)):
        (one,) = beats(problem)
        assert one.reason == "not measured: without noise, and n >= d, the bound is 0"
