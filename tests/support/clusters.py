"""Dask schedulers and their workers, each a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

_SCHEDULER = """
import asyncio
from distributed import Scheduler

async def main():
    async with Scheduler(host="127.0.0.1", port=0, dashboard=False, dashboard_address=":0") as scheduler:
        print(scheduler.address, flush=True)
        await scheduler.finished()

asyncio.run(main())
"""

_WORKER = """
import asyncio, sys
from distributed import Worker

async def main():
    async with Worker(sys.argv[1], nthreads=1, dashboard=False, death_timeout=1) as worker:
        await worker.finished()

asyncio.run(main())
"""


@contextmanager
def cluster(environment: Mapping[str, str], workers: int = 2) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler that somebody runs, and its address."""

    def start(*args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", *args],
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    boss = start(_SCHEDULER)
    assert boss.stdout is not None
    address = boss.stdout.readline().strip()
    everybody = [boss, *(start(_WORKER, address) for _ in range(workers))]
    try:
        yield boss, address
    finally:
        for process in everybody:
            process.kill()
            process.communicate()
