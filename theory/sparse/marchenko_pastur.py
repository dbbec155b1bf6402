"""The risk of ridge regression for many pairs and coordinates."""

from __future__ import annotations

import sympy as sp

from theory.algebra import equal
from theory.derivation import Derivation
from theory.multitask import bayes
from theory.sparse.spectral import ridge_penalty
from theory.sparse.symbols import REFERENCE, ell, lam, n, noise, v
from theory.symbols import d


def marchenko_pastur_ridge(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """Risk of ridge regression under the best penalty, for the spectrum of large dimensions."""
    g, penalty = d / n, ridge_penalty(d, n, v, sigma2)
    middle = 1 - g + penalty
    return v / (2 * g) * (sp.sqrt(middle**2 + 4 * g * penalty) - middle)


def derive() -> Derivation:
    """The sum over the eigenvalues in the limit, and that it is the Bayes risk of dense weights."""
    step = Derivation("Preprocess, then optimize: ridge regression in large dimensions", REFERENCE)
    g, m = sp.symbols("g m", positive=True)
    root = (sp.sqrt((1 - g + lam) ** 2 + 4 * g * lam) - (1 - g + lam)) / (2 * g * lam)
    step.identity(
        "For many pairs and coordinates, {g}, the mean {m} of {term} over the eigenvalues solves the "
        "equation of Marchenko and Pastur (1967), of which the Bayes risk has a derivation,",
        1 - g + lam + g * lam * m,
        1 / m,
        by=lambda gap: sp.radsimp(gap.subs(m, root)),
        g=equal(g, d / n),
        m=m,
        term=1 / (ell + lam),
    )
    step.define("with the positive root of a quadratic equation:", m, root)
    penalty = ridge_penalty(d, n, v, noise)
    step.identity(
        "In that limit the risk of ridge regression is",
        d * noise / n * m,
        marchenko_pastur_ridge(d, n, v, noise),
        by=lambda gap: sp.simplify(gap.subs(m, root).subs({lam: penalty, g: d / n})),
    )
    step.identity(
        "the solution of the Bayes risk's own equation, as it must be: for independent normal weights of the "
        "variance {share} ridge regression is the posterior mean, and no method is better on average, "
        "preprocessed or not. All that there is to gain is in the sparsity.",
        marchenko_pastur_ridge(d, n, v, noise),
        bayes.isotropic_risk(v, d, n, noise),
        shown=d * noise / n * m,
        share=v / d,
    )
    return step
