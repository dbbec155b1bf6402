"""Tables that are kept: in memory, and in files that say what they are of and end in a digest.

A file is used only if it is whole and is of the same length, reach, code and version of the format; otherwise
the table is built again. What cannot be kept costs only time.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from threading import Lock

import numpy as np

from spectral_icl.io.files import put
from spectral_icl.kernels import overlaps as compiled
from spectral_icl.kernels import surrogate
from spectral_icl.kernels.compile import entries
from spectral_icl.multitask.exact import overlaps, table
from spectral_icl.multitask.exact.table import Table, build

_log = logging.getLogger("spectral_icl")

_FORMAT = "spectral-icl table 1"
_LONG = 8.0  # reach from which on a person wants to know that a table is built
_building = Lock()  # several threads that want a table wait for one of them

# All that the numbers depend on beside the length and the reach.
_CODE = sha256(
    b"".join(Path(str(module.__file__)).read_bytes() for module in (table, overlaps, compiled, surrogate))
).hexdigest()


def table_of(length: float, reach: float) -> Table:
    """The table for a context length that reaches up to a logit variance: kept, or built and kept."""
    with _building:
        return _kept(length, reach)


@lru_cache(maxsize=512)
def _kept(length: float, reach: float) -> Table:
    path = file_of(length, reach)
    found = None if path is None else read(path, length, reach)
    if found is not None:
        return found
    if reach >= _LONG:
        _log.info("building a table of the exact law, L = %g, logit variances up to %g ...", length, reach)
    made = build(length, reach)
    if path is not None:
        with suppress(OSError):
            put(path, to_bytes(made))
    return made


def folder() -> Path | None:
    """Where tables are kept: beside compiled code, which only this user can write; None if nowhere."""
    cache = entries[0].stats.cache_path
    if cache is None:
        return None
    where = Path(cache) / "tables"
    try:
        where.mkdir(mode=0o700, exist_ok=True)
    except OSError:
        return None
    return where if os.access(where, os.W_OK) else None


def file_of(length: float, reach: float) -> Path | None:
    """The file of a table."""
    where = folder()
    key = sha256(f"{_FORMAT} {_CODE} {length!r} {reach!r}".encode()).hexdigest()[:24]
    return None if where is None else where / f"{key}.table"


def to_bytes(made: Table) -> bytes:
    """A line that says what follows, the numbers, and the digest of both."""
    head = {
        "format": _FORMAT,
        "code": _CODE,
        "length": made.length,
        "reach": made.reach,
        "shapes": [values.size for values in _arrays(made)],
    }
    body = json.dumps(head).encode() + b"\n"
    body += b"".join(values.astype("<f8").tobytes() for values in _arrays(made))
    return body + sha256(body).digest()


def read(path: Path, length: float, reach: float) -> Table | None:
    """The table in a file, if it is whole and the one that is wanted; nothing in it is run."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    size = sha256().digest_size
    body, digest = content[:-size], content[-size:]
    if sha256(body).digest() != digest:
        return None
    line, _, numbers = body.partition(b"\n")
    try:
        head = json.loads(line)
        wanted = {"format": _FORMAT, "code": _CODE, "length": length, "reach": reach}
        if any(head[key] != value for key, value in wanted.items()):
            return None
        flat = np.frombuffer(numbers, dtype="<f8").astype(np.float64)
        single, pair, cross, errors = np.split(flat, np.cumsum(head["shapes"])[:-1])
    except (KeyError, TypeError, ValueError, RecursionError):
        return None
    terms = len(surrogate.terms(surrogate.DEGREE))
    sizes = (single.size, pair.size, cross.size, errors.size)
    if sizes != (surrogate.SINGLE, terms, terms, 3) or not np.isfinite(flat).all():
        return None
    for values in (single, pair, cross, errors):
        values.setflags(write=False)
    return Table(length, reach, single, pair, cross, errors)


def _arrays(made: Table) -> tuple[np.ndarray, ...]:
    return made.single, made.pair, made.cross, made.errors
