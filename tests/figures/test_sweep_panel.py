"""The numbers of a panel: what several runs of a point come to."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import xarray

from spectral_icl.figures.sweep_panel import Panel
from spectral_icl.sweeps.quantities import FAILED, GOOD, MISSING, Quantity

NAN = np.nan
REASONS = {MISSING: "not solved yet", FAILED: "not solved to its end"}


def panel(
    values: list[float], trouble: list[int], shown_as: Literal["numbers", "times", "shares"] = "numbers"
) -> Panel:
    """One place with several runs."""
    none = xarray.DataArray(0.0)
    quantity = Quantity("loss", "loss", none, none, shown_as=shown_as)
    codes = np.array(trouble)[None, None]
    one = np.zeros(1)
    return Panel(quantity, one, one, np.array(values)[None, None], codes, REASONS, codes, {}, None)


@pytest.mark.parametrize("q", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_quantiles_are_those_of_the_good_runs(q: float) -> None:
    values = [3.0, NAN, 1.0, 7.0, 100.0, 2.0]
    found = panel(values, [GOOD] * 4 + [FAILED, GOOD])
    assert found.quantile(q).item() == pytest.approx(np.nanquantile([3.0, 1.0, 7.0, 2.0], q), rel=1e-15)


@pytest.mark.parametrize("q", [0.25, 0.5, 0.75])
def test_times_that_have_not_come_are_the_latest(q: float) -> None:
    values = [3.0, NAN, 1.0, 2.0, NAN]
    late = np.where(np.isnan(values), np.inf, values)
    expected = np.quantile(late, q, method="inverted_cdf")
    found = panel(values, [GOOD] * 5, "times").quantile(q).item()
    assert found == expected or (np.isinf(expected) and np.isnan(found))


def test_shares_are_means() -> None:
    assert panel([1.0, 0.0, 1.0, NAN], [GOOD] * 4, "shares").middle.item() == pytest.approx(2.0 / 3.0)


def test_a_place_counts_if_half_of_its_runs_do() -> None:
    half = panel([1.0, 2.0, 9.0, 9.0], [GOOD, GOOD, FAILED, MISSING])
    assert (half.verdict.item(), half.middle.item()) == (GOOD, 1.5)
    fewer = panel([1.0, 9.0, 9.0, 9.0], [GOOD, FAILED, FAILED, MISSING])
    assert fewer.verdict.item() == FAILED, "the most frequent reason"
    assert np.isnan(fewer.middle).all()
    assert not fewer.absent.any()
    assert panel([NAN], [GOOD]).absent.all()


def test_what_is_left_out_is_counted_by_reason() -> None:
    runs = panel([1.0, 9.0, 9.0, 9.0], [GOOD, FAILED, FAILED, MISSING])
    assert runs.left_out() == {
        MISSING: "not solved yet: 1 of 4 runs",
        FAILED: "not solved to its end: 2 of 4 runs",
    }
    assert panel([9.0], [MISSING]).left_out() == {MISSING: "not solved yet: 1 of 1"}
