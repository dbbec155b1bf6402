"""Chances: of means that are correlated, of estimates with few groups, of several claims."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch", reason="the full model needs PyTorch")

from validation import statistics  # noqa: E402
from validation.statistics import Estimate, agreement, apart, beyond, combined, holm, share, squares_tail  # noqa: E402

RARE = 1e-5  # where verdicts are made


def factor_model(rng: np.random.Generator, batches: int, entries: int, strength: float) -> np.ndarray:
    """Deviations of which each has a share of one number that all entries of a batch have in common."""
    common = rng.normal(size=(batches, 1))
    return strength * common + math.sqrt(1.0 - strength**2) * rng.normal(size=(batches, entries))


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.9])
def test_p_values_of_correlated_entries_are_uniform(strength: float) -> None:
    """Kolmogorov-Smirnov of 400, which is below 1e-4 for none of three seeds of chance."""
    rng = np.random.default_rng(0)
    made = [factor_model(rng, 100, 40, strength) for _ in range(400)]
    units = [one / np.sqrt((one**2).sum(axis=0)) for one in made]
    values = [statistics._flipped_tail(one, float((one.sum(axis=0) ** 2).sum())) for one in units]
    assert stats.kstest(values, "uniform").pvalue > 1e-4


@pytest.mark.parametrize("level", [0.5, 0.1, 1e-3, RARE])
@pytest.mark.parametrize("strength", [0.0, 0.3, 0.9])
def test_the_tail_of_a_chi_square_is_that_of_its_eigenvalues(strength: float, level: float) -> None:
    """Of sum_k lambda_k chi^2_1, drawn four million times, whose lambda are those of the correlations."""
    entries, batches = 300, 200
    largest, others = 1.0 + strength**2 * (entries - 1), 1.0 - strength**2
    rng = np.random.default_rng(1)
    drawn = largest * rng.chisquare(1, 4_000_000) + others * rng.chisquare(entries - 1, 4_000_000)
    quantile = float(np.quantile(drawn, 1.0 - level))  # of 40 draws beyond at the least: 16 %
    powers = [(entries - 1) * others**n + largest**n for n in (1, 2, 3)]
    known = squares_tail(quantile, powers[0], 2 * powers[1], 8 * powers[2], np.array([largest]))
    assert known == pytest.approx(level, rel=0.5 if level == RARE else 0.1)
    if level == RARE:
        # batches have correlations of their own, by which a hundred-thousandth is uncertain
        found = []
        for _ in range(20):
            made = factor_model(rng, batches, entries, strength)
            found.append(statistics._flipped_tail(made / np.sqrt((made**2).sum(axis=0)), quantile))
        assert RARE / 4.0 < float(np.mean(found)) < 4.0 * RARE


def test_the_tail_of_the_distance_is_kolmogorov_s() -> None:
    """Of independent entries, whose distance has a known distribution, at its quantile 1e-5."""
    entries = 200
    rng = np.random.default_rng(2)
    drawn = statistics._distance(rng.normal(size=(2000, entries)))
    for level in (0.5, 1e-2, RARE):
        found = statistics._tail(drawn, float(stats.kstwo.isf(level, entries)))
        assert level / 4.0 < found < 4.0 * level


def test_agreement_sees_what_is_there() -> None:
    rng = np.random.default_rng(3)
    right = factor_model(rng, 100, 400, 0.3)
    found = agreement(right, np.zeros(400))
    assert found.p > 1e-3
    assert found.p_normal > 1e-3
    np.testing.assert_allclose(found.z, right.sum(axis=0) / np.sqrt((right**2).sum(axis=0)))
    assert found.chi_square == pytest.approx(float((found.z**2).sum()))
    assert agreement(right + 0.5, np.zeros(400)).p < RARE
    alternating = rng.normal(size=(100, 400)) + 0.3 * np.where(np.arange(400) % 2, 1.0, -1.0)
    assert agreement(alternating, np.zeros(400)).p_normal < RARE


def test_one_entry_is_a_student_s_test() -> None:
    """In the tail: at t = 4.5 with 199 degrees of freedom."""
    values = np.random.default_rng(4).normal(size=(200, 1))
    moved = values - values.mean() + 4.5 * values.std(ddof=1) / np.sqrt(200.0)
    found = agreement(moved, np.zeros(1)).p
    assert found == pytest.approx(apart(4.5, 199), rel=1.0)


def test_a_share_is_one_of_the_right_and_zero_of_the_wrong() -> None:
    rng = np.random.default_rng(5)
    right, wrong = rng.normal(size=30), rng.normal(size=30)
    noise = 0.5 * rng.normal(size=(100, 30)) * rng.uniform(0.5, 2.0, size=30)
    for true, expected in ((right, 1.0), (wrong, 0.0), (0.5 * (right + wrong), 0.5)):
        found = share(true + noise, right, wrong)
        assert abs(found.value - expected) < 4.0 * found.error
        assert found.freedom == 99
    assert math.isnan(share(right + noise, right, right).value)


def test_estimates_are_combined_as_welch_and_satterthwaite_do() -> None:
    one, other = Estimate(3.0, 0.3, 5), Estimate(1.0, 0.4, 9)
    found = combined((1.0, one), (-1.0, other))
    assert found.value == 2.0
    assert found.error == pytest.approx(0.5)
    assert found.freedom == pytest.approx(0.5**4 / (0.3**4 / 5 + 0.4**4 / 9))
    known = combined((2.0, one), (1.0, Estimate(7.0, 0.0)))
    assert known == pytest.approx((13.0, 0.6, 5))
    assert combined((1.0, Estimate(1.0, 0.1))).freedom == math.inf
    rng = np.random.default_rng(6)
    values = rng.normal(size=12)
    made = Estimate.of(values)
    assert apart(made.value / made.error, made.freedom) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert math.isnan(Estimate.of(np.empty(0)).value)
    assert beyond(4.0) == pytest.approx(3.167e-5, rel=1e-3)


def test_levels_are_holm_s() -> None:
    """At 0.05 of four: 0.0125 and 0.0167 refute, and at 0.025 the third does not."""
    found = holm([0.03, 0.005, 0.9, 0.01], 0.05)
    np.testing.assert_allclose(found, [0.025, 0.0125, 0.025, 0.05 / 3])
    assert holm([], 0.05) == []


def test_a_family_of_claims_fails_as_often_as_it_may() -> None:
    """Of 4000 families of ten true claims as many have a failure as should: within four errors."""
    rng = np.random.default_rng(7)
    drawn = rng.uniform(size=(4000, 10))
    failed = sum(
        any(p <= level for p, level in zip(row, holm(row.tolist(), 0.05), strict=True)) for row in drawn
    )
    assert abs(failed / 4000 - (1.0 - 0.995**10)) < 4.0 * math.sqrt(0.05 * 0.95 / 4000)
