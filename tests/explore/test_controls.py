"""Controls say what was turned, and only those in force are seen."""

from __future__ import annotations

from typing import Any

from bokeh.models import Column

from spectral_icl.explore.choices import Choices
from spectral_icl.explore.controls import Controls
from spectral_icl.multitask.experiment import BUILT_IN

CHOICES = Choices.of(BUILT_IN)


def widgets(controls: Controls) -> dict[str, Any]:
    """The widgets by the path of their dial."""
    return {model.name: model for model in Column(*controls.parts).references() if model.name}


def test_what_is_turned_is_told_as_a_file_has_it() -> None:
    told: list[tuple[str, object]] = []
    found = widgets(Controls(CHOICES, lambda path, value: told.append((path, value))))
    found["problem.noise"].value = "0.15"
    found["model.heads"].value = "3"
    found["initial.paper.qk"].value = "auto"
    found["initial.random.positive"].value = "yes"
    assert told == [
        ("problem.noise", 0.15),
        ("model.heads", 3),
        ("initial.paper.qk", None),
        ("initial.random.positive", True),
    ]


def test_only_what_is_in_force_is_seen() -> None:
    controls = Controls(CHOICES, lambda path, value: None)
    found = widgets(controls)
    assert not found["model.imbalance_mu"].visible
    controls.show(CHOICES.turned("model.parametrization", "factored"))
    assert found["model.imbalance_mu"].visible
    controls.show(CHOICES)
    assert not found["model.imbalance_mu"].visible
