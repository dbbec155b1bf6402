"""Many cases in processes of their own, so that a crash is a finding; a table of what was found.

``python -m tests.fuzz.campaign commands --cases 100000`` from the root of the repository; ``--replay NUMBER``
shows one case and what is wrong with it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, NamedTuple

from tests.fuzz import commands, problems
from tests.fuzz.commands import Finding
from tests.support.random_problems import random_flow

_MEMORY = 2 * 2**30
_PART = 500  # cases of one process, which grows with them
_PATIENCE = 180.0  # seconds that a case may take by the clock, after which its process is killed
_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["tests.fuzz.commands", "tests.fuzz.problems"])


class Kind(NamedTuple):
    """What is tried.

    Attributes
    ----------
    drawn : callable
        The case of a number and a root seed.
    judge : callable
        What is wrong with a case.
    """

    drawn: Callable[[int, int], Any]
    judge: Callable[[Any], list[Finding]]


KINDS = {
    "commands": Kind(commands.drawn, commands.judge),
    "problems": Kind(random_flow, problems.judge),
}


@dataclass
class Table:
    """Findings by their kind: how many, the first of them, and the numbers of their cases."""

    echo: bool = True  # whether the first of a kind is printed when it comes
    cases: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, list[int]] = field(default_factory=dict)

    def add(self, number: int, found: list[Finding]) -> None:
        """Count a case."""
        self.cases += 1
        for kind, detail in set(found):
            if kind not in self.counts and self.echo:
                print(f"case {number}: {kind}: {' '.join(detail.split())[:300]}", flush=True)
            self.counts[kind] = self.counts.get(kind, 0) + 1
            self.first.setdefault(kind, detail)
            self.numbers.setdefault(kind, []).append(number)

    def __str__(self) -> str:
        lines = [f"{self.cases} cases, {sum(self.counts.values())} findings of {len(self.counts)} kinds"]
        for kind, count in sorted(self.counts.items(), key=lambda item: -item[1]):
            lines.append(f"{count:7}  {kind}   (cases {', '.join(map(str, self.numbers[kind][:4]))})")
            lines.append(f"         {' '.join(self.first[kind].split())[:200]}")
        return "\n".join(lines)


class _Worker:
    """A process that judges cases one after another and tells what it found.

    Attributes
    ----------
    next, stop : int
        The case it is at, and the first that is not its own.
    dead : bool
        Whether it has crashed, or hangs for so long that it is to be killed.
    """

    def __init__(self, kind: str, root: int, first: int, stop: int) -> None:
        self.next, self.stop, self.dead = first, stop, False
        self.pipe, theirs = _CONTEXT.Pipe(duplex=False)
        self._process = _CONTEXT.Process(target=_work, args=(theirs, kind, root, first, stop), daemon=True)
        self._process.start()
        theirs.close()
        self._heard = time.monotonic()

    def told(self) -> list[Finding]:
        """What it found, or that it found its end."""
        self._heard = time.monotonic()
        try:
            found: list[Finding] = self.pipe.recv()
        except EOFError:
            self._process.join()
            self.dead = True
            return [Finding(f"a crash, {self._process.exitcode}", "")]
        return found

    def waited(self) -> list[Finding] | None:
        """That it hangs, waiting or in compiled code, where no alarm is heard; None if it may yet answer."""
        self.dead = time.monotonic() - self._heard > _PATIENCE
        return [Finding("a hang", "")] if self.dead else None

    def end(self) -> None:
        """Kill the process, if it still runs."""
        self._process.kill()
        self._process.join()
        self.pipe.close()


def campaign(kind: str, numbers: range, root: int = 0, workers: int = 2, table: Table | None = None) -> Table:
    """Findings among the cases of some numbers, in so many processes at a time; added to ``table``."""
    table = Table() if table is None else table
    parts = ((n, min(n + _PART, numbers.stop)) for n in numbers[::_PART])
    at_work: list[_Worker] = []
    began = told = time.monotonic()
    while True:
        while len(at_work) < workers and (part := next(parts, None)):
            at_work.append(_Worker(kind, root, *part))
        if not at_work:
            return table
        ready = wait([worker.pipe for worker in at_work], timeout=1.0)
        for worker in list(at_work):
            found = worker.told() if worker.pipe in ready else worker.waited()
            if found is None:
                continue
            table.add(worker.next, found)
            worker.next += 1
            if worker.dead or worker.next == worker.stop:
                worker.end()
                at_work.remove(worker)
                if worker.next < worker.stop:
                    at_work.append(_Worker(kind, root, worker.next, worker.stop))
        if sys.stderr.isatty() and time.monotonic() - told > 1.0:
            told = time.monotonic()
            rate = table.cases / (told - began)
            print(
                f"\r{table.cases}/{len(numbers)}, {rate:.0f}/s, {len(table.counts)} kinds ",
                end="",
                file=sys.stderr,
            )


def _work(pipe: Connection, name: str, root: int, first: int, stop: int) -> None:
    """Judge cases and send what was found of each."""
    kind = KINDS[name]
    _limit_memory()
    with suppress(BrokenPipeError):  # the campaign was interrupted
        for number in range(first, stop):
            pipe.send(kind.judge(kind.drawn(number, root)))


def _limit_memory() -> None:
    """Allow as much as there is by now and `_MEMORY` more, where the system tells how much there is."""
    if sys.platform != "linux":
        return
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _MEMORY, used + _MEMORY))


def _replayed(name: str, number: int, root: int) -> Iterator[str]:
    """A case, and what is wrong with it."""
    kind = KINDS[name]
    case = kind.drawn(number, root)
    for key, value in case._asdict().items():
        yield f"{key}: {value!r}"
    for finding in kind.judge(case):
        yield f"{finding.kind}: {finding.detail}"


def main() -> None:
    """Entry point; fails if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--replay", type=int, metavar="NUMBER")
    given = parser.parse_args()
    for name, least in (("cases", 1), ("workers", 1), ("start", 0), ("replay", 0)):
        value = getattr(given, name)
        if value is not None and value < least:
            parser.error(f"--{name}: expected a whole number >= {least}, got {value}")
    if given.replay is not None:
        print("\n".join(_replayed(given.kind, given.replay, given.seed)))
        return
    table = Table()
    numbers = range(given.start, given.start + given.cases)
    with suppress(KeyboardInterrupt):  # which shows what has been found by then
        campaign(given.kind, numbers, given.seed, given.workers, table)
    print(table)
    sys.exit(bool(table.counts))


if __name__ == "__main__":
    main()
