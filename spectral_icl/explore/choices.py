"""What the controls of the explorer say: the tables of an experiment file, and what was chosen before.

A choice that is not in force, such as the imbalance of balanced weights or the size of a task that is not
there any more, is remembered, and left out of the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.toml import Tables, field_types, plain
from spectral_icl.multitask.experiment import STARTS, TRAINING, Experiment, FlowTable, Start
from spectral_icl.multitask.parametrization import PARAMETRIZATIONS
from spectral_icl.multitask.problem import Problem

MOST_HEADS, MOST_TASKS = 8, 6  # what fits on a page
MOST_BLOCKS = 500  # so that flows of so many heads and tasks are kept whole, as the pictures need them

_PER_TASK = ("task_sizes", "signal", "noise", "snr", "covariance")  # entries with a value for every task
_ROWS = ("task_sizes", "signal")  # those of them that always are written so
_IMBALANCE = 1e-6  # of either circuit, where the file names none


@dataclass(frozen=True)
class Choices:
    """All choices, as nested tables.

    Attributes
    ----------
    tables : mapping
        As of a file, but the keys of every kind of start are a table of their own in ``initial``, beside
        ``kind``, and values for every task are there for more tasks than ``problem.tasks``.
    """

    tables: Mapping[str, Any]

    @classmethod
    def of(cls, table: Tables) -> Choices:
        """The choices that the tables of a file make.

        Raises
        ------
        ProblemError
            It is not an experiment file, or has more heads or tasks than fit on a page.
        """
        experiment = Experiment.from_dict(table)
        heads = experiment.start.omega.shape[0]
        for name, what, count, most in (
            ("model.heads", "heads", heads, MOST_HEADS),
            ("problem", "tasks", experiment.problem.tasks, MOST_TASKS),
            ("problem", "blocks", experiment.problem.blocks, MOST_BLOCKS),
        ):
            if count > most:
                raise ProblemError(name, f"{count} {what}", f"at most {most} {what}, which fit on a page")
        model = asdict(experiment.model) | {"heads": heads}
        for key in ("imbalance_omega", "imbalance_mu"):
            if model[key] is None:
                model[key] = _IMBALANCE
        starts = {kind: _defaults(start) for kind, start in STARTS.items() if not _must_be_given(start)}
        own = experiment.initial
        return cls(
            {
                "problem": _spread(plain(table["problem"]), experiment.problem),
                "model": plain(model),
                "initial": {"kind": own.kind, **starts, own.kind: plain(asdict(own))},
                "flow": plain(asdict(experiment.flow) | {"dense_output": None}),
                **{name: plain(table[name]) for name in (TRAINING,) if name in table},
            }
        )

    def at(self, path: str) -> Any:
        """The choice at a dotted path, such as "problem.signal.0"; None if there is none."""
        found: Any = self.tables
        for key in path.split("."):
            try:
                found = found[int(key) if isinstance(found, list) else key]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def turned(self, path: str, value: object) -> Choices:
        """These choices with another one at a dotted path."""
        return Choices(_replaced(self.tables, path.split("."), value))

    @property
    def tasks(self) -> int:
        """Number of tasks I."""
        problem = self.tables["problem"]
        return int(problem["tasks"] if "tasks" in problem else len(problem["signal"]))

    @property
    def disjoint(self) -> bool:
        """Whether every task has a block of its own, so that tasks can be added and resized."""
        return "task_sizes" in self.tables["problem"]

    def takes(self, key: str) -> bool:
        """Whether the parametrization has an argument of that name."""
        return key in field_types(PARAMETRIZATIONS[self.tables["model"]["parametrization"]])

    def table(self) -> dict[str, Any]:
        """The tables of the file that says what is in force, and no more."""
        model, flow, initial = (self.tables[name] for name in ("model", "flow", "initial"))
        defaults = _defaults(FlowTable)
        return {
            "problem": self._problem(),
            "model": {
                key: value
                for key, value in model.items()
                if value is not None and (key in ("heads", "parametrization", "kernel") or self.takes(key))
            },
            "initial": {
                "kind": initial["kind"],
                **{key: value for key, value in initial[initial["kind"]].items() if value is not None},
            },
            "flow": {
                key: value
                for key, value in flow.items()
                if key == "t_end" or (value is not None and value != defaults[key])
            },
            **{name: self.tables[name] for name in (TRAINING,) if name in self.tables},
        }

    def _problem(self) -> dict[str, Any]:
        """The table [problem]: of the tasks that there are."""
        problem = self.tables["problem"]
        if not self.disjoint:
            return dict(problem)
        return {
            key: value[: self.tasks] if key in _PER_TASK and isinstance(value, list) else value
            for key, value in problem.items()
            if key != "tasks"
        }


def _spread(table: dict[str, Any], problem: Problem) -> dict[str, Any]:
    """A table [problem] of disjoint tasks with values for as many as there may be; any other as it is."""
    if "task_sizes" not in table:
        return table
    spread: dict[str, Any] = {"tasks": problem.tasks}
    for key, value in table.items():
        if key == "signal" and "decay" in table:  # a control for every task's own
            own = problem.power.tolist()
            spread[key] = own + own[-1:] * (MOST_TASKS - len(own))
        elif key == "decay":
            continue
        elif key in _PER_TASK:
            rows = value if isinstance(value, list) else [value] * problem.tasks
            alike = key not in _ROWS and len(set(rows)) == 1
            spread[key] = rows[0] if alike else rows + [rows[-1]] * (MOST_TASKS - len(rows))
        elif key != "tasks":
            spread[key] = value
    return spread


def _replaced(table: Any, path: list[str], value: object) -> Any:
    """A copy of nested tables and lists with another value at a path."""
    if not path:
        return value
    key, *rest = path
    if isinstance(table, list):
        place = int(key)
        return [*table[:place], _replaced(table[place], rest, value), *table[place + 1 :]]
    return {**table, key: _replaced(table.get(key, {}), rest, value)}


def _defaults(kind: type[Start] | type[FlowTable]) -> dict[str, Any]:
    """The defaults of the fields of a table."""
    return {field.name: field.default for field in fields(kind)}


def _must_be_given(kind: type[Start]) -> bool:
    """Whether a start has entries that nothing but a file can say."""
    return any(field.default is MISSING for field in fields(kind))
