"""Tasks beyond linear ones: functions of one random direction, in Hermite polynomials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, integers, is_number, number, sequence
from spectral_icl.multitask.nonlinear import hermite
from spectral_icl.multitask.problem import LARGEST_BLOCK, Problem
from spectral_icl.multitask.signal import powers

MOST_DEGREE = 12  # at which averages of products of two such polynomials keep ten digits
_MOST_TASKS = 1000
_LARGEST = 1e6  # coefficient


@dataclass(frozen=True, kw_only=True)
class SingleIndex:
    """Disjoint single-index tasks: y = sum_k c_ik h_k(v_i . x) + eps, on blocks of white features.

    Task i owns block i, of d_i independent N(0, 1) features. A prompt has ``context_length`` pairs and a
    query, and for every task a fresh direction v_i, uniform on the unit sphere of its block. h_k are the
    Hermite polynomials with E h_j h_k = 1 if j = k and 0 otherwise: 1, t, (t^2 - 1) / sqrt(2), ...

    Parameters
    ----------
    task_sizes : sequence of int, (I,)
        Number of features d_i of each block.
    coefficients : sequence of rows, (I, K + 1), or one row
        c_i0, ..., c_iK with K <= 12; c_i0 is an intercept, and (0, sqrt(a)) a linear task of the power a.
        Shorter rows go on with zeros, and one row of numbers stands for all tasks.
    noise : sequence of float, (I,), or float
        Variance sigma_i^2 of the label noise, 0 or >= 1e-30.
    context_length : float
        L >= 1.

    Raises
    ------
    ProblemError
        Naming the argument, the value and what was expected.

    Examples
    --------
    >>> p = SingleIndex(task_sizes=(50,), coefficients=(0.3, 1.0, 0.5), noise=0.1, context_length=5000)
    >>> p.coefficients
    ((0.3, 1.0, 0.5),)
    """

    task_sizes: tuple[int, ...]
    coefficients: tuple[tuple[float, ...], ...]
    noise: tuple[float, ...]
    context_length: float

    if TYPE_CHECKING:  # more is welcome as an argument than the fields hold

        def __init__(
            self,
            *,
            task_sizes: Sequence[int],
            coefficients: Sequence[float] | Sequence[Sequence[float]],
            noise: float | Sequence[float],
            context_length: float,
        ) -> None: ...

    def __post_init__(self) -> None:
        sizes = integers("task_sizes", self.task_sizes, minimum=1, maximum=LARGEST_BLOCK)
        if len(sizes) > _MOST_TASKS:
            raise ProblemError("task_sizes", f"{len(sizes)} tasks", f"at most {_MOST_TASKS} tasks")
        object.__setattr__(self, "task_sizes", sizes)
        object.__setattr__(self, "coefficients", _rows(self.coefficients, len(sizes)))
        object.__setattr__(self, "noise", powers("noise", self.noise, len(sizes)))
        object.__setattr__(self, "context_length", number("context_length", self.context_length, minimum=1.0))

    def __getstate__(self) -> dict[str, Any]:
        """The fields, without what is known of them: it is found out again where a copy is used."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> SingleIndex:
        """The problem of a mapping with the fields as keys, such as the table ``[nonlinear]`` of a file.

        Raises
        ------
        ProblemError
            A key is unknown or missing, or a value is refused.
        """
        known = [f.name for f in fields(cls)]
        for key in table:
            if key == "covariance":
                raise ProblemError(key, table[key], "nothing: features of single-index tasks are white")
            if key not in known:
                raise ProblemError(str(key), table[key], f"one of the keys {sorted(known)}")
        for key in known:
            if key not in table:
                raise ProblemError(key, None, "a value")
        return cls(**table)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python objects; `from_dict` is its inverse."""
        return self.__getstate__()

    @property
    def tasks(self) -> int:
        """Number of tasks I."""
        return len(self.task_sizes)

    @property
    def degree(self) -> int:
        """The highest degree K that any task has a coefficient of."""
        return len(self.coefficients[0]) - 1

    @property
    def dimension(self) -> int:
        """Number of features d = sum_i d_i."""
        return sum(self.task_sizes)

    @cached_property
    def c(self) -> Floats:
        """The coefficients as an array, (I, K + 1)."""
        return _read_only(np.array(self.coefficients))

    @cached_property
    def sizes(self) -> Floats:
        """The sizes d_i as numbers, (I,)."""
        return _read_only(np.array(self.task_sizes, dtype=np.float64))

    @cached_property
    def power(self) -> Floats:
        """E f_i^2 = sum_k c_ik^2 of each task, the intercept included, (I,)."""
        return _read_only((self.c**2).sum(axis=1))

    @cached_property
    def variance(self) -> Floats:
        """Variance of a label of each task, sum_(k >= 1) c_ik^2 + sigma_i^2, (I,)."""
        return _read_only((self.c[:, 1:] ** 2).sum(axis=1) + np.array(self.noise))

    @cached_property
    def tilted(self) -> Floats:
        """Power series m_i of a label's mean under a tilt, (I, K + 1); see `hermite.tilted`."""
        return _read_only(hermite.tilted(self.c))

    @cached_property
    def spread(self) -> Floats:
        """Power series of the variance of f_i under a tilt, (I, 2 K - 1); see `hermite.spread`."""
        return _read_only(hermite.spread(self.c))

    @cached_property
    def frame(self) -> Problem:
        """A linear problem with these blocks, for what depends on their sizes and on L alone.

        Such are checks of states, named starts and dual coordinates.
        """
        return Problem.multitask(
            task_sizes=self.task_sizes, signal=1.0, noise=self.noise, context_length=self.context_length
        )


def _rows(given: object, tasks: int) -> tuple[tuple[float, ...], ...]:
    """Coefficients as rows of one length."""
    entries = sequence("coefficients", given, "rows of numbers c_0, c_1, ...")
    if all(is_number(entry) for entry in entries):
        rows = [_row("coefficients", given)] * tasks
    else:
        rows = [_row(f"coefficients[{i}]", entry) for i, entry in enumerate(entries)]
    if len(rows) != tasks:
        raise ProblemError("coefficients", f"{len(rows)} rows", f"{tasks} rows, one for each task")
    length = max(2, *(len(row) for row in rows))
    return tuple(row + (0.0,) * (length - len(row)) for row in rows)


def _row(argument: str, given: object) -> tuple[float, ...]:
    """Coefficients c_0, c_1, ... of one task."""
    entries = sequence(argument, given, "numbers c_0, c_1, ...")
    if len(entries) > MOST_DEGREE + 1:
        raise ProblemError(argument, f"a degree of {len(entries) - 1}", f"degrees up to {MOST_DEGREE}")
    return tuple(
        number(f"{argument}[{k}]", value, minimum=-_LARGEST, maximum=_LARGEST)
        for k, value in enumerate(entries)
    )


def _read_only(values: Floats) -> Floats:
    values.setflags(write=False)
    return values
