"""Who runs the batches of a sweep: this process, or the workers of a dask cluster."""

# parts of distributed are not annotated
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import asyncio
import os
import socket
from asyncio import CancelledError
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from logging import CRITICAL, getLogger
from tempfile import TemporaryDirectory
from traceback import clear_frames
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar
from warnings import catch_warnings

from spectral_icl.io.checks import ProblemError, integer
from spectral_icl.io.interrupts import interrupts_blocked
from spectral_icl.kernels.threads import available_cores

if TYPE_CHECKING:
    from distributed import Client, Worker

logger = getLogger(__name__)

WINDOW = 4  # batches that are with the scheduler, per thread of its workers: a queue that hides its delays
_MOST_WORKERS = 4096
_PATIENCE = 10  # seconds to wait for a scheduler, the first time and when the connection breaks
_THREADS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_ENCRYPTED = ("tls", "wss")
_SERVING = ("scheduler", "worker")
_MOST_SAID = 200  # characters of an exception of dask
_GONE = "the scheduler is gone"


class Job(NamedTuple):
    """A batch to solve, or with ``retry`` its failed points."""

    batch: int
    retry: bool = False


@dataclass(frozen=True)
class Lost:
    """A batch that could not be run, and why."""

    batch: int
    reason: str


class EngineError(Exception):
    """The engine cannot go on; batches that are written stay so."""


Result = TypeVar("Result")
Made = TypeVar("Made", covariant=True)
Stopped = Callable[[], bool]
Results = Generator[Result | Lost]


class Task(Protocol[Made]):
    """The work of every job, which can be sent to other processes."""

    def __call__(self, job: Job, /, threads: int = 1) -> Made:
        """Do a job and return its result."""

    def differences(self) -> str:
        """Traits of this process that may lead to other bits than elsewhere, in words; or ""."""


class Runner(Protocol):
    """Runs a task for jobs in any order until there are none left or ``stopped()``."""

    def __call__(self, task: Task[Result], jobs: Sequence[Job], stopped: Stopped, /) -> Results[Result]:
        """Yield the result of each job, or its loss, as jobs are done."""


class Engine(Protocol):
    """Starts what runs batches, and stops it at the end of the block."""

    def __call__(self, jobs: int, /) -> AbstractContextManager[Runner]:
        """Start it for at most so many jobs.

        Raises
        ------
        EngineError
            It does not start; nothing has been done.
        """


@contextmanager
def in_process(jobs: int) -> Iterator[Runner]:
    """Nothing to start: batches are solved in this process, one after another, each on all cores."""
    yield _in_turn


def _in_turn(task: Task[Result], jobs: Sequence[Job], stopped: Stopped) -> Results[Result]:
    for job in jobs:
        if stopped():
            return
        yield task(job, threads=available_cores())


@dataclass(frozen=True)
class Workers:
    """Processes of this machine, each with one thread; nobody else's can talk to them."""

    count: int

    def __post_init__(self) -> None:
        integer("workers", self.count, minimum=1, maximum=_MOST_WORKERS)

    @contextmanager
    def __call__(self, jobs: int, /) -> Iterator[Runner]:
        """Start the processes, and stop them at the end."""
        with ExitStack() as opened:
            with _in_words("the workers do not start"):
                import dask
                from distributed import Client, LocalCluster

                opened.enter_context(_quiet())
                opened.enter_context(_environment_kept())
                dask.config.collect()  # as every worker does, whose tracebacks nobody could put into words
                # not the folder that dask shares in the temporary one of the machine
                folder = opened.enter_context(TemporaryDirectory(prefix="spectral-icl-"))
                opened.enter_context(
                    dask.config.set({f"distributed.{who}.http.routes": [] for who in _SERVING})
                )
                with interrupts_blocked():
                    cluster = LocalCluster(
                        n_workers=min(self.count, max(1, jobs)),
                        threads_per_worker=1,
                        processes=True,
                        security=True,  # other users can reach the ports: TLS, its credentials in memory
                        local_directory=folder,
                        dashboard_address="127.0.0.1:0",  # None would take 8787, and complain if it is taken
                        scheduler_kwargs={"dashboard": False},
                        silence_logs=CRITICAL,
                        env=dict.fromkeys(_THREADS, "1"),
                    )
                opened.enter_context(cluster)
                client = opened.enter_context(Client(cluster, set_as_default=False))
            yield partial(_submit, client)


@dataclass(frozen=True)
class Scheduler:
    """The workers of a dask.distributed scheduler that somebody has started; they must see the store."""

    address: str

    def __post_init__(self) -> None:
        from distributed import Security
        from distributed.comm.addressing import get_address_host_port, parse_address

        try:
            get_address_host_port(self.address)
            scheme, _ = parse_address(self.address)
            security = Security()
            secret = security.get_connection_args("client").get("ssl_context")
        except OSError as error:
            expected = f"an address, and TLS credentials in dask's configuration that can be read ({error})"
            raise ProblemError("scheduler", self.address, expected) from None
        except Exception as error:  # of a scheme, or of the configuration: dask has no class of its own
            raise ProblemError("scheduler", self.address, f"an address ({error})") from None
        if scheme in _ENCRYPTED and secret is None:
            expected = "TLS credentials in dask's configuration (distributed.comm.tls) for such an address"
            raise ProblemError("scheduler", self.address, expected)
        if scheme not in _ENCRYPTED and security.require_encryption:
            expected = (
                "a tls:// address, as dask's configuration requires (distributed.comm.require-encryption)"
            )
            raise ProblemError("scheduler", self.address, expected)

    @contextmanager
    def __call__(self, jobs: int, /) -> Iterator[Runner]:
        """Connect to the scheduler, which is left running."""
        from distributed import Client

        with ExitStack() as opened:
            opened.enter_context(_quiet())
            try:
                with _in_words(f"the scheduler at {self.address} cannot be used"):
                    with ThreadPoolExecutor(1) as other:  # where no event loop runs
                        other.submit(asyncio.run, _greet(self.address)).result()
                    client = Client(self.address, timeout=_PATIENCE, set_as_default=False)
            except OSError:
                raise EngineError(f"no scheduler answers at {self.address}") from None
            opened.enter_context(client)
            with _scheduler_needed(client):
                client.run(available_cores)  # which only workers that have this package can look for
            yield partial(self._run, client)

    @staticmethod
    def _run(client: Client, task: Task[Result], jobs: Sequence[Job], stopped: Stopped, /) -> Results[Result]:
        with _scheduler_needed(client):
            _inspect(client, task)
        yield from _submit(client, task, jobs, stopped)


