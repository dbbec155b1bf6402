"""The gradient and the Hessian of the asymptotic loss, for any number of heads, blocks and tasks.

The formulas are written once, by hand, in indexed symbols. `gradient` and `hessian` read them on matrices;
`derive` prints them and proves them against sympy's own derivatives of `theory.multitask.loss.task_losses`.
"""

from __future__ import annotations

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.indexed import (
    BLOCKS,
    HEADS,
    RESIDUAL,
    TASKS,
    VARIANCE,
    A,
    R,
    Tables,
    assembled,
    b,
    b2,
    case,
    d,
    everywhere,
    fill,
    h,
    hess,
    i,
    i2,
    j,
    k,
    kappa,
    m,
    mu,
    n,
    omega,
    over,
    s,
    same,
    sigma,
    slope,
    table,
    tables_of,
    theta,
    total,
)
from theory.multitask.loss import symbols, task_losses
from theory.symbols import L

E, C = map(sp.IndexedBase, ("E", "C"))

OVERLAP = sp.exp(over(b, d[b] * kappa[b] ** 2 * omega[h, b] * omega[k, b]))
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


def _tables(at: dict[str, sp.Matrix]) -> Tables:
    """What the indexed symbols stand for on the matrices of `theory.multitask.loss.symbols`."""
    tables = tables_of(at)
    tables[E] = table(OVERLAP, tables, h, k)
    tables[C] = table(COUPLING, tables, h, k)
    return tables


def gradient(at: dict[str, sp.Matrix]) -> tuple[sp.Matrix, sp.Matrix]:
    """dloss/domega (H, B) and dloss/dmu (H, I) of the summed loss, on the matrices of `loss.symbols`."""
    tables = _tables(at)
    return fill(SLOPE_OMEGA, tables, (h,), (b,)), fill(SLOPE_MU, tables, (h,), (i,))


def hessian(at: dict[str, sp.Matrix]) -> sp.Matrix:
    """The Hessian (N, N) of the summed loss, N = H (B + I): first omega, then mu, both head-major."""
    return assembled(CURVATURE_OMEGA, CURVATURE_MIXED, CURVATURE_MU, _tables(at))


_HOW = "entry by entry, at three heads, two blocks and two tasks and at one of each"


def _case(heads: int, blocks: int, tasks: int) -> Tables:
    """The tables of a case, with the loss of `multitask.loss`, its unknowns in one list, and `hessian`."""
    at = symbols(heads, blocks, tasks)
    return case(_tables(at), at, task_losses(at), hessian(at))


def derive() -> Derivation:
    """First and second derivatives of the loss, entry by entry."""
    step = Derivation(
        "The gradient and the Hessian of the asymptotic loss",
        "Chen, Sheen, Wang and Yang (2024): the gradient that drives the decomposable weights. The Hessian "
        "is what an implicit integrator and a linearisation need.",
    )
    proof = everywhere([_case(3, 2, 2), _case(1, 1, 1)])

    def slope_is(
        text: str, value: sp.Expr, unknowns: tuple[sp.Expr, ...], formula: sp.Expr, **names: sp.Basic
    ) -> None:
        """Claim that the derivative of a value by the unknowns is the formula."""
        shown = sp.Derivative(value, *unknowns, evaluate=False)
        step.identity(text, slope(value, *unknowns), formula, by=proof, how=_HOW, shown=shown, **names)

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
        "In these terms the loss, summed over tasks, reads as follows.", total, LOSS, by=proof, how=_HOW
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
