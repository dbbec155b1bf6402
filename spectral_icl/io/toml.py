"""Files of tables (TOML): reading, overriding and checking them."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from spectral_icl.io.checks import ProblemError, choice

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Row = TypeVar("Row", bound=DataclassInstance)

Tables = Mapping[str, Any]  # of a file, as they are parsed, or one of them

SWEEP_KEYS = ("axis", "record", "seed", "batch")  # of a sweep's file, meaningless for one point
UNKNOWN = "a known key (is it a typing error?)"

_DEEPEST = 32  # levels of tables and lists in a file; what looks at them calls itself for each
_KEY = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_TOO_DEEP = re.compile(rf"""(?<![\w"'-])(?:{_KEY}[ \t]*+\.[ \t]*+){{{_DEEPEST}}}""")

_SCALARS = {float: "a number", int: "a whole number", bool: "true or false", str: "text"}


def tables(file: Path | None, overrides: tuple[str, ...], built_in: Tables) -> Tables:
    """The tables of a TOML file, or the built-in ones, with ``section.key=value`` overrides.

    A built-in table of another ``kind`` has no entries but those given: they are of the kind that it was.
    """
    table = _of_kinds(built_in, overrides) if file is None else parsed(file)
    for override in overrides:
        table = overridden(table, override)
    return table


def _of_kinds(built_in: Tables, overrides: tuple[str, ...]) -> Tables:
    """The built-in tables, those of which the overrides change the ``kind`` left empty."""
    changed = built_in
    for override in overrides:
        if override.partition("=")[0].strip().partition(".")[2] == "kind":
            changed = overridden(changed, override)
    return {
        name: {} if isinstance(table, Mapping) and table.get("kind") != changed[name].get("kind") else table
        for name, table in built_in.items()
    }


def parsed(file: Path) -> dict[str, Any]:
    """The tables of a TOML file."""
    try:
        content = file.read_bytes()
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise ValueError("in utf-8, which this is not but utf-16 or utf-32")
        return _loaded(content.decode("utf-8-sig"))  # as editors on Windows write it
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise ProblemError("file", str(file), f"a readable file ({reason})") from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, too many digits, too deep
        reason = " ".join(str(error).split())[:120]
        raise ProblemError("file", str(file), f"a TOML file ({reason})") from None


def _loaded(text: str) -> dict[str, Any]:
    """The tables of a text; ValueError or RecursionError if it is not TOML, or is nested too deep."""
    too_deep = ValueError(f"nested more than {_DEEPEST} levels deep")
    if _TOO_DEEP.search(text):  # over which the parser would take its time
        raise too_deep
    table = tomllib.loads(text)
    level: list[Any] = [table]
    for _ in range(_DEEPEST):
        inside = (entry.values() if isinstance(entry, dict) else entry for entry in level)
        level = [value for values in inside for value in values if isinstance(value, (dict, list))]
    if level:
        raise too_deep
    return table


def overridden(table: Tables, override: str, top: tuple[str, ...] = ()) -> dict[str, Any]:
    """A copy of the table with one ``section.key=value`` replaced; the value is TOML, or else text.

    The keys ``top`` of the file itself may be replaced too, by ``key=value``.
    """
    path, separator, text = override.partition("=")
    section, dot, key = path.strip().partition(".")
    alone = section in top and not dot
    if not (separator and (alone or (dot and section and key))) or key.count(".") >= _DEEPEST:
        raise ProblemError("overrides", override, "section.key=value")
    try:
        (value,) = _loaded(f"value = {text}").values()
    except tomllib.TOMLDecodeError:
        value = text.strip()
    except (ValueError, RecursionError):  # too many digits, too deep, more than one
        raise ProblemError(path.strip(), text, "a TOML value") from None
    changed = dict(table)
    if alone:
        return changed | {section: value}
    inner = changed.get(section, {})
    if not isinstance(inner, Mapping):
        raise ProblemError("overrides", override, f"a table [{section}]")
    changed[section] = {**inner, key: value}
    return changed


def read_table(kind: type[Row], name: str, table: object) -> Row:
    """The table ``[name]`` of a file as an object of the dataclass ``kind``.

    Its fields are the keys of the table. Their annotations may be float, int, bool, str, object (for what is
    checked elsewhere), ``Literal`` texts, lists of these, and unions of all that. A field without a default
    must be there. What the numbers may be is left to those who use them.

    Raises
    ------
    ProblemError
        Naming the dotted path of the first key that is unknown, missing or of another type.
    """
    if not isinstance(table, Mapping):
        raise ProblemError(name, table, f"a table [{name}]")
    types, exact = field_types(kind), _exact(kind)
    for key, value in table.items():
        if key not in types:
            raise ProblemError(f"{name}.{key}", value, UNKNOWN)
    for key in _required(kind):
        if key not in table:
            raise ProblemError(f"{name}.{key}", None, "a value")
    return kind(
        **{
            key: value if type(value) in exact[key] else _typed(f"{name}.{key}", value, types[key])
            for key, value in table.items()
        }
    )


@cache
def field_types(kind: type[DataclassInstance]) -> dict[str, Any]:
    """The types of the fields of a dataclass, by name."""
    types = get_type_hints(kind)
    return {field.name: types[field.name] for field in fields(kind)}


@cache
def _required(kind: type[DataclassInstance]) -> tuple[str, ...]:
    """The fields of a dataclass that have no default."""
    return tuple(f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING)


@cache
def _exact(kind: type[DataclassInstance]) -> dict[str, frozenset[type]]:
    """By field, the types whose values are right as they are: a sweep reads tables for every point."""
    plain_types = {*_SCALARS, type(None)}
    return {name: frozenset({t, *get_args(t)} & plain_types) for name, t in field_types(kind).items()}


def _typed(argument: str, value: object, wanted: Any) -> object:
    """``value`` if it has the type ``wanted``, a whole number as a float where that is wanted."""
    if wanted is object:
        return value
    if wanted in _SCALARS:
        return _scalar(argument, value, wanted)
    origin, parts = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        return choice(argument, value, parts)
    if origin is list:
        if not isinstance(value, list):
            raise ProblemError(argument, value, _described(wanted))
        return [_typed(f"{argument}[{k}]", entry, parts[0]) for k, entry in enumerate(value)]
    if value is None and type(None) in parts:
        return None
    kinds = [part for part in parts if part is not type(None)]
    if len(kinds) == 1:
        return _typed(argument, value, kinds[0])
    for part in kinds:
        try:
            return _typed(argument, value, part)
        except ProblemError:
            continue
    raise ProblemError(argument, value, " or ".join(map(_described, kinds)))


def _scalar(argument: str, value: object, wanted: type) -> object:
    """A number, a truth value or a text; true is no number, and 2.0 is a whole one."""
    if wanted in (bool, str):
        if isinstance(value, wanted):
            return value
    elif isinstance(value, Integral) and wanted is int and not isinstance(value, bool):
        return int(value)
    elif isinstance(value, Real) and not isinstance(value, bool):
        try:
            real = float(value)
        except OverflowError:
            raise ProblemError(argument, value, _SCALARS[wanted]) from None
        if wanted is float or real.is_integer():
            return wanted(real)
    raise ProblemError(argument, value, _SCALARS[wanted])


def _described(wanted: Any) -> str:
    """What an error line calls a type: a number, a list of numbers, rows of numbers."""
    depth = 0
    while get_origin(wanted) is list:
        (wanted,) = get_args(wanted)
        depth += 1
    text = _SCALARS.get(wanted, "a value")
    many = f"{text.removeprefix('a ')}s"
    return (text, f"a list of {many}", f"rows of {many}")[depth]


def plain(value: Any) -> Any:
    """The value with tables and arrays as dicts and lists, as a file has them; anything else as it is."""
    tolist = getattr(value, "tolist", None)  # of arrays and their entries
    if tolist is not None:
        return tolist()
    if isinstance(value, Mapping):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value
