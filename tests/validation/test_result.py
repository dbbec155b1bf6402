"""Verdicts and what is written of them."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from spectral_icl.theorems.claim import Verdict  # noqa: E402
from validation import NAMES, result  # noqa: E402
from validation.statistics import Estimate, apart  # noqa: E402

NAN = float("nan")


def verdicts(rows: list[result.Row], level: float = 0.01) -> list[Verdict | None]:
    return [one.verdict for one in result.Result("name", "title", rows, level=level).judged()]


@pytest.mark.parametrize(
    "row",
    [
        result.consistent("a", Estimate(1.2, 0.1), 1.0),
        result.consistent("a", Estimate(1.5, 0.1, 2), 1.0),  # few groups are no evidence
        result.not_above("a", Estimate(0.0, 0.1), 1.0),
        result.not_above("a", Estimate(1.1, 0.1), 1.0),
        result.not_below("a", Estimate(2.0, 0.1), 1.0),
        result.plausible("a", 3.0, 0.5),
        result.told_apart("a", Estimate(1.1, 0.1)),
        result.nearer("a", Estimate(0.6, 0.1)),
        result.nearer("a", Estimate(1.9, 0.1)),
        result.at_least("a", 1.0, 1.0),
        result.at_most("a", 1.0, 1.0),
        result.same("a", 1.0, 1.0),
    ],
)
def test_what_holds(row: result.Row) -> None:
    assert verdicts([row]) == [Verdict.HOLDS]


@pytest.mark.parametrize(
    "row",
    [
        result.consistent("a", Estimate(1.5, 0.1), 1.0),
        result.consistent("a", Estimate(NAN, 0.1), 1.0),
        result.consistent("a", Estimate(1.0, 0.1), NAN),
        result.consistent("a", Estimate(1.0, NAN), 1.0),
        result.not_above("a", Estimate(1.5, 0.1), 1.0),
        result.not_below("a", Estimate(0.5, 0.1), 1.0),
        result.plausible("a", 3.0, 1e-4),
        result.told_apart("a", Estimate(0.1, 0.1)),  # the wrong one is true
        result.told_apart("a", Estimate(1.9, 0.1)),  # neither is
        result.told_apart("a", Estimate(1.0, 0.6)),  # not told apart
        result.nearer("a", Estimate(0.1, 0.1)),
        result.nearer("a", Estimate(1.0, 0.6)),
        result.nearer("a", Estimate(NAN, 0.1)),
        result.at_least("a", NAN, 1.0),
        result.at_most("a", NAN, 1.0),
        result.same("a", 2.0, 1.0),
    ],
)
def test_what_fails(row: result.Row) -> None:
    assert verdicts([row]) == [Verdict.FAILS]


def test_p_values_are_two_sided_of_student_s_t() -> None:
    row = result.consistent("a", Estimate(1.5, 0.1, 7), 1.0)
    assert row.p == pytest.approx(apart(5.0, 7))
    assert row.claim == "equal, t of 7"


def test_claims_share_the_level_by_holm_s_method() -> None:
    """The same p-value alone, and beside nine others; claims without chance have no share."""
    row, others = result.plausible("a", 1.0, 0.005), [result.plausible("a", 1.0, 0.5)] * 9
    assert verdicts([row]) == [Verdict.FAILS]
    assert verdicts([row, *others]) == [Verdict.HOLDS] * 10
    without = [result.noted("a", 1.0), result.same("a", 1.0, 1.0)]
    assert verdicts([*without, row]) == [None, Verdict.HOLDS, Verdict.FAILS]
    missing = result.plausible("a", 1.0, NAN)
    assert verdicts([*others, missing]) == [Verdict.HOLDS] * 9 + [Verdict.FAILS]


def test_checks_have_equal_shares_of_a_command_s_budget() -> None:
    assert result.Result("name", "title").level == pytest.approx(1e-3 / len(NAMES))


def test_right_checks_fail_as_seldom_as_they_may() -> None:
    """Of a check of six claims at 0.1, 500 times, of groups of eight: within four errors."""
    rng = np.random.default_rng(0)
    failed = 0
    for _ in range(500):
        rows = [result.consistent("a", Estimate.of(rng.normal(size=8)), 0.0) for _ in range(6)]
        failed += result.Result("name", "title", rows, level=0.1).failures > 0
    assert abs(failed / 500 - (1.0 - (1.0 - 0.1 / 6) ** 6)) < 4.0 * math.sqrt(0.1 * 0.9 / 500)


def test_what_is_written_says_p_and_level() -> None:
    rows = [
        result.consistent("a", Estimate(1.2, 0.1), 1.0),
        result.same("b", 1.0, 1.0),
        result.noted("c", Estimate(NAN, 0.2)),
    ]
    made = result.Result("name", "title", rows, {"x": np.array([1.0 / 3.0, NAN])}, ["note"], level=0.01)
    assert made.failures == 0
    text = made.to_text(setting="quick", seed=3).splitlines()
    assert text[0] == "title (setting quick, seed 3)"
    assert " ".join(text[1].split()) == "quantity measured +- expected claimed p level verdict"
    assert " ".join(text[2].split()) == "a 1.2 0.1 1 equal 0.046 0.01 holds"
    assert text[-1] == "  note"
    loaded = json.loads(made.to_json(seed=3))
    assert loaded == made.to_dict(seed=3)
    assert loaded["curves"] == {"x": [0.333333, None]}
    assert loaded["seed"] == 3
    assert loaded["rows"][0] == {
        "quantity": "a",
        "measured": 1.2,
        "error": 0.1,
        "expected": 1.0,
        "claim": "equal",
        "p": pytest.approx(apart(2.0)),
        "rival": None,
        "level": 0.01,
        "verdict": "holds",
    }
    assert [(row["p"] is None, row["level"], row["verdict"]) for row in loaded["rows"][1:]] == [
        (True, None, "holds"),
        (True, None, None),
    ]
