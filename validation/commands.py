"""Checks that are run one after the other or side by side, each in the same way."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from typing import NamedTuple, TypeVar

import torch

from validation import BY_NAME, MODULES, NAMES, TOGETHER
from validation.context import Context
from validation.device import pin_precision
from validation.result import Result

Job = TypeVar("Job")
Done = TypeVar("Done")


class Finished(NamedTuple):
    """A check's result, and the seconds that it took."""

    result: Result
    seconds: float


def checked(name: str, context: Context) -> Finished:
    """One check, run in a context."""
    began = time.perf_counter()
    result: Result = import_module(MODULES[name]).run(context)
    return Finished(result, time.perf_counter() - began)


def all_checked(names: Iterable[str], context: Context, jobs: int = 1) -> Iterator[Finished]:
    """Checks in the order of their names, each as soon as it is done; in so many processes."""
    chosen = set(names)
    wanted = [name for name in (*NAMES, *BY_NAME) if name in chosen]
    if jobs == 1:
        for name in wanted:
            yield checked(name, context)
        return
    groups = [tuple(name for name in wanted if name in TOGETHER)]
    groups += [(name,) for name in wanted if name not in TOGETHER]
    found = in_processes(_group, [(group, context) for group in groups if group], jobs)
    finished = {one.result.name: one for group in found for one in group}
    for name in wanted:
        yield finished[name]


def in_processes(work: Callable[[Job], Done], items: list[Job], jobs: int) -> Iterator[Done]:
    """What ``work`` makes of every item, in their order, in so many processes that share the cores."""
    if jobs == 1:
        for item in items:
            yield work(item)
        return
    threads = max(1, (os.cpu_count() or 1) // jobs)
    # started afresh: a copy of this process would have PyTorch's threads in an unknown state
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=fresh, initializer=_begin, initargs=(threads,)) as pool:
        try:
            yield from pool.map(work, items)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _group(job: tuple[tuple[str, ...], Context]) -> list[Finished]:
    names, context = job
    return [checked(name, context) for name in names]


def _begin(threads: int) -> None:
    torch.set_num_threads(threads)
    pin_precision()
