"""What is known of every solved curve t -> (omega, mu), whether all of its steps are kept or an outline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats
from spectral_icl.kernels.model import Chart
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State


class Curve(ABC):
    """The curve of one gradient flow: a frozen dataclass with these fields, and arrays of its own.

    Attributes
    ----------
    problem : Problem
    chart : Chart
        Dual coordinates of the flat state.
    heads : int
    t : ndarray, (n + 1,)
        Times of the accepted steps.
    rests : bool
        Whether the flow came to rest at the last step, so that later times repeat it.
    kernel : str
        Name of the law of the context whose loss the flow descends.
    """

    problem: Problem
    chart: Chart
    heads: int
    t: Floats
    rests: bool
    kernel: str

    def __post_init__(self) -> None:
        for values in (*self._values, *self.chart):
            if isinstance(values, np.ndarray):
                values.setflags(write=False)

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle through the constructor, which makes the arrays read-only again."""
        return type(self), self._values

    @property
    def _values(self) -> tuple[Any, ...]:
        return tuple(getattr(self, f.name) for f in fields(self))  # type: ignore[arg-type]

    @property
    def shape(self) -> tuple[int, int, int]:
        """H, B and I."""
        return self.heads, self.problem.blocks, self.problem.tasks

    @abstractmethod
    def __call__(self, t: ArrayLike) -> State:
        """Omega (..., H, B) and mu (..., H, I) at times ``t`` of any shape.

        Raises
        ------
        ProblemError
            At a time where the curve is not known.
        """

    @abstractmethod
    def refined(self, points: int) -> Floats:
        """Times at which the states are known that split every step into ``points`` equal parts, or fewer."""

    @abstractmethod
    def nearest(self, t: ArrayLike) -> Floats:
        """The times nearest to ``t``, of any shape, at which the states are known."""

    @abstractmethod
    def sampled(self, points: int) -> tuple[Floats, Floats]:
        """Times (S,) that split every step into ``points`` equal parts or fewer, and task losses (S, I)."""

    @abstractmethod
    def logit_variances(self, points: int) -> tuple[Floats, Floats]:
        """Such times (S,), and the logit variances sum_b d_b kappa_b^2 omega_hb^2 of the heads, (S, H)."""
