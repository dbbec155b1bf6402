"""What the tests of derivations share: numbers in expressions, and problems to put them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import sympy as sp
from hypothesis import strategies as st

import spectral_icl as si

positive = st.floats(0.05, 5.0)


def value(expression: sp.Expr, **numbers: float) -> float:
    """The expression at numbers given by the names of its symbols."""
    by_name = {symbol.name: symbol for symbol in expression.free_symbols}
    assert set(by_name) == set(numbers), (by_name, numbers)
    return float(expression.subs({by_name[name]: sp.Float(number, 30) for name, number in numbers.items()}))


@cache
def compiled(
    function: Callable[..., sp.Basic | Sequence[sp.Expr]], count: int, *more: sp.Symbol
) -> Callable[..., Any]:
    """A function of expressions as one of ``count`` numbers, and of the values of ``more`` symbols."""
    places = sp.symbols(f"place_:{count}", positive=True)
    return sp.lambdify([*places, *more], function(*places), "numpy")


def overlapping(rng: np.random.Generator, blocks: int, tasks: int) -> si.Problem:
    """A problem whose tasks share every block, anisotropic."""
    return si.Problem(
        block_sizes=tuple(rng.integers(1, 9, blocks).tolist()),
        signal=rng.uniform(0.2, 2.0, (tasks, blocks)),
        noise=tuple(rng.uniform(0.05, 0.5, tasks)),
        context_length=float(rng.uniform(10, 300)),
        covariance=tuple(rng.uniform(0.5, 1.5, blocks)),
    )
