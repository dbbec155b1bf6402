"""Linear attention on prompts of labelled pairs: one layer, and whole models.

A prompt of n pairs and a query is a matrix E (D, n + 1) whose columns are tokens, the query last. One layer
of H heads, with a residual connection and neither softmax nor MLP, is

    E <- E + (1/n) sum_h V_h E M (K_h E)^T (Q_h E),   M = diag(1, ..., 1, 0):

the query is read but never a key or a value. With the Gram matrix G = E M E^T / n this is

    E <- (I + A) E,   A = sum_h V_h G K_h^T Q_h,   and so   G <- (I + A) G (I + A)^T.

A whole model therefore needs n only once, for the first Gram matrix: of a prompt, `LinTF` carries G and the
query's column, at a cost of O(D^3) per layer.

Notation follows Chen, Zhao and Zou 2024 (arXiv 2408.04532).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.validation import Floats, ProblemError, array, choice, integer, sequence

LAYOUTS = ("wide", "narrow")
_LARGEST = 4096  # rows of a prompt, heads of a layer
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
    """``value`` of ``shape``, or of that shape after a leading axis, which it has afterwards."""
    if _dimensions(value) <= len(shape):
        return array(argument, value, shape)[None]
    return array(argument, value, (None, *shape))


def _dimensions(value: ArrayLike) -> int:
    try:
        return int(np.ndim(value))
    except (TypeError, ValueError):  # nested lists of unequal length: `array` says so
        return 0


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
    return after if _dimensions(E) == 3 else after[0]


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
    x, labels = _context(X, y)
    query = _query(xq, x)
    tokens = np.concatenate([x, query[..., None, :]], axis=-2)
    features = np.zeros((*tokens.shape[:-1], x.shape[-1] if layout == "wide" else 0))
    column = np.concatenate([labels, np.zeros((*labels.shape[:-1], 1))], axis=-1)[..., None]
    rows = np.concatenate([tokens, features, column], axis=-1)
    return np.ascontiguousarray(np.swapaxes(rows, -1, -2))


def read_prediction(E: ArrayLike) -> Floats:
    """The prediction that constructed layers leave in E (..., D, n + 1): minus the last row at the query."""
    return -_leading("E", E, (None, None))[:, -1, -1].reshape(np.shape(E)[:-2])


def _context(X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    """The pairs of one prompt, or of several along a leading axis."""
    lead: tuple[int | None, ...] = () if _dimensions(X) <= 2 else (None,)
    x = array("X", X, (*lead, None, None))
    if 0 in x.shape:
        raise ProblemError("X", f"shape {x.shape}", "at least one prompt, one pair and one feature")
    return x, array("y", y, x.shape[:-1])


def _query(xq: ArrayLike, x: Floats) -> Floats:
    return array("xq", xq, (*x.shape[:-2], x.shape[-1]))


class LinTF:
    """A transformer of linear attention layers: embedding, layers of heads, linear readout.

    Token k of a prompt is W_E (x_k, y_k), the query W_E (x_q, 0), and the prediction ro . E_L[:, query].

    Parameters
    ----------
    d : int
        Features of a prompt.
    D : int
        Rows of the embedded prompt.
    heads_per_layer : sequence of int
        One entry for each layer.
    dh : int
        Rows of keys and queries.
    seed : int
        Of the initial weights: W_E, ro, K, Q ~ N(0, 1/D) and V ~ N(0, 1) / (D sqrt(H)).

    Attributes
    ----------
    embedding : ndarray, (D, d + 1)
    readout : ndarray, (D,)
    layers : tuple of Head
        Stacked. The arrays may be written to, and are then what the model computes with.

    Raises
    ------
    ProblemError
        For sizes that are not positive whole numbers.
    """

    def __init__(self, d: int, D: int, heads_per_layer: Sequence[int], dh: int, seed: int = 0) -> None:
        d = integer("d", d, minimum=1, maximum=_LARGEST)
        D = integer("D", D, minimum=1, maximum=_LARGEST)
        dh = integer("dh", dh, minimum=1, maximum=_LARGEST)
        if isinstance(heads_per_layer, (str, bytes)) or not isinstance(heads_per_layer, Iterable):
            raise ProblemError("heads_per_layer", heads_per_layer, "a number of heads for each layer")
        counts = [
            integer(f"heads_per_layer[{k}]", H, minimum=1, maximum=_LARGEST)
            for k, H in enumerate(heads_per_layer)
        ]
        rng = np.random.default_rng(integer("seed", seed, minimum=0, maximum=2**63 - 1))
        self.embedding: Floats = rng.normal(size=(D, d + 1)) / np.sqrt(D)
        self.readout: Floats = rng.normal(size=D) / np.sqrt(D)
        self.layers: tuple[Head, ...] = tuple(
            Head(
                rng.normal(size=(H, D, D)) / (D * np.sqrt(H)),
                rng.normal(size=(H, dh, D)) / np.sqrt(D),
                rng.normal(size=(H, dh, D)) / np.sqrt(D),
            )
            for H in counts
        )

    @classmethod
    def from_weights(
        cls, embedding: ArrayLike, readout: ArrayLike, layers: Sequence[Head | Sequence[Head]]
    ) -> LinTF:
        """A model with these weights, which are copied.

        Parameters
        ----------
        embedding : array_like, (D, d + 1)
        readout : array_like, (D,)
        layers : sequence of (Head or sequence of Head)
            Each as for `stack_heads`.
        """
        model = cls.__new__(cls)
        model.embedding = array("embedding", embedding, (None, None))
        if model.embedding.shape[1] < 2:
            raise ProblemError("embedding", f"shape {model.embedding.shape}", "a column for each of x and y")
        model.readout = array("readout", readout, model.embedding.shape[:1])
        model.layers = tuple(stack_heads(layer) for layer in layers)
        for k, layer in enumerate(model.layers):
            if layer.V.shape[1] != model.D:
                raise ProblemError(f"layers[{k}]", f"D = {layer.V.shape[1]}", f"heads with D = {model.D}")
        return model

    @classmethod
    def constructed(cls, layers: Sequence[Head | Sequence[Head]], layout: str = "wide") -> LinTF:
        """A model of constructed heads (`spectral_icl.sparse.construction`), embedded as by `embed_prompt`.

        Parameters
        ----------
        layers : sequence of (Head or sequence of Head)
            Each as for `stack_heads`.
        layout : {'wide', 'narrow'}

        Raises
        ------
        ProblemError
            If there is no layer, or D is not 2 d + 1 in the wide layout.
        """
        choice("layout", layout, LAYOUTS)
        if not isinstance(layers, Sequence) or len(layers) == 0:
            raise ProblemError("layers", layers, "heads for at least one layer")
        D = stack_heads(layers[0]).V.shape[1]
        d = (D - 1) // 2 if layout == "wide" else D - 1
        rows = 2 * d + 1 if layout == "wide" else d + 1
        if d < 1 or rows != D:
            raise ProblemError("layers", f"D = {D}", f"heads of the {layout} layout")
        embedding = np.zeros((D, d + 1))
        embedding[np.arange(d), np.arange(d)] = embedding[-1, d] = 1.0
        return cls.from_weights(embedding, -np.eye(D)[-1], layers)

    @property
    def d(self) -> int:
        """Features of a prompt."""
        return int(self.embedding.shape[1]) - 1

    @property
    def D(self) -> int:
        """Rows of the embedded prompt."""
        return int(self.embedding.shape[0])

    @property
    def heads_per_layer(self) -> tuple[int, ...]:
        """Number of heads of every layer."""
        return tuple(len(layer.V) for layer in self.layers)

    @overload
    def forward(
        self,
        X: ArrayLike,
        y: ArrayLike,
        xq: ArrayLike,
        mask: Sequence[ArrayLike] | None = None,
        mean_ablate: Iterable[tuple[int, int]] | None = None,
        probe: Literal[False] = False,
    ) -> Floats: ...

    @overload
    def forward(
        self,
        X: ArrayLike,
        y: ArrayLike,
        xq: ArrayLike,
        mask: Sequence[ArrayLike] | None = None,
        mean_ablate: Iterable[tuple[int, int]] | None = None,
        *,
        probe: Literal[True],
    ) -> tuple[Floats, Floats]: ...

    def forward(
        self,
        X: ArrayLike,
        y: ArrayLike,
        xq: ArrayLike,
        mask: Sequence[ArrayLike] | None = None,
        mean_ablate: Iterable[tuple[int, int]] | None = None,
        probe: bool = False,
    ) -> Floats | tuple[Floats, Floats]:
        """Predictions of the query's label.

        Parameters
        ----------
        X, y, xq : array_like
            Prompts as for `embed_prompt`.
        mask : sequence of array_like, optional
            For each layer a number for each head that multiplies its output: 0 takes it out.
        mean_ablate : iterable of (int, int), optional
            Pairs (layer, head), from 0, whose A is replaced by its mean over these prompts, as earlier
            replacements left them: the head still acts, but no longer depends on the prompt.
        probe : bool
            Whether to return what the query has become after every layer, too.

        Returns
        -------
        prediction : ndarray, () or (B,)
            Infinite where the weights overflow.
        columns : ndarray, (L + 1, D) or (L + 1, B, D)
            If ``probe``: the query's column before the first layer and after each.

        Raises
        ------
        ProblemError
            For prompts of other than d features, a mask of another shape, or heads that do not exist.
        """
        x, labels = self._pairs(X, y)
        query = _query(xq, x)
        column = query.reshape(-1, self.d) @ self.embedding[:, : self.d].T
        columns = [column]
        with np.errstate(over="ignore", invalid="ignore"):
            for A in self._maps(x, labels, mask, mean_ablate):
                column = column + (A @ column[:, :, None])[:, :, 0]
                columns.append(column)
            prediction = column @ self.readout
        lead = x.shape[:-2]
        prediction = np.where(np.isfinite(prediction), prediction, np.inf).reshape(lead)
        if not probe:
            return prediction
        return prediction, np.array(columns).reshape(len(columns), *lead, self.D)

    def query_maps(
        self,
        X: ArrayLike,
        y: ArrayLike,
        mask: Sequence[ArrayLike] | None = None,
        mean_ablate: Iterable[tuple[int, int]] | None = None,
    ) -> Floats:
        """B_l = (I + A_l) ... (I + A_1) W_E[:, :d]: what any query x becomes after l layers is B_l x.

        Parameters
        ----------
        X, y, mask, mean_ablate
            As for `forward`.

        Returns
        -------
        ndarray, (L + 1, D, d) or (L + 1, B, D, d)
        """
        x, labels = self._pairs(X, y)
        current = np.broadcast_to(self.embedding[:, : self.d], (labels.size // x.shape[-2], self.D, self.d))
        maps = [current]
        with np.errstate(over="ignore", invalid="ignore"):
            for A in self._maps(x, labels, mask, mean_ablate):
                current = current + A @ current
                maps.append(current)
        return np.array(maps).reshape(len(maps), *x.shape[:-2], self.D, self.d)

    def _pairs(self, X: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
        x, labels = _context(X, y)
        if x.shape[-1] != self.d:
            raise ProblemError("X", f"{x.shape[-1]} features", f"{self.d} features, as the embedding has")
        return x, labels

    def _maps(
        self,
        x: Floats,
        labels: Floats,
        mask: Sequence[ArrayLike] | None,
        mean_ablate: Iterable[tuple[int, int]] | None,
    ) -> Iterator[Floats]:
        """A (B, D, D) of one layer after another."""
        keep, ablated = self._kept(mask), self._ablated(mean_ablate)
        pairs = np.concatenate([x, labels[..., None]], axis=-1).reshape(-1, x.shape[-2], self.d + 1)
        moments = pairs.transpose(0, 2, 1) @ pairs / pairs.shape[1]
        gram = self.embedding @ moments @ self.embedding.T
        A = np.zeros(gram.shape)
        for k, (layer, factors) in enumerate(zip(self.layers, keep, strict=True)):
            if k > 0:
                gram = gram + A @ gram
                gram = gram + gram @ A.transpose(0, 2, 1)
            V = layer.V * factors[:, None, None]
            constant = np.array([(k, h) in ablated for h in range(len(V))], dtype=bool)
            live = V.any(axis=(1, 2))
            A = attention_map(gram, _some(V, layer, live & ~constant))
            if constant.any():  # A is linear in G
                A = A + attention_map(gram.mean(axis=0, keepdims=True), _some(V, layer, live & constant))
            yield A

    def _kept(self, mask: Sequence[ArrayLike] | None) -> list[Floats]:
        counts = self.heads_per_layer
        if mask is None:
            return [np.ones(H) for H in counts]
        if not isinstance(mask, (Sequence, np.ndarray)) or len(mask) != len(counts):
            raise ProblemError("mask", mask, f"factors for the heads of each of {len(counts)} layers")
        return [
            array(f"mask[{k}]", _floats(row), (H,))
            for k, (row, H) in enumerate(zip(mask, counts, strict=True))
        ]

    def _ablated(self, pairs: Iterable[tuple[int, int]] | None) -> set[tuple[int, int]]:
        counts = self.heads_per_layer
        chosen: set[tuple[int, int]] = set()
        expected = "pairs (layer, head)"
        if pairs is not None and not isinstance(pairs, Iterable):
            raise ProblemError("mean_ablate", pairs, expected)
        for pair in () if pairs is None else pairs:
            entries = sequence("mean_ablate", pair, expected)
            if len(entries) != 2:
                raise ProblemError("mean_ablate", pair, expected)
            layer = integer("mean_ablate layer", entries[0], minimum=0, maximum=len(counts) - 1)
            head = integer("mean_ablate head", entries[1], minimum=0, maximum=counts[layer] - 1)
            chosen.add((layer, head))
        return chosen


def _floats(row: ArrayLike) -> ArrayLike:
    """Booleans as numbers; anything else as it is."""
    try:
        values = np.asarray(row)
    except (TypeError, ValueError):
        return row
    return values.astype(np.float64) if values.dtype == bool else row


def _some(V: Floats, layer: Head, which: NDArray[np.bool_]) -> Head:
    return Head(V[which], layer.K[which], layer.Q[which])
