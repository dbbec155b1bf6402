"""The gradient and the Hessian of the first-order law, for any number of heads, blocks and tasks.

The formulas are written once, by hand, in indexed symbols, and proved against sympy's own derivatives of
`theory.multitask.first_order.task_losses`, as `theory.multitask.gradient` does for the asymptotic loss.
"""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from theory.derivation import Derivation
from theory.multitask.first_order import task_losses
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
    b3,
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
from theory.multitask.loss import symbols
from theory.symbols import L

v, t, P, M, N, x, x1, x2, V, W, Z = map(
    sp.IndexedBase, ("v", "t", "P", "M", "N", "x", "x'", "x''", "V", "V'", "Z")
)

# What the law is made of, each in terms of what stands above it.
VALUE = kappa[b] * omega[h, b]
TILT = 1 / (1 - 2 * v[h, b] * v[k, b])
OVERLAP = sp.Product((1 - 2 * v[h, b] * v[k, b]) ** (-d[b] / 2), (b, 1, BLOCKS))
LABELS = s[i] + over(b, A[i, b] * v[h, b] * v[k, b] * t[h, k, b])
FLUCTUATION = P[h, k] * M[h, k, i]
PULL = t[h, h, b] * v[h, b]
EXCESS = P[h, h] * x[h, b]
DRAG = over(h, mu[h, i] * V[h, b])
LOSS = (
    over(i, over(b, A[i, b] * R[i, b] * (R[i, b] + 2 / L * Z[i, b])))
    + over(i, over(h, over(k, mu[h, i] * mu[k, i] * N[h, k, i]))) / L
    + over(i, sigma[i] ** 2)
)

# Derivatives by v_hb: of the pull, once and twice, and of the excess of a block b' of the same head.
PULL_1 = t[h, h, b] ** 2 * (1 + 2 * v[h, b] ** 2)
PULL_2 = 4 * t[h, h, b] ** 3 * v[h, b] * (3 + 2 * v[h, b] ** 2)
EXCESS_1 = P[h, h] * (2 * d[b] * x[h, b] * x[h, b2] + same(b, b2) * x1[h, b])
EXCESS_2 = P[h, h] * (
    2 * d[b2] * x[h, b2] * (2 * d[b] * x[h, b] * x[h, b3] + same(b, b3) * x1[h, b])
    + 2 * d[b] * (same(b, b2) * x1[h, b] * x[h, b3] + same(b2, b3) * x[h, b] * x1[h, b3])
    + same(b, b2) * same(b, b3) * x2[h, b]
)

# Derivatives of the covariance by the products u_hkb = v_hb v_kb, once and twice.
N_1, N_2 = sp.IndexedBase("N'"), sp.IndexedBase("N''")
FLUCTUATION_1 = P[h, k] * t[h, k, b] * (d[b] * M[h, k, i] + A[i, b] * t[h, k, b])
FLUCTUATION_2 = (
    P[h, k]
    * t[h, k, b]
    * t[h, k, b2]
    * (
        d[b] * d[b2] * M[h, k, i]
        + d[b2] * A[i, b] * t[h, k, b]
        + d[b] * A[i, b2] * t[h, k, b2]
        + same(b, b2) * (2 * d[b] * M[h, k, i] + 4 * A[i, b] * t[h, k, b])
    )
)
V_2 = sp.IndexedBase("V''")

