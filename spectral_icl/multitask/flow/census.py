"""How many tasks emerged, when, and in which heads: what is said of a flow of more tasks than are listed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import Floats
from spectral_icl.io.text import MANY
from spectral_icl.multitask.flow.phases import Phases

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MOST_COUNTS = 4  # different numbers of tasks that heads have, which are told one by one


@dataclass(frozen=True, eq=False)
class Census:
    """The emergences of a flow, counted.

    Attributes
    ----------
    tasks : int
        Number of tasks I.
    times : ndarray, (n,)
        When the n tasks emerged that did, increasing.
    held : ndarray of int, (H,)
        Number of tasks that each head seized.
    """

    tasks: int
    times: Floats
    held: NDArray[np.int64]

    @classmethod
    def of(cls, phases: Phases, heads: int) -> Census:
        """The census of a flow's phases, of so many heads."""
        took = [task.head for task in phases.tasks if task.head is not None]
        times = np.array([task.time for task in phases.tasks if task.head is not None])
        held = np.bincount(np.array(took, dtype=np.int64), minlength=heads)
        return cls(len(phases.tasks), np.sort(times), held)

    @property
    def emerged(self) -> str:
        """How many tasks emerged."""
        return f"{self.times.size} of {self.tasks} tasks emerged"

    @property
    def allocation(self) -> str:
        """How many tasks the heads seized."""
        return f"tasks per head: {self._allocation}"

    @property
    def _allocation(self) -> str:
        if self.held.size <= MANY:
            return ", ".join(map(str, self.held))
        counts, having = np.unique(self.held, return_counts=True)
        if counts.size <= _MOST_COUNTS:
            each = zip(counts[::-1], having[::-1], strict=True)
            return ", ".join(f"{heads} heads have {count}" for count, heads in each)
        none = np.count_nonzero(self.held == 0)
        spread = f"{counts[0]} to {counts[-1]}, median {np.median(self.held):g}"
        return f"{spread}; most in head {self.held.argmax()}, {none} heads have none"

    def __str__(self) -> str:
        return f"{self.emerged}; {self.allocation}"
