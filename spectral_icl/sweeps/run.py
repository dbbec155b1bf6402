"""A sweep from its plan to a finished store: what is left to do, who does it, and what became of it."""

from __future__ import annotations

import logging
import re
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spectral_icl.io.checks import ProblemError, integer
from spectral_icl.io.progress import Progress
from spectral_icl.sweeps.batches import Tally, tally
from spectral_icl.sweeps.engines import Engine, EngineError, Job, Lost, Scheduler, Workers, in_process
from spectral_icl.sweeps.plan import Plan
from spectral_icl.sweeps.points import INVALID
from spectral_icl.sweeps.store import PENDING, Store, needs

logger = logging.getLogger(__name__)

_MOST_WORKERS = 4096


@dataclass(frozen=True)
class Report:
    """What became of a run.

    Attributes
    ----------
    path : Path
        The store.
    plan : Plan
    points : int
        Points of this run: all of the plan, or those of its shard.
    done : Tally
        Those of them that are in the store, whether this run solved them or an earlier one.
    lost : tuple of Lost
        Batches that could not be run.
    stopped : str, or None
        Why the run ended early, in one line.
    interrupted : bool
        Whether it was the user who ended it.
    """

    path: Path
    plan: Plan
    points: int
    done: Tally
    lost: tuple[Lost, ...] = ()
    stopped: str | None = None
    interrupted: bool = False

    @property
    def status(self) -> int:
        """Exit status: 0 if every point is solved, 130 if interrupted, else 1."""
        if self.interrupted:
            return 130
        return int(self.stopped is not None or self.done.points < self.points or self.done.failed > 0)

    @property
    def complaint(self) -> str | None:
        """One line about points that are still to do, or None if there are none."""
        if self.stopped is None and not self.lost:
            return None
        reason = self.stopped or "; ".join(f"batch {entry.batch}: {entry.reason}" for entry in self.lost)
        return (
            f"{reason}. {self.done.points} of {self.points} points are safe in {self.path}: "
            "run the same command to continue"
        )


def choose(
    path: Path, workers: int | None = None, shard: str | None = None, scheduler: str | None = None
) -> tuple[Engine, tuple[int, int]]:
    """The engine and the shard that options of the command line ask for: one of them at most."""
    given = {"--workers": workers, "--shard": shard, "--scheduler": scheduler}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise ProblemError(named[1], given[named[1]], f"nothing beside {named[0]}")
    if workers is not None:
        workers = integer("--workers", workers, minimum=1, maximum=_MOST_WORKERS)
        needs("distributed", path, "--out")
        return Workers(workers), (0, 1)
    if scheduler is not None:
        needs("distributed", path, "--out")
        return Scheduler(scheduler), (0, 1)
    return in_process, (0, 1) if shard is None else _shard(shard)


def _shard(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if not found or int(found[1]) >= int(found[2]):
        raise ProblemError("--shard", text, "i/n with 0 <= i < n")
    return int(found[1]), int(found[2])


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
    """
    store = Store.attach(path, plan)
    if different := store.differences():
        logger.warning("this is not what made %s: %s", path, different)
    store.remove_partial_files()
    batches = range(shard[0], plan.batches, shard[1])
    points = sum(stop - start for start, stop in map(store.bounds, batches))
    done, lost, stopped = Tally(), [], None
    with _interrupts() as interrupt:
        try:
            jobs, done = _left(store, batches, retry_failed, interrupt.is_set)
            with (
                Progress(points, done.points) as progress,
                closing((engine if jobs else in_process)(store, jobs, interrupt.is_set)) as results,
            ):
                for result in results:
                    if isinstance(result, Lost):
                        logger.warning("batch %d is left out: %s", result.batch, result.reason)
                        lost.append(result)
                        continue
                    done += result
                    progress.update(result.points, _note(done, plan.kind.headline))
        except OSError as error:
            stopped = f"{error.filename or path}: {error.strerror or error}"
        except EngineError as error:
            stopped = str(error)
        except KeyboardInterrupt:  # the second one
            interrupt.set()
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
    jobs, done, damaged = [], Tally(), []
    for batch in batches:
        if stopped():
            break
        if store.is_pending(batch):
            jobs.append(Job(batch))
        elif store.is_damaged(batch):
            damaged.append(batch)
            jobs.append(Job(batch))
        else:
            found = tally(store, batch)
            if PENDING in found.failures:
                jobs.append(Job(batch))
            elif retry_failed and found.failed:
                jobs.append(Job(batch, retry=True))
            else:
                done += found
    if damaged:
        logger.warning("chunks are damaged: solving batches %s again", ", ".join(map(str, damaged)))
    return jobs, done


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C sets; the second one is a `KeyboardInterrupt`."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # where signals cannot be handled
        yield asked
        return

    def handle(*_: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        logger.info("interrupted: finishing what has begun (once more to stop at once)")

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


def _note(done: Tally, headline: str) -> str:
    extent = "" if done.extent is None else f", {headline} {done.extent[0]:.4g} to {done.extent[1]:.4g}"
    saturated = "" if done.saturated is None else f", {done.saturated.number} saturated"
    return f"{done.failed} failed{saturated}{extent}"


def as_json(report: Report) -> dict[str, Any]:
    """The report as a JSON object."""
    done, plan = report.done, report.plan
    return {
        "path": str(report.path),
        "points": report.points,
        "solved": done.points - done.failed,
        "failed": {
            _name(plan, status): {"points": number, "first": first, "advice": _advice(plan, status, first)}
            for status, (number, first) in sorted(done.failures.items())
        },
        "pending": report.points - done.points,
        "saturated": None if done.saturated is None else done.saturated._asdict(),
        plan.kind.headline: None if done.extent is None else list(done.extent),
        "lost_batches": [entry.batch for entry in report.lost],
        "stopped": report.stopped,
    }


def as_text(report: Report, title: str) -> str:
    """The report in lines for people."""
    table = as_json(report)
    lines = [f"{title}: {report.points} points", f"  solved    {table['solved']}"]
    if report.done.extent is not None:
        low, high = report.done.extent
        lines[-1] += f", {report.plan.kind.headline} {low:.7g} to {high:.7g}"
    for name, entry in table["failed"].items():
        lines.append(f"  {name:9} {entry['points']}, the first is point {entry['first']}: {entry['advice']}")
    limit = report.plan.kind.limit
    if report.done.saturated is not None and limit is not None:
        number, first = report.done.saturated
        lines.append(f"  saturated {number} of the solved, the first is point {first}: {limit.reason}")
    if table["pending"]:
        lines.append(f"  pending   {table['pending']}")
    return "\n".join([*lines, f"wrote {report.path}"])


def _name(plan: Plan, status: int) -> str:
    return "invalid" if status == INVALID else plan.kind.outcome(status)[0]


def _advice(plan: Plan, status: int, point: int) -> str:
    if status != INVALID:
        return plan.kind.outcome(status)[1]
    try:
        plan.experiment(point)
    except ProblemError as error:
        return str(error)
    return "was invalid when it was solved; --retry-failed solves it"
