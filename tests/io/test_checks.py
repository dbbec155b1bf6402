"""Bad input is told of under the name that its user knows."""

import pytest

from spectral_icl.io.checks import ProblemError, integer, renamed, within


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
