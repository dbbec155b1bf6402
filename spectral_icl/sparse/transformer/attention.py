"""Linear attention on prompts of labelled pairs: heads, and what a layer of them does.

A prompt of n pairs and a query is a matrix E (D, n + 1) whose columns are tokens, the query last. One layer
of H heads, with a residual connection and neither softmax nor MLP, is

    E <- E + (1/n) sum_h V_h E M (K_h E)^T (Q_h E),   M = diag(1, ..., 1, 0):

the query is read but never a key or a value. With the Gram matrix G = E M E^T / n this is

    E <- (I + A) E,   A = sum_h V_h G K_h^T Q_h,   and so   G <- (I + A) G (I + A)^T.

Notation follows Chen, Zhao and Zou 2024 (arXiv 2408.04532).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from spectral_icl.io.checks import Floats, ProblemError, array, choice, dimensions

LAYOUTS = ("wide", "narrow")
LARGEST = 4096  # rows of a prompt, heads of a layer
_CHUNK = 64  # prompts that one multiplication takes: their intermediate arrays stay in the cache


class Head(NamedTuple):
    """A head, or several stacked along a leading axis, such as those of a layer.

    Attributes
    ----------
    V : ndarray, (D, D) or (H, D, D)
    K, Q : ndarray, (dh, D) or (H, dh, D)
        Only K^T Q enters.
    """

    V: Floats
    K: Floats
    Q: Floats


def stack_heads(heads: Head | Sequence[Head]) -> Head:
    """The heads of a layer as one stacked `Head`.

    Parameters
    ----------
    heads : Head or sequence of Head
        Each may be single or stacked. Keys and queries of fewer rows than others get rows of zeros, which
        leave K^T Q as it is.

    Returns
    -------
    Head
        V (H, D, D), K and Q (H, dh, D), copies.

    Raises
    ------
    ProblemError
        If there is no head, or their shapes do not fit together.
    """
    several = [heads] if isinstance(heads, Head) else heads
    if not isinstance(several, Sequence) or len(several) == 0:
        raise ProblemError("heads", heads, "a Head (V, K, Q) or a sequence of them")
    stacked: list[Head] = []
    for k, head in enumerate(several):
        name = "heads" if isinstance(heads, Head) else f"heads[{k}]"
        if not isinstance(head, Sequence) or len(head) != 3:
            raise ProblemError(name, head, "a Head (V, K, Q)")
        size = stacked[0].V.shape[1] if stacked else None
        V = _leading(f"{name}.V", head[0], (size, size))
        if V.shape[1] != V.shape[2]:
            raise ProblemError(f"{name}.V", f"shape {V.shape}", "as many rows as columns")
        K = _leading(f"{name}.K", head[1], (None, V.shape[2]))
        Q = _leading(f"{name}.Q", head[2], (K.shape[1], V.shape[2]))
        if not len(V) == len(K) == len(Q):
            raise ProblemError(name, f"{len(V)}, {len(K)} and {len(Q)}", "as many V as K as Q")
        stacked.append(Head(V, K, Q))
    rows = max(head.K.shape[1] for head in stacked)
    padded = [
        [np.pad(part, ((0, 0), (0, rows - part.shape[1]), (0, 0))) for part in (head.K, head.Q)]
        for head in stacked
    ]
    keys, queries = (np.concatenate(parts) for parts in zip(*padded, strict=True))
    return Head(np.concatenate([head.V for head in stacked]), keys, queries)


def _leading(argument: str, value: ArrayLike, shape: tuple[int | None, ...]) -> Floats:
    """An array (N, *shape) of a value of ``shape``, where N = 1, or of one that has the leading axis."""
    if dimensions(value) <= len(shape):
        return array(argument, value, shape)[None]
    return array(argument, value, (None, *shape))


def attention_map(gram: Floats, heads: Head) -> Floats:
    """A = sum_h V_h G K_h^T Q_h, the map that one layer adds to the identity.

    Parameters
    ----------
    gram : ndarray, (B, D, D)
        G = E M E^T / n of every prompt.
    heads : Head
        Stacked.

    Returns
    -------
    ndarray, (B, D, D)
    """
    V, K, Q = heads
    H, dh, D = K.shape
    flat = np.ascontiguousarray(K.reshape(H * dh, D).T)
    out = np.empty(gram.shape)
    for start in range(0, len(gram), _CHUNK):
        part = gram[start : start + _CHUNK]
        B = len(part)
        keys = (part.reshape(B * D, D) @ flat).reshape(B, D, H, dh)  # G K_h^T
        values = V @ keys.transpose(2, 1, 0, 3).reshape(H, D, B * dh)
        values = values.reshape(H, D, B, dh).transpose(2, 1, 0, 3).reshape(B * D, H * dh)
        out[start : start + B] = (values @ Q.reshape(H * dh, D)).reshape(B, D, D)
    return out


def linear_attention_layer(E: ArrayLike, heads: Head | Sequence[Head]) -> Floats:
    """E after one layer of linear attention.

    Parameters
    ----------
    E : array_like, (D, n + 1) or (B, D, n + 1)
        Tokens as columns, the query last.
    heads : Head or sequence of Head
        As for `stack_heads`.

    Returns
    -------
    ndarray
        Of the shape of ``E``.

    Raises
    ------
    ProblemError
        For heads of another D than that of ``E``, or a prompt without a pair.
    """
    tokens = _leading("E", E, (None, None))
    layer = stack_heads(heads)
    if tokens.shape[1] != layer.V.shape[1]:
        raise ProblemError("E", f"{tokens.shape[1]} rows", f"{layer.V.shape[1]} rows, as the heads have")
    if tokens.shape[2] < 2:
        raise ProblemError("E", f"{tokens.shape[2]} columns", "at least two: a pair and the query")
    pairs = tokens[:, :, :-1]
    gram = pairs @ pairs.transpose(0, 2, 1) / pairs.shape[2]
    after = tokens + attention_map(gram, layer) @ tokens
    return after if dimensions(E) == 3 else after[0]


def embed_prompt(X: ArrayLike, y: ArrayLike, xq: ArrayLike, layout: str = "wide") -> Floats:
    """Prompts as matrices of tokens.

    Parameters
    ----------
    X : array_like, (n, d) or (B, n, d)
    y : array_like, (n,) or (B, n)
    xq : array_like, (d,) or (B, d)
    layout : {'wide', 'narrow'}
        'wide' has rows x, d rows of zeros to be filled with features, and y: D = 2 d + 1. 'narrow' has rows
        x and y: D = d + 1. The query's y is 0.

    Returns
    -------
    ndarray, (D, n + 1) or (B, D, n + 1)

    Raises
    ------
    ProblemError
        For shapes that do not fit together or an unknown layout.
    """
    choice("layout", layout, LAYOUTS)
    x, labels = pairs_of(X, y)
    query = query_of(xq, x)
    tokens = np.concatenate([x, query[..., None, :]], axis=-2)
    features = np.zeros((*tokens.shape[:-1], x.shape[-1] if layout == "wide" else 0))
    column = np.concatenate([labels, np.zeros((*labels.shape[:-1], 1))], axis=-1)[..., None]
    rows = np.concatenate([tokens, features, column], axis=-1)
    return np.ascontiguousarray(np.swapaxes(rows, -1, -2))


def read_prediction(E: ArrayLike) -> Floats:
    """Predictions (...) constructed layers leave in E (..., D, n + 1): minus the last row at the query."""
    return -_leading("E", E, (None, None))[:, -1, -1].reshape(np.shape(E)[:-2])


def pairs_of(X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """Features (n, d) and labels (n,) of one prompt, or (B, n, d) and (B, n) of several, checked."""
    lead: tuple[int | None, ...] = () if dimensions(X) <= 2 else (None,)
    x = array("X", X, (*lead, None, None))
    if 0 in x.shape:
        raise ProblemError("X", f"shape {x.shape}", "at least one prompt, one pair and one feature")
    return x, array("y", y, x.shape[:-1])


def query_of(xq: ArrayLike, x: Floats) -> Floats:
    """Checked queries (d,) or (B, d) of the prompts whose features are ``x`` (n, d) or (B, n, d)."""
    return array("xq", xq, (*x.shape[:-2], x.shape[-1]))
