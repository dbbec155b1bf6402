"""How functions are compiled, and a cache on disk that is renewed when any file of this room changes.

numba stamps the cache of a function with the one file that defines it, so that an edit of a callee elsewhere
would leave its callers stale. So the files of every entry bear a digest of all files of this room.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from numba import njit
from numba.core import event

from spectral_icl.kernels.kept import Kept, Place, place
from spectral_icl.kernels.parts import PartCompiler

# The floating-point liberties of the algebra (reassociation, contraction). Step control and every test of
# finiteness run with strict semantics, where NaN compares as NaN.
ALGEBRA = frozenset({"contract", "reassoc", "arcp", "nsz"})

_PART: dict[str, Any] = {
    "error_model": "numpy",
    "pipeline_class": PartCompiler,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
# Inner functions are inlined by force. Otherwise a call may be resolved to another compilation of the callee
# right after compiling than when loaded from the cache, and the results differ in their last bits. And they
# do not count references to the arrays that they are passed, which would be an atomic operation at either end
# and as long as all else in a small step; so they can neither make arrays nor return any.
INLINED: dict[str, Any] = {**_PART, "forceinline": True, "_nrt": False}
# Functions that make arrays, and do no arithmetic, are called: inlined, each would be as much code as a step.
MAKING = _PART

_ROOM = Path(__file__).absolute().parent
DIGEST = sha256(
    b"".join(path.name.encode() + path.read_bytes() for path in sorted(_ROOM.rglob("*.py")))
).hexdigest()

_log = logging.getLogger("spectral_icl")

entries: list[Any] = []  # all of them
_slow: list[object] = []  # those whose compilation takes so long that a person wants to know

F = TypeVar("F", bound=Callable[..., Any])


def entry(*, fastmath: frozenset[str] = frozenset(), slow: bool = False) -> Callable[[F], F]:
    """Decorator of a function that Python calls: compiled on its first call, and kept on disk.

    Parameters
    ----------
    fastmath : frozenset of str
        `ALGEBRA`, or nothing.
    slow : bool
        Whether `announced` tells of it.
    """

    def decorate(function: F) -> F:
        made: Any = njit(error_model="numpy", nogil=True, fastmath=set(fastmath))(function)
        made._cache = Kept(function, place(_ROOM), DIGEST)
        entries.append(made)
        if slow:
            _slow.append(made)
        decorated: F = made
        return decorated

    return decorate


def inner(*, fastmath: frozenset[str] = frozenset()) -> Callable[[F], F]:
    """Decorator of a function of compiled functions: it reads and fills arrays, and makes none.

    Parameters
    ----------
    fastmath : frozenset of str
        `ALGEBRA`, or nothing.
    """

    def decorate(function: F) -> F:
        made: F = njit(**INLINED, fastmath=set(fastmath))(function)
        return made

    return decorate


def maker(function: F) -> F:
    """Decorator of a function of compiled functions that makes or returns arrays, and does no arithmetic."""
    made: F = njit(**MAKING)(function)
    return made


def where_kept() -> Place:
    """Where the code of entries is kept, or why nowhere.

    Raises
    ------
    ProblemError
        NUMBA_CACHE_DIR names a folder that others can write.
    """
    return place(_ROOM)


def save_under(lock: AbstractContextManager[Any]) -> None:
    """Make the entries of this process save what they compile under a lock that other processes have too.

    The index of an entry is shared by all types that it is compiled for, and numba reads it, adds to it and
    replaces it: of two processes that do so at once one loses what it saved, or both give their code the same
    file.
    """
    for made in entries:
        made._cache.save_overload = _locked(made._cache.save_overload, lock)


def _locked(save: Callable[..., None], lock: AbstractContextManager[Any]) -> Callable[..., None]:
    def saved(*arguments: Any) -> None:
        with lock:
            save(*arguments)

    return saved


class _Listener(event.Listener):
    def __init__(self, what: str, seconds: str) -> None:
        self.what, self.seconds = what, seconds
        self.told = False

    def on_start(self, event: Any) -> None:
        if event.data["dispatcher"] in _slow and not self.told:
            self.told = True
            _log.info(
                "compiling %s for this machine (once for each law of the context, some %s seconds; "
                "`spectral-icl warm` compiles everything beforehand) ...",
                self.what,
                self.seconds,
            )

    def on_end(self, event: Any) -> None:
        pass


def announced(what: str, seconds: str) -> AbstractContextManager[Any]:
    """A block that says so, once, if slow entries are compiled in it, not if the cache has them.

    Parameters
    ----------
    what : str
        What is compiled, and what it is for.
    seconds : str
        How long that takes, in words.
    """
    listening: AbstractContextManager[Any] = event.install_listener("numba:compile", _Listener(what, seconds))
    return listening
