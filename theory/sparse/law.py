"""The law of the correlations and of the sample covariance, given the labels."""

from __future__ import annotations

import sympy as sp

from theory.algebra import covariance, entries, equal, expanded, matrix
from theory.derivation import Derivation
from theory.sparse.given_labels import conditional_covariance, label_variance, two_covariates
from theory.sparse.symbols import M_, PAIRS, R_, REFERENCE, S_, SIZE, X_, Y_, mean, n, noise, r_, tau

power = sp.Symbol("Y", positive=True)  # sum of the squared labels
Sigma_, C_ = sp.MatrixSymbol("Sigma", SIZE, SIZE), sp.MatrixSymbol("C", SIZE, SIZE)
G_ = sp.MatrixSymbol("G", PAIRS - 1, SIZE)  # pairs, rotated off the direction of the labels
w_, xi_ = sp.MatrixSymbol("w", SIZE, 1), sp.MatrixSymbol("xi", SIZE, 1)

# The same for two covariates, and what stands for an entry-wise claim about a 2 x 2 matrix.
small_Sigma, small_C, claimed = (sp.MatrixSymbol(name, 2, 2) for name in ("Sigma", "C", "P"))
small_w = sp.MatrixSymbol("w", 2, 1)


def derive() -> Derivation:
    """The law at any size, why a rotation finds it, its mean, how to draw from it, and what the steps see."""
    step = Derivation("Preprocess, then optimize: the exact law", REFERENCE)
    _correlations(step)
    _rotation(step)
    _mean(step)
    _drawing(step)
    _steps(step)
    return step


def _correlations(step: Derivation) -> None:
    """The correlations: a part along the signal, and a normal rest of known covariance."""
    Z = sp.MatrixSymbol("Z", PAIRS, SIZE)
    step.identity(
        "For all pairs together, {X}, with rows of {Z} that are independent of each other and of the labels, "
        "normal of covariance {C}. At any sizes the correlations are",
        X_.T * Y_ / n,
        Sigma_ * w_ * Y_.T * Y_ / (n * tau**2) + Z.T * Y_ / n,
        by=expanded({X_: Y_ * (Sigma_ * w_).T / tau**2 + Z}),
        X=equal(X_, Y_ * (Sigma_ * w_).T / tau**2 + Z),
        Z=Z,
        C=C_,
    )
    C = sp.Matrix(2, 2, sp.symbols("C_0 C_01 C_01 C_1", real=True))
    rows, o, p = matrix("z", 3, 2), matrix("o", 3, 1), matrix("p", 3, 1)
    o_, p_, Z_ = sp.MatrixSymbol("o", 3, 1), sp.MatrixSymbol("p", 3, 1), sp.MatrixSymbol("Z", 3, 2)
    table = sp.kronecker_product(sp.eye(3), C)
    overlap = sp.Symbol("c", real=True)
    between = covariance(rows.T * o, rows.T * p, sp.Matrix(list(rows)), table)
    step.identity(
        "The rests of two combinations of the pairs, with coefficients {o} and {p} whose scalar product is "
        "{c}, have this covariance. For three pairs and two coordinates:",
        claimed,
        overlap * small_C,
        by=entries({claimed: between, overlap: o.dot(p), small_C: C}),
        shown=mean(Z_.T * o_ * (Z_.T * p_).T),
        o=o_,
        p=p_,
        c=overlap,
    )
    step.say(
        "Take both to be the labels, given these, and let {Y} be the sum of their squares: the correlations "
        "are {r}, where {xi} is normal of covariance {C} and independent of the labels. The "
        "labels are independent and normal, so that {share} is a chi-square variable of {n} degrees of "
        "freedom.",
        Y=power,
        r=equal(r_, power * Sigma_ * w_ / (n * tau**2) + sp.sqrt(power) * xi_ / n),
        xi=xi_,
        C=C_,
        share=power / tau**2,
        n=n,
    )


