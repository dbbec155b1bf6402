"""The controls of the explorer: where in an experiment file each of them is, and the values it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from spectral_icl.explore.choices import MOST_HEADS, MOST_TASKS, Choices
from spectral_icl.io.toml import field_types
from spectral_icl.multitask.context import LAWS
from spectral_icl.multitask.experiment import STARTS
from spectral_icl.multitask.parametrization import PARAMETRIZATIONS

AUTO = "auto"  # what stands for a key that is left out

_STEPS = ("1", "1.5", "2", "3", "5", "7")  # positions in a decade
_WHOLE = ("1", "2", "3", "5", "7")


@dataclass(frozen=True)
class Dial:
    """One control.

    Attributes
    ----------
    path : str
        Where the choice is in a `Choices`.
    label : str
    group : str
        The heading that it stands under.
    values : tuple
        Its positions in order, the file's own value among them; None is a key that is left out.
    """

    path: str
    label: str
    group: str
    values: tuple[object, ...]

    @property
    def texts(self) -> list[str]:
        """What each position is called, in order; no two alike."""
        return [said(value) for value in self.values]

    @property
    def is_scale(self) -> bool:
        """Whether the positions are numbers, for a slider, and not names, for a list."""
        return all(value is None or type(value) in (int, float) for value in self.values)

    def value(self, text: str) -> object:
        """The value of the position of that name."""
        return self.values[self.texts.index(text)]

    def shown(self, choices: Choices) -> bool:
        """Whether the choice is in force."""
        section, key, *rest = self.path.split(".")
        if section == "initial" and rest:
            return key == str(choices.at("initial.kind"))
        if section == "problem" and rest:
            return int(rest[0]) < choices.tasks
        return not key.startswith("imbalance") or choices.takes(key)


def said(value: object) -> str:
    """A value as a control shows it: 0.1, 1e-06, balanced, auto."""
    if value is None:
        return AUTO
    if isinstance(value, float):
        return repr(int(value)) if value.is_integer() and abs(value) < 1e6 else repr(value)
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def dials(choices: Choices) -> tuple[Dial, ...]:
    """All controls there may be, in force or not, with what is chosen among their values."""
    return tuple(_with(dial, choices.at(dial.path)) for dial in _all(choices) if _fits(choices.at(dial.path)))


def _all(choices: Choices) -> Iterator[Dial]:
    problem = choices.tables["problem"]
    yield Dial("model.heads", "heads H", "model", tuple(range(1, MOST_HEADS + 1)))
    if choices.disjoint:
        yield Dial("problem.tasks", "tasks I", "model", tuple(range(1, MOST_TASKS + 1)))
    yield Dial("model.parametrization", "parametrization", "model", tuple(PARAMETRIZATIONS))
    for circuit in ("omega", "mu"):
        name = f"imbalance_{circuit}"
        yield Dial(f"model.{name}", f"imbalance of {circuit}", "model", (0.0, *decades(-12, 2)))
    yield Dial("model.kernel", "law of the context", "model", tuple(LAWS))
    yield Dial("problem.context_length", "context length L", "problem", decades(0, 6))
    for key, label in (("noise", "noise variance"), ("snr", "signal to noise")):
        scale = (*((0.0,) if key == "noise" else ()), *decades(-4, 4))
        if isinstance(problem.get(key), list):
            for i in range(MOST_TASKS if choices.disjoint else choices.tasks):
                yield Dial(f"problem.{key}.{i}", f"{label} of task {i}", "problem", scale)
        elif key in problem:
            yield Dial(f"problem.{key}", label, "problem", scale)
    if choices.disjoint:
        for i in range(MOST_TASKS):
            yield Dial(f"problem.task_sizes.{i}", f"size of task {i}", "tasks", _wholes(0, 4))
            yield Dial(f"problem.signal.{i}", f"signal of task {i}", "tasks", decades(-3, 4))
    kinds = [kind for kind in STARTS if choices.at(f"initial.{kind}") is not None]
    yield Dial("initial.kind", "start", "start", tuple(kinds))
    for kind in kinds:
        for key, hint in field_types(STARTS[kind]).items():
            values = _values_of(hint)
            if values:
                yield Dial(f"initial.{kind}.{key}", key, "start", values)
    yield Dial("flow.t_end", "end of the flow t", "start", decades(-1, 9))


def decades(first: int, last: int) -> tuple[float, ...]:
    """Round numbers from 10^first to 10^last, evenly on a logarithmic scale, exact as they are written."""
    inside = [float(f"{step}e{power}") for power in range(first, last) for step in _STEPS]
    return (*inside, float(f"1e{last}"))


def _wholes(first: int, last: int) -> tuple[int, ...]:
    """Round whole numbers from 10^first to 10^last."""
    inside = [int(step) * 10**power for power in range(first, last) for step in _WHOLE]
    return (*inside, 10**last)


def _values_of(hint: object) -> tuple[object, ...]:
    """The positions of an entry of a start by its type: none for what is no single value."""
    kinds = {hint, *get_args(hint)}
    left_out = (None,) if type(None) in kinds else ()
    if bool in kinds:
        return (False, True)
    if float in kinds:
        return (*left_out, *decades(-6, 2))
    return (*left_out, *range(21)) if int in kinds else ()


def _fits(value: object) -> bool:
    """Whether a choice is one value, as a control has it: a file may have tables of imbalances."""
    return not isinstance(value, (list, dict))


def _with(dial: Dial, own: object) -> Dial:
    """The control with a value among its positions, in its place."""
    if own in dial.values:
        return dial
    if own is None:
        values = (None, *dial.values)
    else:
        numbers = sorted([own, *(value for value in dial.values if value is not None)])  # type: ignore[type-var]
        values = (*dial.values[: dial.values.count(None)], *numbers)
    return Dial(dial.path, dial.label, dial.group, values)
