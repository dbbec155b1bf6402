"""The later layers: one head takes a step of gradient descent."""

from __future__ import annotations

import sympy as sp

from theory.algebra import equal, expanded
from theory.derivation import Derivation
from theory.sparse.attention import Head, everywhere, layer, tokens
from theory.sparse.symbols import PAIRS, R_, REFERENCE, S_, SIZE, X_, Y_, beta_, eta, i_, j_, k_, n, r_, u_
from theory.symbols import d


def gradient_head(size: int, a: sp.Expr, b: sp.Expr) -> Head:
    """The head of a gradient step on the labels, of size ``a`` on x and ``b`` on the features."""
    value, key = sp.zeros(2 * size + 1), sp.diag(sp.eye(2 * size), sp.zeros(1))
    value[-1, -1] = -1
    return value, key, sp.diag(a * sp.eye(size), b * sp.eye(size), sp.zeros(1))


def derive() -> Derivation:
    """The step that a layer takes on the features, or on both, and the weights that the steps make."""
    step = Derivation("Preprocess, then optimize: gradient steps", REFERENCE)
    x, feature, y, r, after = (sp.IndexedBase(name) for name in ("x", "f", "y", "r", "yt"))
    out = layer(tokens(x, feature, y), [gradient_head(2, sp.Integer(0), eta)])
    inner = sp.Sum(feature[k_, j_] * feature[i_, j_], (j_, 0, d - 1))
    step.identity(
        "A later layer has one head. Key and query read the features, the query times {eta}, and the value "
        "keeps the label alone, with the other sign. For two pairs and two coordinates, all tokens:",
        after[i_],
        y[i_] - eta / n * sp.Sum(y[k_] * inner, (k_, 0, n - 1)),
        by=everywhere({after[i]: out[4, i] for i in range(3)}),
        eta=eta,
    )
    F, q = sp.MatrixSymbol("F", PAIRS, SIZE), sp.MatrixSymbol("q", SIZE, 1)
    residual = Y_ - F * u_
    ahead = u_ + eta / n * F.T * residual
    step.identity(
        "Let the rows of {F} be the features of the pairs. If the rows of the labels hold the residuals of "
        "the weights {u}, as they do at first with {zero}, the layer turns them into those of the weights "
        "one gradient step on. At any sizes:",
        residual - eta / n * F * F.T * residual,
        Y_ - F * ahead,
        by=expanded({}),
        F=F,
        u=u_,
        zero=equal(u_, sp.ZeroMatrix(SIZE, 1)),
    )
    step.identity(
        "In the row of the labels the query, of features {q}, holds minus the prediction, before and after.",
        -q.T * u_ - eta / n * q.T * F.T * residual,
        -q.T * ahead,
        by=expanded({}),
        q=q,
    )
    step.identity(
        "As weights of the covariates these are {beta}, with {R} the diagonal matrix of {r}, since {F}. A "
        "layer is a gradient step in the metric {metric}, which favours the coordinates that correlate with "
        "the label.",
        R_ * ahead,
        beta_ + eta * R_ * R_ * (r_ - S_ * beta_),
        by=expanded({F: X_ * R_, beta_: R_ * u_, S_: X_.T * X_ / n, r_: X_.T * Y_ / n}, diagonal=R_),
        beta=equal(beta_, R_ * u_),
        R=R_,
        r=r_,
        F=equal(F, X_ * R_),
        metric=R_**2,
    )
    a, b = sp.symbols("a b", positive=True)
    out = layer(tokens(x, feature, y), [gradient_head(2, a, b)])
    written = {feature[i, j]: r[j] * x[i, j] for j in range(2) for i in range(3)}
    inner = sp.Sum((a + b * r[j_] ** 2) * x[k_, j_] * x[i_, j_], (j_, 0, d - 1))
    step.identity(
        "The one head may also read the covariates, with a factor {a}, beside the features, with {b}.",
        after[i_],
        y[i_] - sp.Sum(y[k_] * inner, (k_, 0, n - 1)) / n,
        by=everywhere({after[i]: out[4, i].subs(written) for i in range(3)}),
        a=a,
        b=b,
    )
    metric = a * sp.Identity(SIZE) + b * R_ * R_
    step.identity(
        "The metric is mixed then.",
        Y_ - X_ * beta_ - X_ * metric * X_.T * (Y_ - X_ * beta_) / n,
        Y_ - X_ * (beta_ + metric * (r_ - S_ * beta_)),
        by=expanded({S_: X_.T * X_ / n, r_: X_.T * Y_ / n}),
    )
    return step
