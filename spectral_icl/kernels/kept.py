"""What is kept on disk of the entries: in a folder that nobody else can write, checked before it is opened.

numba unpickles what lies in its cache, and runs the code in it. So every file ends in a digest of the rest;
what is damaged, or not what was asked for, is compiled again. A cache that cannot be written costs only time.
"""

# the cache of numba is not annotated
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import logging
import os
import pickle
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
    """Others can write it."""


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
    nowhere = "compiled code is not kept, as there is no folder that only this user can write"
    return Place(None, f"{remark}{nowhere}: NUMBA_CACHE_DIR may name one")


def _open(folder: Path) -> Path:
    """A folder that this process can write and no other user, made if there is none."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if _others_write(folder.stat()):
        raise _Exposed
    TemporaryFile(dir=folder).close()
    return folder


def _others_write(state: os.stat_result) -> bool:
    return os.name == "posix" and (state.st_uid not in (0, os.getuid()) or bool(state.st_mode & 0o022))


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
        except Exception:  # whatever is there of it
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
    """Say a remark once, and in one process of those that work together."""
    if parent_process() is None:
        _log.warning(remark)


class _Files(IndexDataCacheFile):
    """The files of an entry, each with the digest of the rest at its end."""

    def load(self, key: Any) -> Any:
        """What is kept under a key, or None."""
        found = super().load(key)
        return found[1] if found is not None and found[0] == key else None

    def save(self, key: Any, data: Any) -> None:
        """Keep data with its key, as two processes that save at once may choose the same name."""
        super().save(key, (key, data))

    def _load_index(self) -> Any:
        try:
            file = BytesIO(_read(self._index_path))
            if pickle.load(file) == self._version:
                stamp, names = pickle.load(file)
                return names if stamp == self._source_stamp else {}
        except Exception:  # whatever is there of it
            pass
        return {}

    def _load_data(self, name: str) -> Any:
        return pickle.loads(_read(self._data_path(name)))

    @contextmanager
    def _open_for_write(self, filepath: str) -> Iterator[BytesIO]:
        with super()._open_for_write(filepath) as file, BytesIO() as held:
            yield held
            data = held.getvalue()
            file.write(data + sha256(data).digest())
            os.chmod(file.name, 0o600)


def _read(path: str) -> bytes:
    """What a file holds before its digest, if this user wrote it."""
    with open(path, "rb") as file:  # a folder may have been put in the place of that which was looked at
        if _others_write(os.fstat(file.fileno())):
            raise _Exposed
        data = file.read()
    if sha256(data[:-_SIZE]).digest() != data[-_SIZE:]:
        raise OSError("damaged")
    return data[:-_SIZE]
