"""The checks, each of which needs nothing of the others: what is broken must not hide what else is."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter

from spectral_icl.doctor.facts import requirements
from spectral_icl.io.checks import cut
from spectral_icl.io.provenance import installed

_ENOUGH = 50e6  # bytes: all compiled code with tables for a dozen lengths
_SLOW = 20.0  # seconds; half a second is usual
_LONGEST = 300  # letters of what went wrong
_THREADS = re.compile(r"[1-9]\d{0,3}(,[1-9]\d{0,3})*")  # OpenMP has a number for each level of nesting


@dataclass(frozen=True)
class Check:
    """What was looked at, and how it is.

    Attributes
    ----------
    name : str
    passed : bool
    found : str
        In words: of what passed how it is, of what failed what is wrong.
    """

    name: str
    passed: bool
    found: str

    def to_text(self) -> str:
        """One line."""
        return f"{'ok    ' if self.passed else 'FAILED'}  {self.name}: {self.found}"


class _Wrong(Exception):
    """A check that fails, with what is wrong."""


def examined() -> Iterator[Check]:
    """All checks, one after another."""
    for name, look in CHECKS.items():
        try:
            yield Check(name, True, look())
        except Exception as error:  # whatever a broken installation raises
            kind = "" if isinstance(error, (_Wrong, ValueError)) else f"{type(error).__name__}: "
            yield Check(name, False, cut(" ".join(f"{kind}{error}".split()), _LONGEST))


def _packages() -> str:
    wrong, count = [], 0
    for package, least, extra in requirements():
        found = installed(package)
        if found is None and extra is None:
            wrong.append(f"{package} is not installed")
        elif found is not None and _numbers(found) < _numbers(least):
            wrong.append(f"{package} {found} is older than {least}")
        count += found is not None
    if wrong:
        raise _Wrong("; ".join(wrong))
    return f"{count} found, none too old"


def _numbers(version: str) -> tuple[int, ...]:
    """The release of a version, 2.10.0rc1 as (2, 10, 0)."""
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else ()


def _compiler_settings() -> str:
    import spectral_icl.kernels  # noqa: F401  (which refuses what numba does not understand)

    return "numba starts with them"


def _thread_settings() -> str:
    names = [name for name in os.environ if name.endswith("_NUM_THREADS") and not name.startswith("NUMBA_")]
    for name in sorted(names):
        if not _THREADS.fullmatch(os.environ[name]):
            raise _Wrong(f"{name}: expected a whole number >= 1, got {os.environ[name]!r}")
    return ", ".join(f"{name}={os.environ[name]}" for name in sorted(names)) or "none"


def _cache() -> str:
    from spectral_icl.kernels.compile import where_kept

    folder, remark = where_kept()
    if folder is None or remark:
        raise _Wrong(remark)
    free = shutil.disk_usage(folder).free
    used = sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in (".nbi", ".nbc", ".table"))
    said = f"{folder}, of this user alone, {used / 1e6:.1f} MB of {free / 1e9:.1f} GB that are free"
    if free < _ENOUGH:
        raise _Wrong(f"{folder}: {free / 1e6:.1f} MB are free, {_ENOUGH / 1e6:.0f} are needed")
    return said


def _kernel() -> str:
    from spectral_icl.kernels.trial import compiled, is_right

    began = perf_counter()
    function = compiled()
    seconds = perf_counter() - began
    if not is_right(function):
        raise _Wrong("what was compiled computes wrong numbers on this processor")
    if seconds > _SLOW:
        raise _Wrong(f"compiling a small function took {seconds:.0f} s, where half of one is usual")
    return f"compiled in {seconds:.2f} s, and its numbers are right"


def _threads() -> str:
    from spectral_icl.kernels.threads import available_cores
    from spectral_icl.kernels.trial import compiled, is_right

    function, count = compiled(), available_cores()
    with ThreadPoolExecutor(count) as pool:
        if not all(pool.map(lambda _: is_right(function), range(8 * count))):
            raise _Wrong(f"{count} threads at once compute wrong numbers")
    return f"{count}, one for each core that this process may use"


CHECKS: dict[str, Callable[[], str]] = {
    "packages": _packages,
    "settings of numba": _compiler_settings,
    "settings of threads": _thread_settings,
    "cache": _cache,
    "compiler": _kernel,
    "threads": _threads,
}