SLOPE_OMEGA = (
    2
    * kappa[b]
    * over(
        i,
        mu[h, i]
        * (
            -A[i, b] * R[i, b]
            + (
                over(b2, A[i, b2] * R[i, b2] * W[h, b, b2])
                - A[i, b] * Z[i, b]
                + over(k, mu[k, i] * N_1[h, k, b, i] * v[k, b])
            )
            / L
        ),
    )
)
SLOPE_MU = -2 * over(b, A[i, b] * R[i, b] * v[h, b]) + 2 / L * (
    over(b, A[i, b] * (R[i, b] * V[h, b] - Z[i, b] * v[h, b])) + over(k, mu[k, i] * N[h, k, i])
)
CURVATURE_OMEGA = (
    2
    * kappa[b]
    * kappa[b2]
    * over(
        i,
        mu[h, i]
        * (
            mu[k, i]
            * (
                same(b, b2) * A[i, b]
                + (
                    same(b, b2) * N_1[h, k, b, i]
                    + N_2[h, k, b, b2, i] * v[k, b] * v[h, b2]
                    - A[i, b] * W[k, b2, b]
                    - A[i, b2] * W[h, b, b2]
                )
                / L
            )
            + same(h, k)
            / L
            * (
                over(b3, A[i, b3] * R[i, b3] * V_2[h, b, b2, b3])
                + over(j, mu[j, i] * N_2[h, j, b, b2, i] * v[j, b] * v[j, b2])
            )
        ),
    )
)
CURVATURE_MIXED = (
    2
    * kappa[b]
    * (
        A[i, b] * (mu[h, i] * v[k, b] - same(h, k) * R[i, b])
        + (
            mu[h, i]
            * (N_1[h, k, b, i] * v[k, b] - A[i, b] * V[k, b] - over(b2, A[i, b2] * W[h, b, b2] * v[k, b2]))
            + same(h, k)
            * (
                over(b2, A[i, b2] * R[i, b2] * W[h, b, b2])
                - A[i, b] * Z[i, b]
                + over(j, mu[j, i] * N_1[h, j, b, i] * v[j, b])
            )
        )
        / L
    )
)
CURVATURE_MU = (
    2
    * same(i, i2)
    * (over(b, A[i, b] * (v[h, b] * v[k, b] - (v[h, b] * V[k, b] + v[k, b] * V[h, b]) / L)) + N[h, k, i] / L)
)


def _tables(at: dict[str, sp.Matrix]) -> Tables:
    """What the indexed symbols stand for on the matrices of `theory.multitask.loss.symbols`."""
    tables = tables_of(at)
    for name, formula, *indices in (
        (v, VALUE, h, b),
        (t, TILT, h, k, b),
        (P, OVERLAP, h, k),
        (M, LABELS, h, k, i),
        (N, FLUCTUATION, h, k, i),
        (N_1, FLUCTUATION_1, h, k, b, i),
        (N_2, FLUCTUATION_2, h, k, b, b2, i),
        (x, PULL, h, b),
        (x1, PULL_1, h, b),
        (x2, PULL_2, h, b),
        (V, EXCESS, h, b),
        (W, EXCESS_1, h, b, b2),
        (V_2, EXCESS_2, h, b, b2, b3),
        (Z, DRAG, i, b),
    ):
        tables[name] = table(formula, tables, *indices)
    return tables


def gradient(at: dict[str, sp.Matrix]) -> tuple[sp.Matrix, sp.Matrix]:
    """dloss/domega (H, B) and dloss/dmu (H, I) of the summed loss, on the matrices of `loss.symbols`."""
    tables = _tables(at)
    return fill(SLOPE_OMEGA, tables, (h,), (b,)), fill(SLOPE_MU, tables, (h,), (i,))


def hessian(at: dict[str, sp.Matrix]) -> sp.Matrix:
    """The Hessian (N, N) of the summed loss, N = H (B + I): first omega, then mu, both head-major."""
    return assembled(CURVATURE_OMEGA, CURVATURE_MIXED, CURVATURE_MU, _tables(at))


