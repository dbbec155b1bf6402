"""Exponents of the risk, from simulations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.sparse import scaling
from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.scaling import scaling_exponent
from spectral_icl.sparse.simulation import mc_risk

PROBLEM = SparseProblem(8, 2, 20, 0.3)


def test_exponent_is_a_weighted_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against polyfit on the same simulations, four times as many at d = 8 as at 32; its error is honest.

    Of features without weight, d counts those alone.
    """
    p = SparseProblem(12, 2, 100, 0.25)
    values = [8, 16, 32]
    found = scaling_exponent("d", values, p, "p2o_off", 8.0, 60, 4)
    means, errors = [], []
    for k, d in enumerate(values):
        at = mc_risk(["p2o_off"], d, 2, 100, 1.0, 0.25, 8.0 * 2, 60 * 32 // d, 4 + k)["p2o_off"]
        means.append(at["mean"][0])
        errors.append(at["se"][0])
    relative = np.array(errors) / means
    (slope, _), scaled = np.polyfit(
        np.log([d - 2 for d in values]), np.log(means), 1, w=1 / relative, cov="unscaled"
    )
    assert found.mean == pytest.approx(slope, rel=1e-9)
    assert found.se == pytest.approx(np.sqrt(scaled[0, 0]), rel=1e-9)
    many = np.array([scaling_exponent("d", values, p, "p2o_off", 8.0, 60, seed) for seed in range(0, 120, 3)])
    assert 0.6 < np.sqrt((many[:, 1] ** 2).mean()) / many[:, 0].std(ddof=1) < 1.5


def test_exponents_of_a_small_case() -> None:
    """Off the support the risk is as d, and on it as 1/n, when prompts are long."""
    p = SparseProblem(16, 2, 400, 0.25)
    off = scaling_exponent("d", [10, 34, 66], p, "p2o_off", prompts=200)
    assert off.se < 0.06
    assert off.mean == pytest.approx(1.0, abs=3 * off.se)
    on = scaling_exponent("n", [200, 800], p, "p2o_support", prompts=300)
    assert on.se < 0.1
    assert on.mean == pytest.approx(-1.0, abs=3 * on.se)


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    "unknown axis": (lambda: scaling_exponent("v", [1, 2], PROBLEM), "axis: expected one of 'd', 's', 'n'"),
    "unknown part": (lambda: scaling_exponent("d", [9, 12], PROBLEM, "ridge"), "part: expected one of"),
    "one value": (lambda: scaling_exponent("d", [9, 9], PROBLEM), "values: expected at least two different"),
    "half a feature": (
        lambda: scaling_exponent("d", [9, 9.5], PROBLEM),  # type: ignore[list-item]
        r"values\[1\]: expected a whole number",
    ),
    "fewer features than weights": (lambda: scaling_exponent("d", [1, 9], PROBLEM), "s: expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line(case: str) -> None:
    call, message = BAD[case]
    with pytest.raises(si.ProblemError, match=message):
        call()


def test_a_wrong_line_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight forgotten."""
    monkeypatch.setattr(scaling.np.linalg, "lstsq", lambda A, b: (np.polyfit(A[:, 1], b, 1)[::-1],))
    with pytest.raises(AssertionError):
        test_exponent_is_a_weighted_line(monkeypatch)
