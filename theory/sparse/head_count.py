"""No fewer heads than coordinates write the features."""

from __future__ import annotations

import sympy as sp

from theory.algebra import entries, equal, expanded, matrix
from theory.derivation import Derivation
from theory.sparse.symbols import REFERENCE, SIZE
from theory.symbols import d


def derive() -> Derivation:
    """The bound, from the ranks of what the heads read and write."""
    step = Derivation("Preprocess, then optimize: the number of heads", REFERENCE)
    A, C, S = matrix("A", 2, 2), matrix("C", 2, 2), sp.Matrix(2, 2, sp.symbols("S_0 S_01 S_01 S_1"))
    a, c, r, q = matrix("a", 2, 1), matrix("c", 2, 1), matrix("r", 2, 1), sp.Symbol("q", real=True)
    values = {
        sp.MatrixSymbol("P", 2, 3): A.row_join(a),
        sp.MatrixSymbol("G", 3, 3): S.row_join(r).col_join(r.T.row_join(sp.Matrix([q]))),
        sp.MatrixSymbol("W", 3, 2): C.col_join(c.T),
        sp.MatrixSymbol("A", 2, 2): A,
        sp.MatrixSymbol("C", 2, 2): C,
        sp.MatrixSymbol("S", 2, 2): S,
        sp.MatrixSymbol("a", 2, 1): a,
        sp.MatrixSymbol("c", 2, 1): c,
        sp.MatrixSymbol("r", 2, 1): r,
    }
    P, G, W, A_, C_, S_, a_, c_, r_ = values
    heads, p, k = sp.symbols("H p k", integer=True, positive=True)
    step.say(
        "Can fewer than {d} heads write the features of the query exactly, for all prompts? Let the "
        "embedding be any linear one, the heads any, and the labels noisy. A head adds to the features "
        "{product} times the query's covariates: {P} is its value after the embedding, in the rows of the "
        "features, {W} its keys and queries, embedded on both sides, and {G} the mean over pairs of the "
        "products of covariates and label with each other: {S}, {r} and the mean square {q} of the labels.",
        d=d,
        product=P * G * W,
        P=P,
        W=W,
        G=G,
        S=S_,
        r=r_,
        q=q,
    )
    pair, other = sp.MatrixSymbol("z_1", 3, 1), sp.MatrixSymbol("z_2", 3, 1)
    step.identity(
        "What does not depend on the pairs must vanish by itself, as prompts of small and large pairs show, "
        "and {G} may be that of a single pair, {single}: what is linear in it and right for all of these is "
        "right for all symmetric matrices, which they span.",
        pair * other.T + other * pair.T,
        (pair + other) * (pair.T + other.T) - pair * pair.T - other * other.T,
        by=expanded({}),
        G=G,
        single=pair * pair.T,
    )
    step.identity(
        "Let {a} be the last column of {P} and {A} the others, {row} the last row of {W} and {C} the others. "
        "For two coordinates:",
        P * G * W,
        A_ * S_ * C_ + A_ * r_ * c_.T + a_ * r_.T * C_ + q * a_ * c_.T,
        by=entries(values),
        a=a_,
        P=P,
        A=A_,
        row=c_.T,
        W=W,
        C=C_,
    )
    first, last = sp.MatrixSymbol("a_h", SIZE, heads), sp.MatrixSymbol("c_h", SIZE, heads)
    step.say(
        "Summed over {H} heads that must be the diagonal matrix of {r}, for all {S}, {r} and {q}. The factor "
        "of {q} must vanish: with the {a} of all heads as the columns of one matrix and the {c} as those of "
        "another, {zero}. So the columns of the transposed second lie in the kernel of the first, and the "
        "ranks, {p} of the first and {k} of the second, add up to {H} at most.",
        H=heads,
        r=r_,
        S=S_,
        q=q,
        a=a_,
        c=c_,
        zero=equal(first * last.T, sp.ZeroMatrix(SIZE, SIZE)),
        p=p,
        k=k,
    )
    normal = sp.MatrixSymbol("u", 2, 1)
    step.identity(
        "Now the factor of {r}. A vector {u} orthogonal to the {a} of all heads makes one of its two terms "
        "drop out, here for one {a}, two coordinates and {u_is},",
        normal.T * (A_ * r_ * c_.T + a_ * r_.T * C_),
        normal.T * A_ * r_ * c_.T,
        by=entries(values | {normal: sp.Matrix([-a[1], a[0]])}),
        r=r_,
        u=normal,
        a=a_,
        u_is=equal(normal, sp.Tuple(-a[1], a[0])),
    )
    r, u = matrix("r", 3, 1), matrix("u", 3, 1)
    U = sp.MatrixSymbol("U", 3, 3)
    step.identity(
        "and turns the diagonal matrix of {r} into a row with the entries {entry}. As a linear map of {r} it "
        "is a diagonal matrix {U} again, whose rank is the number of nonzero entries of {u}. For three "
        "coordinates:",
        (u.T * sp.diag(*r)).jacobian(r).det(),
        u[0] * u[1] * u[2],
        shown=sp.Determinant(U),
        r=r_,
        entry=sp.Symbol("u_j") * sp.Symbol("r_j"),
        U=U,
        u=normal,
    )
    g, c = matrix("g", 3, 2), matrix("c", 3, 2)
    terms = [sp.MatrixSymbol(f"c_{i}", 3, 1) * sp.MatrixSymbol(f"g_{i}", 3, 1).T for i in range(2)]
    step.identity(
        "The same map is the sum of {product} over the heads, of the rank {k} at most. For three "
        "coordinates, the determinant of two terms vanishes,",
        (c[:, 0] * g[:, 0].T + c[:, 1] * g[:, 1].T).det(),
        sp.Integer(0),
        shown=sp.Determinant(sp.MatAdd(*terms)),
        product=c_ * normal.T * A_,
        k=k,
    )
    step.identity(
        "and of one term that of any two rows and columns.",
        (c[:, 0] * g[:, 0].T)[:2, :2].det(),
        sp.Integer(0),
        shown=sp.Determinant(sp.MatrixSymbol("c", 2, 1) * sp.MatrixSymbol("g", 2, 1).T),
    )
    step.say(
        "The vectors orthogonal to all {a} make a space of {left} dimensions. It has a basis each of whose "
        "vectors is one at a coordinate where the others are zero, and the sum of the basis has at least "
        "{left} nonzero entries. So {bound}, and since the ranks add up to {H} at most, {result}. The {d} "
        "heads above are as few as there can be.",
        a=a_,
        left=d - p,
        bound=sp.Le(d - p, k, evaluate=False),
        H=heads,
        result=sp.Ge(heads, d, evaluate=False),
        d=d,
    )
    return step
