"""What a table says of its own errors covers what is found elsewhere."""

from __future__ import annotations

import numpy as np
import pytest
from weights import slow

from spectral_icl.kernels.threads import available_cores
from spectral_icl.multitask.exact.stored import table_of
from spectral_icl.multitask.exact.table import _fit_single, _Pairs

LENGTHS = [1.0, 2.0, 40.0]


@pytest.mark.parametrize(
    ("length", "reach"),
    [(40.0, 0.5), (40.0, 2.0), (40.0, 8.0), slow(7.5, 8.0), slow(1000.0, 8.0), slow(40.0, 32.0)],
)
def test_errors_cover_those_at_other_pairs(length: float, reach: float) -> None:
    """At least 99 of 100 pairs that neither the fit nor the judgement has seen.

    The null: errors elsewhere are like those at the 64 pairs held out. Of as many others the largest is above
    the largest of these as often as not, but not by a factor of three.
    """
    from concurrent.futures import ThreadPoolExecutor

    made = table_of(length, reach)
    with ThreadPoolExecutor(available_cores()) as pool:
        single = _fit_single(length, reach, pool)
        np.testing.assert_array_equal(single, made.single)
        others = _Pairs.drawn(length, reach, 128, 77, single, pool)
    found = others.errors(made.pair, made.cross)
    assert (found < 3.0 * made.errors + 1e-11).all(), (found, made.errors)


@pytest.mark.parametrize(("reach", "rough"), [(0.5, 1e-10), (2.0, 1e-6), (8.0, 1e-4)])
def test_tables_are_as_exact_as_is_promised(reach: float, rough: float) -> None:
    for length in LENGTHS:
        assert (table_of(length, reach).errors < rough).all(), length
