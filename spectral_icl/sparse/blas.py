"""Keep the BLAS from starting threads of its own."""

from __future__ import annotations

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
