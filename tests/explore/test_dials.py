"""The controls: their values are those that a file may have, the file's own among them."""

from __future__ import annotations

import pytest

from spectral_icl.explore.choices import Choices
from spectral_icl.explore.dials import Dial, decades, dials
from spectral_icl.multitask.experiment import BUILT_IN

CHOICES = Choices.of(BUILT_IN)


def dial(path: str, choices: Choices = CHOICES) -> Dial:
    (found,) = (dial for dial in dials(choices) if dial.path == path)
    return found


@pytest.mark.parametrize("found", dials(CHOICES), ids=lambda found: found.path)
def test_positions_have_names_of_their_own_and_the_state_is_at_one(found: Dial) -> None:
    assert len(set(found.texts)) == len(found.values) > 1
    assert [found.value(text) for text in found.texts] == list(found.values)
    assert CHOICES.at(found.path) in found.values
    numbers = [value for value in found.values if value is not None]
    if found.is_scale:
        assert numbers == sorted(numbers)  # type: ignore[type-var]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("problem.noise", 0.123),
        ("problem.context_length", 128),
        ("initial.paper.qk", 1e-9),
        ("flow.t_end", 1e12),
    ],
)
def test_the_value_of_a_file_has_its_place(path: str, value: float) -> None:
    found = dial(path, CHOICES.turned(path, value))
    assert value in found.values
    numbers = [number for number in found.values if number is not None]
    assert numbers == sorted(numbers)  # type: ignore[type-var]


def test_round_numbers_are_exact() -> None:
    assert decades(-1, 1) == (0.1, 0.15, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 7.0, 10.0)


def test_only_what_is_in_force_is_shown() -> None:
    def shown(choices: Choices) -> set[str]:
        return {dial.path for dial in dials(CHOICES) if dial.shown(choices)}

    free = CHOICES.turned("model.parametrization", "factored")
    assert shown(free) - shown(CHOICES) == {"model.imbalance_omega", "model.imbalance_mu"}
    assert shown(CHOICES.turned("problem.tasks", 3)) - shown(CHOICES) == {
        "problem.task_sizes.2",
        "problem.signal.2",
    }
    random = CHOICES.turned("initial.kind", "random")
    assert shown(random) - shown(CHOICES) == {
        f"initial.random.{key}" for key in ("scale", "seed", "positive")
    }
    assert shown(CHOICES) - shown(random) == {f"initial.paper.{key}" for key in ("qk", "ov_low", "ov_high")}


def test_a_file_with_blocks_of_its_own_keeps_them() -> None:
    problem = {
        "block_sizes": [5, 7],
        "signal": [[1.0, 2.0], [0.0, 3.0]],
        "noise": [0.1, 0.2],
        "context_length": 50,
    }
    paths = [dial.path for dial in dials(Choices.of({**BUILT_IN, "problem": problem}))]
    assert [path for path in paths if path.startswith("problem")] == [
        "problem.context_length",
        "problem.noise.0",
        "problem.noise.1",
    ]


def test_tables_in_a_file_are_no_controls() -> None:
    model = {
        "parametrization": "factored",
        "imbalance_omega": [[0.1, 0.1]] * 2,
        "imbalance_mu": 0.0,
        "heads": 2,
    }
    choices = Choices.of({**BUILT_IN, "model": model})
    assert "model.imbalance_omega" not in [dial.path for dial in dials(choices)]
    assert choices.table()["model"]["imbalance_omega"] == [[0.1, 0.1]] * 2
