"""Linear attention in several layers of several heads, as it is trained on in-context regression.

Pairs (x; y) of a prompt, and the query (x_q; 0), are embedded by a matrix into D rows. A layer of heads is

    E <- E + sum_h V_h G W_h E,   G = E E^T / n over the context,   W_h = K_h^T Q_h,

where nobody looks at the query. So it multiplies every token of a prompt by one D x D matrix, I + A with
A = sum_h V_h G W_h. All that needs to be carried is the product B of these matrices with the embedding:
G = B S B^T, with S the second moments of the pairs themselves. Nothing grows with the length of the context.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from spectral_icl.io.checks import ProblemError, integer, number, sequence
from validation.sparse.prompts import SparsePrompts

Mask = Sequence[Tensor]  # of every layer, for every head whether it is there

_MOST = 1024  # heads of a layer, and covariates


class State(NamedTuple):
    """Prompts between two layers: the moments of their pairs, and what layers have made of the embedding.

    Attributes
    ----------
    moments : Tensor, (N, d + 1, d + 1)
        S, second moments of the prompts' pairs (x; y).
    rows : Tensor, (N, d + 1, D)
        B^T: a pair (x; y) of the context has become the token B (x; y), and the query B (x_q; 0).
    """

    moments: Tensor
    rows: Tensor

    @property
    def gram(self) -> Tensor:
        """Second moments of the tokens, G = B S B^T, (N, D, D)."""
        return self.rows.mT @ self.moments @ self.rows

    def read(self, queries: Tensor) -> Tensor:
        """What covariates (N, d), with labels that are zero, have become; as rows, (N, 1, D)."""
        return queries[:, None] @ self.rows[:, :-1]


class LinearTransformer(nn.Module):
    """Linear attention with a residual, an embedding and a readout, but no softmax, no MLP and no norm.

    Parameters
    ----------
    embed : Tensor, (D, d + 1)
    readout : Tensor, (D,)
    value : sequence of Tensor, (H, D, D) each
        V of every layer; layers may differ in their number of heads.
    key, query : sequence of Tensor, (H, r, D) each
    """

    def __init__(
        self,
        embed: Tensor,
        readout: Tensor,
        value: Sequence[Tensor],
        key: Sequence[Tensor],
        query: Sequence[Tensor],
    ) -> None:
        super().__init__()
        self.embed, self.readout = nn.Parameter(embed), nn.Parameter(readout)
        self.value, self.key, self.query = (
            nn.ParameterList(nn.Parameter(part) for part in parts) for parts in (value, key, query)
        )

    @property
    def heads(self) -> tuple[int, ...]:
        """Number of heads of every layer."""
        return tuple(len(value) for value in self.value)

    @property
    def dimension(self) -> int:
        """Number of covariates, d."""
        return self.embed.shape[1] - 1

    @classmethod
    def random(
        cls, dimension: int, heads: Sequence[int], seed: int, dtype: torch.dtype = torch.float32
    ) -> LinearTransformer:
        """A start from which training succeeds: D = 2d + 2, r = d + 2, all entries normal.

        Variances are 1 / D of embedding, readout, K and Q, and 1 / (D^2 H) of V.
        """
        d, counts = _sizes(dimension, heads)
        size, inner = 2 * d + 2, d + 2
        generator = torch.Generator().manual_seed(seed)

        def normal(scale: float, *shape: int) -> Tensor:
            return scale * torch.randn(*shape, generator=generator, dtype=dtype)

        root = size**-0.5
        return cls(
            normal(root, size, d + 1),
            normal(root, size),
            [normal(1.0 / (size * count**0.5), count, size, size) for count in counts],
            [normal(root, count, inner, size) for count in counts],
            [normal(root, count, inner, size) for count in counts],
        )

    @classmethod
    def constructed(
        cls,
        dimension: int,
        heads: Sequence[int],
        a: float,
        b: float,
        first: float,
        dtype: torch.dtype = torch.float64,
    ) -> LinearTransformer:
        """Weights that preprocess in the first layer, and descend in the others with one head each.

        Rows are x, room for d features, the label and an idle one. With d heads or more in the first layer,
        head j writes the feature r_j x_j and its part of a plain step of size ``first``; with fewer, head 0
        takes that step and no features are written. Head 0 of the others descends in the metric a + b r^2.
        Further heads are idle.

        See Also
        --------
        validation.sparse.prompts.preprocessed_descent : what is computed.
        """
        d, counts = _sizes(dimension, heads)
        number("a", a, minimum=0.0)
        number("b", b, minimum=0.0)
        number("first", first)
        size, label = 2 * d + 2, 2 * d
        embed, readout = torch.zeros(size, d + 1, dtype=dtype), torch.zeros(size, dtype=dtype)
        embed[torch.arange(d), torch.arange(d)] = 1.0
        embed[label, d] = 1.0
        readout[label] = -1.0
        value = [torch.zeros(count, size, size, dtype=dtype) for count in counts]
        key = [torch.zeros(count, size, size, dtype=dtype) for count in counts]
        if counts[0] >= d:
            for j in range(d):
                value[0][j, d + j, label], value[0][j, label, label] = 1.0, -first
                key[0][j, 0, j] = 1.0
        else:
            value[0][0, label, label] = -first
            key[0][0] = torch.diag(torch.arange(size) < d).to(dtype)
        for layer in range(1, len(counts)):
            value[layer][0, label, label] = -1.0
            key[layer][0, torch.arange(d), torch.arange(d)] = a**0.5
            key[layer][0, torch.arange(d, 2 * d), torch.arange(d, 2 * d)] = b**0.5
        return cls(embed, readout, value, key, [part.clone() for part in key])

    def mask(self, kept: Sequence[Iterable[int]] | None = None) -> list[Tensor]:
        """A mask of all heads, or of those of every layer that are ``kept``."""
        chosen = [range(count) for count in self.heads] if kept is None else [list(layer) for layer in kept]
        if len(chosen) != len(self.heads):
            raise ProblemError("kept", kept, f"heads of {len(self.heads)} layers")
        masks = []
        for layer, count in enumerate(self.heads):
            if not all(0 <= head < count for head in chosen[layer]):
                raise ProblemError(f"kept[{layer}]", chosen[layer], f"heads of {count}, counted from 0")
            numbers = torch.arange(count, device=self.embed.device)
            masks.append(torch.isin(numbers, torch.tensor(chosen[layer], device=self.embed.device)))
        return masks

    def forward(self, prompts: SparsePrompts, mask: Mask | None = None) -> Tensor:
        """Predictions for the queries, (N,)."""
        *_, before = self.states(prompts, mask, last=len(self.value) - 1)
        query = before.read(prompts.query)
        return (query + self.attend(len(self.value) - 1, before, query, mask))[:, 0] @ self.readout

    def states(
        self,
        prompts: SparsePrompts,
        mask: Mask | None = None,
        *,
        last: int | None = None,
    ) -> list[State]:
        """What is carried after the embedding and after every layer, all of them or those before ``last``."""
        states = [State(prompts.moments, self.embed.T.expand(len(prompts.y), -1, -1))]
        for layer in range(len(self.value) if last is None else last):
            states.append(self.step(layer, states[-1], mask))
        return states

    def step(self, layer: int, state: State, mask: Mask | None = None, other: Tensor | None = None) -> State:
        """The state after a layer, to whose sum over heads a matrix (D, D) may be added."""
        rows = state.rows + self.attend(layer, state, state.rows, mask)
        return State(state.moments, rows if other is None else rows + state.rows @ other.T)

    def attend(self, layer: int, state: State, rows: Tensor, mask: Mask | None = None) -> Tensor:
        """What a layer adds to tokens (as rows; N, c, D) that look at the context of a state, (N, c, D)."""
        value, inner = self.value[layer], self.circuit(layer)
        if mask is not None:
            value, inner = value[mask[layer]], inner[mask[layer]]
        heads, size, _ = value.shape
        count, tokens, _ = rows.shape
        entries = state.rows.shape[1]
        # rows W^T B S, for every head, and B^T V^T: sums over D and over heads in one product each
        looked = (rows @ inner.reshape(heads * size, size).T).reshape(count, tokens * heads, size)
        looked = looked @ state.rows.mT @ state.moments
        looked = looked.reshape(count, tokens, heads, entries).mT.reshape(count, tokens, entries * heads)
        carried = (state.rows @ value.reshape(heads * size, size).T).reshape(count, entries * heads, size)
        added: Tensor = looked @ carried
        return added

    def circuit(self, layer: int) -> Tensor:
        """W_h = K_h^T Q_h of a layer, (H, D, D)."""
        product: Tensor = self.key[layer].mT @ self.query[layer]
        return product


def _sizes(dimension: int, heads: Sequence[int]) -> tuple[int, list[int]]:
    """The sizes of a model, after a look at them."""
    d = integer("dimension", dimension, minimum=1, maximum=_MOST)
    counts = sequence("heads", heads, "numbers of heads, one per layer")
    return d, [integer(f"heads[{k}]", count, minimum=1, maximum=_MOST) for k, count in enumerate(counts)]
