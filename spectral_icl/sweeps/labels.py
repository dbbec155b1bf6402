"""How an entry of a file is written on an axis and in a legend."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_INDEX = re.compile(r"\[(\d+)\]")


class Label(NamedTuple):
    """The words and symbols of an entry of a file.

    Attributes
    ----------
    text : str
        On an axis.
    short : str
        Before a value, as in H = 2; the key of the entry if empty.
    symbol : str
        In formulas, where indices are appended to it, without dollars; if empty, entries of a list are
        written as in the file.
    """

    text: str
    short: str = ""
    symbol: str = ""


Labels = Mapping[str, Label]  # by path, without indices


def axis_label(labels: Labels, path: str, dimension: str = "") -> str:
    """The text of an axis along a path, or along a ``dimension`` that has the values of that path."""
    whole = labels[path].text if path in labels else path
    text = _indexed(labels, path) if "[" in path else whole
    return f"{dimension} ({text})" if dimension not in ("", path) else text


def short_label(labels: Labels, path: str) -> str:
    """The text before a value of a path, as in H = 2."""
    if "[" in path:
        return _indexed(labels, path)
    return (labels[path].short if path in labels else "") or path.rpartition(".")[2]


def _indexed(labels: Labels, path: str) -> str:
    """The symbol of an entry of a list, with its indices."""
    field = _INDEX.sub("", path)
    symbol = labels[field].symbol if field in labels else ""
    if not symbol:
        return path
    indices = ",".join(_INDEX.findall(path))
    base, caret, power = symbol.partition("^")
    if "_" in base:  # D_\omega has a subscript already
        return f"${base}" + f"[{indices}]$"
    return f"${base}_{{{indices}}}{caret}{power}$"
