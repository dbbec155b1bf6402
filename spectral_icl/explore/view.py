"""The pictures of the page: made once, and filled with one flow after another.

There are few of them, with few curves of many points: what a browser takes longest over is axes with their
labels, and the messages that arrays come in. So tasks are side by side in one picture, on parts of one axis,
and the curves of a head are one curve that is interrupted.
"""

from __future__ import annotations

from spectral_icl.explore.changes import Changes
from spectral_icl.explore.frame import Frame
from spectral_icl.explore.heads import HeadsPicture, used
from spectral_icl.explore.losses import LossPicture
from spectral_icl.explore.maps import MapsPicture


class View:
    """All pictures.

    Attributes
    ----------
    loss : LossPicture
    omega, mu : HeadsPicture
        Of every head, task by task.
    maps : MapsPicture
        Who reads what at the cursor.
    changes : Changes
        What the browser has not been told yet.
    """

    def __init__(self) -> None:
        self.changes = Changes()
        self.loss = LossPicture(self.changes)
        self.omega = HeadsPicture(self.changes, "KQ values omega of every head, on the blocks of each task")
        self.mu = HeadsPicture(self.changes, "OV values mu of every head, on each task")
        self.maps = MapsPicture(self.changes)

    def show(self, frame: Frame, at: float) -> None:
        """Show a flow, with the cursor at a fraction of the axis of time."""
        tasks = range(frame.solution.problem.tasks)
        self.loss.show(frame)
        self.omega.show(frame, frame.omega, [frame.blocks_of(task) for task in tasks])
        self.mu.show(frame, frame.mu, [[task] for task in tasks])
        self.point(frame, at)

    def point(self, frame: Frame, at: float) -> None:
        """Move the cursor to a fraction of the axis of time."""
        time, tasks = frame.moment(at), frame.solution.problem.tasks
        self.maps.show(frame, time)
        self.loss.point([time])
        for picture in (self.omega, self.mu):
            picture.point([task + at * used(tasks) for task in range(tasks)])
