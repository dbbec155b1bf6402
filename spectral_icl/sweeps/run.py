"""A sweep from its plan to a finished store: what is left to do, who does it, and what became of it."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from spectral_icl.io.checks import ProblemError
from spectral_icl.io.interrupts import ENDING, answered
from spectral_icl.io.progress import Progress
from spectral_icl.sweeps.engines import Engine, EngineError, Job, Lost, in_process
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import PENDING, SOLVED
from spectral_icl.sweeps.report import Report, note
from spectral_icl.sweeps.store import Store
from spectral_icl.sweeps.tally import Tally, tally

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BatchTask:
    """What engines do for a sweep, wherever they do it: solve batches of a store of a plan and write them.

    The results depend on nothing but the plan: it does no harm to run a batch twice, or in two processes.

    Attributes
    ----------
    path : str
        The store.
    digest : str
        That of the plan.
    """

    path: str
    digest: str

    def __call__(self, job: Job, /, threads: int = 1) -> Tally:
        """Solve a batch, or only its points that failed, and write it; returns what became of its points."""
        store = _opened(self.path, self.digest)
        start, stop = store.plan.bounds(job.batch)
        if job.retry:
            values = store.read(job.batch)
            for k in np.flatnonzero(~np.isin(values["status"], SOLVED)):
                point = start + int(k)
                for name, value in store.plan.solve(point, point + 1, threads=threads).items():
                    values[name][k] = value[0]
        else:
            values = store.plan.solve(start, stop, threads=threads)
        store.write(job.batch, values)
        return tally(store.plan.points, values, start)

    def differences(self) -> str:
        """Versions, processor and source that differ from those that made the store."""
        return Store.open(Path(self.path)).differences()


@lru_cache(maxsize=1)
def _opened(path: str, digest: str) -> Store:
    """The store, opened once per process: its plan need not be parsed again for every batch."""
    store = Store.open(Path(path))
    if store.made["digest"] != digest:
        raise ProblemError("path", path, "the store of the plan that is being solved")
    return store


def run(
    plan: Plan,
    path: Path,
    engine: Engine = in_process,
    *,
    shard: tuple[int, int] = (0, 1),
    retry_failed: bool = False,
) -> Report:
    """Solve what is left of a plan and write it to the store at ``path``, which is made if need be.

    Parameters
    ----------
    engine : Engine
        Who solves the batches; the results are the same bits whoever it is.
    shard : (i, n)
        Only the batches b with b % n == i.
    retry_failed : bool
        Also solve again the points that failed.

    Raises
    ------
    ProblemError
        ``path`` is something else, or cannot be written.
    EngineError
        The engine does not start. A store is made after that, and no error leaves one behind.
    """
    batches = range(shard[0], plan.batches, shard[1])
    points = sum(stop - start for start, stop in map(plan.bounds, batches))
    jobs, done, lost, stopped = [Job(batch) for batch in batches], Tally(), [], None
    store = Store.attach(path, plan) if os.path.lexists(path) else None
    with _interrupts() as interrupt:
        try:
            if store is not None:
                _prepare(store)
                jobs, done = _left(store, batches, retry_failed, interrupt.is_set)
            with (engine if jobs else in_process)(len(jobs)) as runner:
                store = store or Store.attach(path, plan)
                task = BatchTask(str(path.absolute()), store.made["digest"])
                with (
                    Progress(points, done.points) as progress,
                    closing(runner(task, jobs, interrupt.is_set)) as results,
                ):
                    for result in results:
                        if isinstance(result, Lost):
                            logger.warning("batch %d is left out: %s", result.batch, result.reason)
                            lost.append(result)
                            continue
                        done += result
                        progress.update(result.points, note(plan.points, done))
        except (OSError, EngineError, KeyboardInterrupt) as error:
            if store is None:
                raise
            if isinstance(error, KeyboardInterrupt):  # the second one
                interrupt.set()
            elif isinstance(error, OSError):
                stopped = f"{error.filename or path}: {error.strerror or error}"
            else:
                stopped = str(error)
    interrupted = interrupt.is_set()
    if done.points == points:  # then it came too late to matter
        interrupted, stopped = False, None
    elif interrupted:
        stopped = "interrupted"
    return Report(path, plan, points, done, tuple(lost), stopped, interrupted)


def _left(
    store: Store, batches: Sequence[int], retry_failed: bool, stopped: Callable[[], bool]
) -> tuple[list[Job], Tally]:
    """Jobs that are left, and what became of the points of all other batches."""
    plan = store.plan
    jobs, done, damaged = [], Tally(), []
    for batch in batches:
        if stopped():
            break
        if store.is_pending(batch):
            jobs.append(Job(batch))
            continue
        try:
            found = tally(plan.points, store.read(batch), plan.bounds(batch)[0])
        except ProblemError:
            damaged.append(batch)
            jobs.append(Job(batch))
            continue
        if PENDING in found.failures:
            jobs.append(Job(batch))
        elif retry_failed and found.failed:
            jobs.append(Job(batch, retry=True))
        else:
            done += found
    if damaged:
        logger.warning("chunks are damaged: solving batches %s again", ", ".join(map(str, damaged)))
    return jobs, done


def _prepare(store: Store) -> None:
    """Tell what differs from what made a store, and put in order what others have left of it."""
    if different := store.differences():
        logger.warning("this is not what made %s: %s", store.path, different)
    store.remove_partial_files()
    if mended := store.mend():
        logger.warning("files were damaged and are written again: %s", ", ".join(mended))


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that is set when the process is asked to end; the second time is a `KeyboardInterrupt`."""
    asked = threading.Event()

    def handle(*_: object) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        logger.info("interrupted: finishing what has begun (once more to stop at once)")

    with answered(ENDING, handle):
        yield asked
