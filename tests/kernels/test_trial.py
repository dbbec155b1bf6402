"""The function that is compiled for trial, and what it is compiled for."""

from __future__ import annotations

import numpy as np

from spectral_icl.kernels import trial
from spectral_icl.kernels.lanes import WIDTH


def test_it_is_right_and_a_wrong_one_is_not() -> None:
    function = trial.compiled()
    assert trial.is_right(function)
    np.testing.assert_array_equal(function(np.ones((3, WIDTH))), np.full(WIDTH, 3.0))
    assert not trial.is_right(lambda values: function(values) + np.eye(WIDTH)[0])


def test_the_target_is_that_of_the_lanes() -> None:
    found = trial.target()
    assert found["lanes"] == f"{WIDTH} float64"
    assert ("avx512f" in found["vectors"].split()) == (WIDTH == 16)
