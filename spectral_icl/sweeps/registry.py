"""The kinds of points that there are, and which of them a file has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from spectral_icl.io.checks import ProblemError
from spectral_icl.sweeps.multitask import FlowPoints
from spectral_icl.sweeps.points import Kind
from spectral_icl.sweeps.sparse import SparsePoints

KINDS: tuple[Kind[Any, Any], ...] = (FlowPoints(), SparsePoints())


def kind_of(table: Mapping[str, Any]) -> Kind[Any, Any]:
    """The kind of points that a file has: that of its tables, or flows.

    Raises
    ------
    ProblemError
        It has tables of two kinds.
    """
    named = {kind: [name for name in kind.sections if name in table] for kind in KINDS}
    found = [kind for kind in KINDS if named[kind]]
    if len(found) > 1:
        own, other = named[found[1]][0], named[found[0]][0]
        expected = f"nothing beside [{own}]: a file has {found[0].name} or {found[1].name}"
        raise ProblemError(other, table[other], expected)
    return found[0] if found else KINDS[0]
