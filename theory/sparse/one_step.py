"""The risk of one gradient step from zero."""

from __future__ import annotations

import sympy as sp

from theory.algebra import equal, gaussian_mean, matrix
from theory.derivation import Derivation
from theory.multitask import gradient_step
from theory.sparse.spectral import filter_risk
from theory.sparse.symbols import REFERENCE, beta_, ell, j_, mean, n, noise, r_, tau, v
from theory.symbols import L, d


def one_step_size(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """The best size 1 / a of one gradient step from zero."""
    return 1 / (1 + (d + 1) / n + sigma2 * d / (n * v))


def one_step_risk(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """The risk of the best gradient step from zero."""
    return v * (1 - one_step_size(d, n, v, sigma2))


def derive() -> Derivation:
    """The moments of the step, its best size and the risk that is left."""
    step = Derivation("Preprocess, then optimize: one gradient step", REFERENCE)
    w, x, u, r = sp.symbols("w_j x u r_j", real=True)
    c, best = sp.Symbol("c", real=True), sp.Symbol("a", positive=True)
    moments = {x: sp.Integer(1), u: tau**2 - w**2}
    first = step.identity(
        "One gradient step from zero, of size {c}, has the weights {weights}. Let {x} be coordinate {j} of "
        "a pair and {u} the rest of its label, independent of it, of the variance {rest}. On average a pair "
        "reads off the weight,",
        gaussian_mean((w * x + u) * x, moments),
        w,
        shown=mean((w * x + u) * x),
        c=c,
        weights=equal(beta_, c * r_),
        x=x,
        j=j_,
        u=u,
        rest=tau**2 - w**2,
    )
    square = step.identity(
        "with this mean square, Isserlis' theorem.",
        gaussian_mean((w * x + u) ** 2 * x**2, moments),
        tau**2 + 2 * w**2,
        shown=mean((w * x + u) ** 2 * x**2),
    )
    squared = step.identity(
        "The square of {r} has {n} terms of one pair and {others} of two,",
        (n * square + n * (n - 1) * first**2) / n**2,
        w**2 + (tau**2 + w**2) / n,
        shown=mean(r**2),
        r=r,
        n=n,
        others=n * (n - 1),
    )
    total = step.identity(
        "and with {tau} the coordinates together make, whatever the weights of the length {v} are,",
        sp.expand(d * squared).subs(w**2, v / d),
        v * (1 + (d + 1) / n + noise * d / (n * v)),
        by=lambda gap: gap.subs(tau, sp.sqrt(v + noise)),
        shown=mean(sp.Symbol("|r|") ** 2),
        tau=equal(tau**2, v + noise),
        v=sp.sqrt(v),
    )
    X, errors, weights = matrix("x", 2, 2), matrix("e", 2, 1), matrix("w", 2, 1)
    correlations = X.T * (X * weights + errors) / 2
    step.identity(
        "Two pairs and two coordinates confirm it, all moments taken one by one.",
        gaussian_mean(
            correlations.dot(correlations), dict.fromkeys(X, sp.Integer(1)) | dict.fromkeys(errors, noise)
        ),
        total.subs({d: 2, n: 2}).subs(v, weights.dot(weights)),
        shown=mean(sp.Symbol("|r|") ** 2),
    )
    step.minimum(
        "The risk is the mean squared distance from the weights, and the best size is the inverse of {a}:",
        c**2 * total - 2 * c * v + v,
        c,
        one_step_size(d, n, v, noise),
        a=equal(best, 1 + (d + 1) / n + noise * d / (n * v)),
    )
    step.identity(
        "That leaves the share {a} of the signal unexplained,",
        (c**2 * total - 2 * c * v + v).subs(c, one_step_size(d, n, v, noise)),
        one_step_risk(d, n, v, noise),
        shown=v * (1 - 1 / best),
        a=1 - 1 / best,
    )
    step.identity(
        "It is the step of linear attention (see the optimal gradient step) with {n} in place of {L}.",
        one_step_size(d, n, v, noise),
        gradient_step.step(d, 1 + noise / v).subs(L, n),
        shown=1 / best,
        n=n,
        L=L,
    )
    one, two = {x: sp.Integer(1)}, {x: sp.Integer(1), u: sp.Integer(1)}
    diagonal = (n * gaussian_mean(x**4, one) + n * (n - 1) * gaussian_mean(x**2, one) ** 2) / n**2
    second = step.identity(
        "Spectrally a step is the constant filter {c}. The squared eigenvalues have the mean below, from {d} "
        "entries of the sample covariance on its diagonal and {others} beside it,",
        (d * diagonal + d * (d - 1) * n * gaussian_mean(x**2 * u**2, two) / n**2) / d,
        1 + (d + 1) / n,
        shown=mean(ell**2),
        c=c,
        d=d,
        others=d * (d - 1),
    )
    powers = sp.Poly(filter_risk(c, ell, d, n, v, noise), ell).all_coeffs()[::-1]
    step.identity(
        "and the sum over the eigenvalues is the same risk: more than that of ridge regression.",
        d * (powers[0] + powers[1] + powers[2] * second),
        c**2 * total - 2 * c * v + v,
        shown=d * mean(filter_risk(c, ell, d, n, v, noise)),
    )
    return step
