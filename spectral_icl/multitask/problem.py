"""The in-context regression problem in block-spectral form."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from spectral_icl.io.checks import (
    LARGEST,
    Floats,
    ProblemError,
    integer,
    integers,
    is_number,
    number,
    numbers,
    sequence,
)
from spectral_icl.io.text import abbreviated
from spectral_icl.multitask.signal import MOST_WRITTEN, SMALLEST, Signal, Signals, powers

_SHORTHANDS = {"tasks", "snr", "decay"}  # keys of a table, not arguments of the class
_SPLIT = "by_feature"  # a key of any table
_STEEPEST = 20.0  # decay of powers with the number of the task
_MOST_TASKS = 100_000
_MOST_FEATURES = 2**22  # that may be blocks of their own: as many entries as a state may hold
_MOST_TRIED = 2**22  # entries I B up to which a digest of the dense rows is made, to tell an old one
LARGEST_BLOCK = 10**9  # coordinates


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
    signal : sequence of rows, array or sparse matrix, (I, B)
        Signal power A_ib = E[(g_i . x)_b^2] = d_b kappa_b Var(g_ij) of task i in block b, 0 or >= 1e-30. A
        row has the powers in all blocks, or it has pairs (block, power), or it maps blocks to powers. The
        field is a `Signal`, which reads as a tuple of dense rows and keeps what is not zero.
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
    signal: Signal
    noise: tuple[float, ...]
    context_length: float
    covariance: tuple[float, ...] = 1.0  # type: ignore[assignment]

    if TYPE_CHECKING:  # more is welcome as an argument than the fields hold

        def __init__(
            self,
            *,
            block_sizes: Sequence[int],
            signal: Signals,
            noise: float | Sequence[float],
            context_length: float,
            covariance: float | Sequence[float] = 1.0,
        ) -> None: ...

    def __post_init__(self) -> None:
        sizes = integers("block_sizes", self.block_sizes, minimum=1, maximum=LARGEST_BLOCK)
        signal = Signal.of(self.signal, len(sizes))
        covariance = numbers("covariance", self.covariance, size=len(sizes), minimum=0.0)
        if min(covariance) < SMALLEST:
            b, kappa = next((b, kappa) for b, kappa in enumerate(covariance) if kappa < SMALLEST)
            raise ProblemError(f"covariance[{b}]", kappa, f"a number > 0 (>= {SMALLEST:g})")
        noise = powers("noise", self.noise, len(signal))
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

    def __repr__(self) -> str:
        """The call that makes it, whose long arguments are cut short where they would fill pages."""
        state = self.__getstate__()
        if self.signal.entries > MOST_WRITTEN:
            tuples = ("block_sizes", "noise", "covariance")
            shown = {name: abbreviated(value) for name, value in state.items() if name in tuples}
        else:
            shown = {}
        listed = (f"{name}={shown.get(name) or repr(value)}" for name, value in state.items())
        return f"{type(self).__name__}({', '.join(listed)})"

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
        count = len(sequence("task_sizes", task_sizes, "whole numbers"))
        if count > _MOST_TASKS:
            raise ProblemError("task_sizes", f"{count} tasks", f"at most {_MOST_TASKS} tasks")
        sizes = integers("task_sizes", task_sizes, minimum=1, maximum=LARGEST_BLOCK)
        power = powers("signal", signal, count)
        if 0.0 in power:
            raise ProblemError(f"signal[{power.index(0.0)}]", 0.0, "a positive power in some block")
        return cls(
            block_sizes=sizes,
            signal=Signal.disjoint(power),
            noise=noise,
            context_length=context_length,
            covariance=covariance,
        )

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Problem:
        """The problem of a mapping with the fields of `Problem`, or of `multitask` if it has task_sizes.

        With ``task_sizes`` three more keys are understood, which a sweep can vary. ``tasks = n`` with one
        whole number for ``task_sizes`` stands for n tasks of that size. ``snr`` (a number or one per task,
        > 0) in place of ``noise`` sets sigma_i^2 = A_ii / snr_i, the signal-to-noise ratio of Chen, Sheen,
        Wang and Yang (2024). ``decay = a`` (a number >= 0) beside one number for ``signal`` stands for powers
        that fall with the number of the task, A_ii = signal (i + 1)^-a.

        Any table may have ``by_feature = true``: the problem is then split by `by_feature`.
        """
        if _SPLIT in table:
            split = table[_SPLIT]
            if not isinstance(split, bool):
                raise ProblemError(_SPLIT, split, "True or False")
            whole = cls.from_dict({key: value for key, value in table.items() if key != _SPLIT})
            return whole.by_feature() if split else whole
        disjoint = "task_sizes" in table
        allowed = {f.name for f in fields(cls)}
        if disjoint:
            allowed = allowed - {"block_sizes"} | {"task_sizes"}
        for key in table:
            if key in _SHORTHANDS and not disjoint:
                raise ProblemError(key, table[key], "nothing without task_sizes")
            if key not in allowed | _SHORTHANDS:
                known = allowed | _SHORTHANDS if disjoint else allowed
                raise ProblemError(str(key), table[key], f"one of the keys {sorted(known | {_SPLIT})}")
        entries = _written_out(table) if disjoint else table
        for key in sorted(allowed - {"covariance"}):
            if key not in entries:
                raise ProblemError(key, None, "a value")
        return cls.multitask(**entries) if disjoint else cls(**entries)

    def by_feature(self) -> Problem:
        """The problem with every feature a block of its own: d blocks of one, of power A_ib / d_b each.

        Its state (H, d) may have entries that differ within a block. A state that has none has the loss and
        the flow of this problem; `spectral_icl.multitask.features` takes states there and back.

        Raises
        ------
        ProblemError
            There are more than 4,194,304 features, or more powers, or a power A_ib / d_b is below 1e-30.
        """
        signal, sizes = self.signal, np.array(self.block_sizes)
        per_power = sizes[signal.block]
        for what, count in (("features", self.dimension), ("powers", int(per_power.sum()))):
            if count > _MOST_FEATURES:
                expected = f"at most {_MOST_FEATURES} {what} of single features"
                raise ProblemError("block_sizes", f"{count} {what}", expected)
        shares = np.repeat(signal.power / per_power, per_power)
        if shares.min() < SMALLEST:
            expected = f"A_ib / d_b >= {SMALLEST:g} where there is power"
            raise ProblemError("signal", float(shares.min()), expected)
        begin = np.cumsum(sizes) - sizes
        ends = np.cumsum(per_power)
        within = np.arange(shares.size) - np.repeat(ends - per_power, per_power)
        first = np.concatenate([[0], ends])[signal.first]
        features = np.repeat(begin[signal.block], per_power) + within
        return Problem(
            block_sizes=(1,) * self.dimension,
            signal=Signal(first, features, shares, self.dimension),
            noise=self.noise,
            context_length=self.context_length,
            covariance=tuple(np.repeat(self.covariance, sizes).tolist()),
        )

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain Python objects; `from_dict` is its inverse.

        The signal is in dense rows up to 10,000 entries I B, and beyond that in rows of (block, power).
        """
        dense = self.signal.entries <= MOST_WRITTEN
        return self.__getstate__() | {"signal": tuple(self.signal) if dense else self.signal.rows}

    def digest(self) -> str:
        """SHA-256 of the problem's fields, in hexadecimal: equal problems, equal digests."""
        text = json.dumps({"format": 1, **self.to_dict()}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def has_digest(self, text: str) -> bool:
        """Whether a digest is that of the problem, or the one that it had when all rows were dense."""
        if text == self.digest():
            return True
        if not MOST_WRITTEN < self.signal.entries <= _MOST_TRIED:
            return False
        head = json.dumps({"format": 1, **self.to_dict(), "signal": []}, sort_keys=True)
        before, after = head.split('"signal": []')
        found = hashlib.sha256(f'{before}"signal": ['.encode())
        for i, row in enumerate(self.signal):
            found.update(f"{', ' if i else ''}{json.dumps(row)}".encode())
        found.update(f"]{after}".encode())
        return text == found.hexdigest()

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
    def power(self) -> Floats:
        """Signal power sum_b A_ib of each task, (I,)."""
        power = self.signal.by_task(self.signal.power)
        power.setflags(write=False)
        return power

    @cached_property
    def variance(self) -> Floats:
        """Label variance s_i = sum_b A_ib + sigma_i^2 of each task, (I,)."""
        total: Floats = np.add(self.power, self.noise)
        total.setflags(write=False)
        return total

    @cached_property
    def logit_weight(self) -> Floats:
        """By what squares of omega enter the variance of the logits, d_b kappa_b^2, (B,)."""
        weight: Floats = np.array(self.block_sizes, dtype=np.float64) * np.array(self.covariance) ** 2
        weight.setflags(write=False)
        return weight

    @cached_property
    def home(self) -> tuple[int, ...] | None:
        """The block that each task owns if the tasks are disjoint (one block each, unshared), else None."""
        block = self.signal.block
        if block.size != self.tasks or np.bincount(block).max() > 1:
            return None
        return tuple(block.tolist())


def disjoint_home(problem: Problem) -> list[int]:
    """The block of every task of disjoint tasks, `Problem.home`.

    Raises
    ------
    ProblemError
        Tasks overlap or span several blocks.
    """
    if problem.home is None:
        overlapping = "tasks that overlap or span several blocks"
        raise ProblemError("problem", overlapping, "disjoint tasks, one block each")
    return list(problem.home)


def _written_out(table: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of `Problem.multitask` that a table with shorthands stands for."""
    entries = dict(table)
    if "tasks" in entries:
        count, size = entries.pop("tasks"), entries["task_sizes"]
        if not is_number(size):
            raise ProblemError("tasks", count, "nothing unless task_sizes is one whole number")
        count = integer("tasks", count, minimum=1, maximum=_MOST_TASKS)
        entries["task_sizes"] = [integer("task_sizes", size, minimum=1, maximum=LARGEST_BLOCK)] * count
    if "decay" in entries:
        decay, signal = entries.pop("decay"), entries.get("signal")
        if not is_number(signal):
            raise ProblemError("decay", decay, "nothing unless signal is one number, that of the first task")
        exponent = number("decay", decay, minimum=0.0, maximum=_STEEPEST)
        ranks = np.arange(1.0, len(sequence("task_sizes", entries["task_sizes"], "whole numbers")) + 1.0)
        entries["signal"] = (powers("signal", signal, 1)[0] * ranks**-exponent).tolist()
    if "snr" in entries:
        ratio = entries.pop("snr")
        if "noise" in entries:
            raise ProblemError("snr", ratio, "nothing beside noise, which it replaces")
        if "signal" not in entries:
            raise ProblemError("signal", None, "a value")
        count = len(sequence("task_sizes", entries["task_sizes"], "whole numbers"))
        power_of = powers("signal", entries["signal"], count)
        ratios = numbers("snr", ratio, size=count)
        for i, (power, value) in enumerate(zip(power_of, ratios, strict=True)):
            name = "snr" if is_number(ratio) else f"snr[{i}]"
            number(name, value, minimum=0.0, above=True)
            if power and not SMALLEST <= power / value <= LARGEST:
                raise ProblemError(name, value, f"a noise signal / snr >= {SMALLEST:g} and <= {LARGEST:g}")
        entries["noise"] = [power / value for power, value in zip(power_of, ratios, strict=True)]
    return entries
