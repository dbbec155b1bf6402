"""What several derivations do with small matrices of symbols, and with matrices of any size."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import sympy as sp


def matrix(name: str, rows: int, columns: int) -> sp.Matrix:
    """A matrix of real symbols, numbered from 0; the entries of a column have one index."""
    return sp.Matrix(
        rows,
        columns,
        lambda i, j: sp.Symbol(f"{name}_{i}" if columns == 1 else f"{name}_{i}_{j}", real=True),
    )


def unit(row: int, column: int, rows: int) -> sp.Matrix:
    """The square matrix whose only entry that is not zero is a one."""
    return sp.Matrix(rows, rows, lambda i, j: int((i, j) == (row, column)))


def equal(left: sp.Basic, right: sp.Basic) -> sp.Eq:
    """An equation for print between matrices, which sympy would call false for lack of a proof."""
    return sp.Eq(left, right, evaluate=False)


def inverse(of: sp.Matrix) -> sp.Matrix:
    """The inverse of a square matrix, by Cramer's rule."""
    return (of.adjugate() / sp.cancel(of.det())).applyfunc(sp.cancel)


def covariance(left: sp.Matrix, right: sp.Matrix, sources: sp.Matrix, table: sp.Matrix) -> sp.Matrix:
    """Covariance of two vectors that are linear in ``sources``, of covariance ``table``."""
    return left.jacobian(sources) * table * right.jacobian(sources).T


def gaussian_mean(expression: sp.Expr, variances: dict[sp.Symbol, sp.Expr]) -> sp.Expr:
    """Mean of a polynomial in independent normal variables of mean zero."""
    terms = sp.Poly(sp.expand(expression), *variances).terms()
    total = sp.Integer(0)
    for powers, factor in terms:
        if not any(power % 2 for power in powers):
            moments = zip(variances.values(), powers, strict=True)
            total += factor * sp.prod(var ** (p // 2) * sp.factorial2(p - 1) for var, p in moments)
    return total


@cache
def _gaussian_integral() -> tuple[sp.Symbol, sp.Symbol, sp.Expr]:
    """Symbols alpha and beta, and the integral of exp(-alpha x^2 + beta x) over all real numbers."""
    alpha, beta, x = sp.Symbol("alpha", positive=True), *sp.symbols("beta x", real=True)
    gaussian = sp.exp(-alpha * x**2 + beta * x)
    return alpha, beta, sp.simplify(sp.integrate(gaussian, (x, -sp.oo, sp.oo), conds="none", meijerg=True))


def over_line(integrand: sp.Expr, variable: sp.Symbol) -> sp.Expr:
    """Integral of a polynomial times a Gaussian over all real numbers.

    That of the Gaussian is sympy's; powers of the variable are derivatives of it by beta.
    """
    alpha, beta, integral = _gaussian_integral()
    polynomial, exponent = sp.Integer(1), sp.Integer(0)
    for factor in sp.Mul.make_args(sp.powsimp(integrand)):
        if isinstance(factor, sp.exp):
            exponent += factor.exp
        else:
            polynomial *= factor
    *square, linear, constant = sp.Poly(exponent, variable).all_coeffs()
    assert len(square) == 1
    assert square[0].is_negative, f"{integrand} is no polynomial times a Gaussian"
    here = {alpha: -square[0], beta: linear}
    return sp.exp(constant) * sum(
        factor * sp.diff(integral, beta, power).subs(here, simultaneous=True)
        for (power,), factor in sp.Poly(polynomial, variable).terms()
    )


def limit_at_zero(function: sp.Expr, variable: sp.Symbol, pole: int) -> sp.Expr:
    """Limit at zero of a function whose pole is of at most that order: the lower coefficients must vanish.

    Much faster than `sympy.limit` where the function is a sum of many exponentials.
    """
    function = function.replace(sp.exp, lambda exponent: sp.exp(sp.expand(exponent)))  # of which most cancels
    derivative = sp.expand(function * variable**pole, power_exp=False)
    for _ in range(pole):
        coefficient = derivative.subs(variable, 0)
        if sp.expand(coefficient) != 0 and sp.simplify(coefficient) != 0:
            return sp.zoo
        derivative = sp.diff(derivative, variable)
    return sp.expand(derivative.subs(variable, 0)) / sp.factorial(pole)


def expanded(
    values: dict[sp.Basic, sp.Basic], *, diagonal: sp.MatrixSymbol | None = None
) -> Callable[[sp.Expr], sp.Expr]:
    """Proof of a relation between matrices of any size by expanding it with ``values`` inserted.

    ``diagonal`` is a matrix that is known to be diagonal.
    """
    entries = {} if diagonal is None else {diagonal: sp.DiagMatrix(sp.MatrixSymbol("rho", diagonal.rows, 1))}

    def rest(gap: sp.Expr) -> sp.Expr:
        gap = gap.subs(values).doit().subs(entries).doit().expand()
        gap = gap.replace(_is_power_of_product, _written_out).doit()
        return sp.Integer(0) if gap.is_ZeroMatrix else gap

    return rest


def _is_power_of_product(expression: sp.Basic) -> bool:
    """Whether sympy does not expand an expression by itself: a positive power of a product of matrices."""
    return isinstance(expression, sp.MatPow) and expression.base.is_MatMul and expression.exp.is_positive


def _written_out(power: sp.MatPow) -> sp.MatMul:
    """The product that a power of a product of matrices stands for."""
    return sp.MatMul(*power.base.args * int(power.exp))


def entries(values: dict[sp.Basic, sp.Basic]) -> Callable[[sp.Expr], sp.Expr]:
    """Proof of a relation between matrices, entry by entry, with small ones inserted for named ones."""
    matrices = {
        name: sp.ImmutableMatrix(m) if isinstance(m, sp.MatrixBase) else m for name, m in values.items()
    }

    def rest(gap: sp.Expr) -> sp.Expr:
        explicit = gap.subs(matrices).doit().as_explicit()
        left = (sp.cancel(sp.together(entry)) for entry in explicit)
        return next((entry for entry in left if entry != 0), sp.Integer(0))

    return rest


def inserted(values: dict[sp.Symbol, sp.Expr]) -> Callable[[sp.Expr], sp.Expr]:
    """Proof of a relation between named quantities by inserting their values and cancelling."""
    return lambda gap: sp.cancel(sp.together(gap.subs(values)))
