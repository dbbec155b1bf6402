"""Arguments by their old names."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import pytest

from spectral_icl.io.renamed import renamed


@renamed(s2="noise", v="signal")
def ratio(signal: float, noise: float = 1.0) -> float:
    """Signal over noise."""
    return signal / noise


OLD: Any = ratio  # type checkers know the new names alone


def test_new_names_and_places_are_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ratio(3.0) == 3.0
        assert ratio(3.0, 2.0) == ratio(3.0, noise=2.0) == ratio(noise=2.0, signal=3.0) == 1.5


def test_an_old_name_works_and_both_are_named() -> None:
    with pytest.warns(
        DeprecationWarning, match=r"ratio\(\): the argument 's2' is called 'noise' now"
    ) as seen:
        assert OLD(3.0, s2=2.0) == 1.5
    assert seen[0].filename == __file__
    with pytest.warns(DeprecationWarning, match="is called") as seen:
        assert OLD(v=3.0, s2=2.0) == 1.5
    assert len(seen) == 2


def test_a_name_given_twice_is_an_error() -> None:
    with pytest.raises(TypeError, match="'noise', and 's2', its old name"):
        OLD(3.0, noise=2.0, s2=2.0)
    with (
        pytest.warns(DeprecationWarning, match="is called"),
        pytest.raises(TypeError, match="multiple values"),
    ):
        OLD(3.0, 2.0, s2=2.0)


def test_what_is_decorated_stays_itself() -> None:
    assert list(inspect.signature(ratio).parameters) == ["signal", "noise"]
    assert (ratio.__name__, ratio.__doc__) == ("ratio", "Signal over noise.")
