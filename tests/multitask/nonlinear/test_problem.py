"""Single-index problems: what they hold, and what they refuse in one line."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from spectral_icl.io.checks import ProblemError
from spectral_icl.multitask.nonlinear.problem import SingleIndex

GOOD: dict[str, Any] = {
    "task_sizes": (5, 7),
    "coefficients": [(0.3, 1.0, 0.5), (0.0, 2.0)],
    "noise": 0.1,
    "context_length": 100,
}


def test_shorter_rows_go_on_with_zeros() -> None:
    p = SingleIndex(**GOOD)
    assert p.coefficients == ((0.3, 1.0, 0.5), (0.0, 2.0, 0.0))
    assert (p.tasks, p.degree, p.dimension, p.noise) == (2, 2, 12, (0.1, 0.1))
    np.testing.assert_allclose(p.power, [1.34, 4.0])
    np.testing.assert_allclose(p.variance, [1.35, 4.1])


def test_one_row_stands_for_all_tasks() -> None:
    p = SingleIndex(**GOOD | {"coefficients": np.array([0.0, 1.0])})
    assert p.coefficients == ((0.0, 1.0), (0.0, 1.0))


def test_a_problem_is_a_value() -> None:
    p = SingleIndex(**GOOD)
    assert p == SingleIndex.from_dict(p.to_dict()) == pickle.loads(pickle.dumps(p))
    assert hash(p) == hash(SingleIndex(**GOOD))
    assert p != SingleIndex(**GOOD | {"noise": 0.2})
    assert not p.c.flags.writeable


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"task_sizes": ()}, "task_sizes: expected whole numbers, got ()"),
        ({"task_sizes": (0, 7)}, "task_sizes[0]: expected a whole number >= 1"),
        ({"coefficients": [(0.0, 1.0)]}, "coefficients: expected 2 rows, one for each task, got '1 rows'"),
        ({"coefficients": [(0.0, 1.0), (0.0, np.inf)]}, "coefficients[1][1]: expected a number"),
        (
            {"coefficients": [(0.0, 1.0), ("a",)]},
            "coefficients[1][0]: expected a number >= -1e+06 and <= 1e+06",
        ),
        ({"coefficients": [0.0, np.nan]}, "coefficients[1]: expected a number >= -1e+06 and <= 1e+06"),
        ({"coefficients": [0.0] * 14}, "coefficients: expected degrees up to 12, got 'a degree of 13'"),
        ({"coefficients": "abc"}, "coefficients: expected rows of numbers"),
        ({"coefficients": []}, "coefficients: expected rows of numbers"),
        ({"noise": -1.0}, "noise: expected"),
        ({"noise": (1.0, 1.0, 1.0)}, "noise: expected 2 numbers"),
        ({"context_length": 0.5}, "context_length: expected a number >= 1"),
    ],
)
def test_bad_input_is_one_line(change: dict[str, Any], line: str) -> None:
    with pytest.raises(ProblemError) as error:
        SingleIndex(**GOOD | change)
    assert str(error.value).startswith(line)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"covariance": 2.0}, "covariance: expected nothing: features of single-index tasks are white"),
        ({"signal": 2.0}, "signal: expected one of the keys"),
        ({"noise": None}, "noise: expected"),
    ],
)
def test_a_table_with_other_keys_is_refused(change: dict[str, Any], line: str) -> None:
    with pytest.raises(ProblemError) as error:
        SingleIndex.from_dict(GOOD | change)
    assert str(error.value).startswith(line)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ProblemError, match="context_length: expected a value, got None"):
        SingleIndex.from_dict({key: value for key, value in GOOD.items() if key != "context_length"})
