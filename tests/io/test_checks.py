"""Bad input is told of under the name that its user knows."""

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from spectral_icl.io.checks import (
    ProblemError,
    array,
    cut,
    floats,
    integer,
    integers,
    number,
    numbers,
    renamed,
    within,
)


def test_an_argument_has_the_name_that_its_user_knows() -> None:
    with (
        pytest.raises(ProblemError, match=r"^study\.prompts: expected a whole number") as caught,
        within("study"),
    ):
        integer("prompts", -1, minimum=0, maximum=9)
    assert (caught.value.argument, caught.value.value) == ("study.prompts", -1)
    for argument, shown in (("path", "--out"), ("seed", "seed")):
        with pytest.raises(ProblemError) as caught, renamed({"path": "--out"}):
            integer(argument, -1, minimum=0, maximum=9)
        assert caught.value.argument == shown


def test_a_block_without_bad_input_is_left_alone() -> None:
    with within("study"):
        assert integer("prompts", 1, minimum=0, maximum=9) == 1
    with pytest.raises(ZeroDivisionError), within("study"):
        _ = 1 / 0


def test_an_array_is_a_copy_in_c_order_however_it_lay_in_memory() -> None:
    rows = np.arange(24.0).reshape(2, 3, 4)
    for laid in (rows, np.asfortranarray(rows), rows.transpose(2, 0, 1).copy().transpose(1, 2, 0)):
        found = array("rows", laid, (2, None, 4))
        assert found.flags.c_contiguous
        assert not np.shares_memory(found, laid)
        np.testing.assert_array_equal(found, rows)


@given(arrays.arrays(arrays.scalar_dtypes(), arrays.array_shapes(min_dims=0, min_side=0)))
def test_an_array_of_any_type_keeps_its_numbers_or_is_refused(values: Any) -> None:
    if values.dtype.kind in "iuf":
        exact = np.array([int(x) if values.dtype.kind in "iu" else x for x in values.flat], dtype=object)
        kept = np.array([float(x) == x or x != x for x in exact], dtype=bool)
        if kept.all():
            np.testing.assert_array_equal(floats("x", values), values)
            return
    with pytest.raises(ProblemError, match=r"^x: expected numbers"):
        floats("x", values)


@example(2**53 + 1)
@given(st.integers() | st.floats(-1e300, 1e300) | st.fractions())
def test_a_number_is_what_it_was(value: Any) -> None:
    """A fraction may be rounded, which is no surprise; a whole number may not."""
    try:
        found = number("x", value, minimum=-1e300, maximum=1e300)
    except ProblemError:
        assert int(float(value)) != value
    else:
        assert found == value or not isinstance(value, int)
        assert found == float(value)


def test_what_is_shown_of_a_long_array_is_what_it_is() -> None:
    with pytest.raises(ProblemError, match=r"got ndarray of shape \(50, 3\)$"):
        number("x", np.linspace(0.0, 1.0, 150).reshape(50, 3))


@pytest.mark.parametrize("size", [3, 300])
@pytest.mark.parametrize("odd", [np.nan, -1.0, 2e12, 10**400, True, "1", 1 + 0j, None])
def test_a_number_that_is_wrong_is_named_among_few_and_many(size: int, odd: Any) -> None:
    """Many are looked at all at once, where that is enough."""
    for entries in ([1.0] * size, [1] * size, [np.float32(1.0)] * size, np.ones(size)):
        found = numbers("noise", entries, minimum=0.0)
        assert found == (1.0,) * size
        assert set(map(type, found)) == {float}
        with pytest.raises(ProblemError, match=r"^noise\[1\]: expected a number >= 0 and <= 1e\+12, got"):
            numbers("noise", [entries[0], odd, *entries[2:]], minimum=0.0)


@pytest.mark.parametrize("size", [3, 300])
@pytest.mark.parametrize("odd", [1.5, 0, 10**9 + 1, 10**400, True, "1", None])
def test_a_whole_number_that_is_wrong_is_named_among_few_and_many(size: int, odd: Any) -> None:
    for entries in ([7] * size, [7.0] * size, [np.int32(7)] * size, np.full(size, 7)):
        found = integers("sizes", entries, minimum=1, maximum=10**9)
        assert found == (7,) * size
        assert set(map(type, found)) == {int}
        with pytest.raises(
            ProblemError, match=r"^sizes\[1\]: expected a whole number >= 1 and <= 1000000000"
        ):
            integers("sizes", [entries[0], odd, *entries[2:]], minimum=1, maximum=10**9)
    with pytest.raises(ProblemError, match=r"^sizes: expected whole numbers, got 3"):
        integers("sizes", 3, minimum=1, maximum=9)


def test_a_cut_keeps_words_whole() -> None:
    names = " ".join(f"name-{k}" for k in range(100, 140))
    found = cut(names, 100)
    assert len(found) <= 103
    first, last = found.split("...")
    assert {*first.split(), *last.split()} < set(names.split())
    assert cut("x" * 200, 100) == "x" * 50 + "..." + "x" * 50
