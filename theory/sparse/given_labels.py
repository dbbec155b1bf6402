"""The law of a pair's covariates, given its label."""

from __future__ import annotations

import sympy as sp

from theory.algebra import covariance, entries, equal, inserted, inverse, matrix
from theory.derivation import Derivation
from theory.sparse.symbols import REFERENCE, mean, noise, tau


def label_variance(Sigma: sp.Matrix, w: sp.Matrix, sigma2: sp.Expr) -> sp.Expr:
    """Variance tau^2 of a label."""
    return (w.T * Sigma * w)[0] + sigma2


def conditional_covariance(Sigma: sp.Matrix, w: sp.Matrix, sigma2: sp.Expr) -> sp.Matrix:
    """Covariance C of the covariates of a pair, given its label."""
    return Sigma - Sigma * w * w.T * Sigma / label_variance(Sigma, w, sigma2)


def two_covariates() -> sp.Matrix:
    """A covariance of two covariates, which stand for all."""
    return sp.Matrix(2, 2, sp.symbols("Sigma_0 Sigma_01 Sigma_01 Sigma_1", real=True))


def derive() -> Derivation:
    """The conditional mean and covariance, from the moments and from the density."""
    step = Derivation("Preprocess, then optimize: a pair, given its label", REFERENCE)
    Sigma, w, x = two_covariates(), matrix("w", 2, 1), matrix("x", 2, 1)
    variance, C = label_variance(Sigma, w, noise), conditional_covariance(Sigma, w, noise)
    sources, table = x.col_join(sp.Matrix([sp.Symbol("e", real=True)])), sp.diag(Sigma, noise)
    label = sp.Matrix([(w.T * x)[0] + sources[2]])
    rest = x - Sigma * w * label / variance
    P, Sigma_, C_ = (sp.MatrixSymbol(name, 2, 2) for name in ("P", "Sigma", "C"))
    p, w_, x_, z_ = (sp.MatrixSymbol(name, 2, 1) for name in ("p", "w", "x", "z"))
    y = sp.Symbol("y", real=True)
    known = {Sigma_: Sigma, w_: w, C_: C, tau: sp.sqrt(variance)}
    step.identity(
        "What are the features made of? Let the covariates be normal, those of one pair the vector {x} of "
        "covariance {Sigma}; again two of them stand for all, with the covariances {entries}. The variance "
        "{tau} of the label {y} is that of signal and noise together,",
        covariance(label, label, sources, table)[0],
        variance,
        shown=tau**2,
        x=x_,
        Sigma=Sigma_,
        entries=sp.Tuple(Sigma[0, 0], Sigma[0, 1], Sigma[1, 1]),
        tau=tau**2,
        y=y,
    )
    step.identity(
        "its covariances with the covariates are",
        p,
        Sigma_ * w_,
        by=entries(known | {p: covariance(x, label, sources, table)}),
        shown=mean(y * x_),
    )
    step.identity(
        "and the rest of the covariates, {z}, has none with it.",
        p,
        sp.ZeroMatrix(2, 1),
        by=entries(known | {p: covariance(rest, label, sources, table)}),
        shown=mean(y * z_),
        z=equal(z_, x_ - y * Sigma_ * w_ / tau**2),
    )
    step.identity(
        "So the rest is independent of the label. It is normal of the covariance {C},",
        P,
        Sigma_ - Sigma_ * w_ * w_.T * Sigma_ / tau**2,
        by=entries(known | {P: covariance(rest, rest, sources, table)}),
        shown=mean(z_ * z_.T),
        C=C_,
    )
    step.identity(
        "which is invertible with that of the covariates:",
        C.det(),
        noise / tau**2 * Sigma.det(),
        by=inserted({tau: sp.sqrt(variance)}),
        shown=sp.Determinant(C_),
    )
    t, J, single = sp.MatrixSymbol("t", 3, 1), sp.MatrixSymbol("J", 3, 3), sp.MatrixSymbol("y", 1, 1)
    joint = Sigma.row_join(Sigma * w).col_join((w.T * Sigma).row_join(sp.Matrix([variance])))
    written = {
        t: x.col_join(sp.Matrix([y])),
        single: sp.Matrix([y]),
        z_: x - Sigma * w * y / variance,
    }
    step.identity(
        "The density says the same. The exponent at covariates and label {t}, of the covariance {J}, is that "
        "of the label and that of the rest.",
        t.T * sp.Inverse(J) * t,
        single.T * single / tau**2 + z_.T * sp.Inverse(C_) * z_,
        by=entries({sp.Inverse(J): inverse(joint), sp.Inverse(C_): inverse(C)} | known | written),
        t=t,
        J=J,
    )
    return step
