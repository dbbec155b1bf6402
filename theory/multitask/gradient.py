"""The gradient and the Hessian of the large-L loss, for any number of heads, blocks and tasks.

The formulas are written once, by hand, in indexed symbols. `gradient` and `hessian` read them on matrices;
`derive` prints them and proves them against sympy's own derivatives of `theory.multitask.loss.task_losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product

import sympy as sp
from sympy.core.function import AppliedUndef

from theory.derivation import Derivation
from theory.multitask.loss import symbols, task_losses
from theory.symbols import L

h, k, j = sp.symbols("h k j", integer=True)  # heads
b, b2 = sp.symbols("b b'", integer=True)  # blocks
i, i2 = sp.symbols("i i'", integer=True)  # tasks
m, n = sp.symbols("m n", integer=True)  # all the unknowns in one list
HEADS, BLOCKS, TASKS, UNKNOWNS = sp.symbols("H B I N", integer=True, positive=True)
COUNTS = {h: HEADS, k: HEADS, j: HEADS, b: BLOCKS, b2: BLOCKS, i: TASKS, i2: TASKS, m: UNKNOWNS, n: UNKNOWNS}

omega, mu, d, kappa, A, sigma = map(sp.IndexedBase, ("omega", "mu", "d", "kappa", "A", "sigma"))
s, E, R, C = map(sp.IndexedBase, ("s", "E", "R", "C"))
theta, hess = sp.IndexedBase("theta"), sp.IndexedBase("Hess")
total = sp.Symbol("loss")
slope = sp.Function("slope")  # slope(f, x, ...): the derivative, which sympy is to take on matrices only
same = sp.KroneckerDelta

Tables = dict[sp.Basic, Callable[..., sp.Expr]]


def over(index: sp.Symbol, term: sp.Expr) -> sp.Expr:
    """The sum of a term over all heads, blocks or tasks."""
    return sp.Sum(term, (index, 1, COUNTS[index]))


VARIANCE = over(b, A[i, b]) + sigma[i] ** 2
OVERLAP = sp.exp(over(b, d[b] * kappa[b] ** 2 * omega[h, b] * omega[k, b]))
RESIDUAL = 1 - over(h, mu[h, i] * kappa[b] * omega[h, b])
COUPLING = over(i, s[i] * mu[h, i] * mu[k, i])
LOSS = (
    over(i, over(b, A[i, b] * R[i, b] ** 2))
    + over(h, over(k, C[h, k] * E[h, k])) / L
    + over(i, sigma[i] ** 2)
)
SLOPE_OMEGA = -2 * kappa[b] * over(i, A[i, b] * R[i, b] * mu[h, i]) + 2 / L * d[b] * kappa[b] ** 2 * over(
    k, C[h, k] * E[h, k] * omega[k, b]
)
SLOPE_MU = -2 * over(b, A[i, b] * R[i, b] * kappa[b] * omega[h, b]) + 2 / L * s[i] * over(
    k, E[h, k] * mu[k, i]
)
CURVATURE_OMEGA = 2 * same(b, b2) * kappa[b] ** 2 * over(i, A[i, b] * mu[h, i] * mu[k, i]) + 2 / L * d[
    b
] * kappa[b] ** 2 * (
    same(b, b2) * C[h, k] * E[h, k]
    + d[b2] * kappa[b2] ** 2 * C[h, k] * E[h, k] * omega[k, b] * omega[h, b2]
    + same(h, k) * d[b2] * kappa[b2] ** 2 * over(j, C[h, j] * E[h, j] * omega[j, b] * omega[j, b2])
)
CURVATURE_MIXED = -2 * kappa[b] * A[i, b] * (
    same(h, k) * R[i, b] - kappa[b] * mu[h, i] * omega[k, b]
) + 2 / L * s[i] * d[b] * kappa[b] ** 2 * (
    E[h, k] * mu[h, i] * omega[k, b] + same(h, k) * over(j, E[h, j] * mu[j, i] * omega[j, b])
)
CURVATURE_MU = same(i, i2) * (
    2 * over(b, A[i, b] * kappa[b] ** 2 * omega[h, b] * omega[k, b]) + 2 / L * s[i] * E[h, k]
)


def _value(formula: sp.Expr, tables: Tables, place: dict[sp.Symbol, int]) -> sp.Expr:
    """A formula in indexed symbols with every index at its place and every symbol read off its table."""
    if formula in place:
        return sp.Integer(place[formula])
    if formula in tables:
        return tables[formula]()
    if isinstance(formula, sp.Indexed):
        return tables[formula.base](*(place[index] for index in formula.indices))
    if isinstance(formula, sp.Sum):
        *inner, (index, _, count) = formula.limits
        term = sp.Sum(formula.function, *inner) if inner else formula.function
        return sp.Add(*(_value(term, tables, {**place, index: at}) for at in range(tables[count]())))
    if not formula.args:
        return formula
    values = [_value(part, tables, place) for part in formula.args]
    return _derivative(*values) if isinstance(formula, AppliedUndef) else formula.func(*values)


@cache
def _derivative(value: sp.Expr, *unknowns: sp.Symbol) -> sp.Expr:
    """The derivative by one unknown after the other, of which the first are shared by many entries."""
    *others, last = unknowns
    return sp.diff(_derivative(value, *others) if others else value, last)


def _read(matrix: sp.Matrix) -> Callable[..., sp.Expr]:
    return lambda row, column=0: matrix[row, column]


def _fill(
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
    return sp.Matrix([[_value(formula, tables, {**r, **c}) for c in columns] for r in rows])


def _tables(at: dict[str, sp.Matrix]) -> Tables:
    """What the indexed symbols stand for on the matrices of `theory.multitask.loss.symbols`."""
    heads, blocks = at["omega"].shape
    tasks = at["mu"].shape[1]
    counts = {HEADS: heads, BLOCKS: blocks, TASKS: tasks, UNKNOWNS: heads * (blocks + tasks)}
    tables: Tables = {name: lambda count=count: count for name, count in counts.items()}
    names = {omega: "omega", mu: "mu", d: "sizes", kappa: "kappas", A: "powers"}
    tables |= {base: _read(at[name]) for base, name in names.items()}
    tables[sigma] = _read(at["noises"].applyfunc(sp.sqrt))
    tables[s] = _read(_fill(VARIANCE, tables, (i,), ()))
    tables[E] = _read(_fill(OVERLAP, tables, (h,), (k,)))
    tables[R] = _read(_fill(RESIDUAL, tables, (i,), (b,)))
    tables[C] = _read(_fill(COUPLING, tables, (h,), (k,)))
    return tables


def gradient(at: dict[str, sp.Matrix]) -> tuple[sp.Matrix, sp.Matrix]:
    """dloss/domega (H, B) and dloss/dmu (H, I) of the summed loss, on the matrices of `loss.symbols`."""
    tables = _tables(at)
    return _fill(SLOPE_OMEGA, tables, (h,), (b,)), _fill(SLOPE_MU, tables, (h,), (i,))


def hessian(at: dict[str, sp.Matrix]) -> sp.Matrix:
    """The Hessian (N, N) of the summed loss, N = H (B + I): first omega, then mu, both head-major."""
    tables = _tables(at)
    mixed = _fill(CURVATURE_MIXED, tables, (h, b), (k, i))
    upper = _fill(CURVATURE_OMEGA, tables, (h, b), (k, b2)).row_join(mixed)
    lower = mixed.T.row_join(_fill(CURVATURE_MU, tables, (h, i), (k, i2)))
    return upper.col_join(lower)


_HOW = "entry by entry, at three heads, two blocks and two tasks and at one of each"


def _case(heads: int, blocks: int, tasks: int) -> Tables:
    """The tables of a case, with the loss of `multitask.loss`, its unknowns in one list, and `hessian`."""
    at = symbols(heads, blocks, tasks)
    summed, unknowns, second = sum(task_losses(at)), [*at["omega"], *at["mu"]], hessian(at)
    return _tables(at) | {total: lambda: summed, theta: lambda place: unknowns[place], hess: _read(second)}


def derive() -> Derivation:
    """First and second derivatives of the loss, entry by entry."""
    step = Derivation(
        "The gradient and the Hessian of the large-L loss",
        "Chen, Sheen, Wang and Yang (2024): the gradient that drives the decomposable weights. The Hessian "
        "is what an implicit integrator and a linearisation need.",
    )
    cases = [_case(3, 2, 2), _case(1, 1, 1)]

    def everywhere(difference: sp.Expr) -> sp.Expr:
        """Zero if and only if the difference vanishes at every entry of every case."""
        free = [index for index in COUNTS if index in difference.free_symbols]
        rest = (
            sp.expand(_value(difference, tables, dict(zip(free, place, strict=True))))
            for tables in cases
            for place in product(*(range(tables[COUNTS[index]]()) for index in free))
        )
        return sp.Add(*(sp.Abs(entry) for entry in rest))

    def slope_is(
        text: str, value: sp.Expr, unknowns: tuple[sp.Expr, ...], formula: sp.Expr, **names: sp.Basic
    ) -> None:
        """Claim that the derivative of a value by the unknowns is the formula."""
        shown = sp.Derivative(value, *unknowns, evaluate=False)
        step.identity(text, slope(value, *unknowns), formula, by=everywhere, how=_HOW, shown=shown, **names)

    step.say(
        "Heads are numbered {h}, {k}, {j}, blocks {b}, {b2}, and tasks {i}, {i2}; {delta} is 1 for equal "
        "indices and 0 otherwise. Every formula below is compared with the loss of the derivation before, "
        "and with its derivatives as sympy takes them, at all the entries of two cases: {large} and {small}. "
        "They hold every kind of entry: a term of the loss has one task and two heads, a second derivative "
        "two blocks.",
        h=h,
        k=k,
        j=j,
        b=b,
        b2=b2,
        i=i,
        i2=i2,
        delta=same(h, k),
        large=sp.Eq(sp.Tuple(HEADS, BLOCKS, TASKS), sp.Tuple(3, 2, 2)),
        small=sp.Eq(sp.Tuple(HEADS, BLOCKS, TASKS), sp.Tuple(1, 1, 1)),
    )
    step.define("Variance of the labels of a task.", s[i], VARIANCE)
    step.define("Overlap of two heads.", E[h, k], OVERLAP)
    step.define("What the heads together fail to read off.", R[i, b], RESIDUAL)
    step.define("Coupling of two heads through the noise of all tasks.", C[h, k], COUPLING)
    step.identity(
        "In these terms the loss, summed over tasks, reads as follows.", total, LOSS, by=everywhere, how=_HOW
    )
    slope_is(
        "The chain rule needs four derivatives. An overlap is tilted by both its heads.",
        E[h, k],
        (omega[j, b],),
        d[b] * kappa[b] ** 2 * E[h, k] * (same(h, j) * omega[k, b] + same(k, j) * omega[h, b]),
    )
    coupled = s[i] * (same(h, j) * mu[k, i] + same(k, j) * mu[h, i])
    slope_is("A coupling is a sum of products.", C[h, k], (mu[j, i],), coupled)
    by_omega, by_mu = -same(b, b2) * kappa[b] * mu[h, i], -same(i, i2) * kappa[b] * omega[h, b]
    slope_is("A residual is linear in the KQ values.", R[i, b], (omega[h, b2],), by_omega)
    slope_is("It is linear in the OV values as well.", R[i, b], (mu[h, i2],), by_mu)
    slope_is(
        "The gradient by a KQ value: the signal pulls as long as a residual is left, against the noise. "
        "The noise has its factor 2 because {overlap} and {coupling} are symmetric.",
        total,
        (omega[h, b],),
        SLOPE_OMEGA,
        overlap=E[h, k],
        coupling=C[h, k],
    )
    slope_is("The gradient by an OV value: the same contest.", total, (mu[h, i],), SLOPE_MU)
    slope_is(
        "Two KQ values: the signal couples them within a block, the noise couples them all. The last sum, "
        "over a head's overlaps with every head, stays within the head.",
        total,
        (omega[h, b], omega[k, b2]),
        CURVATURE_OMEGA,
    )
    slope_is("A KQ value and an OV value.", total, (omega[h, b], mu[k, i]), CURVATURE_MIXED)
    slope_is(
        "Two OV values: the loss is quadratic in them, and tasks meet only through the KQ values.",
        total,
        (mu[h, i], mu[k, i2]),
        CURVATURE_MU,
    )
    slope_is(
        "List the unknowns as {theta}: first the KQ values, then the OV values, each head by head. The "
        "matrix assembled from the three kinds is the Hessian in that order.",
        total,
        (theta[m], theta[n]),
        hess[m, n],
        theta=theta,
    )
    _one_coordinate(step)
    return step


def _one_coordinate(step: Derivation) -> None:
    """From the gradient by a block value to that by the KQ entry of one coordinate."""
    apart, block = symbols(1, 3, 1), symbols(1, 1, 1)
    share, value, eigenvalue = block["powers"][0] / 3, block["omega"][0], block["kappas"][0]
    equal = {apart["sizes"][at]: 1 for at in range(3)} | {apart["kappas"][at]: eigenvalue for at in range(3)}
    equal |= {apart["powers"][at]: share for at in range(3)} | {apart["omega"][at]: value for at in range(3)}
    entry = sp.IndexedBase("G")[h, b]
    step.identity(
        "Trained weights belong to coordinates, and a block value is what {size} of them have in common. It "
        "moves them all, so that a single coordinate sees only the part {part} of its gradient. Here for "
        "one head and a block of three, its coordinates taken as blocks of their own that share its power:",
        sp.diff(sum(task_losses(apart)), apart["omega"][0]).subs(equal),
        gradient(block)[0][0].subs(block["sizes"][0], 3) / 3,
        shown=entry,
        size=d[b],
        part=sp.Eq(entry, sp.Derivative(total, omega[h, b], evaluate=False) / d[b], evaluate=False),
    )
    step.say(
        "The coordinates of a block see the same gradient: a flow that starts with one value on a block "
        "keeps it so."
    )
