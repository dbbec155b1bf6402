"""How many threads there may be: processors of this process, and one for the BLAS."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from functools import cache
from typing import Any


def one_thread() -> AbstractContextManager[Any]:
    """A block in which the BLAS has one thread.

    On many small matrices its threads wait for each other, and the last bits of results depend on how many
    they are.
    """
    found: AbstractContextManager[Any] = _controller().limit(limits=1, user_api="blas")
    return found


@cache
def _controller() -> Any:
    from threadpoolctl import ThreadpoolController  # looks through all libraries that are loaded

    return ThreadpoolController()


def available_cores() -> int:
    """Processors that this process may use: a job of a cluster has fewer than its machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