def _rotation(step: Derivation) -> None:
    """The sample covariance: a spike along the correlations and a fresh Wishart matrix."""
    step.say(
        "Now rotate the pairs by an orthogonal matrix whose first row is the direction of the labels. The "
        "other rows are orthogonal to the labels: what they make of the pairs, the rows of {G}, are "
        "combinations of the rests alone, and by the last formula they are {rows} independent normal vectors "
        "of covariance {C}, independent of {r} and of {Y}.",
        G=G_,
        rows=n - 1,
        C=C_,
        r=r_,
        Y=power,
    )
    rho, first, second = sp.Symbol("rho", positive=True), *sp.symbols("t_1 t_2", real=True)
    mirror = sp.Matrix([1, first, second])  # a reflection in rational form: no roots to simplify
    turn = sp.eye(3) - 2 * mirror * mirror.T / mirror.dot(mirror)
    rows, shift, labels = matrix("z", 3, 2), matrix("m", 2, 1), rho * turn[0, :].T
    X = labels * shift.T + rows
    S, r, rest = sp.MatrixSymbol("S", 2, 2), sp.MatrixSymbol("r", 2, 1), sp.MatrixSymbol("G", 2, 2)
    values = {
        S: X.T * X / 3,
        r: X.T * labels / 3,
        rest: turn[1:, :] * rows,
        power: rho**2,
        n: sp.Integer(3),
    }
    step.identity(
        "A rotation does not change {XX}, and the first of its rows is {row}. So the sample covariance is a "
        "spike along {r} and a fresh Wishart matrix. For three pairs and two coordinates:",
        S,
        n / power * r * r.T + rest.T * rest / n,
        by=entries(values),
        XX=X_.T * X_,
        row=n * r_.T / sp.sqrt(power),
        r=r_,
    )


def _two_covariates() -> dict[sp.Basic, sp.Basic]:
    """Values of the matrices of two covariates in terms of their covariance and the weights."""
    Sigma, w = two_covariates(), matrix("w", 2, 1)
    root = sp.sqrt(label_variance(Sigma, w, noise))
    return {small_Sigma: Sigma, small_w: w, small_C: conditional_covariance(Sigma, w, noise), tau: root}


def _mean(step: Derivation) -> None:
    """The mean of the sample covariance under its law."""
    known = _two_covariates()
    spike = power * small_Sigma * small_w * small_w.T * small_Sigma / (n * tau**4) + small_C / n
    step.identity(
        "On average, with {Y_is}, spike and remainder make up the covariance of the covariates.",
        spike + (n - 1) / n * small_C,
        small_Sigma,
        by=lambda gap: entries(known)(gap.subs(power, n * tau**2)),
        Y_is=equal(mean(power), n * tau**2),
    )


def _drawing(step: Derivation) -> None:
    """A normal vector of the conditional covariance, from one of the covariance."""
    known = _two_covariates()
    Sigma, w, variance = known[small_Sigma], known[small_w], known[tau] ** 2
    g, e = matrix("g", 2, 1), sp.Symbol("e", real=True)
    drawn = g - Sigma * w * ((w.T * g)[0] + e) / variance
    found = covariance(drawn, drawn, g.col_join(sp.Matrix([e])), sp.diag(Sigma, noise))
    g_, e_, small_xi = sp.MatrixSymbol("g", 2, 1), sp.MatrixSymbol("e", 1, 1), sp.MatrixSymbol("xi", 2, 1)
    step.identity(
        "To draw {xi}, no root of {C} is needed: with {g} of covariance {Sigma} and {e} of variance {noise}, "
        "{drawn} will do.",
        claimed,
        small_C,
        by=entries(known | {claimed: found}),
        shown=mean(small_xi * small_xi.T),
        xi=small_xi,
        C=small_C,
        g=g_,
        Sigma=small_Sigma,
        e=e_,
        noise=noise,
        drawn=equal(small_xi, g_ - small_Sigma * small_w * (small_w.T * g_ + e_) / tau**2),
    )


def _steps(step: Derivation) -> None:
    """The matrix of the steps: a spike beside a Wishart matrix in the metric of the correlations."""
    b = sp.MatrixSymbol("b", SIZE, 1)
    step.identity(
        "So given {r} and {Y} the matrix {M} of the steps is a spike along {b} beside a Wishart matrix with "
        "the covariance {RCR}, and the weights are a linear filter of it. At any sizes:",
        M_,
        n / power * b * b.T + (G_ * R_).T * (G_ * R_) / n,
        by=expanded({M_: R_ * (n / power * r_ * r_.T + G_.T * G_ / n) * R_, b: R_ * r_}, diagonal=R_),
        r=r_,
        Y=power,
        M=equal(M_, R_ * S_ * R_),
        b=equal(b, R_ * r_),
        RCR=R_ * C_ * R_,
    )
    step.say(
        "With uncorrelated covariates of unit variance the metric is near {signal} on the support, and off "
        "it near {chance}, so that the steps hardly move there. How small that makes the risk is not derived "
        "here; the exact law lets the risk be sampled, and be approximated for large matrices.",
        signal=sp.Symbol("w_j") ** 2,
        chance=tau**2 / n,
    )
