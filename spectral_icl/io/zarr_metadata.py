"""The metadata of a Zarr folder, read and checked before zarr may open it, and the settings it does so under.

zarr trusts what it opens: a type or a codec that the metadata names may run code that lies in the folder.
Here a folder is a group of arrays of plain numbers, with the codecs of compression and of checksums only.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any

from spectral_icl.io.checks import ProblemError

METADATA = "zarr.json"

_TYPES = ("bool", *(f"{sign}int{n}" for sign in ("", "u") for n in (8, 16, 32, 64)), "float32", "float64")
_CODECS = ("bytes", "gzip", "zstd", "crc32c")
_OLD = (".zarray", ".zattrs", ".zgroup", ".zmetadata")  # of Zarr format 2, which zarr would look at too


def zarr_defaults() -> AbstractContextManager[object]:
    """A block in which zarr has the settings that it comes with, whatever the user's environment says."""
    config: Any = import_module("zarr").config  # optional, and slow to import
    block: AbstractContextManager[object] = config.set(config.defaults[0])
    return block


def read_metadata(folder: Path) -> dict[str, dict[str, Any]]:
    """The metadata of a group and of the arrays in it, by name; that of the group itself is at "".

    Parameters
    ----------
    folder : Path
        May hold other files and folders too; these are not looked at.

    Raises
    ------
    ProblemError
        It is not such a group, or its metadata names anything but arrays of numbers in known codecs.
    """
    found = {"": _document(folder, "")}
    if found[""].get("node_type") != "group":
        raise _refused(folder, "a Zarr group")
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise _refused(folder, f"a Zarr folder that can be read ({error.strerror})") from None
    old = [entry.name for entry in entries if entry.name in _OLD]
    if old:
        raise _refused(folder, f"a Zarr folder of format 3 alone (there is {old[0]!r})")
    for name in (entry.name for entry in entries if (entry / METADATA).exists()):
        found[name] = _document(folder, name)
        _check_array(folder, name, found[name])
    return found


def _document(folder: Path, name: str) -> dict[str, Any]:
    """The metadata of one node."""
    file = folder / name / METADATA
    shown = f"{name}/{METADATA}".lstrip("/")
    if not file.is_file():  # a pipe would be waited for
        raise _refused(folder, f"a Zarr folder (there is no {shown!r})")
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        raise _refused(folder, f"a Zarr folder with nothing damaged ({shown!r} is)") from None
    if not isinstance(document, dict) or document.get("zarr_format") != 3:
        raise _refused(folder, f"a Zarr folder of format 3 ({shown!r} is not)")
    if document.get("consolidated_metadata") is not None:  # copies of what is checked here, which may differ
        raise _refused(folder, f"a Zarr folder without consolidated metadata ({shown!r} has some)")
    return document


def _check_array(folder: Path, name: str, document: Mapping[str, Any]) -> None:
    """Raise unless this is the metadata of an array of numbers that can be read without harm."""
    shape, codecs = document.get("shape"), document.get("codecs")
    if document.get("node_type") != "array" or not isinstance(codecs, list) or not isinstance(shape, list):
        raise _refused(folder, f"a Zarr folder of arrays ({name!r} is none)")
    if document.get("data_type") not in _TYPES:
        raise _refused(folder, f"arrays of plain numbers ({name!r} is none)")
    for codec in codecs:
        named = codec.get("name") if isinstance(codec, dict) else codec
        if named not in _CODECS:
            raise _refused(folder, f"arrays in the codecs {', '.join(_CODECS)} ({name!r} has another)")
    if document.get("storage_transformers"):
        raise _refused(folder, f"arrays without storage transformers ({name!r} has one)")


def _refused(folder: Path, expected: str) -> ProblemError:
    return ProblemError("path", str(folder), expected)
