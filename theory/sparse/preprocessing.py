"""The first layer: one head for each coordinate writes the features."""

from __future__ import annotations

import sympy as sp

from theory.algebra import unit
from theory.derivation import Derivation
from theory.sparse.attention import Head, everywhere, layer, tokens
from theory.sparse.symbols import REFERENCE, i_, j_
from theory.symbols import d


def preprocessing_heads(size: int, step: sp.Expr = sp.Integer(0)) -> list[Head]:
    """One head for each coordinate that writes its feature; rows are x, then the features, then y.

    Together they also take a gradient step of size ``step`` from zero weight, on the label row.
    """
    rows, heads = 2 * size + 1, []
    for j in range(size):
        value, key = sp.zeros(rows), sp.zeros(1, rows)
        value[size + j, -1], value[-1, -1], key[0, j] = 1, -step, 1
        heads.append((value, key, key))
    return heads


def derive() -> Derivation:
    """What the heads write into every token, and the gradient step that they can take besides."""
    step = Derivation("Preprocess, then optimize: the features", REFERENCE)
    x, feature, y, r, after = (sp.IndexedBase(name) for name in ("x", "f", "y", "r", "yt"))
    free = sp.Symbol("eta_0", real=True)
    out = layer(tokens(x, None, y), preprocessing_heads(2, free))
    values = {feature[i, j]: out[2 + j, i] for j in range(2) for i in range(3)}
    values |= {after[i]: out[4, i] for i in range(3)}
    values |= {r[j]: sum(x[k, j] * y[k] for k in range(2)) / 2 for j in range(2)}
    step.identity(
        "Preprocessing takes one layer of {d} heads, and {d} more rows that start at zero. Key and query of "
        "head {j} read the covariate {j}; the value copies the label into the new row {j}. That writes the "
        "features {f} into every token {i}, the query included. For two pairs and two coordinates, all "
        "tokens:",
        feature[i_, j_],
        r[j_] * x[i_, j_],
        by=everywhere(values),
        d=d,
        j=j_,
        f=feature[i_, j_],
        i=i_,
    )
    step.identity(
        "If the values copy {minus} times the label into the row of the label too, the same heads take a "
        "step of plain gradient descent of that size: the labels {y} become the residuals {after}, and where "
        "there was no label, at the query, there is minus the prediction.",
        after[i_],
        y[i_] - free * sp.Sum(r[j_] * x[i_, j_], (j_, 0, d - 1)),
        by=everywhere(values),
        minus=-free,
        y=y[i_],
        after=after[i_],
    )
    c = sp.Symbol("c", positive=True)
    heads = [(c * unit(j, 2, rows=3), unit(j, j, rows=3), unit(j, j, rows=3)) for j in range(2)]
    out = layer(tokens(x, None, y).extract([0, 1, 4], [0, 1, 2]), heads)
    step.identity(
        "Without new rows the features can only be added to the covariates, here {c} times: these become",
        feature[i_, j_],
        (1 + c * r[j_]) * x[i_, j_],
        by=everywhere(values | {feature[i, j]: out[j, i] for j in range(2) for i in range(3)}),
        c=c,
    )
    single = sp.Symbol("r_j", real=True)
    step.identity(
        "so that the metric of later layers, with steps {small} times as long, is that of the features in a "
        "limit only.",
        sp.limit((1 + c * single) ** 2 / c**2, c, sp.oo),
        single**2,
        shown=sp.Limit((1 + c * single) ** 2 / c**2, c, sp.oo, "-"),
        small=1 / c**2,
    )
    return step
