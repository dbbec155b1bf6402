"""What no method goes below whose estimates are linear in the labels, for features of any covariance."""

from __future__ import annotations

from collections.abc import Callable

import sympy as sp

from theory.algebra import entries, equal, expanded, matrix
from theory.derivation import Derivation
from theory.sparse.spectral import ridge_penalty, spectral_lower_bound
from theory.sparse.symbols import PAIRS, REFERENCE, SIZE, X_, Y_, beta_, ell, n, noise, v
from theory.symbols import d

lam_i = sp.Symbol("lambda_i", positive=True)  # eigenvalue of the covariance


def seen(lam: sp.Expr, d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """What an eigenvalue of the covariance adds to the bound, of weights of mean square v/d."""
    return sigma2 / n * lam / (lam + ridge_penalty(d, n, v, sigma2))


def derive() -> Derivation:
    """The best linear estimate, what it leaves, and what that is at least on average over covariates."""
    step = Derivation("Preprocess, then optimize: what is linear in the labels", REFERENCE)
    A, K = sp.MatrixSymbol("A", SIZE, PAIRS), sp.MatrixSymbol("K", PAIRS, PAIRS)
    Sigma, one = sp.MatrixSymbol("Sigma", SIZE, SIZE), sp.Identity(SIZE)
    p, s2 = sp.Symbol("p", positive=True), noise
    step.say(
        "Gradient descent of any steps, ridge regression of any penalty and least squares have this in "
        "common: the weights {estimate} are linear in the labels, {A} being any function of the covariates, "
        "of which rows have the covariance {Sigma}. Let the true weights of different covariates be "
        "uncorrelated and of one mean square {p}. So are those on a random support with random signs, where "
        "{p} is {share}; and for {iso} any weights are, for methods that turn with the covariates.",
        estimate=equal(beta_, A * Y_),
        A=A,
        Sigma=Sigma,
        p=p,
        share=v / d,
        iso=equal(Sigma, one),
    )
    best = p * X_.T * sp.Inverse(K)
    step.identity(
        "Averaged over weights and noise, the errors of the estimate have a covariance that is least, as a "
        "matrix, for one {A}: that of ridge regression with {K}, here {best}.",
        p * (A * X_ - one) * (X_.T * A.T - one) + s2 * A * A.T,
        p * one - p**2 * X_.T * sp.Inverse(K) * X_ + (A - best) * K * (A.T - p * sp.Inverse(K) * X_),
        by=_square(A, K, p, s2),
        A=A,
        K=equal(K, p * X_ * X_.T + s2 * sp.Identity(PAIRS)),
        best=best,
    )
    step.identity(
        "The last term is no covariance below zero. In the eigenbasis of the sample covariance, at the "
        "eigenvalue {l}, where {K} is {at}, what remains is the inverse of a matrix linear in it,",
        p - p**2 * n * ell / (p * n * ell + s2),
        1 / (1 / p + n * ell / s2),
        l=ell,
        K=K,
        at=p * n * ell + s2,
    )
    M, M0 = sp.MatrixSymbol("M", SIZE, SIZE), sp.MatrixSymbol("M_0", SIZE, SIZE)
    step.identity(
        "and the inverse of a positive matrix {M} is above its tangent at any other, by a product of the "
        "form {form} that has no negative direction:",
        sp.Inverse(M) - 2 * sp.Inverse(M0) + sp.Inverse(M0) * M * sp.Inverse(M0),
        (sp.Inverse(M) - sp.Inverse(M0)) * M * (sp.Inverse(M) - sp.Inverse(M0)),
        by=expanded({}),
        M=M,
        form=sp.MatrixSymbol("B", SIZE, SIZE) * M * sp.MatrixSymbol("B", SIZE, SIZE).T,
    )
    step.identity(
        "Let {M_0} be the mean of {M} over covariates. On average the tangent is the inverse of the mean, "
        "and an eigenvalue {lam} of {Sigma} adds to the risk, with {p},",
        (lam_i / (1 / p + n * lam_i / s2)).subs(p, v / d),
        seen(lam_i, d, n, v, s2),
        shown=lam_i / (1 / p + n * lam_i / s2),
        M_0=M0,
        M=M,
        lam=lam_i,
        Sigma=Sigma,
        p=equal(p, v / d),
    )
    step.identity(
        "at least. Summed over {d} equal eigenvalues that is the bound for isotropic covariates.",
        d * seen(sp.Integer(1), d, n, v, s2),
        spectral_lower_bound(d, n, v, s2),
        d=d,
    )
    step.identity(
        "With fewer pairs than covariates there is another. Directions that the pairs do not show keep their "
        "mean square,",
        (1 / (1 / p + n * ell / s2)).subs(ell, 0),
        p,
        shown=sp.Subs(1 / (1 / p + n * ell / s2), ell, 0),
    )
    step.say(
        "whatever they are, and a projection on {missing} directions takes from {Sigma} at least the sum of "
        "its {missing} smallest eigenvalues (Ky Fan). So {p} times that sum is a bound as well: for "
        "isotropic covariates {hidden}.",
        missing=d - n,
        Sigma=Sigma,
        p=p,
        hidden=v * (1 - n / d),
    )
    _filters(step)
    step.say(
        "Preprocessing is under none of these bounds: its estimate is a product of correlations with labels, "
        "not linear in them. That it is below them, where prompts show the support, is observed."
    )
    return step


def _square(
    A: sp.MatrixSymbol, K: sp.MatrixSymbol, p: sp.Symbol, s2: sp.Expr
) -> Callable[[sp.Expr], sp.Expr]:
    """Proof by expanding, with the noise written as what is left of K."""

    def rest(gap: sp.Expr) -> sp.Expr:
        gap = gap.subs(s2 * A * A.T, A * K * A.T - p * A * X_ * X_.T * A.T)
        return expanded({})(gap)

    return rest


def _filters(step: Derivation) -> None:
    """The bound for spectral filters, when the support is always on the same covariates."""
    Q, D = sp.MatrixSymbol("Q", 2, 2), sp.MatrixSymbol("D", 2, 2)
    c, u = sp.MatrixSymbol("c", 2, 1), sp.MatrixSymbol("u", 2, 1)
    off = sp.symbols("Q_0 Q_01 Q_1 D_0 D_1", positive=True)
    values = {
        Q: sp.Matrix([[off[0], off[1]], [off[1], off[2]]]),
        D: sp.diag(off[3], off[4]),
        c: matrix("c", 2, 1),
        u: sp.Matrix([1, 1]),
    }
    best = sp.Inverse(Q + D) * Q * u
    step.identity(
        "If the support is always on the same covariates a linear method may know it, but a filter of the "
        "sample covariance does not. Where it takes up the share {c_i} of a component, the risk is the left "
        "side, {Q} being the entrywise product of the weights' mean products and of {Sigma} in the "
        "eigenbasis, {D} that of the noise, and {u} a column of ones. For any filter it is the right side, "
        "least without the last term; for two eigenvalues:",
        (u - c).T * Q * (u - c) + c.T * D * c,
        u.T * Q * u - u.T * Q * best + (c - best).T * (Q + D) * (c - best),
        by=entries(values),
        c_i=sp.Symbol("c_i"),
        Q=Q,
        Sigma=sp.Symbol("Sigma"),
        D=D,
        u=u,
    )
