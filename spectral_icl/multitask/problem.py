"""The in-context regression problem in block-spectral form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from spectral_icl.io.checks import (
    LARGEST,
    Floats,
    ProblemError,
    integer,
    is_number,
    number,
    numbers,
    sequence,
)

_SHORTHANDS = {"tasks", "snr"}  # keys of a table, not arguments of the class
_MOST_TASKS = 2048  # disjoint ones have as many blocks, and no state has more than `state.MOST_ENTRIES`
LARGEST_BLOCK = 10**9  # coordinates
SMALLEST = 1e-30  # positive magnitudes below this are typing errors, and their products would underflow


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Multi-task linear regression in context, with the covariates grouped into B spectral blocks.

    A prompt has ``context_length`` pairs and a query. Covariates are N(0, diag(kappa)); the
    coordinates of block b share the eigenvalue kappa_b. Task i has a fresh mean-zero coefficient vector
    g_i per prompt and y = g_i . x + eps, eps ~ N(0, sigma_i^2).

    Parameters
    ----------
    block_sizes : sequence of int, (B,)
        Number of coordinates d_b of each block.
    signal : sequence of sequences of float, (I, B)
        Signal power A_ib = E[(g_i . x)_b^2] = d_b kappa_b Var(g_ij) of task i in block b, 0 or >= 1e-30.
    noise : sequence of float, (I,), or float
        Variance sigma_i^2 of the label noise, 0 or >= 1e-30. One number stands for all tasks.
    context_length : float
        L >= 1. The laws of the context are smooth functions of it, so it need not be whole.
    covariance : sequence of float, (B,), or float
        Eigenvalue kappa_b >= 1e-30 of the covariates in each block; 1 by default.

    Raises
    ------
    ProblemError
        Naming the argument, the value and what was expected.

    Notes
    -----
    Chen, Sheen, Wang and Yang (2024), section 2; disjoint tasks are B = I with a diagonal ``signal``.
    Several tasks with signal in one block overlap (He, Pan, Chen and Yang 2025).

    Examples
    --------
    >>> p = Problem(block_sizes=(10, 10), signal=((10., 0.), (0., 10.)), noise=0.09, context_length=100)
    >>> p == Problem.multitask(task_sizes=(10, 10), signal=10., noise=0.09, context_length=100)
    True
    """

    block_sizes: tuple[int, ...]
    signal: tuple[tuple[float, ...], ...]
    noise: tuple[float, ...]
    context_length: float
    covariance: tuple[float, ...] = 1.0  # type: ignore[assignment]

    def __post_init__(self) -> None:
        sizes = tuple(
            integer(f"block_sizes[{b}]", n, minimum=1, maximum=LARGEST_BLOCK)
            for b, n in enumerate(sequence("block_sizes", self.block_sizes, "whole numbers"))
        )
        rows = sequence("signal", self.signal, "one row of block powers per task")
        signal = tuple(_powers(f"signal[{i}]", self._row(i, row), len(sizes)) for i, row in enumerate(rows))
        for i, powers in enumerate(signal):
            if sum(powers) == 0.0:
                raise ProblemError(f"signal[{i}]", powers, "a positive power in some block")
        covariance = numbers("covariance", self.covariance, size=len(sizes), minimum=0.0)
        for b, kappa in enumerate(covariance):
            if kappa < SMALLEST:
                raise ProblemError(f"covariance[{b}]", kappa, f"a number > 0 (>= {SMALLEST:g})")
        noise = _powers("noise", self.noise, len(signal))
        length = number("context_length", self.context_length, minimum=1.0)
        # Lists and scalars are welcome as arguments; the fields are tuples, so that a Problem is hashable.
        object.__setattr__(self, "block_sizes", sizes)
        object.__setattr__(self, "signal", signal)
        object.__setattr__(self, "noise", noise)
        object.__setattr__(self, "context_length", length)
        object.__setattr__(self, "covariance", covariance)

    def __getstate__(self) -> dict[str, Any]:
        """The fields, without what is known of them: it is found out again where a copy is used."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @staticmethod
    def _row(i: int, row: object) -> Sequence[object]:
        return sequence(f"signal[{i}]", row, "a row of block powers")

    @classmethod
    def multitask(
        cls,
        *,
        task_sizes: Sequence[int],
        signal: float | Sequence[float],
        noise: float | Sequence[float],
        context_length: float,
        covariance: float | Sequence[float] = 1.0,
    ) -> Problem:
        """Disjoint tasks: task i owns block i, of ``task_sizes[i]`` coordinates and power ``signal[i]``.

        The setting of Chen, Sheen, Wang and Yang (2024); ``signal[i]`` is lambda_i d_i / d there.
        """
        sizes = sequence("task_sizes", task_sizes, "whole numbers")
        if len(sizes) > _MOST_TASKS:
            raise ProblemError("task_sizes", f"{len(sizes)} tasks", f"at most {_MOST_TASKS} tasks")
        for i, size in enumerate(sizes):
            integer(f"task_sizes[{i}]", size, minimum=1, maximum=LARGEST_BLOCK)
        powers = _powers("signal", signal, len(sizes))
        none = (0.0,) * len(sizes)
        return cls(
            block_sizes=tuple(sizes),  # type: ignore[arg-type]
            signal=tuple((*none[:i], power, *none[i + 1 :]) for i, power in enumerate(powers)),
            noise=noise,  # type: ignore[arg-type]
            context_length=context_length,
            covariance=covariance,  # type: ignore[arg-type]
        )

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Problem:
        """The problem of a mapping with the fields of `Problem`, or of `multitask` if it has task_sizes.

        With ``task_sizes`` two more keys are understood, which a sweep can vary. ``tasks = n`` with one whole
        number for ``task_sizes`` stands for n tasks of that size. ``snr`` (a number or one per task, > 0) in
        place of ``noise`` sets sigma_i^2 = A_ii / snr_i, the signal-to-noise ratio of Chen, Sheen, Wang and
        Yang (2024).
        """
        disjoint = "task_sizes" in table
        allowed = {f.name for f in fields(cls)}
        if disjoint:
            allowed = allowed - {"block_sizes"} | {"task_sizes"}
        for key in table:
            if key in _SHORTHANDS and not disjoint:
                raise ProblemError(key, table[key], "nothing without task_sizes")
            if key not in allowed | _SHORTHANDS:
                raise ProblemError(str(key), table[key], f"one of the keys {sorted(allowed)}")
        entries = _written_out(table) if disjoint else table
        for key in sorted(allowed - {"covariance"}):
            if key not in entries:
                raise ProblemError(key, None, "a value")
        return cls.multitask(**entries) if disjoint else cls(**entries)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python objects; `from_dict` is its inverse."""
        return self.__getstate__()

    def digest(self) -> str:
        """SHA-256 of the problem's fields, in hexadecimal: equal problems, equal digests."""
        text = json.dumps({"format": 1, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def blocks(self) -> int:
        """Number of blocks B."""
        return len(self.block_sizes)

    @property
    def tasks(self) -> int:
        """Number of tasks I."""
        return len(self.signal)

    @property
    def dimension(self) -> int:
        """Number of covariates d = sum_b d_b."""
        return sum(self.block_sizes)

    @cached_property
    def kept(self) -> dict[object, Any]:
        """Immutable things made of this problem, by what made them; no part of its value."""
        return {}

    @cached_property
    def variance(self) -> Floats:
        """Label variance s_i = sum_b A_ib + sigma_i^2 of each task, (I,)."""
        power: Floats = np.asarray(self.signal).sum(axis=1)
        total: Floats = np.add(power, self.noise)
        total.setflags(write=False)
        return total

    @cached_property
    def home(self) -> tuple[int, ...] | None:
        """The block that each task owns if the tasks are disjoint (one block each, unshared), else None."""
        power = np.asarray(self.signal) > 0.0
        if (power.sum(axis=1) != 1).any() or (power.sum(axis=0) > 1).any():
            return None
        return tuple(int(b) for b in power.argmax(axis=1))


def _written_out(table: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Problem.multitask` that a table with ``tasks`` or ``snr`` stands for."""
    entries = dict(table)
    if "tasks" in entries:
        count, size = entries.pop("tasks"), entries["task_sizes"]
        if not is_number(size):
            raise ProblemError("tasks", count, "nothing unless task_sizes is one whole number")
        count = integer("tasks", count, minimum=1, maximum=_MOST_TASKS)
        entries["task_sizes"] = [integer("task_sizes", size, minimum=1, maximum=LARGEST_BLOCK)] * count
    if "snr" in entries:
        ratio = entries.pop("snr")
        if "noise" in entries:
            raise ProblemError("snr", ratio, "nothing beside noise, which it replaces")
        if "signal" not in entries:
            raise ProblemError("signal", None, "a value")
        count = len(sequence("task_sizes", entries["task_sizes"], "whole numbers"))
        powers = _powers("signal", entries["signal"], count)
        ratios = numbers("snr", ratio, size=count)
        for i, (power, value) in enumerate(zip(powers, ratios, strict=True)):
            name = "snr" if is_number(ratio) else f"snr[{i}]"
            number(name, value, minimum=0.0, above=True)
            if power and not SMALLEST <= power / value <= LARGEST:
                raise ProblemError(name, value, f"a noise signal / snr >= {SMALLEST:g} and <= {LARGEST:g}")
        entries["noise"] = [power / value for power, value in zip(powers, ratios, strict=True)]
    return entries


def _powers(argument: str, value: object, size: int) -> tuple[float, ...]:
    """``size`` powers, each 0 or at least `SMALLEST`; one number stands for all."""
    powers = numbers(argument, value, size=size, minimum=0.0)
    for k, power in enumerate(powers):
        if 0.0 < power < SMALLEST:
            name = argument if is_number(value) else f"{argument}[{k}]"
            raise ProblemError(name, power, f"0 or a number >= {SMALLEST:g}")
    return powers
