"""A layer of linear attention, and the small matrix by which it knows the prompt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sympy as sp

from theory.algebra import entries, equal, expanded, matrix
from theory.derivation import Derivation
from theory.sparse.symbols import PAIRS, REFERENCE, ROWS, S_, SIZE, X_, Y_, i_, j_, n, noise, r_
from theory.symbols import d

Head = tuple[sp.Matrix, sp.Matrix, sp.Matrix]
"""Value, key and query matrices of a head."""


def layer(E: sp.Matrix, heads: Sequence[Head]) -> sp.Matrix:
    """One linear-attention layer on the tokens E, a column each; the last, the query, is no key or value."""
    pairs = E.cols - 1
    mask = sp.diag(*[1] * pairs, 0)
    return E + sum((V * E * mask * (K * E).T * (Q * E) / pairs for V, K, Q in heads), sp.zeros(*E.shape))


def tokens(x: sp.IndexedBase, feature: sp.IndexedBase | None, y: sp.IndexedBase) -> sp.Matrix:
    """Two pairs and a query of two coordinates: rows of covariates, features (zero if none) and labels."""
    given = sp.Matrix(2, 3, lambda j, i: x[i, j])
    written = sp.zeros(2, 3) if feature is None else sp.Matrix(2, 3, lambda j, i: feature[i, j])
    return given.col_join(written).col_join(sp.Matrix([[y[i] for i in range(3)]]))


def everywhere(values: dict[sp.Basic, sp.Expr]) -> Callable[[sp.Expr], sp.Expr]:
    """Proof of a relation at every token and coordinate of two pairs of two coordinates, with ``values``."""

    def rest(gap: sp.Expr) -> sp.Expr:
        for i in range(3):
            for j in range(2):
                found = gap.subs({n: 2, d: 2}).subs({i_: i, j_: j}).doit().subs(values)
                if sp.expand(found) != 0:
                    return sp.expand(found)
        return sp.Integer(0)

    return rest


def derive() -> Derivation:
    """The layer in its fast form, from the definition with keys, queries and values."""
    step = Derivation("Preprocess, then optimize: linear attention", REFERENCE)
    m, N = sp.symbols("m N", integer=True, positive=True)
    E, M = sp.MatrixSymbol("E", ROWS, N), sp.MatrixSymbol("M", N, N)
    V, G = sp.MatrixSymbol("V", ROWS, ROWS), sp.MatrixSymbol("G", ROWS, ROWS)
    K, Q = sp.MatrixSymbol("K", m, ROWS), sp.MatrixSymbol("Q", m, ROWS)
    step.say(
        "A prompt has {n} pairs of {d} covariates, the rows of {X}, and a label, {y}, whose noise {e} is of "
        "the variance {noise}. Few entries of the weights {w} are not zero. The columns of {E} are the pairs "
        "and the query, which has no label; the mask {M} is the identity but for the query, which is neither "
        "key nor value. A layer of linear attention adds to {E} one term for each head, with its value, key "
        "and query matrices {V}, {K} and {Q}.",
        n=n,
        d=d,
        X=X_,
        y=equal(Y_, X_ * sp.MatrixSymbol("w", SIZE, 1) + sp.MatrixSymbol("e", PAIRS, 1)),
        e=sp.MatrixSymbol("e", PAIRS, 1),
        noise=noise,
        w=sp.Symbol("w"),
        E=E,
        M=M,
        V=V,
        K=K,
        Q=Q,
    )
    step.identity(
        "A head knows the prompt through one small matrix alone, {G}: the layer multiplies {E} by the "
        "identity plus the sum of {head} over the heads. At any sizes, for one head:",
        E + V * E * M * (K * E).T * (Q * E) / n,
        (sp.Identity(ROWS) + V * G * (K.T * Q)) * E,
        by=expanded({G: E * M * E.T / n}),
        G=equal(G, E * M * E.T / n),
        E=E,
        head=V * G * (K.T * Q),
    )
    X, y, b = matrix("x", 2, 2), matrix("y", 2, 1), sp.Symbol("b", real=True)
    query = matrix("q", 3, 1)
    tokens = X.T.col_join(y.T).row_join(query)
    p = matrix("p", 2, 1)
    values = {
        sp.MatrixSymbol("u", 3, 1): p.col_join(sp.Matrix([b])),
        sp.MatrixSymbol("G", 3, 3): tokens * sp.diag(1, 1, 0) * tokens.T / 2,
        sp.MatrixSymbol("p", 2, 1): p,
        sp.MatrixSymbol("S", 2, 2): X.T * X / 2,
        sp.MatrixSymbol("r", 2, 1): X.T * y / 2,
        sp.MatrixSymbol("y", 2, 1): y,
    }
    u, G, p, S, r, y = values
    step.identity(
        "On the rows of the covariates and the label that matrix holds the sample covariance {S}, the "
        "correlations {r} with the label, and the mean square of the labels; nothing of the query. Its "
        "quadratic form at {u}, which is {p} with one more entry {b}, for two pairs and two coordinates:",
        u.T * G * u,
        p.T * S * p + 2 * b * p.T * r + b**2 * y.T * y / 2,
        by=entries(values),
        S=equal(S_, X_.T * X_ / n),
        r=equal(r_, X_.T * Y_ / n),
        u=u,
        p=p,
        b=b,
    )
    return step
