"""Explicit heads with which linear attention preprocesses, then optimizes.

Let r = X^T y / n and Rhat = diag(r). The first layer writes features z = Rhat x beside every token x, the
query included, and each later layer, with one head, takes one step of gradient descent on them:

    y_i <- y_i - (eta / n) sum_k y_k <z_k, z_i>.

After t steps the last row holds the residual y - <u_t, z>, so that the query's entry is minus the prediction.
This is gradient descent on beta with the metric Rhat^2, which serves sparse regression (P2O):

    beta <- beta + eta r^2 (r - X^T X beta / n)   (r^2 entrywise).

Everything here is exact, for every prompt: `check_construction` measures it. Rows of the wide layout, D =
2 d + 1, are x, z and y, those of the narrow one, D = d + 1, are x and y; see
`spectral_icl.sparse.transformer.attention.embed_prompt`.

After Chen, Zhao and Zou 2024 (arXiv 2408.04532), who show that multi-head attention can do so; the weights
are derived here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats, ProblemError, choice, integer, is_number, number
from spectral_icl.io.renamed import renamed
from spectral_icl.sparse.partition import partition
from spectral_icl.sparse.predictors import p2o
from spectral_icl.sparse.problem import check_sizes
from spectral_icl.sparse.prompts import sample_prompts
from spectral_icl.sparse.rng import Random
from spectral_icl.sparse.transformer.attention import LAYOUTS, Head, embed_prompt, linear_attention_layer

VARIANTS = ("p2o", "mixed", "group", "narrow")
_LARGEST = 1024  # features


def build_preprocess_heads(d: int, eta0: float = 0.0) -> Head:
    """The d heads that write z = Rhat x beside every token.

    V_j = E_{d+j, 2d} - eta0 E_{2d, 2d} and K_j = Q_j = e_j^T: since G_{2d, j} = r_j, head j adds r_j x_j to
    row d + j. The same heads can take a step of gradient descent for free, y <- y - eta0 <r, x>.

    Parameters
    ----------
    d : int
    eta0 : float
        Step size of the free step; 0 for none.

    Returns
    -------
    Head
        V (d, D, D), K and Q (d, 1, D) in the wide layout, D = 2 d + 1.
    """
    d = integer("d", d, minimum=1, maximum=_LARGEST)
    eta0 = number("eta0", eta0)
    D, j = 2 * d + 1, np.arange(d)
    V = np.zeros((d, D, D))
    V[j, d + j, 2 * d] = 1.0
    V[:, 2 * d, 2 * d] = -eta0
    K = np.eye(D)[:d, None, :]
    return Head(V, K, K.copy())


def build_group_heads(d: int, groups: int | Sequence[Sequence[int]]) -> Head:
    """H heads, one for each group g of features, that write z_h = sum_{j in g} r_j x_j.

    V_h = E_{d+h, 2d}, and K_h = Q_h have a row e_j^T for each j in g.

    Parameters
    ----------
    d : int
    groups : int or sequence of sequences of int
        Indices of each group, or how many groups of neighbours of equal size.

    Returns
    -------
    Head
        V (H, D, D), K and Q (H, size of the largest group, D) in the wide layout; the rest of its rows for
        features stays 0.

    Raises
    ------
    ProblemError
        If a number of groups does not divide d, or groups are not a partition of 0 ... d - 1.
    """
    members = _groups(d, groups)
    D, H = 2 * d + 1, len(members)
    V = np.zeros((H, D, D))
    V[np.arange(H), d + np.arange(H), 2 * d] = 1.0
    K = np.zeros((H, max(map(len, members)), D))
    for h, group in enumerate(members):
        K[h, np.arange(len(group)), group] = 1.0
    return Head(V, K, K.copy())


def build_narrow_heads(d: int, c: float) -> Head:
    """The d heads that preprocess without rows of their own, x <- (I + c Rhat) x.

    V_j = c E_{j, d} and K_j = Q_j = e_j^T. The residual connection keeps the x that was there: with steps of
    eta / c^2 later layers descend with the metric (I / c + Rhat)^2, which differs from Rhat^2 by O(1 / c).
    It treats the signs of r unequally unless c is large.

    Parameters
    ----------
    d : int
    c : float

    Returns
    -------
    Head
        V (d, D, D), K and Q (d, 1, D) in the narrow layout, D = d + 1.
    """
    d = integer("d", d, minimum=1, maximum=_LARGEST)
    j = np.arange(d)
    V = np.zeros((d, d + 1, d + 1))
    V[j, j, d] = number("c", c)
    K = np.eye(d + 1)[:d, None, :]
    return Head(V, K, K.copy())


def build_gd_head(d: int, a: float = 0.0, b: float = 0.0, layout: str = "wide") -> Head:
    """The one head of a layer that takes a step of gradient descent.

    V = -E_{yy} and K = Q = diag(sqrt(a), ..., sqrt(b), ..., 0), of which rows of zeros are left out, so that
    y_i <- y_i - (1/n) sum_k y_k (a <x_k, x_i> + b <z_k, z_i>). After `build_preprocess_heads` this is

        beta <- beta + (a + b r^2) (r - X^T X beta / n)   (products entrywise):

    a = 0, b = eta is a step of P2O, b = 0, a = eta one of plain gradient descent.

    Parameters
    ----------
    d : int
    a : float
        Step size on the rows x, at least 0.
    b : float
        Step size on the features z, at least 0.
    layout : {'wide', 'narrow'}
        The narrow layout has no rows z: b must be 0.

    Returns
    -------
    Head
        V (D, D), K and Q (d, D), or (2 d, D) where both steps are positive.

    Raises
    ------
    ProblemError
        For negative steps, none that is positive, or b > 0 in the narrow layout.
    """
    choice("layout", layout, LAYOUTS)
    d = integer("d", d, minimum=1, maximum=_LARGEST)
    a, b = number("a", a, minimum=0.0), number("b", b, minimum=0.0)
    if layout == "narrow" and b != 0.0:
        raise ProblemError("b", b, "0: the narrow layout has no rows of features")
    if a == b == 0.0:
        raise ProblemError("a, b", (a, b), "a positive step size among them")
    D = 2 * d + 1 if layout == "wide" else d + 1
    scale = np.repeat(np.sqrt([a, b]), d)[: D - 1]
    K = (np.eye(D)[: D - 1] * scale[:, None])[scale > 0.0]
    V = np.zeros((D, D))
    V[-1, -1] = -1.0
    return Head(V, K, K.copy())


def _groups(d: int, groups: int | Sequence[Sequence[int]]) -> list[list[int]]:
    """Features of every group, of a partition or of a number of groups of neighbours of equal size."""
    d = integer("d", d, minimum=1, maximum=_LARGEST)
    if isinstance(groups, int) or is_number(groups):
        H = integer("H", groups, minimum=1, maximum=d)
        if d % H:
            raise ProblemError("H", H, f"a divisor of d = {d}")
        return np.arange(d).reshape(H, d // H).tolist()
    return partition(groups, d, f"a number of groups, or a partition of 0 ... {d - 1}")


@renamed(seed="rng", sigma2="noise")
def check_construction(
    d: int,
    s: int,
    n: int,
    t: int,
    rng: Random = 0,
    *,
    noise: float = 0.25,
    variant: str = "p2o",
    H: int | None = None,
    c: float = 100.0,
) -> float:
    """Largest difference between the transformer of explicit heads and the predictor it is to equal.

    One prompt is drawn, and its step size is eta = 1 / (largest eigenvalue of Z^T Z / n) for the features Z
    of its context, for which the descent is stable. The layers act on the prompt one by one, and after every
    one of them the features of all tokens, the residuals of the context and the prediction are compared.

    Parameters
    ----------
    d, s, n : int
        Features, support size, pairs.
    t : int
        Layers after the first.
    rng : Generator or int, optional
        Source of the prompt, or its seed.
    noise : float
        Variance of the label noise; the signal has variance 1.
    variant : {'p2o', 'mixed', 'group', 'narrow'}
        'p2o' against `spectral_icl.sparse.predictors.p2o`. Others against gradient descent on their
        features: 'mixed' takes a free first step and then uses half of x and half of z, 'group' has H
        features, 'narrow' no rows for features.
    H : int, optional
        Number of groups, for the variant 'group'.
    c : float
        Factor of the variant 'narrow'.

    Returns
    -------
    float
        Largest absolute difference: rounding, below 1e-10 for d <= 32 and t <= 16.

    Raises
    ------
    ProblemError
        For sizes out of range (s > d, a number H of groups that does not divide d) or an unknown variant.
    """
    choice("variant", variant, VARIANTS)
    d, s, n = check_sizes(d, s, n)
    t = integer("t", t, minimum=0, maximum=10_000)
    if variant == "group" and H is None:
        raise ProblemError("H", H, f"a divisor of d = {d}")
    prompts = sample_prompts(1, d, s, n, noise, rng=rng)
    X, y, xq = prompts.X[0], prompts.y[0], prompts.xq[0]
    case = _case(variant, X, y, xq, H, c)
    eta = 1.0 / _top(case.metric[:-1])
    if variant == "p2o":  # by the predictor itself
        path = case.residual - p2o(X, y, eta, t) @ np.vstack([X, xq]).T
    else:
        path = _descent(case.metric, case.residual, eta, t)
    E = linear_attention_layer(embed_prompt(X, y, xq, case.layout), case.first)
    head = build_gd_head(d, eta * case.step[0], eta * case.step[1], case.layout)
    error = 0.0
    for k in range(t + 1):
        if k > 0:
            E = linear_attention_layer(E, head)
        off = np.abs(E[case.rows].T - case.features).max(), np.abs(E[-1] - path[k]).max()
        error = max(error, *map(float, off))
    return error


class _Case(NamedTuple):
    """What a variant's layers are, and what is expected after the first.

    Attributes
    ----------
    first : Head
        The heads of the first layer.
    layout : str
    rows : slice
        Where that layer leaves its features.
    features : ndarray, (n + 1, F)
        These features of every token, the query last.
    residual : ndarray, (n + 1,)
        Labels less what the first layer predicts.
    metric : ndarray, (n + 1, F')
        Features on which the later layers descend.
    step : tuple of float
        Of the step size, the shares of the rows x and z.
    """

    first: Head
    layout: str
    rows: slice
    features: Floats
    residual: Floats
    metric: Floats
    step: tuple[float, float]


def _case(variant: str, X: Floats, y: Floats, xq: Floats, H: int | None, c: float) -> _Case:
    """Layers and expected features of a variant on one prompt."""
    n, d = X.shape
    r = X.T @ y / n
    tokens, residual = np.vstack([X, xq]), np.append(y, 0.0)
    if variant == "group":
        assert H is not None
        features = (tokens * r).reshape(n + 1, H, -1).sum(axis=2)
        first, rows = build_group_heads(d, H), slice(d, d + H)
        return _Case(first, "wide", rows, features, residual, features, (0.0, 1.0))
    if variant == "narrow":
        features = tokens * (1.0 + c * r)
        first, rows = build_narrow_heads(d, c), slice(0, d)
        return _Case(first, "narrow", rows, features, residual, features, (1.0, 0.0))
    features, rows = tokens * r, slice(d, 2 * d)
    if variant == "mixed":
        eta0 = 1.0 / _top(X)
        metric = np.sqrt(0.5) * np.hstack([tokens, features])
        residual = residual - eta0 * tokens @ r
        first = build_preprocess_heads(d, eta0)
        return _Case(first, "wide", rows, features, residual, metric, (0.5, 0.5))
    return _Case(build_preprocess_heads(d), "wide", rows, features, residual, features, (0.0, 1.0))


def _top(features: Floats) -> float:
    """Largest eigenvalue of Z^T Z / n."""
    return float(np.linalg.norm(features, 2) ** 2 / len(features))


def _descent(features: Floats, residual: Floats, eta: float, t: int) -> Floats:
    """Residuals (t + 1, n + 1) of gradient descent on the features of a context, the query last."""
    n, u, path = len(features) - 1, np.zeros(features.shape[1]), [residual]
    for _ in range(t):
        u = u + eta * features[:-1].T @ path[-1][:-1] / n
        path.append(residual - features @ u)
    return np.array(path)