async def _greet(address: str) -> None:
    """Raise unless a scheduler answers in time: a client waits for ever for what is none."""
    from distributed import Security
    from distributed.comm import connect

    secret = Security().get_connection_args("client")
    comm = await asyncio.wait_for(connect(address, timeout=_PATIENCE, **secret), _PATIENCE)
    await comm.close()


def _submit(client: Client, task: Task[Result], jobs: Sequence[Job], stopped: Stopped) -> Results[Result]:
    """Hand out jobs, never more of them than keep the workers of the scheduler busy."""
    from distributed import KilledWorker, as_completed

    left = iter(jobs)
    given: dict[object, Job] = {}  # by the key of its future: those that the scheduler has
    queue = as_completed(loop=client.loop)
    finishing = False
    while True:
        with _scheduler_needed(client):
            if stopped() and not finishing:
                finishing, left = True, iter(())
                started = _started(client)
                waiting = [future for future in queue.futures if future.key not in started]
                for future in waiting:
                    given.pop(future.key, None)
                client.cancel(waiting)
            room = 0 if finishing else WINDOW * max(1, sum(client.nthreads().values())) - len(given)
            for job in islice(left, max(0, room)):
                future = client.submit(_there, task, job, pure=False)
                given[future.key] = job
                queue.add(future)
        if not given:
            return
        future = next(queue)
        if future.key not in given:
            continue  # taken back above
        job = given.pop(future.key)
        with _scheduler_needed(client):
            if future.cancelled():
                raise EngineError(_GONE)
            error = future.exception()  # of the worker, while one that is raised here is of the connection
            found = future.result() if error is None else None
        if found is not None:
            yield found
        elif isinstance(error, KilledWorker):
            yield Lost(job.batch, f"{error.allowed_failures + 1} workers ended while they ran it")
        elif isinstance(error, (EngineError, OSError)):
            raise error
        elif error is not None:
            raise EngineError(f"batch {job.batch} failed in a worker ({_line(error)})")


def _there(task: Task[Result], job: Job) -> Result:
    """What became of a job in a worker."""
    with _told_in_words():
        return task(job)


def _inspect(client: Client, task: Task[Result]) -> None:
    """Tell what workers there are, and which of them may not compute the same bits as others."""
    found = client.run(_differences, task)
    logger.info("the scheduler has %d workers", len(found))
    for worker, different in found.items():
        if different:
            logger.warning("the worker %s is not like what made the store: %s", worker, different)


def _differences(task: Task[Result]) -> str:
    with _told_in_words():
        return task.differences()


@contextmanager
def _told_in_words() -> Iterator[None]:
    """Turn bad input in a worker, such as a store that it does not see, into an exception that names it."""
    try:
        yield
    except ProblemError as error:
        raise EngineError(f"the worker on {socket.gethostname()} cannot use the store: {error}") from None


def _started(client: Client) -> set[str]:
    """Keys of what workers are running now: what waits behind can still be taken back."""

    def executing(dask_worker: Worker) -> list[str]:
        return [str(running.key) for running in dask_worker.state.executing]

    return {key for keys in client.run(executing).values() for key in keys}


@contextmanager
def _scheduler_needed(client: Client) -> Iterator[None]:
    """Put the errors of a connection that breaks into words."""
    try:
        yield
    except EngineError:
        raise
    except (Exception, CancelledError) as error:
        if client.status == "running" and not isinstance(error, (OSError, CancelledError)):
            raise EngineError(f"the workers cannot be used ({_line(error)})") from None
        raise EngineError(_GONE) from None


def _line(error: BaseException) -> str:
    """The type of an exception, or of what caused it, and the beginning of what that says."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())[:_MOST_SAID]


@contextmanager
def _in_words(problem: str) -> Iterator[None]:
    """Put what dask raises, which may be anything, into words; errors of files and connections are left."""
    try:
        yield
    except (EngineError, OSError):
        raise
    except Exception as error:
        clear_frames(error.__traceback__)  # of what would complain when it is thrown away, later
        raise EngineError(f"{problem} ({_line(error)})") from None


@contextmanager
def _environment_kept() -> Iterator[None]:
    """Undo what is done to the environment, as by dask for the processes that it starts."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        os.environ.update(before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep distributed's log and warnings off the terminal: what matters in it is reported in our words."""
    import distributed  # noqa: F401  (it sets up its log when it is imported)

    handlers = {
        handler for name in ("distributed", "distributed.client") for handler in getLogger(name).handlers
    }
    levels = {handler: handler.level for handler in handlers}
    for handler in handlers:
        handler.setLevel(CRITICAL)
    try:
        with catch_warnings(action="ignore"):
            yield
    finally:
        for handler, level in levels.items():
            handler.setLevel(level)
