"""Files of tables (TOML), and what the command line or a sweep puts in their place."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from spectral_icl.io.checks import ProblemError

SWEEP_KEYS = ("axis", "record", "seed", "batch")  # of a sweep's file, meaningless for one point


def tables(path: Path | None, overrides: tuple[str, ...], built_in: Mapping[str, Any]) -> Mapping[str, Any]:
    """The tables of a TOML file, or the built-in ones, with ``section.key=value`` overrides."""
    table = built_in if path is None else parsed(path)
    for override in overrides:
        table = overridden(table, override)
    return table


def parsed(path: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        with path.open("rb") as stream:
            return tomllib.load(stream)
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ProblemError("FILE", str(path), f"a readable file ({reason})") from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, too many digits, too deep
        reason = " ".join(str(error).split())[:120]
        raise ProblemError("FILE", str(path), f"a TOML file ({reason})") from None


def overridden(table: Mapping[str, Any], override: str, top: tuple[str, ...] = ()) -> dict[str, Any]:
    """A copy of the table with one ``section.key=value`` replaced; the value is TOML, or else text.

    The keys ``top`` of the file itself may be replaced too, by ``key=value``.
    """
    path, separator, text = override.partition("=")
    section, dot, key = path.strip().partition(".")
    alone = section in top and not dot
    if not (separator and (alone or (dot and section and key))):
        raise ProblemError("--set", override, "section.key=value")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    except (ValueError, RecursionError):  # too many digits, too deep
        raise ProblemError(path.strip(), text, "a TOML value") from None
    changed = dict(table)
    if alone:
        return changed | {section: value}
    inner = changed.get(section, {})
    if not isinstance(inner, Mapping):
        raise ProblemError("--set", override, f"a table [{section}]")
    changed[section] = {**inner, key: value}
    return changed
