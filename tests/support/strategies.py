"""Hypothesis strategies for problems and starts of every shape the package supports."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

import spectral_icl as si


@st.composite
def problems(draw: st.DrawFn, disjoint: bool = False) -> si.Problem:
    """Overlapping, anisotropic, unequal problems with up to four blocks and three tasks."""
    tasks = draw(st.integers(1, 3))
    blocks = tasks if disjoint else draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    signal = rng.lognormal(0.0, 1.0, (tasks, blocks))
    if disjoint:
        signal *= np.eye(tasks)
    else:
        signal *= rng.random((tasks, blocks)) < 0.6
        signal[np.arange(tasks), rng.integers(0, blocks, tasks)] += 0.5
    return si.Problem(
        block_sizes=tuple(rng.integers(1, 40, blocks).tolist()),
        signal=signal,
        noise=tuple((rng.random(tasks) < 0.8) * rng.lognormal(-1.0, 1.0, tasks)),
        context_length=draw(st.floats(1.0, 1e4)),
        covariance=tuple(rng.uniform(0.3, 2.0, blocks)),
    )


@st.composite
def starts(draw: st.DrawFn, problem: si.Problem, most_heads: int = 5, most: float = 0.5) -> si.State:
    """Starts of either sign and very different sizes, some entries zero."""
    heads = draw(st.integers(1, most_heads))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    top = draw(st.floats(np.log(1e-4), np.log(most)))

    def entries(columns: int) -> np.ndarray:
        size = np.exp(top + rng.uniform(-3.0, 0.0, (heads, columns)))
        return size * rng.choice([-1.0, 0.0, 1.0], size=(heads, columns), p=[0.3, 0.1, 0.6])

    return si.State(entries(problem.blocks), entries(problem.tasks))
