"""The numbers of an axis as a file gives them: a list, ``linear = [start, stop, n]`` or ``log = [...]``."""

from __future__ import annotations

import math
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spectral_icl.io.checks import ProblemError, integer, number, sequence

Values = NDArray[Any]  # int64 if they are whole, else float64

_MOST_VALUES = 10**5  # of one axis, which are written out in every store; replicates are not
_WHOLE = 2.0**53  # floats beyond this are no longer whole numbers for certain


def axis_values(name: str, way: str, given: object) -> Values:
    """The numbers that ``given`` stands for, by one of the ways "values", "linear" and "log"."""
    if way == "values":
        listed = [_entry(f"{name}[{i}]", x) for i, x in enumerate(sequence(name, given, "numbers"))]
        whole = all(isinstance(x, int) for x in listed)
        return _fixed(np.array(listed, dtype=np.int64 if whole else np.float64))
    ends = sequence(name, given, "[start, stop, n]")
    if len(ends) != 3:
        raise ProblemError(name, given, "[start, stop, n]")
    low = {"minimum": 0.0, "above": True} if way == "log" else {"minimum": -1e100}
    start, stop = (number(f"{name}[{i}]", ends[i], maximum=1e100, **low) for i in range(2))  # type: ignore[arg-type]
    count = integer(f"{name}[2]", ends[2], minimum=1, maximum=_MOST_VALUES)
    if way == "linear":
        return _fixed(np.linspace(start, stop, count))
    # twelve digits: round numbers look round, and every machine's logarithm gives the same plan
    inner = [float(f"{x:.12g}") for x in np.geomspace(start, stop, count)[1:-1].tolist()]
    return _fixed(np.array([start, *inner, stop][:count]))


def exact(value: float) -> int | float:
    """A whole number as an int, since heads, sizes and seeds must be ints."""
    return int(value) if value.is_integer() and abs(value) <= _WHOLE else value


def _entry(name: str, value: object) -> int | float:
    """A number, an int if it is whole; infinity, which t_end may be, included."""
    real = number(name, value, minimum=-1e100, maximum=math.inf)
    if isinstance(value, Integral):
        return integer(name, value, minimum=-(2**63), maximum=2**63 - 1)
    return exact(real)


def _fixed(values: Values) -> Values:
    """Read-only values, as int64 if all of them are whole."""
    if values.dtype != np.int64 and (np.abs(values) <= _WHOLE).all() and (values == np.round(values)).all():
        values = values.astype(np.int64)
    values.setflags(write=False)
    return values
