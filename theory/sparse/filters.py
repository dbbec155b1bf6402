"""The weights after any number of gradient steps: a filter of the preprocessed sample covariance."""

from __future__ import annotations

import sympy as sp

from theory.algebra import equal, expanded
from theory.derivation import Derivation
from theory.sparse.symbols import M_, R_, REFERENCE, S_, SIZE, T, eta, r_, u_, z


def gradient_filter(z: sp.Expr, eta: sp.Expr, t: sp.Expr) -> sp.Expr:
    """What t gradient steps of size eta from zero multiply a component with, at eigenvalue z."""
    return (1 - (1 - eta * z) ** t) / z


def flow_filter(z: sp.Expr, T: sp.Expr) -> sp.Expr:
    """The limit of many small steps, eta t = T."""
    return (1 - sp.exp(-T * z)) / z


def derive() -> Derivation:
    """The filter of the steps, of the gradient flow as their limit, and of late times."""
    step = Derivation("Preprocess, then optimize: filters", REFERENCE)
    f, g, t = sp.Function("f"), sp.Function("g"), sp.Symbol("t", integer=True, positive=True)

    def of_steps(gap: sp.Expr) -> sp.Expr:
        return sp.simplify(gap.replace(f, lambda steps: gradient_filter(z, eta, steps)))

    def of_time(gap: sp.Expr) -> sp.Expr:
        return sp.simplify(gap.replace(g, lambda time: flow_filter(z, time)).doit())

    step.define(
        "In the eigenbasis of {M} the steps are decoupled. At the eigenvalue {z} the weights {u} are, after "
        "{t} steps from zero, the component of {Rr} times a filter,",
        f(t),
        gradient_filter(z, eta, t),
        M=equal(M_, R_ * S_ * R_),
        z=z,
        u=u_,
        t=t,
        Rr=R_ * r_,
    )
    step.identity("which starts at zero", f(sp.Integer(0)), sp.Integer(0), by=of_steps)
    step.identity("and grows in every step as it must.", f(t + 1), f(t) + eta * (1 - z * f(t)), by=of_steps)
    polynomial = step.identity(
        "It is a polynomial. After three steps, for instance,",
        gradient_filter(z, eta, sp.Integer(3)),
        3 * eta - 3 * eta**2 * z + eta**3 * z**2,
        shown=f(sp.Integer(3)),
    )
    weights: sp.Expr = sp.ZeroMatrix(SIZE, 1)
    for _ in range(3):
        weights = weights + eta * R_ * R_ * (r_ - S_ * weights)
    powers = sp.Poly(polynomial, z).all_coeffs()[::-1]
    matrix = sp.MatAdd(*(c * sp.MatPow(M_, k).doit() for k, c in enumerate(powers)))
    step.identity(
        "and in matrices, from the steps in the metric themselves:",
        weights,
        R_ * matrix * R_ * r_,
        by=expanded({M_: R_ * S_ * R_}),
        shown=sp.MatrixSymbol("beta_3", SIZE, 1),
    )
    step.identity(
        "Many small steps, {T}, are a gradient flow,",
        sp.limit(gradient_filter(z, T / t, t), t, sp.oo),
        flow_filter(z, T),
        shown=sp.Limit(gradient_filter(z, T / t, t), t, sp.oo, "-"),
        T=equal(T, eta * t),
    )
    step.identity(
        "{g} for short, which solves the equation of the flow.",
        sp.Derivative(g(T), T),
        1 - z * g(T),
        by=of_time,
        g=equal(g(T), flow_filter(z, T)),
    )
    step.identity(
        "At late times it inverts,",
        sp.limit(flow_filter(z, T), T, sp.oo),
        1 / z,
        shown=sp.Limit(g(T), T, sp.oo, "-"),
    )
    step.identity(
        "so that with an invertible sample covariance, and all correlations nonzero, the preprocessing is "
        "forgotten: what is left is least squares. Sparsity helps on the way there.",
        R_ * sp.Inverse(R_ * S_ * R_).doit() * R_ * r_,
        sp.Inverse(S_) * r_,
        by=expanded({}),
        shown=R_ * sp.Inverse(M_) * R_ * r_,
    )
    return step
