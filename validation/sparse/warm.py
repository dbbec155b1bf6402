"""Training that starts from the construction, and what of it is measured."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from spectral_icl.io.checks import Floats
from spectral_icl.sparse.problem import SparseProblem
from validation.context import Context
from validation.sparse.bench import Bench
from validation.sparse.linear_attention import LinearTransformer
from validation.sparse.probes import (
    ViewRisk,
    effective_heads,
    head_importance,
    layer1_readout,
    p_probe,
    squared_errors,
)
from validation.sparse.training import Config, History, train, warm_start

PROBLEM = SparseProblem(d=8, s=2, n=64, noise=0.25)
ONE, FIRST, ALL = (1, 1, 1, 1), (8, 1, 1, 1), (8, 8, 8, 8)
A, B, NOISE = 0.6, 0.5, 0.02  # the metric a + b r^2, and the noise in all weights

_STEPS: dict[tuple[int, ...], tuple[int, int]] = {  # quick, and full
    FIRST: (2500, 8000),
    ONE: (800, 4000),
    ALL: (8000, 8000),
}
_RATE = 2e-3


class Warm(NamedTuple):
    """A model that was trained from the construction, and what it does.

    Attributes
    ----------
    model : LinearTransformer
    history : History
    risk : float
        Over that of ridge regression, largest errors of both left out.
    whole : float
        With the largest errors.
    effective : ndarray, (layers,)
        Effective heads.
    alignment, rank : float
        Of what the first layer writes.
    views : ViewRisk
    """

    model: LinearTransformer
    history: History
    risk: float
    whole: float
    effective: Floats
    alignment: float
    rank: float
    views: ViewRisk

    @property
    def moved(self) -> Floats:
        """Risk of the P-probe after every layer, over that of raw covariates."""
        return np.array(self.views.layers) / self.views.raw

    @property
    def quantities(self) -> dict[str, float]:
        """What claims are about, by name."""
        return {
            "risk over ridge": self.risk,
            "effective heads of layer 1": float(self.effective[0]),
            "rank of what layer 1 writes": self.rank,
            "P-probe, best layer over covariates": float(self.moved[1:].min()),
        }


def config_of(context: Context, heads: tuple[int, ...], run: int) -> Config:
    """How a layout is trained: prompts have a seed by the layout and the number of the run."""
    steps = context.pick(*_STEPS[heads])
    seed = context.seed_of(f"sparse, warm {list(heads)}, run {run}, prompts")
    return Config(PROBLEM, heads, steps, _RATE, seed=seed, every=context.pick(100, 250))


def warm(context: Context, bench: Bench, heads: tuple[int, ...], run: int) -> Warm:
    """One training run of a layout, and its measurements."""
    seed = context.seed_of(f"sparse, warm {list(heads)}, run {run}, start")
    start = warm_start(PROBLEM.d, heads, A, B, NOISE, seed).to(context.device)
    label = f"warm-{''.join(map(str, heads))}-{run}"
    model, history = train(
        config_of(context, heads, run), start, track=context.track, label=label, folder=context.folder
    )
    squares = squared_errors(model, bench.prompts)
    alignment, rank = layer1_readout(model)
    return Warm(
        model=model,
        history=history,
        risk=bench.over_ridge(model)[0],
        whole=float(squares.mean() / bench.ridge.mean()),
        effective=effective_heads(head_importance(model, bench.few).loss),
        alignment=alignment,
        rank=rank,
        views=p_probe(model, bench.few),
    )
