"""What is on the screen as a file for `spectral-icl flow`, and as a script that solves the same flow."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tomlkit

from spectral_icl.io.toml import Tables
from spectral_icl.multitask.parametrization import PARAMETRIZATIONS

# of a table [problem], which only `Problem.from_dict` understands
_SHORTHANDS = ("tasks", "snr", "decay", "by_feature")


def toml(table: Tables) -> str:
    """The tables as the text of a file."""
    return tomlkit.dumps(table).strip() + "\n"


def script(table: Tables) -> str:
    """Python that solves the flow of an experiment file and prints it."""
    problem, model, initial, flow = (dict(table[key]) for key in ("problem", "model", "initial", "flow"))
    heads, kernel = model.pop("heads"), model.pop("kernel")
    weights = PARAMETRIZATIONS[model.pop("parametrization")].__name__
    kind = initial.pop("kind")
    if kind in ("paper", "matrices") and "key_scale" in model:  # which its omega is made with
        initial["key_scale"] = model["key_scale"]
    start = (
        f"{initial['omega']!r}, {initial['mu']!r}"
        if kind == "explicit"
        else f"si.initial.{kind}(p, {heads}{_arguments(initial, ', ')})"
    )
    options = {"kernel": kernel, **flow}
    return "\n".join(
        [
            "import spectral_icl as si",
            "",
            f"p = {_problem(problem)}",
            f"omega0, mu0 = {start}",
            f"weights = si.{weights}({_arguments(model)})",
            f"sol = si.gradient_flow(p, omega0, mu0, parametrization=weights{_arguments(options, ', ')})",
            "print(sol.final_loss, sol.allocation)",
            "print(sol.message)",
            "",
        ]
    )


def _problem(table: Mapping[str, Any]) -> str:
    """The call that makes a problem."""
    if any(key in table for key in _SHORTHANDS):
        return f"si.Problem.from_dict({dict(table)!r})"
    maker = "si.Problem.multitask" if "task_sizes" in table else "si.Problem"
    return f"{maker}({_arguments(table)})"


def _arguments(table: Mapping[str, Any], before: str = "") -> str:
    """Named arguments of a call."""
    named = ", ".join(f"{key}={_written(value)}" for key, value in table.items())
    return f"{before}{named}" if named else ""


def _written(value: object) -> str:
    """A value as Python has it: an infinite number has no literal."""
    return f'float("{value}")' if value == math.inf else repr(value)
