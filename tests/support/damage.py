"""Random damage to the files of a folder."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

_VALUES = [None, True, 0, -1, 10**30, 1.5, float("nan"), "", "|O", "zstd", [], [7], {}, {"name": "pickle"}]


def damage(folder: Path, chance: random.Random) -> str:
    """Damage one file or folder, or exchange two; returns what was done to which."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    metadata = [path for path in files if path.name == "zarr.json"]
    how: Callable[[Path, random.Random], None] = chance.choice([*_WAYS, *[_edited] * 3])
    file = chance.choice(metadata if how is _edited or chance.random() < 0.3 else files)
    if how is _folder_gone and file.parent == folder:  # then there is nothing to tell of
        how = _gone
    if how is _exchanged:
        other = chance.choice(files)
        first, second = file.read_bytes(), other.read_bytes()
        file.write_bytes(second)
        other.write_bytes(first)
        return f"{file.relative_to(folder)} and {other.relative_to(folder)} exchanged"
    how(file, chance)
    return f"{file.relative_to(folder)} {how.__name__}"


def _cut(file: Path, chance: random.Random) -> None:
    os.truncate(file, chance.randrange(file.stat().st_size))


def _emptied(file: Path, chance: random.Random) -> None:
    os.truncate(file, 0)


def _gone(file: Path, chance: random.Random) -> None:
    file.unlink()


def _folder_gone(file: Path, chance: random.Random) -> None:
    shutil.rmtree(file.parent)


def _flipped(file: Path, chance: random.Random) -> None:
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)


def _random(file: Path, chance: random.Random) -> None:
    file.write_bytes(chance.randbytes(chance.randrange(200)))


def _longer(file: Path, chance: random.Random) -> None:
    file.write_bytes(file.read_bytes() + chance.randbytes(9))


def _exchanged(file: Path, chance: random.Random) -> None:
    raise NotImplementedError  # it needs two


def _edited(file: Path, chance: random.Random) -> None:
    """An entry of JSON, or of the JSON inside of it, gone or another."""
    document = json.loads(file.read_text())
    inner = document.get("attributes", {}).get("provenance")
    if inner is not None and chance.random() < 0.8:
        document["attributes"]["provenance"] = json.dumps(_changed(json.loads(inner), chance), sort_keys=True)
    else:
        document = _changed(document, chance)
    file.write_text(json.dumps(document))


def _changed(value: Any, chance: random.Random) -> Any:
    if not isinstance(value, (dict, list)) or not value or chance.random() < 0.1:
        return chance.choice(_VALUES)
    key = chance.choice(list(value) if isinstance(value, dict) else range(len(value)))
    if chance.random() < 0.3:
        del value[key]
    else:
        value[key] = _changed(value[key], chance)
    return value


_WAYS = [_cut, _emptied, _gone, _folder_gone, _flipped, _random, _longer, _exchanged, _exchanged]