def _cleared(gap: sp.Expr) -> sp.Expr:
    """Zero if and only if the gap is, which is a sum of products of powers of the bases 1 - 2 u.

    The powers with a symbol in the exponent, the overlaps, are set apart, and of what is multiplied by one
    product of them the denominator is cleared; so no symbol has to be solved for.
    """
    overlaps: dict[sp.Expr, sp.Symbol] = {}
    inverses: dict[sp.Expr, sp.Symbol] = {}

    def is_tilt(part: sp.Basic) -> bool:
        return bool(part.is_Pow and part.base.is_Add and part.exp.could_extract_minus_sign())

    def named(power: sp.Pow) -> sp.Expr:
        whole, symbolic = power.exp.as_coeff_Add()
        made = inverses.setdefault(power.base, sp.Dummy()) ** -whole
        return made * overlaps.setdefault(power.base**symbolic, sp.Dummy()) if symbolic else made

    flat = gap.replace(is_tilt, named)
    if not inverses:
        return sp.expand(flat)
    parts: dict[tuple[int, ...], list[tuple[tuple[int, ...], sp.Expr]]] = {}
    for degrees, factor in sp.Poly(flat, *overlaps.values(), *inverses.values()).terms():
        parts.setdefault(degrees[: len(overlaps)], []).append((degrees[len(overlaps) :], factor))
    left = []
    for part in parts.values():
        most = [max(column) for column in zip(*(degrees for degrees, _ in part), strict=True)]
        cleared = sp.Integer(0)
        for degrees, factor in part:
            missing = [top - degree for top, degree in zip(most, degrees, strict=True)]
            cleared += factor * sp.prod(base**power for base, power in zip(inverses, missing, strict=True))
        left.append(sp.Abs(sp.expand(cleared)))
    return sp.Add(*left)


_HOW = "entry by entry, at two heads, three blocks and a task and at two heads, a block and two tasks"


def _case(heads: int, blocks: int, tasks: int) -> Tables:
    """The tables of a case, with the loss of `multitask.first_order`, its unknowns, and `hessian`."""
    at = symbols(heads, blocks, tasks)
    return case(_tables(at), at, task_losses(at), hessian(at))


def derive() -> Derivation:
    """First and second derivatives of the loss, entry by entry."""
    step = Derivation(
        "The gradient and the Hessian of the first-order law",
        "Derived here. The gradient drives the decomposable weights at a fixed dimension of the blocks; the "
        "Hessian is what an implicit integrator needs.",
    )
    large, small = _case(2, 3, 1), _case(2, 1, 2)
    proof = everywhere([large, small], _cleared)

    def slope_is(
        text: str, value: sp.Expr, unknowns: tuple[sp.Expr, ...], formula: sp.Expr, **names: sp.Basic
    ) -> None:
        """Claim that the derivative of a value by the unknowns is the formula."""
        shown = sp.Derivative(value, *unknowns, evaluate=False)
        step.identity(text, slope(value, *unknowns), formula, by=proof, how=_HOW, shown=shown, **names)

    step.say(
        "Heads are numbered {h}, {k}, {j}, blocks {b}, {b2}, {b3}, and tasks {i}, {i2}; {delta} is 1 for "
        "equal indices and 0 otherwise. Every formula below is compared with the loss of the first-order "
        "law, and with its derivatives as sympy takes them, at all the entries of two cases: {large} and "
        "{small}. They hold every kind of entry: a term of the loss has one task and two heads, a second "
        "derivative two blocks besides that of the term.",
        h=h,
        k=k,
        j=j,
        b=b,
        b2=b2,
        b3=b3,
        i=i,
        i2=i2,
        delta=same(h, k),
        large=sp.Eq(sp.Tuple(HEADS, BLOCKS, TASKS), sp.Tuple(2, 3, 1)),
        small=sp.Eq(sp.Tuple(HEADS, BLOCKS, TASKS), sp.Tuple(2, 1, 2)),
    )
    _names(step)
    step.identity(
        "In these terms the loss, summed over tasks, reads as follows.", total, LOSS, by=proof, how=_HOW
    )
    _chain(slope_is)
    slope_is(
        "The gradient by a KQ value: what is not read off pulls, on the heads' means and on their biases, "
        "against the biases of all heads and the covariances.",
        total,
        (omega[h, b],),
        SLOPE_OMEGA,
    )
    slope_is("The gradient by an OV value: the same contest.", total, (mu[h, i],), SLOPE_MU)
    slope_is(
        "Two KQ values. Here the covariances depend on the task beyond its couplings of heads, so that the "
        "sum over the tasks remains.",
        total,
        (omega[h, b], omega[k, b2]),
        CURVATURE_OMEGA,
    )
    slope_is("A KQ value and an OV value.", total, (omega[h, b], mu[k, i]), CURVATURE_MIXED)
    slope_is(
        "Two OV values: the loss is still quadratic in them, and tasks meet only through the KQ values.",
        total,
        (mu[h, i], mu[k, i2]),
        CURVATURE_MU,
    )
    step.identity(
        "List the unknowns as {theta}: first the KQ values, then the OV values, each head by head. The "
        "matrix assembled from the three kinds is the Hessian in that order.",
        slope(total, theta[m], theta[n]),
        hess[m, n],
        by=everywhere([small], _cleared),
        shown=sp.Derivative(total, theta[m], theta[n], evaluate=False),
        how="entry by entry, at two heads, a block and two tasks",
        theta=theta,
    )
    return step


