"""Transformers of several layers of linear attention.

Of a prompt, n enters only once, in the first Gram matrix: `LinTF` carries G and the query's column from layer
to layer, at a cost of O(D^3) each. After Chen, Zhao and Zou 2024 (arXiv 2408.04532).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from spectral_icl.io.checks import Floats, ProblemError, array, choice, integer, sequence
from spectral_icl.io.renamed import renamed
from spectral_icl.sparse.rng import Random, generator
from spectral_icl.sparse.transformer.attention import (
    LARGEST,
    LAYOUTS,
    Head,
    attention_map,
    pairs_of,
    query_of,
    stack_heads,
)


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
    rng : Generator or int, optional
        Source, or its seed, of the initial weights: W_E, ro, K, Q ~ N(0, 1/D) and V ~ N(0, 1) / (D sqrt(H)).

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

    @renamed(seed="rng")
    def __init__(self, d: int, D: int, heads_per_layer: Sequence[int], dh: int, rng: Random = 0) -> None:
        d = integer("d", d, minimum=1, maximum=LARGEST)
        D = integer("D", D, minimum=1, maximum=LARGEST)
        dh = integer("dh", dh, minimum=1, maximum=LARGEST)
        layers = sequence("heads_per_layer", heads_per_layer, "a number of heads for each layer", least=0)
        counts = [
            integer(f"heads_per_layer[{k}]", H, minimum=1, maximum=LARGEST) for k, H in enumerate(layers)
        ]
        draws = generator(rng)
        self.embedding: Floats = draws.normal(size=(D, d + 1)) / np.sqrt(D)
        self.readout: Floats = draws.normal(size=D) / np.sqrt(D)
        self.layers: tuple[Head, ...] = tuple(
            Head(
                draws.normal(size=(H, D, D)) / (D * np.sqrt(H)),
                draws.normal(size=(H, dh, D)) / np.sqrt(D),
                draws.normal(size=(H, dh, D)) / np.sqrt(D),
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
        """A model of constructed heads (`transformer.construction`), embedded as by `embed_prompt`.

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
        query = query_of(xq, x)
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
        """Checked features and labels of prompts with the d features of the embedding."""
        x, labels = pairs_of(X, y)
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
        """For each layer the factors (H,) of its heads: those of a mask, or 1."""
        counts = self.heads_per_layer
        if mask is None:
            return [np.ones(H) for H in counts]
        expected = f"factors for the heads of each of {len(counts)} layers"
        rows = sequence("mask", mask, expected)
        if len(rows) != len(counts):
            raise ProblemError("mask", mask, expected)
        kept = []
        for k, (row, H) in enumerate(zip(rows, counts, strict=True)):
            factors = sequence(f"mask[{k}]", row, f"factors of {H} heads")
            numbers = [float(x) if isinstance(x, (bool, np.bool_)) else x for x in factors]
            kept.append(array(f"mask[{k}]", numbers, (H,)))
        return kept

    def _ablated(self, pairs: Iterable[tuple[int, int]] | None) -> set[tuple[int, int]]:
        """Checked pairs (layer, head) of heads that are replaced by their mean."""
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


def _some(V: Floats, layer: Head, which: NDArray[np.bool_]) -> Head:
    """The heads of a layer that ``which`` (H,) marks, with the values ``V`` (H, D, D) in place of theirs."""
    return Head(V[which], layer.K[which], layer.Q[which])
