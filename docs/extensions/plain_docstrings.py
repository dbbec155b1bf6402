"""Docstrings are written to be read as they are; this marks up what Sphinx would misread.

Formulas stand indented between empty lines: they become literal blocks. Bars are those of absolute values,
not of substitutions.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

_LITERAL = re.compile(r"(``.*?``|`[^`]*`)")
_GLUED = re.compile(
    r"(``[^`]+``)(?=[\w^(\[])"
)  # as of "``scale``^2": literals end before what they do not know


def marked_up(lines: list[str]) -> list[str]:
    """The lines of a docstring with its formulas as literal blocks and its bars escaped."""
    made: list[str] = []
    formula, last = False, ""
    for k, line in enumerate(lines):
        indented = line.startswith("    ")
        if line and not indented:
            formula = False
        elif indented and k and not lines[k - 1] and last and not last.startswith((" ", ">>>", ".. ")):
            made += ["::", ""]
            formula = True
        made.append(line if formula or line.lstrip().startswith((">>>", "...")) else _escaped(line))
        last = line or last
    return made


def _escaped(line: str) -> str:
    parts = _LITERAL.split(line)
    escaped = "".join(part if k % 2 else part.replace("|", r"\|") for k, part in enumerate(parts))
    return _GLUED.sub(r"\1\\ ", escaped)


def _process(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    lines[:] = marked_up(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Before numpydoc, which takes the sections apart."""
    app.connect("autodoc-process-docstring", _process, priority=100)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