def _names(step: Derivation) -> None:
    """What the loss is made of."""
    step.define("The KQ values in units of the covariates' variance,", v[h, b], VALUE)
    step.define("what the mean over the query makes of two of them,", t[h, k, b], TILT)
    step.define("and over all blocks.", P[h, k], OVERLAP)
    step.define("Variance of the labels of a task, untilted,", s[i], VARIANCE)
    step.define("and under the tilt by two heads, averaged over the query.", M[h, k, i], LABELS)
    step.define("Covariance of two heads.", N[h, k, i], FLUCTUATION)
    step.define("What the heads together fail to read off.", R[i, b], RESIDUAL)
    step.define("Bias of a head in a block, with {x},", V[h, b], EXCESS, x=sp.Eq(x[h, b], PULL))
    step.define("and of all heads.", Z[i, b], DRAG)


def _chain(slope_is: Callable[..., None]) -> None:
    """The derivatives of the parts, by a KQ value."""
    both = same(h, j) * v[k, b] + same(k, j) * v[h, b]
    slope_is(
        "The parts, one after the other. The mean over the query:",
        P[h, k],
        (omega[j, b],),
        kappa[b] * P[h, k] * d[b] * t[h, k, b] * both,
    )
    slope_is(
        "The covariance of two heads, {slope} being its derivative by {u},",
        N[h, k, i],
        (omega[j, b],),
        kappa[b] * FLUCTUATION_1 * both,
        slope=sp.Eq(N_1[h, k, b, i], FLUCTUATION_1),
        u=v[h, b] * v[k, b],
    )
    slope_is(
        "and of that again; {slope}.",
        N_1[h, k, b, i],
        (omega[j, b2],),
        kappa[b2] * N_2[h, k, b, b2, i] * both.subs(b, b2),
        slope=sp.Eq(N_2[h, k, b, b2, i], FLUCTUATION_2),
    )
    slope_is(
        "What a block adds to the bias, with {first},",
        x[h, b],
        (omega[h, b2],),
        kappa[b] * same(b, b2) * x1[h, b],
        first=sp.Eq(x1[h, b], PULL_1),
    )
    slope_is(
        "and of that again; {second}.",
        x1[h, b],
        (omega[h, b2],),
        kappa[b] * same(b, b2) * x2[h, b],
        second=sp.Eq(x2[h, b], PULL_2),
    )
    slope_is(
        "So the bias of a head has the derivatives {W},",
        V[h, b2],
        (omega[h, b],),
        kappa[b] * EXCESS_1,
        W=W[h, b, b2],
    )
    slope_is(
        "and {V} when taken twice.",
        V[h, b3],
        (omega[h, b], omega[h, b2]),
        kappa[b] * kappa[b2] * EXCESS_2,
        V=V_2[h, b, b2, b3],
    )
