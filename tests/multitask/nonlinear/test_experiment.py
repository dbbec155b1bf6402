"""Files of flows on single-index tasks: what they mean, and the line that says what is wrong with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.io.checks import ProblemError
from spectral_icl.io.toml import parsed
from spectral_icl.multitask.nonlinear.experiment import BUILT_IN, NonlinearExperiment

EXAMPLE = Path(__file__).parents[3] / "examples" / "nonlinear.toml"
TASK = {"task_sizes": [6], "coefficients": [[0.3, 1.0]], "noise": 0.1, "context_length": 100}


def test_the_example_is_the_built_in_one() -> None:
    assert parsed(EXAMPLE) == BUILT_IN


def test_what_a_file_says_is_what_is_solved() -> None:
    table = {
        "nonlinear": TASK,
        "model": {"parametrization": "merged", "kernel": "large-L"},
        "initial": {"omega": [[0.1], [0.2]], "mu": [[0.3], [0.1]]},
        "flow": {"t_end": 2.0, "rtol": 1e-6},
    }
    experiment = NonlinearExperiment.from_dict(table)
    flow = experiment.solve()
    assert (flow.kernel, flow.parametrization, flow.end, flow.rtol) == ("asymptotic", si.Merged(), 2.0, 1e-6)
    np.testing.assert_array_equal(experiment.start.omega, [[0.1], [0.2]])


def test_heads_are_as_many_as_tasks_by_default() -> None:
    table = {"nonlinear": TASK | {"task_sizes": [6, 6, 6], "coefficients": [0.3, 1.0]}}
    assert NonlinearExperiment.from_dict(table).start.omega.shape == (3, 3)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"nonlinear": None}, "nonlinear: expected a table [nonlinear]"),
        ({"sparse": {}}, "sparse: expected a known key"),
        ({"axis": []}, "axis: expected no axis: single-index tasks have no sweeps"),
        ({"nonlinear": TASK | {"noise": -1}}, "nonlinear.noise: expected"),
        ({"nonlinear": TASK | {"nois": 1}}, "nonlinear.nois: expected one of the keys"),
        ({"nonlinear": TASK | {"coefficients": [[]]}}, "nonlinear.coefficients[0]: expected"),
        ({"model": {"kernel": "exact"}}, "model.kernel: expected one of 'asymptotic', 'first-order'"),
        ({"model": {"heads": 0}}, "model.heads: expected a whole number >= 1"),
        ({"model": {"parametrization": "x"}}, "model.parametrization: expected one of"),
        ({"initial": {"kind": "x"}}, "initial.kind: expected one of"),
        ({"initial": {"kind": "dominant", "scale": -1}}, "initial.scale: expected a number > 0"),
        (
            {"initial": {"omega": [[0.1]], "mu": [[0.1]]}, "model": {"heads": 2}},
            "initial.omega: expected model",
        ),
        ({"flow": {"t_end": -1.0}}, "flow.t_end: expected a number > 0"),
        ({"flow": {"stationary": 1e-6}}, "flow.stationary: expected a known key"),
        (
            {"initial": {"omega": [[0.8]], "mu": [[0.1]]}, "model": {"kernel": "first-order"}},
            "initial.omega: expected heads in the range of the first-order law",
        ),
    ],
)
def test_bad_files_are_one_line(change: dict[str, Any], line: str) -> None:
    table = {key: value for key, value in ({"nonlinear": TASK} | change).items() if value is not None}
    with pytest.raises(ProblemError) as error:
        NonlinearExperiment.from_dict(table)
    assert str(error.value).startswith(line)


def test_no_table_at_all_is_told_what_is_missing() -> None:
    with pytest.raises(ProblemError, match=r"nonlinear: expected a table \[nonlinear\] with task_sizes"):
        NonlinearExperiment.from_dict({})
