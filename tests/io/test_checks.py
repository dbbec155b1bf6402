"""Bad input is told of under the name that its user knows."""

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError, array, integer, renamed, within


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
    for given in (rows, np.asfortranarray(rows), rows.transpose(2, 0, 1).copy().transpose(1, 2, 0)):
        found = array("rows", given, (2, None, 4))
        assert found.flags.c_contiguous
        assert not np.shares_memory(found, given)
        np.testing.assert_array_equal(found, rows)
