"""Every method that filters the spectrum of the sample covariance loses to ridge regression."""

from __future__ import annotations

import sympy as sp

from theory.algebra import equal, gaussian_mean, matrix
from theory.derivation import Derivation
from theory.sparse.filters import gradient_filter
from theory.sparse.symbols import REFERENCE, SIZE, beta_, ell, eta, h, k_, lam, mean, n, noise, r_, v
from theory.symbols import d


def filter_risk(h: sp.Expr, ell: sp.Expr, d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """What an eigenvalue l of the sample covariance adds to the risk of a spectral filter, h there."""
    return v / d * (1 - ell * h) ** 2 + sigma2 / n * ell * h**2


def ridge_penalty(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """The best penalty, for X^T X / n + lambda."""
    return sigma2 * d / (n * v)


def ridge_filter_risk(ell: sp.Expr, d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """What an eigenvalue l adds to the risk of ridge regression under the best penalty."""
    return sigma2 / n / (ell + ridge_penalty(d, n, v, sigma2))


def spectral_lower_bound(d: sp.Expr, n: sp.Expr, v: sp.Expr, sigma2: sp.Expr) -> sp.Expr:
    """A lower bound on the risk of every spectral filter, ridge regression included."""
    return sigma2 * d * v / (n * v + sigma2 * d)


def derive() -> Derivation:
    """The risk of a filter, the best one, and a bound that none of them passes."""
    step = Derivation("Preprocess, then optimize: spectral filters", REFERENCE)
    entries, errors = matrix("x", 3, 1), matrix("e", 3, 1)
    part, error = sp.symbols("w_l e_l", real=True)
    whole = sp.MatrixSymbol("h(S)", SIZE, SIZE)
    step.identity(
        "Now without preprocessing, for uncorrelated covariates of unit variance. A spectral filter {h} of "
        "the sample covariance takes the correlations to the weights {estimate}: gradient descent and its "
        "flow from zero, ridge regression, least squares. Along a unit eigenvector, at the eigenvalue {l}, "
        "the correlations are {component}. Given the covariates the noise {e_l} in them, from covariates "
        "{x} along it with {power}, is of the variance below, here for three pairs.",
        gaussian_mean((entries.dot(errors) / 3) ** 2, dict.fromkeys(errors, noise)),
        noise * ell / n,
        by=lambda gap: sp.expand(gap.subs({n: 3, ell: entries.dot(entries) / 3})),
        shown=mean(error**2),
        h=whole,
        estimate=equal(beta_, whole * r_),
        l=ell,
        component=ell * part + error,
        e_l=error,
        x=sp.Symbol("x_k"),
        power=equal(sp.Sum(sp.IndexedBase("x")[k_] ** 2, (k_, 0, n - 1)), n * ell),
    )
    moments = {part: v / d, error: noise * ell / n}
    risk = step.identity(
        "The eigenvectors are uniform and independent of the eigenvalues. So the component {w_l} of the "
        "weights, whatever these are, is of the mean square {share}. To the risk, the mean squared error of "
        "the prediction beyond the noise, the eigenvalue adds",
        gaussian_mean((part - h * (ell * part + error)) ** 2, moments),
        filter_risk(h, ell, d, n, v, noise),
        shown=mean((part - h * (ell * part + error)) ** 2),
        w_l=part,
        share=v / d,
    )
    best, penalty = 1 / (ell + lam), ridge_penalty(d, n, v, noise)
    step.minimum(
        "The best filter at every eigenvalue is that of ridge regression with the penalty {lam},",
        risk,
        h,
        best.subs(lam, penalty),
        lam=equal(lam, penalty),
    )
    step.identity(
        "and leaves",
        risk.subs(h, best.subs(lam, penalty)),
        ridge_filter_risk(ell, d, n, v, noise),
        shown=sp.Subs(filter_risk(h, ell, d, n, v, noise), h, best),
    )
    step.sign(
        "What any filter leaves, {risk}, is no less:",
        risk - ridge_filter_risk(ell, d, n, v, noise),
        ">=",
        form=v / d * ell * (ell + penalty) * (h - 1 / (ell + penalty)) ** 2,
        shown=sp.Symbol("risk_l") - noise / n / (ell + lam),
        risk=sp.Symbol("risk_l"),
    )
    t = sp.Symbol("t", integer=True, positive=True)
    shrink = sp.Symbol("epsilon", real=True)
    step.identity(
        "Gradient descent of any step size and length leaves more by how far what it leaves of a component, "
        "{kept}, is from what ridge regression leaves of it.",
        risk.subs(h, gradient_filter(ell, eta, t)) - ridge_filter_risk(ell, d, n, v, noise),
        v * (ell + lam) / (d * ell) * (shrink - lam / (ell + lam)) ** 2,
        by=lambda gap: sp.simplify(gap.subs({lam: penalty, shrink: (1 - eta * ell) ** t})),
        shown=sp.Symbol("risk_l") - noise / n / (ell + lam),
        kept=equal(shrink, (1 - eta * ell) ** t),
    )
    step.say(
        "So ridge regression under that penalty has the least risk of all of them, for every {n} and {d}, "
        "whatever the weights of that length. The filter may even depend on the spectrum, but not on the "
        "labels.",
        n=n,
        d=d,
    )
    step.sign(
        "How small is it? The term of an eigenvalue is convex, above its tangent at one,",
        1 / (ell + lam) - 1 / (1 + lam) + (ell - 1) / (1 + lam) ** 2,
        ">=",
        form=(ell - 1) ** 2 / ((ell + lam) * (1 + lam) ** 2),
    )
    step.identity(
        "and one is the mean of the eigenvalues over all prompts. So the risk of {d} eigenvalues is at least",
        d * ridge_filter_risk(sp.Integer(1), d, n, v, noise),
        spectral_lower_bound(d, n, v, noise),
        shown=d * noise / n / (1 + lam),
        d=d,
    )
    step.identity(
        "With more coordinates than pairs {missing} eigenvalues are zero. Each leaves its part of the power,",
        ridge_filter_risk(sp.Integer(0), d, n, v, noise),
        v / d,
        shown=noise / n / lam,
        missing=d - n,
    )
    step.say("together {lost}.", lost=v * (1 - n / d))
    return step
