"""The provenance of a store: its plan, what made it, and whether that is still what was written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spectral_icl.io.provenance import environment, installed, source
from spectral_icl.sweeps.plan import Plan, digest

FORMAT = "spectral-icl sweep"
VERSION = 2  # version 1 has no seals, and no checksum of its provenance
READABLE = (1, 2)

_KEYS = {"format": str, "version": int, "plan": dict, "digest": str, "environment": dict}


def provenance(plan: Plan) -> dict[str, Any]:
    """What makes a store of this plan, now."""
    made = {
        "format": FORMAT,
        "version": VERSION,
        "plan": plan.to_dict(),
        "digest": plan.digest(),
        "environment": {**environment(), **{name: installed(name) for name in ("zarr", "xarray")}},
        "source": source(),
    }
    return {**made, "checksum": checksum(made)}


def made_by(path: Path) -> dict[str, Any] | None:
    """Provenance of the store in a folder; None if the folder is not the store of a sweep."""
    try:
        group = json.loads((path / "zarr.json").read_bytes())
        made: dict[str, Any] = json.loads(group["attributes"]["provenance"])
        ours = (group["zarr_format"], group["node_type"], made["format"]) == (3, "group", FORMAT)
        return made if ours else None
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def wrong_with(made: Mapping[str, Any]) -> str | None:
    """What was expected of a provenance; None if it is as this version or an older one wrote it."""
    version, origin = made.get("version"), made.get("source", "")
    if type(version) is not int or version not in READABLE:
        return (
            f"a store of format version {' or '.join(map(str, READABLE))} (this is version {version!r:.20})"
        )
    missing = [key for key, kind in _KEYS.items() if not isinstance(made.get(key), kind)]
    if origin is not None and not (isinstance(origin, dict) and {"commit", "dirty"} <= set(origin)):
        missing.append("source")
    if version > 1 and "checksum" not in made:
        missing.append("checksum")
    if missing:
        return f"a whole store (its provenance lacks {missing[0]!r}, which no command mends)"
    rest = {key: value for key, value in made.items() if key != "checksum"}
    if made["digest"] != digest(made["plan"]) or (version > 1 and made["checksum"] != checksum(rest)):
        return "a whole store (its plan or its provenance was altered, which no command mends)"
    return None


def facts(made: Mapping[str, Any]) -> dict[str, str]:
    """Versions, processor and source, by name: equal for all processes that may write to a store."""
    facts = {name: str(value) for name, value in made["environment"].items() if name != "created"}
    tree = made["source"]
    changed = tree and ("with changes" if tree["dirty"] else "unchanged")
    return {**facts, "source": f"{tree['commit']} {changed}" if tree else "installed"}


def checksum(made: Mapping[str, Any]) -> str:
    """SHA-256 of a provenance without its checksum, in hexadecimal."""
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()
