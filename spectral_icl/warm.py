"""Compile everything beforehand: all entries of `spectral_icl.kernels`, for all types that they are given.

No types are listed here. Pieces of work call what users call, on a small problem, and numba keeps what it
compiles for that. Pieces are independent, and numba compiles one function at a time in a process, so each is
done by one of several processes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing import active_children, get_context, parent_process
from pathlib import Path
from threading import Thread
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from spectral_icl.io.checks import ProblemError, integer
from spectral_icl.io.interrupts import interrupts_blocked
from spectral_icl.io.provenance import cpu
from spectral_icl.kernels.compile import DIGEST, entries, save_under
from spectral_icl.kernels.kept import failures
from spectral_icl.kernels.threads import available_cores
from spectral_icl.multitask.context import LAWS, OF_LARGE, check_kernel
from spectral_icl.multitask.flow.ensemble import gradient_flow_ensemble
from spectral_icl.multitask.flow.solve import gradient_flow
from spectral_icl.multitask.flow.stochastic import stochastic_flow
from spectral_icl.multitask.initial import paper, random
from spectral_icl.multitask.loss import gradient_at, hessian_at, hessian_product, loss
from spectral_icl.multitask.parametrization import Balanced, Merged, to_primal_state
from spectral_icl.multitask.problem import Problem
from spectral_icl.multitask.state import State
from spectral_icl.sparse.predictors import p2o

_log = logging.getLogger("spectral_icl")

_MOST_WORKERS = 4096
_SOON = 0.1  # flow times: any flow compiles all of the integrators


class Work(NamedTuple):
    """Calls that compile some of the entries, and whom they are for."""

    call: Callable[..., object]  # with the name of a law, or with nothing
    purpose: str


@dataclass(frozen=True)
class Piece:
    """Work that is done in one go.

    Attributes
    ----------
    work : str
        A key of `PER_LAW` or `ONCE`.
    kernel : str or None
        Name of the law of the context, if it is work for a law.
    """

    work: str
    kernel: str | None = None

    @property
    def purpose(self) -> str:
        """Who needs what it compiles."""
        return (ONCE if self.kernel is None else PER_LAW)[self.work].purpose

    def __call__(self) -> None:
        """Do it."""
        if self.kernel is None:
            ONCE[self.work].call()
        else:
            PER_LAW[self.work].call(self.kernel)


@dataclass(frozen=True)
class Done:
    """A piece that has been done.

    Attributes
    ----------
    piece : Piece
    compiled : tuple of str
        Names of the functions that the cache did not have.
    seconds : float
    """

    piece: Piece
    compiled: tuple[str, ...]
    seconds: float

    def to_text(self) -> str:
        """One line: what was compiled, in how many seconds, and what for."""
        law = "" if self.piece.kernel is None else f", {self.piece.kernel} law"
        return f"{self.piece.work}{law}: {self._compiled}, for {self.piece.purpose}"

    @property
    def _compiled(self) -> str:
        if not self.compiled:
            return "there already"
        return f"{_functions(len(self.compiled))} in {self.seconds:.1f} s"

    def to_dict(self) -> dict[str, object]:
        """The piece with the names of its functions."""
        return {
            "work": self.piece.work,
            "kernel": self.piece.kernel,
            "for": self.piece.purpose,
            "compiled": list(self.compiled),
            "seconds": self.seconds,
        }


@dataclass(frozen=True)
class WarmReport:
    """The cache after all pieces have been done, which have a line each of their own.

    Attributes
    ----------
    done : tuple of Done
    seconds : float
        From the first to the last of them.
    cache : Path
        Where compiled code is kept.
    size : int
        Bytes of the code there that this version of the kernels uses.
    processor : str
    """

    done: tuple[Done, ...]
    seconds: float
    cache: Path
    size: int
    processor: str

    def to_text(self) -> str:
        """How much was compiled, and where it is."""
        count = sum(len(one.compiled) for one in self.done)
        compiled = f"{_functions(count)} compiled in {self.seconds:.1f} s" if count else "nothing to compile"
        kept = f"{self.size / 1e6:.1f} MB, for processors like {self.processor}"
        return f"{compiled}\ncache {self.cache}: {kept}"

    def to_dict(self) -> dict[str, object]:
        """Everything, with a table for every piece."""
        return {
            "pieces": [one.to_dict() for one in self.done],
            "seconds": self.seconds,
            "cache": str(self.cache),
            "bytes": self.size,
            "processor": self.processor,
        }


def plan(kernels: Sequence[str] = ()) -> list[Piece]:
    """The pieces of work for some laws of the context, all by default; those that take longest come first.

    Raises
    ------
    ProblemError
        There is no such law.
    """
    laws = list(dict.fromkeys(check_kernel(kernel) for kernel in kernels)) or list(LAWS)
    return [*(Piece(work, kernel) for work in PER_LAW for kernel in laws), *(Piece(work) for work in ONCE)]


def warm(pieces: Sequence[Piece], workers: int | None = None) -> Iterator[Done]:
    """Pieces as they are done, by so many processes; as many as there are cores by default.

    Raises
    ------
    ProblemError
        The number of processes is none, or the folder of the cache cannot be written.
    BrokenProcessPool
        A process was killed, such as by a system that is out of memory.
    """
    count = available_cores() if workers is None else workers
    count = integer("workers", count, minimum=1, maximum=_MOST_WORKERS)
    where_kept()
    count = min(count, len(pieces))
    _log.info(
        "%d pieces of work in %s; where nothing is compiled yet the longest take half a minute ...",
        len(pieces),
        "1 process" if count == 1 else f"{count} processes",
    )
    return _in_processes(pieces, count)


def where_kept() -> Path:
    """The folder of the cache, which was chosen when the package was imported.

    Raises
    ------
    ProblemError
        There is none, or it is not the one that was asked for, which could not be written.
    """
    cache = entries[0].stats.cache_path
    asked = os.environ.get("NUMBA_CACHE_DIR")
    if cache is None or (asked and Path(os.path.realpath(asked)) not in Path(cache).parents):
        raise ProblemError("NUMBA_CACHE_DIR", asked, "a folder that can be written")
    return Path(cache)


def report(done: Sequence[Done], seconds: float) -> WarmReport:
    """What was done, with the place and the size of the cache now."""
    cache = where_kept()
    size = sum(path.stat().st_size for path in cache.glob(f"*{DIGEST[:16]}*.nb[ci]"))
    return WarmReport(tuple(done), seconds, cache, size, cpu())


def do(piece: Piece) -> Done:
    """Do a piece in this process.

    Raises
    ------
    OSError
        What it compiled could not be kept.
    """
    before, began = _misses(), perf_counter()
    piece()
    if failures:
        raise failures[0]
    seconds, after = perf_counter() - began, _misses()
    names = (made.__name__ for made, old, new in zip(entries, before, after, strict=True) if new > old)
    return Done(piece, tuple(name.lstrip("_") for name in names), seconds)


def _misses() -> list[int]:
    """How often each entry was compiled by this process."""
    return [sum(made.stats.cache_misses.values()) for made in entries]


def _in_processes(pieces: Sequence[Piece], workers: int) -> Iterator[Done]:
    context = get_context("spawn")
    others = set(active_children())
    with ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(context.Lock(),)) as pool:
        try:
            with interrupts_blocked():
                futures = [pool.submit(do, piece) for piece in pieces]
            for future in as_completed(futures):
                yield future.result()
        except BaseException:  # an interrupt above all: a function compiles for many seconds
            for worker in set(active_children()) - others:
                worker.kill()  # the only signal that it does not block
            raise


def _begin(lock: AbstractContextManager[Any]) -> None:
    """Prepare a worker, which saves under the lock and ends with the process that started it."""
    save_under(lock)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _functions(count: int) -> str:
    return "1 function" if count == 1 else f"{count} functions"


# The calls


def _example() -> tuple[Problem, State]:
    problem = Problem.multitask(task_sizes=(2, 2), signal=1.0, noise=0.1, context_length=100)
    return problem, paper(problem, 2, 0.1, 0.1, 0.2)


def _ensembles(kernel: str) -> object:
    problem, start = _example()
    to_primal_state(Balanced().chart(problem, start), start)  # as the forecasts of sweeps do
    times = [0.0, _SOON]
    return gradient_flow_ensemble(
        problem,
        *start,
        parametrization=[Balanced(), Merged()],
        t_end=_SOON,
        t_eval=times,
        kernel=kernel,
        threads=1,
    )


def _flows(kernel: str) -> object:
    problem, start = _example()
    solution = gradient_flow(problem, *start, t_end=_SOON, kernel=kernel)
    return solution.loss, solution.phases, solution.forecast, solution.saturation


def _large(kernel: str) -> object:
    """Flows by products with the Hessian, kept whole and in outline; of laws that have them."""
    if kernel not in OF_LARGE:
        return None
    problem = Problem.multitask(task_sizes=[2] * 300, signal=1.0, noise=0.1, context_length=100)
    start = random(problem, 2)
    whole = gradient_flow(problem, *start, t_end=_SOON, kernel=kernel)
    outline = gradient_flow(problem, *start, t_end=_SOON, kernel=kernel, dense_output=False)
    seen = [(flow.loss, flow.phases) for flow in (whole, outline)]
    return seen, gradient_at(problem, start, kernel), hessian_product(problem, *start, *start, kernel=kernel)


def _paths(kernel: str) -> object:
    problem, start = _example()
    found = stochastic_flow(
        problem, *start, step=0.1 * _SOON, batch=100, t_end=_SOON, kernel=kernel, paths=2, prompts=100
    )
    return found.loss


def _losses(kernel: str) -> object:
    problem, start = _example()
    return (
        loss(problem, *start, kernel),
        gradient_at(problem, start, kernel),
        hessian_at(problem, start, kernel),
    )


def _descents() -> None:
    for shape in ((1, 3, 2), (1, 2, 3)):  # more pairs than features, and more features
        X, y = np.ones(shape), np.ones(shape[:2])
        p2o(X, y, eta=0.01, t=1)
        for values in (X, y):
            values.setflags(write=False)  # of prompts, which are not copied, this is another type
        p2o(X, y, eta=0.01, t=1)


PER_LAW = {
    "large": Work(_large, "gradient_flow, ensembles and sweeps of many heads or tasks"),
    "ensembles": Work(_ensembles, "sweeps and gradient_flow_ensemble"),
    "flows": Work(_flows, "flow, verify and gradient_flow"),
    "paths": Work(_paths, "stochastic_flow and flow with a step and a batch"),
    "losses": Work(_losses, "optimal, verify, loss and its derivatives"),
}
ONCE = {"descents": Work(_descents, "p2o and gd of sparse regression, in steps")}
