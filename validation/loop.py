"""The loop of a training run: it may be stopped anywhere, and goes on from its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from validation.checkpoint import Checkpoint

Track = Callable[[Iterable[int], str], Iterable[int]]
"""Wraps the steps of a run, named by a label, to show how far it is."""


class Record(Protocol):
    """What a run has recorded so far."""

    seconds: float

    @property
    def done(self) -> int:
        """Number of steps taken."""


Recorded = TypeVar("Recorded", bound=Record)


def untracked(steps: Iterable[int], _: str) -> Iterable[int]:
    """The steps, with nothing shown."""
    return steps


def continued(
    checkpoint: Checkpoint,
    make: Callable[..., Recorded],
    steps: int,
    step: Callable[[Recorded, int], None],
    track: Track = untracked,
) -> Recorded:
    """The record of a run after ``steps`` steps, those before its checkpoint not taken again.

    Parameters
    ----------
    checkpoint : Checkpoint
        Where the run is saved every few seconds, when it is interrupted, and when it is done.
    make : callable
        Makes the record from its attributes by name; an empty one from none.
    steps : int
    step : callable
        Takes the step of a number, counted from 0, and adds it to the record.
    track : callable
    """
    recorded = checkpoint.load(make)
    if recorded.done >= steps:
        return recorded
    began = time.perf_counter() - recorded.seconds
    between_steps = True
    try:
        for number in track(range(recorded.done, steps), checkpoint.label):
            between_steps = False
            step(recorded, number)
            recorded.seconds = time.perf_counter() - began
            between_steps = True
            checkpoint.save_if_due(recorded)
    finally:
        if between_steps:  # half a step could not be continued; the last checkpoint can
            checkpoint.save(recorded)
    return recorded
