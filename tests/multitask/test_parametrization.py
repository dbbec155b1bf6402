"""Which heads are equal for ever: those whose starts and dual coordinates are."""

from __future__ import annotations

import numpy as np
import pytest

import spectral_icl as si
from spectral_icl.multitask.parametrization import Parametrization, tied_heads, to_dual, twins
from spectral_icl.multitask.state import State

HEADS, BLOCKS, TASKS = SHAPE = (5, 2, 3)
PROBLEM = si.Problem(
    block_sizes=(4, 7), signal=((1.0, 0.4), (0.0, 0.7), (0.3, 0.2)), noise=0.1, context_length=50
)

# imbalances of which two heads share one, so that equal values alone are not enough
UNEVEN = si.Factored(((0.1, 0.0), (0.1, 0.0), (0.2, 0.0), (0.2, 0.0), (0.2, 0.0)), 0.0)


def drawn(seed: int, *lead: int) -> State:
    """States of few values: many heads agree in some entries, and some in all."""
    rng = np.random.default_rng(seed)
    values = np.array([0.0, -0.0, 0.3, -0.3])
    omega, mu = rng.choice(values, (*lead, HEADS, BLOCKS)), rng.choice(values, (*lead, HEADS, TASKS))
    for _ in range(seed % 4):
        one, other = rng.choice(HEADS, 2, replace=False)
        omega[..., one, :], mu[..., one, :] = omega[..., other, :], mu[..., other, :]
    return State(omega, mu)


def by_definition(at: State, imbalance: np.ndarray) -> list[int]:
    """The first head with the numbers of each head."""
    rows = [(*at.omega[h], *at.mu[h], *imbalance[h]) for h in range(HEADS)]
    return [rows.index(row) for row in rows]


@pytest.mark.parametrize(
    "parametrization", [si.Balanced(), UNEVEN, si.Merged()], ids=["even", "uneven", "merged"]
)
@pytest.mark.parametrize("seed", range(24))
def test_twins_are_heads_with_equal_numbers(seed: int, parametrization: Parametrization) -> None:
    at = drawn(seed)
    imbalance = np.broadcast_to(parametrization.imbalance("omega"), at.omega.shape)
    leaders = by_definition(at, imbalance)
    chart = parametrization.chart(PROBLEM, at)
    twin = twins(chart, to_dual(chart, at), SHAPE)
    split = HEADS * BLOCKS
    assert twin[:split].reshape(HEADS, BLOCKS).tolist() == [[BLOCKS * h, BLOCKS * h + 1] for h in leaders]
    assert twin[split:].tolist() == [split + TASKS * h + i for h in leaders for i in range(TASKS)]
    groups = [[h for h in range(HEADS) if leaders[h] == k] for k in range(HEADS)]
    assert tied_heads(twin, SHAPE) == tuple(tuple(group) for group in groups if len(group) > 1)


@pytest.mark.parametrize("parametrization", [si.Balanced(), UNEVEN], ids=["even", "uneven"])
def test_twins_of_many_flows_are_those_of_each(parametrization: Parametrization) -> None:
    """Also where no heads of some flows could be twins, and where none of any could."""
    few = drawn(3, 7)
    counted = (np.arange(1.0, 1.0 + values[0].size).reshape(values[0].shape) for values in few)
    apart = State(*(np.broadcast_to(values, (7, *values.shape)) for values in counted))
    mixed = State(*(np.concatenate([some[:3], other[3:]]) for some, other in zip(few, apart, strict=True)))
    for at in (few, apart, mixed):
        chart = parametrization.chart(PROBLEM, at)
        together = twins(chart, to_dual(chart, at), SHAPE)
        for p, alone in enumerate(map(State, *at)):
            own = parametrization.chart(PROBLEM, alone)
            for values, theirs in zip(own, chart, strict=True):
                np.testing.assert_array_equal(values, theirs[p])
            np.testing.assert_array_equal(twins(own, to_dual(own, alone), SHAPE), together[p])
