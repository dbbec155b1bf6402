"""Seeds and generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.sparse.rng import generator, seed


def test_a_seed_is_that_of_numpy() -> None:
    for given in (5, np.int64(5), 5.0):
        assert generator(given).random() == np.random.default_rng(5).random()  # type: ignore[arg-type]
        assert seed(given) == 5  # type: ignore[arg-type]


def test_a_generator_goes_on_from_where_it_is() -> None:
    given = np.random.default_rng(3)
    assert generator(given) is given
    first, second = seed(given), seed(given)
    assert first != second
    assert first == seed(np.random.default_rng(3))


def test_without_a_seed_draws_differ() -> None:
    assert generator(None).random() != generator(None).random()
    assert seed(None) != seed(None)


@pytest.mark.parametrize("bad", [-1, 2**70, 0.5, "seven", [1, 2], True])
def test_anything_else_is_refused(bad: Any) -> None:
    for function in (generator, seed):
        with pytest.raises(si.ProblemError, match=r"rng: expected a whole number .*, or a numpy.*Generator"):
            function(bad)
