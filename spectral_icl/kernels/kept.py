"""What is kept on disk of the entries: in a folder that nobody else can write, checked before it is opened.

numba unpickles what lies in its cache, and runs the code in it. So every file ends in a digest of the rest;
what is damaged, or not what was asked for, is compiled again. A cache that cannot be written costs only time.
"""

# the cache of numba is not annotated
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import sha256
from io import BytesIO
from multiprocessing import parent_process
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, NamedTuple

from numba.core import config
from numba.core.caching import FunctionCache, IndexDataCacheFile
from numba.core.compiler import CompileResult
from numba.misc.appdirs import AppDirs

from spectral_icl.io.checks import ProblemError

_log = logging.getLogger("spectral_icl")

_SIZE = sha256().digest_size

failures: list[OSError] = []  # why this process could not keep what it compiled


class Place(NamedTuple):
    """Where compiled code is kept: nowhere, if no folder can be written; and what is to be said about it."""

    folder: Path | None
    remark: str = ""


class _Exposed(OSError):
    """The folder can be written by others."""


@cache
def place(room: Path) -> Place:
    """The first folder of three that can be used: that of NUMBA_CACHE_DIR, beside the files, the user's.

    Raises
    ------
    ProblemError
        NUMBA_CACHE_DIR names a folder that others can write.
    """
    own = f"{room.parent.name}_{sha256(os.fsencode(room)).hexdigest()}"
    remark = ""
    if asked := str(vars(config)["CACHE_DIR"]):
        try:
            folder = Path(os.path.realpath(asked))  # where a link leads to now, which others may turn
            return Place(_open(_open(folder) / own))
        except _Exposed:
            mine = "a folder of your own that nobody else can write (chmod 700)"
            raise ProblemError("NUMBA_CACHE_DIR", asked, mine) from None
        except OSError as error:
            remark = f"NUMBA_CACHE_DIR: {asked} cannot be written ({error.strerror}); "
    user = Path(AppDirs("numba", appauthor=False).user_cache_dir)
    for folder in (room / "__pycache__", user / own):
        try:
            if folder.is_absolute():  # without a home it is not
                return Place(_open(folder), remark and f"{remark}compiled code is kept in {folder}")
        except OSError:
            pass
    nowhere = "compiled code is not kept, as no folder for it can be written: NUMBA_CACHE_DIR may name one"
    return Place(None, remark + nowhere)


def _open(folder: Path) -> Path:
    """A folder that this process can write and no other user, made if there is none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    state = folder.stat()
    if os.name == "posix":
        others = state.st_uid not in (0, os.getuid()) or state.st_mode & 0o022
        # in a folder that all can write, and which is not sticky, they can put another in its place
        if others or any(parent.stat().st_mode & 0o1002 == 0o002 for parent in folder.parents):
            raise _Exposed
    TemporaryFile(dir=folder).close()
    return folder


class Kept(FunctionCache):
    """The cache of one entry.

    Parameters
    ----------
    function : callable
        The entry.
    where : Place
    digest : str
        Of all that the compiled code depends on: part of the names of the files.
    """

    def __init__(self, function: Callable[..., Any], where: Place, digest: str) -> None:
        self._py_func = function
        self._remark = where.remark
        self._cache_path = None if where.folder is None else str(where.folder)
        python = f"{sys.implementation.cache_tag}{getattr(sys, 'abiflags', '')}"  # which Windows has not
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}-{digest[:16]}.{python}"
        files = None if where.folder is None else _Files(self._cache_path, self.name, digest)
        self._cache_file: Any = files

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for a signature; None if it has to be compiled."""
        target_context.refresh()
        if self._cache_file is None:
            return None
        try:
            found = self._cache_file.load(self._index_key(sig, target_context.codegen()))
            return None if found is None else CompileResult._rebuild(target_context, *found)
        except Exception:  # whatever of it there is
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the code for a signature, if that is possible."""
        if self._remark:
            _tell(self._remark)
        if self._cache_file is None:
            return
        try:
            self._cache_file.save(self._index_key(sig, data.codegen), data._reduce())
        except OSError as error:
            failures.append(error)
            _tell(
                f"compiled code is not kept in {self._cache_path} ({error.strerror}): "
                "NUMBA_CACHE_DIR may name another folder"
            )


@cache
def _tell(remark: str) -> None:
    """Say it once, and in one process of those that work together."""
    if parent_process() is None:
        _log.warning(remark)


class _Files(IndexDataCacheFile):
    """The files of an entry, each with the digest of the rest at its end, where unpickling does not look."""

    def load(self, key: Any) -> Any:
        """What is kept under a key, or None."""
        found = super().load(key)
        return found[1] if found is not None and found[0] == key else None

    def save(self, key: Any, data: Any) -> None:
        """Keep data with its key, as two processes that save at once may choose the same name."""
        super().save(key, (key, data))

    def _load_index(self) -> Any:
        try:
            return super()._load_index() if _whole(self._index_path) else {}
        except Exception:  # it names what is no longer there
            return {}

    def _load_data(self, name: str) -> Any:
        if not _whole(self._data_path(name)):
            raise FileNotFoundError(name)
        return super()._load_data(name)

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[BytesIO]:
        with super()._open_for_write(filepath) as file, BytesIO() as held:
            yield held
            data = held.getvalue()
            file.write(data + sha256(data).digest())


def _whole(path: str) -> bool:
    try:
        data = Path(path).read_bytes()
    except OSError:
        return False
    return sha256(data[:-_SIZE]).digest() == data[-_SIZE:]
