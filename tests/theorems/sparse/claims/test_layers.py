"""What layers compute exactly, and what they do not with a head or a row too few."""

from __future__ import annotations

import numpy as np
import pytest

from spectral_icl.sparse.problem import SparseProblem
from spectral_icl.sparse.transformer.attention import Head
from spectral_icl.theorems.claim import Check, Verdict
from spectral_icl.theorems.sparse import evidence
from spectral_icl.theorems.sparse.check import check
from spectral_icl.theorems.sparse.evidence import Evidence

LAWS = [
    SparseProblem(6, 2, 4, 0.25),
    SparseProblem(6, 2, 30, 25.0, 1e-3, "gauss"),
    SparseProblem(6, 2, 30, 0.0, correlation=0.8),
    SparseProblem(6, 2, 30, 0.25, support_variance=0.1),
]


@pytest.mark.parametrize("problem", LAWS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_construction_is_exact_and_nothing_less_is(problem: SparseProblem, seed: int) -> None:
    ((exact, without_head, without_rows),) = check(["construction-exact"], problem, seed=seed)
    assert exact.verdict is Verdict.HOLDS
    assert exact.measured is not None
    assert exact.measured < 1e-12
    for one, missing in ((without_head, "a head for each feature"), (without_rows, "rows for the features")):
        assert one.verdict is Verdict.NOT_APPLICABLE
        assert f"FAILS without: {missing}" in one.reason
        assert one.measured is not None
        assert one.measured > 1e-5


def test_another_step_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers whose step is off by a part in 10^8 are not P2O's."""
    whole = evidence.build_gd_head

    def off(d: int, a: float = 0.0, b: float = 0.0, layout: str = "wide") -> Head:
        return whole(d, a, b * (1.0 + 1e-8), layout)

    monkeypatch.setattr(evidence, "build_gd_head", off)
    ((exact, *_),) = check(["construction-exact"], LAWS[0])
    assert exact.verdict is Verdict.FAILS


def of_heads(d: int, noise: float = 0.25, seed: int = 0) -> list[Check]:
    (found,) = check(["heads-necessary"], SparseProblem(d, 1, 2, noise), seed=seed)
    return found


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_fewer_heads_miss_and_as_many_do_not(seed: int) -> None:
    one, two, enough, beyond = of_heads(3, seed=seed)
    assert [found.verdict for found in (one, two, enough)] == [Verdict.HOLDS] * 3
    assert one.measured == pytest.approx(4.0 * np.sqrt(2.0) * 0.5 - 2.0 + 1.0, abs=1e-4)  # 2 sqrt 2 - 2 + 1
    assert two.measured == pytest.approx(2.0 * np.sqrt(2.0) - 2.0, abs=1e-4)
    assert enough.measured == 0.0
    assert "FAILS without: fewer heads than features" in beyond.reason


def test_what_heads_suppose() -> None:
    assert of_heads(2, noise=0.0)[0].verdict is Verdict.NOT_APPLICABLE
    (large,) = of_heads(40)
    assert large.reason == "not measured: weights are searched for d <= 4; the proof is for every d"
    assert [found.verdict for found in of_heads(1)] == [Verdict.HOLDS, Verdict.NOT_APPLICABLE]


def test_a_construction_with_a_wrong_head_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evidence, "mismatch", lambda self, heads: 1e-6)
    less, enough, _ = of_heads(2)
    assert less.verdict is Verdict.FAILS
    assert enough.verdict is Verdict.FAILS


def test_large_problems_are_said_to_be_too_large() -> None:
    (wide, *_) = next(check(["construction-exact"], SparseProblem(65, 1, 10, 0.1)))
    assert wide.reason == "not measured: explicit heads are put to the test for at most 64 features"
    (long, *_) = next(check(["construction-exact"], SparseProblem(2, 1, 10**7, 0.1)))
    assert "do not fit into memory" in long.reason
