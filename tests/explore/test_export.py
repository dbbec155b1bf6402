"""Scripts run, and solve the flow of the file."""

from __future__ import annotations

import contextlib
import io
import tomllib
from typing import Any

import numpy as np
import pytest

from spectral_icl.explore.choices import Choices
from spectral_icl.explore.export import script, toml
from spectral_icl.multitask.experiment import BUILT_IN, Experiment

TABLES: list[dict[str, Any]] = [
    {},
    {"problem": {"block_sizes": [5], "signal": [[1.0]], "noise": 0.1, "context_length": 50}},
    {
        "problem": {"task_sizes": [4, 4, 4], "signal": 2, "snr": 10, "context_length": 30},
        "model": {"heads": 3},
    },
    {"initial": {"omega": [[0.1, 0.2]], "mu": [[0.3, -0.1]]}, "model": {}},
    {"model": {"parametrization": "factored", "imbalance_omega": 0.1, "imbalance_mu": 0.0, "key_scale": 0.4}},
    {"model": {"parametrization": "merged"}, "initial": {"kind": "random", "positive": True}},
    {"problem": {**BUILT_IN["problem"], "by_feature": True}, "initial": {"kind": "scattered", "seed": 1}},
    {"initial": {"kind": "matrices", "size": 0.3}, "model": {"heads": 3, "key_scale": 0.4}},
    {"flow": {"t_end": float("inf"), "stationary": 1e-4}, "initial": {"kind": "dominant", "seed": 1}},
]


@pytest.mark.parametrize("table", TABLES)
def test_a_script_solves_the_flow_of_its_file(table: dict[str, Any]) -> None:
    table = Choices.of({**BUILT_IN, **table}).table()
    wanted = Experiment.from_dict(table).solve()
    names: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(script(table), names)
    assert names["sol"].problem == wanted.problem
    np.testing.assert_array_equal(names["sol"].final.mu, wanted.final.mu)
    assert said.getvalue().startswith(f"{wanted.final_loss} {wanted.allocation}\n")


def test_a_file_is_written_as_a_person_would() -> None:
    text = toml(Choices.of(BUILT_IN).table())
    assert text.startswith("[problem]\ntask_sizes = [10, 10]\nsignal = [10.0, 10.0]\nnoise = 0.09\n")
    assert tomllib.loads(text)["initial"] == BUILT_IN["initial"]
