"""Problems of many tasks, as tests draw them."""

from __future__ import annotations

import numpy as np

import spectral_icl as si


def disjoint(tasks: int, power: float = 0.0) -> si.Problem:
    """Tasks of power 10 / i^power."""
    return si.Problem.from_dict(
        {
            "tasks": tasks,
            "task_sizes": 10,
            "signal": 10.0,
            "decay": power,
            "noise": 0.1,
            "context_length": 100.0 * tasks,
        }
    )


def overlapping(tasks: int, blocks: int, others: int) -> si.Problem:
    """Every task in a block of its own number and in some others, with unequal eigenvalues."""
    rng = np.random.default_rng(tasks)
    rows = [
        {i % blocks: 5.0} | {int(b): float(rng.uniform(0.5, 5.0)) for b in rng.choice(blocks, others, False)}
        for i in range(tasks)
    ]
    return si.Problem(
        block_sizes=[10] * blocks,
        signal=[list(row.items()) for row in rows],
        noise=0.1,
        context_length=100 * blocks,
        covariance=rng.uniform(0.5, 2.0, blocks).tolist(),
    )
