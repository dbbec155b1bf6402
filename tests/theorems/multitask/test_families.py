"""Problems of repeated tasks are those tasks, each on a block of its own."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.theorems.multitask.families import repeated


def test_tasks_are_repeated_in_their_order_whatever_that_of_their_blocks() -> None:
    p = si.Problem(
        block_sizes=(3, 8),
        signal=((0.0, 2.0), (1.0, 0.0)),
        noise=(0.1, 0.4),
        context_length=50,
        covariance=(0.5, 2.0),
    )
    found = repeated(p, 3)
    assert found.home == (0, 1, 2)
    assert found.block_sizes == (8, 3, 8)
    assert found.covariance == (2.0, 0.5, 2.0)
    assert found.noise == (0.1, 0.4, 0.1)
    np.testing.assert_array_equal(found.power, [2.0, 1.0, 2.0])


def test_tasks_that_overlap_are_not_repeated() -> None:
    p = si.Problem(block_sizes=(3,), signal=((1.0,), (2.0,)), noise=0.1, context_length=50)
    with pytest.raises(si.ProblemError, match=r"^problem: expected disjoint tasks, one block each"):
        repeated(p, 3)
