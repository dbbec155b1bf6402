"""One batch of a sweep: solved and written by whichever process it is given to."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import ProblemError
from spectral_icl.sweeps import solving as points
from spectral_icl.sweeps.points import SOLVED
from spectral_icl.sweeps.store import Store, Values


class Failures(NamedTuple):
    """Points of one outcome: how many, and the first of them."""

    number: int
    first: int

    def joined(self, other: Failures | None) -> Failures:
        """These and others."""
        if other is None:
            return self
        return Failures(self.number + other.number, min(self.first, other.first))


@dataclass(frozen=True)
class Tally:
    """What became of some points.

    Attributes
    ----------
    points : int
        How many they are.
    failures : dict of int to Failures
        Those that were not solved, by status.
    extent : tuple of float, or None
        Smallest and largest value of the headline of their kind, of those that were.
    saturated : Failures, or None
        Those that were solved but are beyond the limit of their kind.
    """

    points: int = 0
    failures: dict[int, Failures] = field(default_factory=dict)
    extent: tuple[float, float] | None = None
    saturated: Failures | None = None

    @property
    def failed(self) -> int:
        """How many points were not solved."""
        return sum(entry.number for entry in self.failures.values())

    def __add__(self, other: Tally) -> Tally:
        failures = dict(self.failures)
        for status, more in other.failures.items():
            failures[status] = more.joined(failures.get(status))
        ranges = [entry for entry in (self.extent, other.extent) if entry is not None]
        extent = (min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None
        saturated = self.saturated.joined(other.saturated) if self.saturated else other.saturated
        return Tally(self.points + other.points, failures, extent, saturated)


def tally(store: Store, batch: int, values: Values | None = None) -> Tally:
    """What became of a finished batch: of its ``values``, or of those in the store."""
    kind = store.plan.kind
    names = ("status", kind.headline, *([kind.limit.name] if kind.limit else []))
    values = store.read(batch, names) if values is None else values
    status = values["status"]
    solved = np.isin(status, SOLVED)
    start, _ = store.bounds(batch)
    failures = {
        int(code): Failures(int((status == code).sum()), start + int((status == code).argmax()))
        for code in np.unique(status[~solved])
    }
    shown = values[kind.headline][solved]
    extent = (float(shown.min()), float(shown.max())) if shown.size else None
    beyond = np.zeros_like(solved)
    if kind.limit is not None:
        beyond = solved & (values[kind.limit.name] > kind.limit.most)
    saturated = Failures(int(beyond.sum()), start + int(beyond.argmax())) if beyond.any() else None
    return Tally(len(status), failures, extent, saturated)


def run_batch(path: str, digest: str, batch: int, retry: bool = False, threads: int = 1) -> Tally:
    """Solve a batch of the store of a plan and write it; with ``retry`` only its points that failed.

    The results depend on nothing but the plan: it does no harm to run a batch twice, or in two processes.
    """
    store = _opened(path, digest)
    start, stop = store.bounds(batch)
    if retry:
        values = store.read(batch)
        for k in np.flatnonzero(~np.isin(values["status"], SOLVED)):
            point = start + int(k)
            for name, value in points.solve(store.plan, point, point + 1, threads=threads).items():
                values[name][k] = value[0]
    else:
        values = points.solve(store.plan, start, stop, threads=threads)
    store.write(batch, values)
    return tally(store, batch, values)


@lru_cache(maxsize=1)
def _opened(path: str, digest: str) -> Store:
    """The store, opened once per process: its plan need not be parsed again for every batch."""
    store = Store.open(Path(path))
    if store.made["digest"] != digest:
        raise ProblemError("--out", path, "the store of the plan that is being solved")
    return store
