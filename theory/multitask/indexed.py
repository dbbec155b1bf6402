"""Formulas in indexed symbols, for any number of heads, blocks and tasks, and how they are read on matrices.

A derivative of a loss is written once, with sums over heads, blocks and tasks. `value` and `fill` put it on
the matrices of `theory.multitask.loss.symbols`, and `everywhere` proves it there, entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import sympy as sp
from sympy.core.function import AppliedUndef

h, k, j = sp.symbols("h k j", integer=True)  # heads
b, b2, b3 = sp.symbols("b b' b''", integer=True)  # blocks
i, i2 = sp.symbols("i i'", integer=True)  # tasks
m, n = sp.symbols("m n", integer=True)  # all the unknowns in one list
HEADS, BLOCKS, TASKS, UNKNOWNS = sp.symbols("H B I N", integer=True, positive=True)
COUNTS = (
    dict.fromkeys((h, k, j), HEADS)
    | dict.fromkeys((b, b2, b3), BLOCKS)
    | dict.fromkeys((i, i2), TASKS)
    | dict.fromkeys((m, n), UNKNOWNS)
)

omega, mu, d, kappa, A, sigma = map(sp.IndexedBase, ("omega", "mu", "d", "kappa", "A", "sigma"))
s, R = map(sp.IndexedBase, ("s", "R"))
theta, hess = sp.IndexedBase("theta"), sp.IndexedBase("Hess")
total = sp.Symbol("loss")
slope = sp.Function("slope")  # slope(f, x, ...): the derivative, which sympy is to take on matrices only
same = sp.KroneckerDelta

Tables = dict[sp.Basic, Callable[..., sp.Expr]]


def over(index: sp.Symbol, term: sp.Expr) -> sp.Expr:
    """The sum of a term over all heads, blocks or tasks."""
    return sp.Sum(term, (index, 1, COUNTS[index]))


VARIANCE = over(b, A[i, b]) + sigma[i] ** 2
RESIDUAL = 1 - over(h, mu[h, i] * kappa[b] * omega[h, b])


def value(formula: sp.Expr, tables: Tables, place: dict[sp.Symbol, int]) -> sp.Expr:
    """A formula in indexed symbols with every index at its place and every symbol read off its table."""
    if formula in place:
        return sp.Integer(place[formula])
    if formula in tables:
        return tables[formula]()
    if isinstance(formula, sp.Indexed):
        return tables[formula.base](*(place[index] for index in formula.indices))
    if isinstance(formula, sp.Sum | sp.Product):
        *inner, (index, _, count) = formula.limits
        term = formula.func(formula.function, *inner) if inner else formula.function
        joined = sp.Add if isinstance(formula, sp.Sum) else sp.Mul
        return joined(*(value(term, tables, {**place, index: at}) for at in range(tables[count]())))
    if not formula.args:
        return formula
    values = [value(part, tables, place) for part in formula.args]
    return _derivative(*values) if isinstance(formula, AppliedUndef) else formula.func(*values)


@cache
def _derivative(of: sp.Expr, *unknowns: sp.Symbol) -> sp.Expr:
    """The derivative by one unknown after the other, of which the first are shared by many entries."""
    *others, last = unknowns
    return sp.diff(_derivative(of, *others) if others else of, last)


def table(formula: sp.Expr, tables: Tables, *indices: sp.Symbol) -> Callable[..., sp.Expr]:
    """What a name with these indices stands for, by a formula in names that are in the tables."""
    return cache(lambda *place: value(formula, tables, dict(zip(indices, place, strict=True))))


def _read(matrix: sp.Matrix) -> Callable[..., sp.Expr]:
    return lambda row, column=0: matrix[row, column]


def tables_of(at: dict[str, sp.Matrix]) -> Tables:
    """The tables of the counts, the weights, the problem, and the names s and R."""
    heads, blocks = at["omega"].shape
    tasks = at["mu"].shape[1]
    counts = {HEADS: heads, BLOCKS: blocks, TASKS: tasks, UNKNOWNS: heads * (blocks + tasks)}
    tables: Tables = {name: lambda count=count: count for name, count in counts.items()}
    names = {omega: "omega", mu: "mu", d: "sizes", kappa: "kappas", A: "powers"}
    tables |= {base: _read(at[name]) for base, name in names.items()}
    tables[sigma] = _read(at["noises"].applyfunc(sp.sqrt))
    tables[s] = table(VARIANCE, tables, i)
    tables[R] = table(RESIDUAL, tables, i, b)
    return tables


def fill(
    formula: sp.Expr, tables: Tables, row: tuple[sp.Symbol, ...], column: tuple[sp.Symbol, ...]
) -> sp.Matrix:
    """The matrix of a formula's values, the last index of a row or a column running fastest."""
    rows, columns = (
        [
            dict(zip(side, place, strict=True))
            for place in product(*(range(tables[COUNTS[index]]()) for index in side))
        ]
        for side in (row, column)
    )
    return sp.Matrix([[value(formula, tables, {**r, **c}) for c in columns] for r in rows])


def assembled(by_omega: sp.Expr, mixed: sp.Expr, by_mu: sp.Expr, tables: Tables) -> sp.Matrix:
    """The Hessian (N, N) from the formulas of its three kinds of entries, N = H (B + I).

    First omega, then mu, both head-major.
    """
    corner = fill(mixed, tables, (h, b), (k, i))
    upper = fill(by_omega, tables, (h, b), (k, b2)).row_join(corner)
    return upper.col_join(corner.T.row_join(fill(by_mu, tables, (h, i), (k, i2))))


def case(tables: Tables, at: dict[str, sp.Matrix], losses: list[sp.Expr], second: sp.Matrix) -> Tables:
    """The tables with the summed loss of the tasks, its unknowns in one list, and its Hessian."""
    summed, unknowns = sum(losses), [*at["omega"], *at["mu"]]
    return tables | {total: lambda: summed, theta: lambda place: unknowns[place], hess: _read(second)}


def everywhere(
    cases: list[Tables], by: Callable[[sp.Expr], sp.Expr] = sp.expand
) -> Callable[[sp.Expr], sp.Expr]:
    """Proof of a relation: zero if and only if, ``by``, it vanishes at every entry of every case."""

    def rest(difference: sp.Expr) -> sp.Expr:
        free = [index for index in COUNTS if index in difference.free_symbols]
        left = (
            by(value(difference, tables, dict(zip(free, place, strict=True))))
            for tables in cases
            for place in product(*(range(tables[COUNTS[index]]()) for index in free))
        )
        return sp.Add(*(sp.Abs(entry) for entry in left))

    return rest
