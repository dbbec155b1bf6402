"""Least squares with all coordinates, with the support, and with more coordinates than pairs."""

from __future__ import annotations

import sympy as sp

from theory.algebra import equal, expanded
from theory.derivation import Derivation
from theory.sparse.symbols import PAIRS, REFERENCE, SIZE, X_, mean, n, noise, s, v
from theory.symbols import d


def ols_risk(d: sp.Expr, n: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """Risk of least squares, n > d + 1."""
    return sigma2 * d / (n - d - 1)


def min_norm_risk(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """Risk of the interpolator of least norm, d > n + 1."""
    return v * (1 - n / d) + ols_risk(n, d, sigma2)


def noiseless_risk(d: sp.Expr, n: sp.Expr, v: sp.Expr) -> sp.Expr:
    """Risk of least squares without noise, of least norm if d > n."""
    return v * sp.Max(0, 1 - n / d)


def oracle_risk(s: sp.Expr, n: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """Risk of least squares on the support, n > s + 1."""
    return ols_risk(s, n, sigma2)


def derive() -> Derivation:
    """The three risks, from the inverse mean of a chi-square variable."""
    step = Derivation("Preprocess, then optimize: least squares", REFERENCE)
    q, free = sp.Symbol("q", positive=True), sp.Symbol("k", positive=True)
    density = q ** (free / 2) * sp.exp(-q / 2) / (2 ** (free / 2 + 1) * sp.gamma(free / 2 + 1))
    inverse = step.identity(
        "A chi-square variable {q} of {degrees} degrees of freedom, {k} positive, has the inverse mean",
        sp.gammasimp(sp.integrate(density / q, (q, 0, sp.oo))),
        1 / free,
        shown=sp.Integral(density / q, (q, 0, sp.oo)),
        how="the integral is a Gamma function",
        q=q,
        degrees=free + 2,
        k=free,
    )
    wrong = sp.Inverse(X_.T * X_) * X_.T * sp.MatrixSymbol("e", PAIRS, 1)
    step.identity(
        "Least squares is wrong by {wrong}. For one coordinate the risk is therefore, with {n} degrees of "
        "freedom,",
        noise * inverse.subs(free, n - 2),
        ols_risk(sp.Integer(1), n, noise),
        shown=noise * mean(1 / q),
        wrong=wrong,
        n=n,
    )
    gram = sp.MatrixSymbol("g", 2, 2).as_explicit()
    step.identity(
        "In general it is {noise} times the mean of the trace of {inverse}. A diagonal entry of that is the "
        "inverse square of what is left of a column of {X} beside all others: for two coordinates, in terms "
        "of the scalar products of the columns,",
        gram.inv()[0, 0],
        1 / (gram[0, 0] - gram[0, 1] * gram[1, 0] / gram[1, 1]),
        noise=noise,
        inverse=sp.Inverse(X_.T * X_),
        X=X_,
    )
    step.identity(
        "The column is normal and independent of the {others} others; rotate them into the first {others} "
        "axes, and there remain {rest} independent entries of it. With {k} that makes",
        d * noise * inverse.subs(free, n - d - 1),
        ols_risk(d, n, noise),
        shown=d * noise * mean(1 / q),
        others=d - 1,
        rest=n - d + 1,
        k=equal(free, n - d - 1),
    )
    step.identity(
        "An oracle that knows the support fits its {s} coordinates alone, at the risk {oracle}. For long "
        "prompts that is this share of what least squares costs, and the aim of the preprocessing.",
        sp.limit(oracle_risk(s, n, noise) / ols_risk(d, n, noise), n, sp.oo),
        s / d,
        shown=sp.Limit(oracle_risk(s, n, noise) / ols_risk(d, n, noise), n, sp.oo, "-"),
        s=s,
        oracle=oracle_risk(s, n, noise),
    )
    B = sp.MatrixSymbol("B", SIZE, PAIRS)
    plus = X_.T * sp.Inverse(X_ * X_.T)
    step.identity(
        "With more coordinates than pairs the interpolator of least norm multiplies the labels by {B}. The "
        "noise that it takes up is the trace of a matrix as above with {n} and {d} in each other's places,",
        B.T * B,
        sp.Inverse(X_ * X_.T),
        by=expanded({B: plus}),
        B=equal(B, plus),
        n=n,
        d=d,
    )
    step.identity(
        "and it finds the weights' projection on the {n} directions that the pairs span, which leaves the "
        "share {missing} of the signal. Together",
        v * (d - n) / d + n * noise * inverse.subs(free, d - n - 1),
        min_norm_risk(d, n, v, noise),
        shown=v * (d - n) / d + n * noise * mean(1 / q),
        n=n,
        missing=1 - n / d,
    )
    step.identity(
        "With noise both grow beyond bounds as the chi-square variable loses degrees of freedom, and are "
        "infinite with two of them or one, where {gap} is at most 1,",
        sp.limit(1 / inverse, free, 0, "+"),
        sp.Integer(0),
        shown=sp.Limit(1 / mean(1 / q), free, 0, "+"),
        gap=sp.Abs(n - d),
    )
    w = sp.MatrixSymbol("w", SIZE, 1)
    step.identity(
        "but without noise there is nothing that it multiplies. Where {n} is {d} or more, labels {labels} "
        "give the weights back, by {B}:",
        B * X_ * w,
        w,
        by=expanded({B: sp.Inverse(X_.T * X_) * X_.T}),
        n=n,
        d=d,
        labels=X_ * w,
        B=equal(B, sp.Inverse(X_.T * X_) * X_.T),
    )
    step.identity(
        "With {k} pairs fewer than coordinates, one included, all that is wrong is the missing share of the "
        "signal,",
        min_norm_risk(d, n, v, sp.Integer(0)).subs(d, n + free),
        noiseless_risk(n + free, n, v).simplify(),
        k=free,
    )
    return step
